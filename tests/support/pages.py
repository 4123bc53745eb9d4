"""Pages whose commands are run as they stand, and whose output is compared with what the page shows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support import printed

__all__ = ["Commands", "commands", "differs"]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Commands:
    """A block of commands, and the output that the page shows of them; none if it shows none."""

    script: str
    shown: str = ""


def commands(text: str) -> list[Commands]:
    """The ``console`` blocks of a page, each with the block without a language that follows it."""
    found: list[Commands] = []
    for kind, content in _BLOCK.findall(text):
        if kind == "console":
            found.append(Commands(content))
        elif not kind and found and not found[-1].shown:
            found[-1] = Commands(found[-1].script, content)
    return found


def differs(shown: str, output: str) -> str:
    """The first line of *shown* that *output* has not, in their order; empty if it has all of them.

    Spaces, ages and the ends of pods' names do not count, and ``...`` stands for anything.
    """
    lines = [_squeezed(line) for line in output.splitlines()]
    at = 0
    for line in shown.splitlines():
        pattern = ".*".join(re.escape(part) for part in _squeezed(line).split("..."))
        match = next((n for n in range(at, len(lines)) if re.fullmatch(pattern, lines[n])), None)
        if match is None:
            return line
        at = match + 1
    return ""


def _squeezed(line: str) -> str:
    return re.sub(r"\b\d+(ms|s|m\d*s?)$", "AGE", " ".join(printed.same(line).split()))
