"""The processes of a sandbox, read from ``/proc``: the image needs no ``ps``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sandyard.client import answers
from sandyard.client.errors import BadAnswer

__all__ = ["ProcessInfo", "parse_processes"]

# The name that each script of ours is called by, behind its text.
_OURS = re.compile(
    r"^(/bin/sh|\S*bash --posix) "
    r"(-c .* sandyard-(run|background|cell|code|collect|contexts?|files|kill|processes|read)( |$)|cell\.sh /)",
    re.DOTALL,
)
# Those that it runs, in words that hardly anybody else writes: a command may be a program of the same name.
_HELPER = re.compile(
    r"(\S*/)?(cat -|sleep 0[0-9.]+|head -c [0-9]+|dd bs=[0-9]+ count=[0-9]+|wc -c|tr .*|date \+%s|rm -r?f .*)",
    re.DOTALL,
)


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
    """What ``processes.sh`` prints, by pid; what cannot be read is left out."""
    fields = printed.split(b"\0")
    found = []
    for stat, command in zip(fields[0::2], fields[1::2], strict=False):
        with contextlib.suppress(BadAnswer):
            found.append(_process(stat, command.decode(errors="replace").strip()))
    return sorted(_of_the_sandbox(found), key=lambda process: process.pid)


def _of_the_sandbox(found: Sequence[ProcessInfo]) -> list[ProcessInfo]:
    """Without the shells that the client runs around each command, and the small programs that those run."""
    parents = {one.pid: one.parent for one in found}
    ours = {one.pid for one in found if _OURS.search(one.command)}

    def helps(one: ProcessInfo) -> bool:
        # A command's own parent is one of our shells too, but the parent of that is none.
        deep = one.parent in ours and parents.get(one.parent) in ours
        return deep and _HELPER.fullmatch(one.command) is not None

    return [one for one in found if one.pid not in ours and not helps(one)]


def _process(stat: bytes, command: str) -> ProcessInfo:
    """A clock tick is 10 ms and a page 4 KiB, as on every gVisor."""
    pid, _, rest = stat.partition(b" (")
    # The name may hold anything, brackets too.
    name, _, after = rest.rpartition(b") ")
    values = answers.words(b" ".join(after.split(None, 23)[:22]), 22, "a process")
    parent, user, system, pages = (answers.number(values[at], "a process") for at in (1, 11, 12, 21))
    return ProcessInfo(
        answers.number(pid, "a pid", least=1, most=2**31), parent, answers.text(values[0], 1),
        command or f"[{name.decode(errors='replace')}]", (user + system) / 100, pages * 4096,
    )  # fmt: skip
