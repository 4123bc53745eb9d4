"""Where a cluster keeps its things, and which addresses it uses."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = [
    "CACHED",
    "DEFAULT_NAME",
    "REPOSITORY",
    "Cluster",
    "ClusterError",
    "cache_dir",
    "locked",
    "state_dir",
    "write",
]

DEFAULT_NAME = "sandyard"
# Folders of the cache; nothing else is removed with it.
CACHED = ("buildah", "images", "seeds", "tools", "uv")
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
_SLOTS = 32


class ClusterError(Exception):
    """Something a person can act on; printed without a traceback."""


def cache_dir() -> pathlib.Path:
    """Folder of built tools and images; survives a fresh clone (``SANDYARD_CACHE``)."""
    root = os.environ.get("SANDYARD_CACHE")
    if root:
        return pathlib.Path(root)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sandyard"


def write(path: pathlib.Path, text: str) -> None:
    """Write *text* unless it is there already: some programs end when their configuration is touched."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def state_dir() -> pathlib.Path:
    """Folder of running clusters (``SANDYARD_STATE``)."""
    root = os.environ.get("SANDYARD_STATE")
    if root:
        return pathlib.Path(root)
    base = os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local" / "state"
    return pathlib.Path(base) / "sandyard"


@contextmanager
def locked(path: pathlib.Path, waiting: str | None = None) -> Iterator[None]:
    """Hold an exclusive lock on *path*; says what it waits for when it has to wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                print(waiting, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Cluster:
    """Names and addresses of one local cluster.

    Two clusters share nothing but the machine: the slot gives each its own /24 between the
    host and the node; everything behind the node lives in the cluster's own namespaces.
    """

    name: str
    slot: int

    @property
    def state(self) -> pathlib.Path:
        return state_dir() / "clusters" / self.name

    @property
    def kubeconfig(self) -> pathlib.Path:
        return self.state / "kubeconfig"

    @property
    def logs(self) -> pathlib.Path:
        return self.state / "logs"

    @property
    def pki(self) -> pathlib.Path:
        return self.state / "pki"

    @property
    def netns(self) -> str:
        return f"sandyard-{self.name}"

    @property
    def outside_netns(self) -> str:
        return f"sandyard-{self.name}-outside"

    @property
    def host_interface(self) -> str:
        return f"sy{self.slot}host"

    @property
    def host_address(self) -> str:
        return f"198.18.{self.slot}.1"

    @property
    def node_address(self) -> str:
        return f"198.18.{self.slot}.2"

    @property
    def node_name(self) -> str:
        return f"{self.name}-node"

    @property
    def server(self) -> str:
        return f"https://{self.node_address}:6443"

    @property
    def containerd_socket(self) -> pathlib.Path:
        return self.state / "run" / "containerd.sock"

    @property
    def cgroup(self) -> str:
        return f"/sandyard-{self.name}"

    @classmethod
    def named(cls, name: str, *, create: bool = False) -> Cluster:
        """Find the cluster *name*, or give it a free slot.

        Raises
        ------
        ClusterError
            The name is not usable, is unknown, or all slots are taken.
        """
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
            raise ClusterError(f"--name {name!r}: use 1-20 lower-case letters, digits and dashes")
        clusters = state_dir() / "clusters"
        record = clusters / name / "cluster.json"
        with locked(state_dir() / "slots.lock"):
            if record.exists():
                return cls(name, json.loads(record.read_text())["slot"])
            if not create:
                raise ClusterError(f"no cluster named {name!r}; start it with: hack/cluster up --name {name}")
            taken = {json.loads(path.read_text())["slot"] for path in clusters.glob("*/cluster.json")}
            free = [slot for slot in range(_SLOTS) if slot not in taken and not _interface_exists(slot)]
            if not free:
                raise ClusterError(f"all {_SLOTS} cluster slots are taken; see {clusters}")
            cluster = cls(name, free[0])
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(json.dumps({"slot": cluster.slot}))
            return cluster


def _interface_exists(slot: int) -> bool:
    return pathlib.Path(f"/sys/class/net/sy{slot}host").exists()
