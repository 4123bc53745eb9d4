"""What a sandbox uses, and what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sandyard.api import quantity

__all__ = ["Environment", "Metrics", "parse_environment", "parse_pod_metrics", "parse_usage"]

_PAGE: Final = 4096
_TICKS: Final = 100


@dataclass(frozen=True)
class Metrics:
    """What a sandbox uses now.

    Attributes
    ----------
    cpu_cores
        Cores in use: 0.5 is half of one, over the last window of the source.
    memory_bytes
        Memory in use.
    disk_used_bytes, disk_total_bytes
        Of the volume at ``/workspace``; None where that is not known.
    source
        ``metrics.k8s.io``: as the metrics API measures the pod. ``cgroup`` or ``proc``: looked up
        inside the sandbox, over a second.
    """

    cpu_cores: float
    memory_bytes: int
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    source: str


@dataclass(frozen=True)
class Environment:
    """What is inside a sandbox.

    Attributes
    ----------
    kernel
        Kernel by ``uname``; gVisor shows the one that it plays.
    uptime
        Seconds since the pod has started.
    memory_bytes
        What programs see as the machine's memory: the limit, under gVisor.
    disks
        By volume: bytes in all, used and free.
    tools
        By program: the first line of its version.
    """

    os: str
    kernel: str
    arch: str
    hostname: str
    uptime: float
    user: int
    folder: str
    processors: int
    memory_bytes: int
    disks: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)


def parse_environment(printed: str) -> Environment:
    """What ``environment.sh`` prints."""
    found = dict(line.partition("=")[::2] for line in printed.splitlines())
    disks = {}
    for key, value in found.items():
        fields = value.split()
        if key.startswith("disk.") and len(fields) == 3 and all(text.isdigit() for text in fields):
            total, used, free = (int(text) * 1024 for text in fields)
            disks[key.removeprefix("disk.")] = (total, used, free)
    tools = {key.removeprefix("tool."): value for key, value in found.items() if key.startswith("tool.")}
    return Environment(
        found.get("os", ""), found.get("kernel", ""), found.get("arch", ""), found.get("hostname", ""),
        float(found.get("uptime") or 0), int(found.get("user") or 0), found.get("folder", ""),
        int(found.get("processors") or 0), int(found.get("memory") or 0) * 1024, disks, tools,
    )  # fmt: skip


def parse_usage(printed: str) -> Metrics:
    """What ``usage.sh`` prints: two looks and the disk."""
    lines = [line.split() for line in printed.splitlines()]
    looks = [line for line in lines if len(line) == 4 and line[0] in ("cgroup", "proc")]
    disk = next((line for line in lines if line[:1] == ["disk"] and line[1:2] != ["1024-blocks"]), None)
    (source, start, before, _), (_, end, after, memory) = looks
    unit, size = (1_000_000, 1) if source == "cgroup" else (_TICKS, _PAGE)
    seconds = max(0.01, float(end) - float(start))
    cores = max(0, int(after) - int(before)) / unit / seconds
    known = disk is not None and all(text.isdigit() for text in disk[1:3])
    total, used = (int(disk[1]) * 1024, int(disk[2]) * 1024) if known and disk else (None, None)
    return Metrics(cores, int(memory) * size, used, total, source)


def parse_pod_metrics(body: dict[str, Any], inside: Metrics) -> Metrics:
    """A PodMetrics of the metrics API; the disk is what was seen *inside*."""
    usage = [container.get("usage", {}) for container in body.get("containers", ())]
    cores = sum(float(quantity.parse(entry.get("cpu", "0"))) for entry in usage)
    memory = sum(int(quantity.parse(entry.get("memory", "0"))) for entry in usage)
    return Metrics(cores, memory, inside.disk_used_bytes, inside.disk_total_bytes, "metrics.k8s.io")
