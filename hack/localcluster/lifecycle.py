"""Bring a cluster up, take it down, and say how it is."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from localcluster import components, host, images, network, paths, pki, processes, seeds, tools, volumes

__all__ = ["Options", "down", "kubectl", "load", "provide", "status", "up"]

# Started in this order, stopped in the reverse one.
_CONTROL_PLANE = ("etcd", "apiserver", "controller-manager", "scheduler")
_NODE = ("containerd", "kubelet", "kube-proxy")
# For each of them to answer: seconds on an idle machine, minutes on one that is building something else.
_PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Options:
    """What a cluster is made of.

    Attributes
    ----------
    network_policy
        False leaves the policy controller out: policies are then accepted and not enforced.
    simulated_nodes
        Number of nodes that kwok plays, for scale.
    """

    network_policy: bool = True
    simulated_nodes: int = 0


def up(name: str, options: Options) -> paths.Cluster:
    """Start the cluster *name*, or what is missing of it, and wait until its node is Ready."""
    host.require(host.CLUSTER_PACKAGES)
    groups = [*tools.CLUSTER, *(["kwok"] if options.simulated_nodes else [])]
    programs = tools.ensure(groups)
    cluster = paths.Cluster.named(name, create=True)
    with paths.locked(paths.state_dir() / f"{name}.lock", waiting=f"waiting for another command on {name!r}"):
        running = processes.Processes(cluster)
        if running.names() and not running.alive("etcd"):
            print("the cluster's processes are gone (a restart of the machine?): clearing what they left", flush=True)
            _tear_down(cluster)
            cluster = paths.Cluster.named(name, create=True)
        started = time.monotonic()
        _record(cluster, options)
        network.create(cluster)
        pki.make(cluster.pki, [cluster.node_address, "127.0.0.1", "10.96.0.1"], cluster.node_name, cluster.node_address)
        components.configure(cluster, programs)
        environment = {**os.environ, "PATH": tools.search_path(groups), "NODE_NAME": cluster.node_name}
        _make_cgroup(cluster)
        _start(running, cluster, _CONTROL_PLANE[:2], environment)
        _plant(cluster)
        processes.wait_until("API server ready", lambda: _healthy(cluster), _PATIENCE_SECONDS)
        _start(running, cluster, (*_CONTROL_PLANE[2:], "containerd"), environment)
        running.start("outside", components.outside(cluster), netns=cluster.outside_netns, environment=environment)
        processes.wait_until("containerd ready", lambda: _containerd_ready(cluster), _PATIENCE_SECONDS)
        _make_storage_class(cluster)
        running.start("volumes", components.volumes(cluster), netns=None, environment=environment)
        for archive in (images.pause(), images.busybox()):
            provide(cluster, archive)
        _start(running, cluster, _NODE[1:], environment)
        processes.wait_until("node Ready", lambda: _node_ready(cluster, cluster.node_name), _PATIENCE_SECONDS)
        if options.network_policy:
            # It ends at once when its node is not registered yet.
            _start(running, cluster, ("kube-router",), environment)
            processes.wait_until("network policies enforced", lambda: _enforcing(cluster, running), _PATIENCE_SECONDS)
        if options.simulated_nodes:
            _start(running, cluster, ("kwok",), environment)
            _simulate_nodes(cluster, options.simulated_nodes)
        print(f"cluster {name!r} is ready ({time.monotonic() - started:.0f} s): {cluster.server}", flush=True)
    return cluster


def down(name: str) -> None:
    """Stop everything of the cluster *name* and remove every trace of it; idempotent."""
    try:
        cluster = paths.Cluster.named(name)
    except paths.ClusterError:
        print(f"no cluster named {name!r}", flush=True)
        return
    host.require(host.CLUSTER_PACKAGES)
    with paths.locked(paths.state_dir() / f"{name}.lock", waiting=f"waiting for another command on {name!r}"):
        _tear_down(cluster)
    (paths.state_dir() / f"{name}.lock").unlink(missing_ok=True)
    print(f"cluster {name!r} is gone", flush=True)


def status(name: str) -> bool:
    """Print each component's state; return whether all of them run and the node is Ready."""
    cluster = paths.Cluster.named(name)
    running = processes.Processes(cluster)
    good = bool(running.names())
    for component in running.names():
        pid = running.pid(component)
        good = good and pid is not None
        print(f"{component:20} {'running, pid ' + str(pid) if pid else 'STOPPED'}")
    ready = running.alive("apiserver") and _node_ready(cluster, cluster.node_name)
    print(f"{cluster.node_name:20} {'Ready' if ready else 'NOT READY'}")
    print(f"{'kubeconfig':20} {cluster.kubeconfig}")
    return good and ready


