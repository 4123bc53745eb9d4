"""The command line of ``hack/cluster``."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

from localcluster import dns, images, kind, lifecycle, network, paths, tools

__all__ = ["main", "run"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        return run(arguments)
    except paths.ClusterError as error:
        print(f"hack/cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `hack/cluster down` clears what is there", file=sys.stderr)
        return 130


def run(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    Raises
    ------
    ClusterError
        It cannot be done; the message says why.
    """
    options = _parser().parse_args(arguments)
    return int(options.run(options) or 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hack/cluster",
        description="A real Kubernetes with gVisor and enforced network policies on this machine.",
        epilog="Logs, certificates and the kubeconfig of a cluster are under its state folder; "
        "built tools and images are cached (SANDYARD_CACHE).",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--name", default=paths.DEFAULT_NAME, help="which cluster (default: %(default)s)")
        sub.set_defaults(run=function)
        return sub

    up = command("up", _up, "start the cluster and wait until it is ready")
    up.add_argument("--provider", choices=("auto", "local", "kind"), default="auto",
                    help="auto: the cluster of KUBECONFIG if that is set, else local")  # fmt: skip
    up.add_argument("--no-network-policy", action="store_true",
                    help="leave the policy controller out (policies are then not enforced)")  # fmt: skip
    up.add_argument("--simulated-nodes", type=int, default=0, metavar="N", help="add N nodes played by kwok")
    down = command("down", _down, "stop the cluster and remove every trace of it")
    down.add_argument("--provider", choices=("auto", "local", "kind"), default="auto")
    command("clean", _clean, "remove the cache of built tools and images; the next start builds them again")
    command("status", lambda o: 0 if lifecycle.status(o.name) else 1, "show each component's state")
    command("kubeconfig", _kubeconfig, "print the path of the kubeconfig")
    command("env", _env, "print shell commands that set KUBECONFIG and PATH")
    load = command("load", _load, "load an image archive into the node")
    load.add_argument("archive", type=pathlib.Path, metavar="ARCHIVE")
    image = command("image", _image, "build an image, load it, and print its name")
    image.add_argument("image", choices=sorted(_IMAGES))
    command("dns", _dns, "run a name server in the cluster: CoreDNS, for its Services and a zone of outside names")
    command("images", _build_images, "build all images, those of tests too, and print their archives")
    logs = command("logs", _logs, "print a component's log")
    logs.add_argument("component", metavar="COMPONENT")
    logs.add_argument("-f", "--follow", action="store_true")
    command("outside", _outside, "print how many packets reached each address of the outside world")
    build = command("tools", _tools, "build the cluster's tools and print their folders")
    build.add_argument("groups", nargs="*", choices=[*tools.GROUPS, []], metavar="GROUP")
    return parser


_IMAGES = {
    "operator": (images.operator, images.OPERATOR_IMAGE),
    "python": (images.python, images.PYTHON_IMAGE),
    "busybox": (images.busybox, images.BUSYBOX_IMAGE),
}


def _up(options: argparse.Namespace) -> int:
    given = os.environ.get("KUBECONFIG")
    if options.provider == "kind":
        print(f"kubeconfig: {kind.up(options.name)}")
        return 0
    if options.provider == "auto" and given:
        kubectl = tools.ensure(["kubernetes"])["kubernetes"] / "kubectl"
        done = subprocess.run([str(kubectl), "version"], text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise paths.ClusterError(
                f"KUBECONFIG={given} is set, but its cluster does not answer: {done.stderr.strip()}\n"
                "unset KUBECONFIG (or use --provider local) for a local cluster"
            )
        print(f"using the cluster of KUBECONFIG={given}")
        return 0
    if options.simulated_nodes < 0:
        raise paths.ClusterError("--simulated-nodes must be 0 or more")
    chosen = lifecycle.Options(not options.no_network_policy, options.simulated_nodes)
    cluster = lifecycle.up(options.name, chosen)
    print(f"kubeconfig: {cluster.kubeconfig}")
    return 0


def _down(options: argparse.Namespace) -> None:
    if options.provider == "kind":
        kind.down(options.name)
        return
    lifecycle.down(options.name)


def _clean(options: argparse.Namespace) -> None:
    del options
    running = sorted(path.name for path in (paths.state_dir() / "clusters").glob("*"))
    if running:
        ends = "; ".join(f"hack/cluster down --name {name}" for name in running)
        raise paths.ClusterError(f"clusters of this machine use the cache; end them first: {ends}")
    for name in paths.CACHED:
        target = paths.cache_dir() / name
        if target.is_dir():
            shutil.rmtree(target)
    print(f"removed what was built from {paths.cache_dir()}")


def _kubeconfig(options: argparse.Namespace) -> None:
    print(paths.Cluster.named(options.name).kubeconfig)


def _env(options: argparse.Namespace) -> None:
    cluster = paths.Cluster.named(options.name)
    folders = tools.ensure(["kubernetes", "helm"])
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    print(f"export PATH={':'.join(str(folder) for folder in folders.values())}:$PATH")


def _load(options: argparse.Namespace) -> None:
    if not options.archive.is_file():
        raise paths.ClusterError(f"no such file: {options.archive}")
    lifecycle.load(paths.Cluster.named(options.name), options.archive)


def _image(options: argparse.Namespace) -> None:
    build, name = _IMAGES[options.image]
    lifecycle.provide(paths.Cluster.named(options.name), build())
    print(name)


def _dns(options: argparse.Namespace) -> None:
    dns.plant(paths.Cluster.named(options.name))
    print(f"{network.DNS_ADDRESS} answers for {network.DNS_DOMAIN} and for names such as internet.{dns.ZONE}")


def _build_images(options: argparse.Namespace) -> None:
    del options
    for build in (images.operator, images.python, images.pause, images.busybox, images.coredns, images.languages):
        print(build())


def _logs(options: argparse.Namespace) -> int:
    cluster = paths.Cluster.named(options.name)
    log = cluster.logs / f"{options.component}.log"
    if not log.exists():
        known = ", ".join(sorted(path.stem for path in cluster.logs.glob("*.log")))
        raise paths.ClusterError(f"no log of {options.component!r}; there are: {known}")
    return subprocess.run(["tail", *(["-f"] if options.follow else []), "-n", "+1", str(log)], check=False).returncode


def _outside(options: argparse.Namespace) -> None:
    print(json.dumps(network.outside_counters(paths.Cluster.named(options.name)), indent=1))


def _tools(options: argparse.Namespace) -> None:
    for name, folder in tools.ensure(options.groups or [name for name in tools.GROUPS if name != tools.OLDEST]).items():
        print(f"{name:12} {folder}")
