"""The leak gate: what the cluster and its node hold, before and after a test."""

from __future__ import annotations

import pathlib
import subprocess
from typing import Any

from localcluster import network, paths, processes, tools
from tests.support.kube import Kube, until

__all__ = ["Snapshot", "assert_back_to", "snapshot"]

Snapshot = dict[str, frozenset[str]]
_KINDS = {
    "sandboxes": "Sandbox",
    "pools": "SandboxPool",
    "pods": "Pod",
    "policies": "NetworkPolicy",
    "claims": "PersistentVolumeClaim",
    "volumes": "PersistentVolume",
}


def snapshot(kube: Kube, cluster: paths.Cluster) -> Snapshot:
    """Everything of a sandbox that could be left behind, by kind.

    The operator's own pods are left out: tests restart them on purpose.
    """
    found: dict[str, frozenset[str]] = {}
    # In one call: a kubectl of its own for each kind would be half of what the gate costs.
    items = kube.list(",".join(_KINDS.values()), everywhere=True)
    for name, kind in _KINDS.items():
        found[name] = frozenset(
            f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"
            for item in items
            if item["kind"] == kind and not _operators(item["metadata"])
        )
    own = _containers_of_operator(items)
    # Tasks: the kubelet sweeps the records of ended containers away once a minute.
    containers = {line.split()[0] for line in _ctr(cluster, "tasks", "list", "--quiet") if line.strip()}
    found["containers"] = frozenset(containers - own)
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


def _names(folder: pathlib.Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def _operators(metadata: dict[str, Any]) -> bool:
    return metadata.get("namespace") == "sandyard-system"


def _containers_of_operator(items: list[dict[str, Any]]) -> set[str]:
    pods = [item for item in items if item["kind"] == "Pod" and _operators(item["metadata"])]
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
