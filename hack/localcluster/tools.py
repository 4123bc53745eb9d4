"""Build the cluster's programs from pinned Go modules, once, into a cache outside the checkout."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from localcluster import paths

__all__ = ["API", "CLUSTER", "GROUPS", "OLDEST", "Group", "built", "ensure", "pod_security_fixtures", "search_path"]

SOURCES = paths.REPOSITORY / "hack" / "tools"
_LDFLAGS = "-s -w"
_FIXTURES = "pod-security"


@dataclass(frozen=True)
class Group:
    """Programs that share one go.mod under ``hack/tools``.

    Attributes
    ----------
    renames
        Name Go gives the program -> name that we use.
    stamp
        Module whose version is stamped in, and the variables (``-X``) that receive it.
    patches
        (module, file, old, new): small changes to a dependency's source before the build.
    own
        Name of a program of ours, whose ``main.go`` lies beside its go.mod.
    """

    tags: str = ""
    renames: dict[str, str] = field(default_factory=dict)
    stamp: tuple[str, tuple[str, ...]] | None = None
    patches: tuple[tuple[str, str, str, str], ...] = ()
    own: str = field(default="", repr=False)  # Left out: the names of the groups' folders come from it.

    @property
    def sources(self) -> tuple[str, ...]:
        """The files under ``hack/tools`` that it is built from."""
        return ("go.mod", "go.sum", *(["main.go"] if self.own else []))


_KUBE_VERSION = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")

GROUPS: dict[str, Group] = {
    "etcd": Group(renames={"server": "etcd"}),
    # Clients and Helm compare versions, so the server must not call itself v0.0.0.
    "kubernetes": Group(stamp=("k8s.io/kubernetes", _KUBE_VERSION)),
    # No more than API tests need; built when they are asked for it.
    "kubernetes-oldest": Group(stamp=("k8s.io/kubernetes", _KUBE_VERSION)),
    "containerd": Group(tags="no_btrfs"),
    "gvisor": Group(
        renames={"shim": "containerd-shim-runsc-v1"},
        patches=(
            # The shim lowers its sandbox's OOM score; where root lacks CAP_SYS_RESOURCE that is
            # refused, and the refusal must be silent: what the shim prints is read as its address.
            (
                "gvisor.dev/gvisor",
                "pkg/shim/v1/service.go",
                "sys.SetOOMScore(cmd.Process.Pid, oomScoreMaxKillable); err != nil {",
                "sys.SetOOMScore(cmd.Process.Pid, oomScoreMaxKillable); err != nil && !os.IsPermission(err) {",
            ),
            # Every sandbox, idle or not, wakes up 2,500 times a second to tune its fast path:
            # 3 % of a core each, so sixty idle ones fill this machine's two. An idle one may
            # look every 20 ms. Isolation is not touched.
            (
                "gvisor.dev/gvisor",
                "pkg/sentry/platform/systrap/metrics.go",
                "\t\ttime.Sleep(recordingPeriod)\n",
                "\t\ttime.Sleep(recordingPeriod)\n"
                "\t\tif !fastpath.usedStubFastPath.Load() && !fastpath.usedSentryFastPath.Load() {\n"
                "\t\t\ttime.Sleep(50 * recordingPeriod)\n"
                "\t\t}\n",
            ),
        ),
    ),
    "cni": Group(),
    "kube-router": Group(),
    "cri-tools": Group(),
    "helm": Group(stamp=("helm.sh/helm/v4", ("helm.sh/helm/v4/internal/version",))),
    "helm3": Group(renames={"helm": "helm3"}, stamp=("helm.sh/helm/v3", ("helm.sh/helm/v3/internal/version",))),
    "kwok": Group(),
    "kind": Group(),
    "kstatus": Group(own="kstatus"),
    # Built where a test or `hack/cluster dns` asks for it.
    "coredns": Group(own="coredns"),
    "promql": Group(own="promql"),
    "actionlint": Group(),
}

API = ("etcd", "kubernetes")
# API server and controllers of the oldest Kubernetes that Sandyard supports.
OLDEST = "kubernetes-oldest"
CLUSTER = ("etcd", "kubernetes", "containerd", "gvisor", "cni", "kube-router", "cri-tools", "helm")


def ensure(names: Iterable[str]) -> dict[str, pathlib.Path]:
    """Build what is missing of the groups *names*; return each group's folder of programs."""
    wanted = list(names)
    folders = {name: _folder(name) for name in wanted}
    missing = [name for name in wanted if not folders[name].exists()]
    if not missing:
        return folders
    lock = paths.cache_dir() / "tools.lock"
    with paths.locked(lock, waiting=f"waiting for another build of the cluster's tools ({lock})"):
        missing = [name for name in wanted if not folders[name].exists()]
        if missing:
            _require_go()
        for position, name in enumerate(missing, start=1):
            print(f"building {name} ({position}/{len(missing)}, once; cached in {folders[name]})", flush=True)
            started = time.monotonic()
            _build(name, folders[name])
            print(f"built {name} in {time.monotonic() - started:.0f} s", flush=True)
    return folders


