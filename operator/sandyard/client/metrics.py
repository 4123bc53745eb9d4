"""What a sandbox uses, and what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sandyard.api import quantity, untrusted
from sandyard.client import answers
from sandyard.client.errors import BadAnswer

__all__ = ["Environment", "Metrics", "parse_environment", "parse_pod_metrics", "parse_usage"]

_PAGE: Final = 4096
_TICKS: Final = 100
_LONGEST_LINE: Final = 500
# Eight TiB: no sandbox has a larger disk or memory.
_MOST_KIB: Final = 2**33


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
    """What ``environment.sh`` prints; numbers that are none are 0."""
    found = {key: answers.text(value, _LONGEST_LINE) for key, _, value in map(_pair, printed.splitlines())}
    disks = {}
    for key, value in found.items():
        if key.startswith("disk.") and (sizes := _sizes(value.split())):
            disks[key.removeprefix("disk.")] = sizes
    tools = {key.removeprefix("tool."): value for key, value in found.items() if key.startswith("tool.")}
    uptime = found.get("uptime", "")
    user, processors, memory = (_number(found.get(key, "")) for key in ("user", "processors", "memory"))
    return Environment(
        found.get("os", ""), found.get("kernel", ""), found.get("arch", ""), found.get("hostname", ""),
        float(uptime) if answers.is_decimal(uptime) else 0.0, user, found.get("folder", ""), processors, memory * 1024,
        disks, tools,
    )  # fmt: skip


def parse_usage(printed: str) -> Metrics:
    """What ``usage.sh`` prints: two looks and the disk.

    Raises
    ------
    BadAnswer
        It is not that.
    """
    lines = [line.split() for line in printed.splitlines()]
    looks = [line for line in lines if len(line) == 4 and line[0] in ("cgroup", "proc")]
    if len(looks) != 2:
        raise BadAnswer("usage: the sandbox has not told what it uses")
    source = looks[0][0]
    unit, size = (1_000_000, 1) if source == "cgroup" else (_TICKS, _PAGE)
    start, end = (answers.decimal(look[1], "time") for look in looks)
    before, after = (answers.number(look[2], "CPU time") for look in looks)
    cores = max(0, after - before) / unit / max(0.01, end - start)
    sizes = next((sizes for line in lines if line[:1] == ["disk"] and (sizes := _sizes([*line[1:], "0"]))), None)
    total, used = sizes[:2] if sizes else (None, None)
    return Metrics(cores, answers.number(looks[1][3], "memory") * size, used, total, source)


def _pair(line: str) -> tuple[str, str, str]:
    return line.partition("=")


def _number(said: str) -> int:
    return untrusted.whole_number(said, _MOST_KIB) or 0


def _sizes(said: list[str]) -> tuple[int, int, int] | None:
    """Bytes in all, used and free, of three numbers of KiB."""
    found = [size * 1024 for size in (untrusted.whole_number(one, _MOST_KIB) for one in said) if size is not None]
    return (found[0], found[1], found[2]) if len(found) == len(said) == 3 else None


def parse_pod_metrics(body: dict[str, Any], inside: Metrics) -> Metrics:
    """A PodMetrics of the metrics API; the disk is what was seen *inside*."""
    usage = [container.get("usage", {}) for container in body.get("containers", ())]
    cores = sum(float(quantity.parse(entry.get("cpu", "0"))) for entry in usage)
    memory = sum(int(quantity.parse(entry.get("memory", "0"))) for entry in usage)
    return Metrics(cores, memory, inside.disk_used_bytes, inside.disk_total_bytes, "metrics.k8s.io")