def provide(cluster: paths.Cluster, archive: pathlib.Path) -> None:
    """Import an archive of `localcluster.images` unless it was the last of its kind: its name tells its content."""
    record = _record_of(cluster, archive)
    if record.exists() and record.read_text() == archive.name:
        return
    record.unlink(missing_ok=True)
    _import(cluster, archive)
    record.parent.mkdir(exist_ok=True)
    record.write_text(archive.name)


def _plant(cluster: paths.Cluster) -> None:
    """Give a new node the big images that there are."""
    root, archives = cluster.state / "containerd", images.ready()
    if any(root.iterdir()) or not archives or not seeds.plant(root, archives):
        return
    _imported(cluster).mkdir(exist_ok=True)
    for archive in archives:
        _record_of(cluster, archive).write_text(archive.name)


def load(cluster: paths.Cluster, archive: pathlib.Path) -> None:
    """Import any image archive (docker-archive or OCI) into the node."""
    # It may take over the name of one of ours.
    shutil.rmtree(_imported(cluster), ignore_errors=True)
    _import(cluster, archive)


def _imported(cluster: paths.Cluster) -> pathlib.Path:
    """Folder with the name of the archive that was imported last, for each kind of ours."""
    return cluster.state / "images"


def _record_of(cluster: paths.Cluster, archive: pathlib.Path) -> pathlib.Path:
    return _imported(cluster) / archive.stem.rpartition("-")[0]


def _import(cluster: paths.Cluster, archive: pathlib.Path) -> None:
    folder = tools.ensure(["containerd"])["containerd"]
    ctr = [str(folder / "ctr"), "--address", str(cluster.containerd_socket), "--namespace", "k8s.io"]
    done = subprocess.run([*ctr, "images", "import", str(archive)], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise paths.ClusterError(f"could not load {archive}: {done.stderr.strip()[-800:]}")


def kubectl(cluster: paths.Cluster, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
    """Run kubectl against *cluster* and return what it prints."""
    program = tools.ensure(["kubernetes"])["kubernetes"] / "kubectl"
    command = [str(program), f"--kubeconfig={cluster.kubeconfig}", *arguments]
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode != 0 and check:
        raise paths.ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-800:]}")
    return done.stdout


def _start(
    running: processes.Processes, cluster: paths.Cluster, names: Iterable[str], environment: dict[str, str]
) -> None:
    commands = {
        "etcd": components.etcd,
        "apiserver": components.apiserver,
        "controller-manager": components.controller_manager,
        "scheduler": components.scheduler,
        "containerd": components.containerd,
        "kubelet": components.kubelet,
        "kube-proxy": components.kube_proxy,
        "kube-router": components.kube_router,
        "kwok": components.kwok,
    }
    for name in names:
        if not running.alive(name):
            print(f"starting {name}", flush=True)
        own = components.APISERVER_ENVIRONMENT if name == "apiserver" else {}
        running.start(name, commands[name](cluster), netns=cluster.netns, environment={**environment, **own})


def _record(cluster: paths.Cluster, options: Options) -> None:
    (cluster.state / "cluster.json").write_text(json.dumps({"slot": cluster.slot, **asdict(options)}))


def _healthy(cluster: paths.Cluster) -> bool:
    context = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
    context.load_cert_chain(str(cluster.pki / "admin.crt"), str(cluster.pki / "admin.key"))
    try:
        with urllib.request.urlopen(f"{cluster.server}/readyz", timeout=2, context=context) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _containerd_ready(cluster: paths.Cluster) -> bool:
    folder = tools.ensure(["containerd"])["containerd"]
    command = [str(folder / "ctr"), "--address", str(cluster.containerd_socket), "version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _node_ready(cluster: paths.Cluster, node: str) -> bool:
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return kubectl(cluster, "get", "node", node, "-o", f"jsonpath={path}", check=False) == "True"


def _enforcing(cluster: paths.Cluster, running: processes.Processes) -> bool:
    if not running.alive("kube-router"):
        log = (cluster.logs / "kube-router.log").read_text().strip().splitlines()
        raise paths.ClusterError(f"kube-router ended: {log[-1] if log else 'no output'}")
    return "KUBE-ROUTER-FORWARD" in network.run_in(cluster.netns, ["iptables-save", "-t", "filter"])


def _make_storage_class(cluster: paths.Cluster) -> None:
    made = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": volumes.CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": volumes.PROVISIONER,
        "volumeBindingMode": "Immediate",
    }
    kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(made))


