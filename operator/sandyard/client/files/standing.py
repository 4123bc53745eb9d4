"""What stands in a sandbox where a tree is to be copied, and is neither file nor folder: it stays, as with cp(1)."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final

from sandyard.client.errors import BadAnswer
from sandyard.client.exec import script
from sandyard.client.files.tools import Tools

__all__ = ["Standing", "parse", "standing"]

# As odd.sh tells them.
_TO_FILE: Final = b"lf"
_KINDS: Final = (b"o", b"lo", _TO_FILE)


class Standing:
    """Says which members of a tree are left out.

    Attributes
    ----------
    through
        Names of files that are to be written by way of a link.
    """

    def __init__(self, kinds: Mapping[str, bytes]) -> None:
        self._kinds = kinds
        self.through: list[str] = []

    def leave(self, name: str, mode: int) -> str | None:
        """Why *name* is left out, if it is; empty where it is written by way of a link."""
        kind = self._kinds.get(name)
        if kind is None or (stat.S_ISLNK(mode) and kind != b"o"):
            return None
        if stat.S_ISREG(mode) and kind == _TO_FILE:
            self.through.append(name)
            return ""
        what = "no plain file" if kind == b"o" else "a link"
        return f"what has this name in the sandbox is {what}, and stays"


async def standing(tools: Tools, folder: str) -> Standing:
    """Look what there is below *folder*."""
    return Standing(parse(await tools.run(script.text("odd"), folder)))


def parse(said: bytes) -> dict[str, bytes]:
    """The answer of ``odd.sh``, by name.

    Raises
    ------
    BadAnswer
        It is none.
    """
    *fields, rest = said.split(b"\0")
    kinds = fields[1::2]
    if rest or len(fields) % 2 or any(kind not in _KINDS for kind in kinds):
        raise BadAnswer("the sandbox has not told what stands where files go")
    return {os.fsdecode(name.removeprefix(b"./")): kind for name, kind in zip(fields[::2], kinds, strict=True)}