def pod_security_fixtures() -> pathlib.Path:
    """Folder ``PROFILE/pass|fail/*.yaml`` of the Pod Security Standards' own fixtures, of the newest version there.

    They are part of the Go module of Kubernetes' Pod Security admission, and are cached beside the tools.
    """
    digest = hashlib.sha256((SOURCES / _FIXTURES / "go.sum").read_bytes()).hexdigest()[:12]
    folder = paths.cache_dir() / "tools" / f"{_FIXTURES}-{digest}"
    with paths.locked(paths.cache_dir() / "tools.lock", waiting="waiting for another build of the cluster's tools"):
        if not folder.exists():
            _require_go()
            _copy_fixtures(folder)
    return folder


def _copy_fixtures(folder: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{_FIXTURES}-") as scratch:
        work = pathlib.Path(scratch)
        for file in ("go.mod", "go.sum"):
            shutil.copy(SOURCES / _FIXTURES / file, work / file)
        module = "k8s.io/pod-security-admission"
        _go(["mod", "download", module], work)
        data = pathlib.Path(_go(["list", "-m", "-f", "{{.Dir}}", module], work)) / "test" / "testdata"
        for profile in ("restricted", "baseline"):
            newest = max((data / profile).iterdir(), key=lambda path: [int(part) for part in path.name[1:].split(".")])
            shutil.copytree(newest, work / "found" / profile)
        subprocess.run(["chmod", "-R", "u+w", str(work / "found")], check=True)
        (work / "found").rename(folder)


def built(name: str) -> bool:
    """Whether the group *name* has been built; builds nothing."""
    return _folder(name).exists()


def search_path(names: Iterable[str]) -> str:
    """``PATH`` with the programs of *names* in front; builds them if need be."""
    folders = ensure(names)
    return os.pathsep.join([*(str(folder) for folder in folders.values()), os.environ.get("PATH", os.defpath)])


def _folder(name: str) -> pathlib.Path:
    digest = hashlib.sha256(repr(GROUPS[name]).encode())
    for file in GROUPS[name].sources:
        digest.update((SOURCES / name / file).read_bytes())
    return paths.cache_dir() / "tools" / f"{name}-{digest.hexdigest()[:12]}"


def _require_go() -> None:
    if shutil.which("go") is None:
        raise paths.ClusterError(
            "Go is needed to build the cluster's tools and is not on PATH: install Go 1.26 or newer "
            "(https://go.dev/doc/install), then run this again"
        )


def _go(arguments: list[str], cwd: pathlib.Path) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    done = subprocess.run(["go", *arguments], cwd=cwd, env=environment, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise paths.ClusterError(f"go {' '.join(arguments)} (in {cwd}) failed:\n{tail}")
    return done.stdout.strip()


def _build(name: str, folder: pathlib.Path) -> None:
    group = GROUPS[name]
    source = SOURCES / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
        work = pathlib.Path(scratch)
        for file in group.sources:
            shutil.copy(source / file, work / file)
        for module in {patch[0] for patch in group.patches}:
            _apply_patches(module, group.patches, work)
        ldflags = " ".join([_LDFLAGS, *_stamps(group, work)])
        out = work / "bin"
        out.mkdir()
        arguments = ["build", "-trimpath", "-mod=readonly", "-ldflags", ldflags, "-o", f"{out}{os.sep}{group.own}"]
        if group.tags:
            arguments += ["-tags", group.tags]
        _go([*arguments, "." if group.own else "tool"], work)
        for old, new in group.renames.items():
            (out / old).rename(out / new)
        out.rename(folder)


def _stamps(group: Group, work: pathlib.Path) -> list[str]:
    if group.stamp is None:
        return []
    module, packages = group.stamp
    version = _go(["list", "-m", "-f", "{{.Version}}", module], work)
    if module != "k8s.io/kubernetes":
        return [f"-X {package}.version={version}" for package in packages]
    major, minor, _ = version.removeprefix("v").split(".", 2)
    facts = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    return [f"-X {package}.{key}={value}" for package in packages for key, value in facts.items()]


def _apply_patches(module: str, patches: Iterable[tuple[str, str, str, str]], work: pathlib.Path) -> None:
    """Copy the module out of Go's read-only cache and change a few lines of it."""
    _go(["mod", "download", module], work)
    original = pathlib.Path(_go(["list", "-m", "-f", "{{.Dir}}", module], work))
    copy = work / "patched" / module.replace("/", "_")
    shutil.copytree(original, copy)
    subprocess.run(["chmod", "-R", "u+w", str(copy)], check=True)
    for _, file, old, new in (patch for patch in patches if patch[0] == module):
        target = copy / file
        text = target.read_text()
        if text.count(old) != 1:
            raise paths.ClusterError(
                f"{module}: {file} has changed; the patch in hack/localcluster/tools.py must follow"
            )
        target.write_text(text.replace(old, new))
    _go(["mod", "edit", f"-replace={module}={copy}"], work)