def _simulate_nodes(cluster: paths.Cluster, count: int) -> None:
    names = [f"{cluster.name}-simulated-{number}" for number in range(count)]
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {"type": "kwok", "kubernetes.io/hostname": name},
                "annotations": {"kwok.x-k8s.io/node": "fake"},
            },
            "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        }
        for name in names
    ]
    kubectl(cluster, "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes}))
    for name in names:
        processes.wait_until(f"{name} Ready", lambda name=name: _node_ready(cluster, name), 60)  # type: ignore[misc]


def _cgroup_roots() -> list[pathlib.Path]:
    """Mount points of the cgroup hierarchies (one for each controller on v1)."""
    lines = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    mounts = [line.split() for line in lines]
    return [pathlib.Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]


def _make_cgroup(cluster: paths.Cluster) -> None:
    for root in _cgroup_roots():
        folder = root / cluster.cgroup.lstrip("/")
        folder.mkdir(exist_ok=True)
        if root.name == "cpuset":
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not (folder / file).read_text().strip():
                    (folder / file).write_text((root / file).read_text())


def _tear_down(cluster: paths.Cluster) -> None:
    running = processes.Processes(cluster)
    for name in ("kwok", "kube-router", "kubelet", "kube-proxy"):
        running.stop(name)
    if running.alive("containerd"):
        # While containerd still runs: a shim that is not asked by it survives.
        _remove_pods(cluster)
    for name in reversed(running.names()):
        running.stop(name)
    for pid in processes.of_tools(paths.cache_dir() / "tools", f"{cluster.state}/"):
        processes.end(pid, timeout_seconds=5)
    _kill_cgroup(cluster)
    _unmount(cluster.state)
    network.delete(cluster)
    _remove_cgroup(cluster)
    _remove_log_links(cluster)
    # In one program: an image has tens of thousands of files.
    subprocess.run(["rm", "-rf", str(cluster.state)], capture_output=True, check=False)
    if cluster.state.exists():
        shutil.rmtree(cluster.state)


def _remove_pods(cluster: paths.Cluster) -> None:
    folder = tools.ensure(["cri-tools"])["cri-tools"]
    endpoint = f"unix://{cluster.containerd_socket}"
    crictl = [str(folder / "crictl"), "--runtime-endpoint", endpoint, "--timeout", "60s"]
    print("removing pods", flush=True)
    done = subprocess.run([*crictl, "rmp", "--all", "--force"], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        print(f"crictl rmp: {done.stderr.strip()[-500:]} (what is left is ended by id)", flush=True)


def _kill_cgroup(cluster: paths.Cluster) -> None:
    for root in _cgroup_roots():
        top = root / cluster.cgroup.lstrip("/")
        if not top.exists():
            continue
        for file in [top / "cgroup.procs", *top.rglob("cgroup.procs")]:
            try:
                pids = [int(line) for line in file.read_text().split()]
            except OSError:
                continue
            for pid in pids:
                processes.end(pid, timeout_seconds=0)


def _remove_cgroup(cluster: paths.Cluster) -> None:
    for root in _cgroup_roots():
        top = root / cluster.cgroup.lstrip("/")
        if not top.exists():
            continue
        folders = sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
        for folder in [*folders, top]:
            for _ in range(50):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.1)


def _unmount(folder: pathlib.Path) -> None:
    """Unmount everything below *folder*, deepest first."""
    lines = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1].replace("\\040", " ") for line in lines]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def _remove_log_links(cluster: paths.Cluster) -> None:
    """The kubelet's links in /var/log/containers point into our state folder."""
    for link in pathlib.Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and os.readlink(link).startswith(f"{cluster.state}/"):
            link.unlink(missing_ok=True)
