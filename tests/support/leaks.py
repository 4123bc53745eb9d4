"""The leak gate: what the cluster and its node hold, before and after a test, and before and after a module."""

from __future__ import annotations

import collections
import pathlib
import subprocess
from collections.abc import Iterable
from typing import Any

from localcluster import network, paths, processes, tools
from sandyard.api import names
from tests.support.kube import Kube, until

__all__ = ["Gate", "Snapshot", "assert_back_to", "snapshot", "tasks"]

Snapshot = dict[str, frozenset[str]]
_KINDS = {
    "sandboxes": "Sandbox",
    "pools": "SandboxPool",
    "pods": "Pod",
    "policies": "NetworkPolicy",
    "claims": "PersistentVolumeClaim",
    "volumes": "PersistentVolume",
}


class Gate:
    """What the cluster holds while no test runs.

    One look serves as the one after a test and as the one before the next. What the fixtures of a module hold
    belongs to it: they say so by `changed`.
    """

    def __init__(self, kube: Kube, cluster: paths.Cluster) -> None:
        self._kube = kube
        self._cluster = cluster
        self._held: Snapshot | None = None

    def held(self) -> Snapshot:
        """What is there now, with all pools whole."""
        if self._held is None:
            until("all pools are whole", self._whole, 120, interval=0.5)
            self._held = snapshot(self._kube, self._cluster)
        return self._held

    def changed(self) -> None:
        """Something was made, or went, that outlives a test."""
        self._held = None

    def back_to(self, before: Snapshot) -> None:
        """Wait until there is no more than *before*."""
        self._held = None
        assert_back_to(before, self._kube, self._cluster)
        self._held = before

    def _whole(self) -> bool:
        pools = [(pool["spec"], pool.get("status", {})) for pool in self._kube.list("sandboxpools", everywhere=True)]
        return all(status.get("replicas", 0) == spec.get("replicas", 0) for spec, status in pools)


def snapshot(kube: Kube, cluster: paths.Cluster) -> Snapshot:
    """Everything of a sandbox that could be left behind, by kind.

    The operator's own pods, and the name server's, are left out: tests restart them on purpose.
    """
    found: dict[str, frozenset[str]] = {}
    # In one call: a kubectl of its own for each kind would be half of what the gate costs.
    items = kube.list(",".join(_KINDS.values()), everywhere=True)
    for kinds, kind in _KINDS.items():
        found[kinds] = frozenset(
            f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"
            for item in items
            if item["kind"] == kind and not _of_the_system(item["metadata"]) and not _of_a_pool(item)
        )
    # A pool's pods are counted: one that was taken is replaced by another.
    found["pods"] |= _counted(item["metadata"] for item in items if _of_a_pool(item))
    own = _containers_of_the_system(items)
    # Tasks: the kubelet sweeps the records of ended containers away once a minute.
    found["containers"] = frozenset(tasks(cluster).keys() - own)
    found["shims"] = frozenset(str(pid) for pid in _shims(cluster))
    found["namespaces"] = frozenset(_names(cluster.state / "run/containerd/io.containerd.grpc.v1.cri/netns"))
    links = network.run_in(cluster.netns, ["ip", "-o", "link", "show", "type", "veth"]).splitlines()
    found["veths"] = frozenset(line.split()[1].partition("@")[0] for line in links)
    found["addresses"] = frozenset(name for name in _names(cluster.state / "run/ipam/sandyard") if name[0].isdigit())
    return found


def assert_back_to(before: Snapshot, kube: Kube, cluster: paths.Cluster, timeout: float = 60) -> None:
    """Wait until nothing is there that was not there *before*.

    Containers and what comes with them are counted: the operator's may have been replaced.
    """

    def left() -> dict[str, list[str]]:
        now = snapshot(kube, cluster)
        grown = {kind: sorted(now[kind] - before[kind]) for kind in now if now[kind] - before[kind]}
        counted = ("containers", "shims", "namespaces", "veths", "addresses")
        return {
            kind: names for kind, names in grown.items() if kind not in counted or len(now[kind]) > len(before[kind])
        }

    remaining: dict[str, list[str]] = {}

    def clean() -> bool:
        nonlocal remaining
        remaining = left()
        return not remaining

    try:
        until("nothing is left behind", clean, timeout, interval=0.5)
    except AssertionError as error:
        raise AssertionError(f"left behind: {remaining}") from error


def tasks(cluster: paths.Cluster) -> dict[str, int]:
    """The running containers of the node, and the process of each."""
    rows = [line.split() for line in _ctr(cluster, "tasks", "list")[1:]]
    return {row[0]: int(row[1]) for row in rows if row}


def _names(folder: pathlib.Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def _of_the_system(metadata: dict[str, Any]) -> bool:
    return metadata.get("namespace") in ("sandyard-system", "kube-system")


def _of_a_pool(item: dict[str, Any]) -> bool:
    """Whether it is a pod that waits in a pool, or is on its way to it."""
    metadata = item["metadata"]
    warm = metadata.get("labels", {}).get(names.LABEL_STATE) == names.STATE_WARM
    return item["kind"] == "Pod" and warm and "deletionTimestamp" not in metadata


def _counted(pods: Iterable[dict[str, Any]]) -> frozenset[str]:
    pools = collections.Counter(f"{pod['namespace']}/pool {pod['labels'][names.LABEL_POOL_UID]}" for pod in pods)
    return frozenset(f"{pool}: pod {number}" for pool, count in pools.items() for number in range(1, count + 1))


def _containers_of_the_system(items: list[dict[str, Any]]) -> set[str]:
    pods = [item for item in items if item["kind"] == "Pod" and _of_the_system(item["metadata"])]
    statuses = [status for pod in pods for status in pod.get("status", {}).get("containerStatuses", [])]
    return {status.get("containerID", "").rpartition("/")[2] for status in statuses}


def _ctr(cluster: paths.Cluster, *arguments: str) -> list[str]:
    program = tools.ensure(["containerd"])["containerd"] / "ctr"
    command = [str(program), "--address", str(cluster.containerd_socket), "--namespace", "k8s.io", *arguments]
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()


def _shims(cluster: paths.Cluster) -> list[int]:
    folder = paths.cache_dir() / "tools"
    found = []
    for pid in processes.of_tools(folder, str(cluster.containerd_socket)):
        program = pathlib.Path(f"/proc/{pid}/exe")
        try:
            if program.resolve().name.startswith("containerd-shim"):
                found.append(pid)
        except OSError:
            continue
    return found
