"""The processes of a sandbox, read from ``/proc``: the image needs no ``ps``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SIGNALS", "ProcessInfo", "parse_processes"]

# What POSIX knows by name (signal.h), and what any shell's ``kill -s`` takes.
_NAMES = """HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM CHLD CONT STOP TSTP TTIN TTOU URG
XCPU XFSZ VTALRM PROF WINCH SYS"""
SIGNALS = frozenset(_NAMES.split())


@dataclass(frozen=True)
class ProcessInfo:
    """One process.

    Attributes
    ----------
    state
        One letter of proc(5): R, S, D, T, Z.
    command
        Command line; where there is none, the process's name in brackets.
    cpu_seconds
        CPU time so far, user and system.
    memory_bytes
        Resident memory.
    """

    pid: int
    parent: int
    state: str
    command: str
    cpu_seconds: float
    memory_bytes: int


def parse_processes(printed: bytes) -> list[ProcessInfo]:
    """What ``processes.sh`` prints, by pid; a clock tick is 10 ms and a page 4 KiB, as on every gVisor."""
    fields = printed.decode(errors="replace").split("\0")
    found = []
    for stat, command in zip(fields[0::2], fields[1::2], strict=False):
        pid, _, rest = stat.partition(" (")
        # The name may hold anything, brackets too.
        name, _, after = rest.rpartition(") ")
        values = after.split()
        if not pid.isdigit() or len(values) < 22:
            continue
        ticks = int(values[11]) + int(values[12])
        found.append(ProcessInfo(int(pid), int(values[1]), values[0], command.strip() or f"[{name}]", ticks / 100,
                                 int(values[21]) * 4096))  # fmt: skip
    return sorted(found, key=lambda process: process.pid)
