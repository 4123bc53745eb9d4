"""Output line by line, for callbacks that want it so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sandyard.client.exec.command import Output

__all__ = ["Lines", "by_line", "finish"]

# A line without end is handed over in pieces: a sandbox must not fill its reader's memory.
_LONGEST: Final = 1024 * 1024
OnLine = Callable[[str], Awaitable[None] | None]


class Lines:
    """Collects output until a line is complete; `end` hands over what has no end of a line."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self._rest = bytearray()

    async def __call__(self, data: bytes) -> None:
        """Take the next piece."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._rest += line
            await self._hand_over_pieces()
            await self._hand_over(len(self._rest), b"\r")
        self._rest += rest
        await self._hand_over_pieces()

    async def end(self) -> None:
        """There is no more for now."""
        if self._rest:
            await self._hand_over(len(self._rest), b"\r")

    async def _hand_over_pieces(self) -> None:
        """All but the last piece of a line that is too long, each of whole characters."""
        while len(self._rest) > _LONGEST + self._rest.endswith(b"\r"):
            cut = next((at for at in range(_LONGEST, _LONGEST - 4, -1) if self._rest[at] & 0xC0 != 0x80), _LONGEST)
            await self._hand_over(cut)

    async def _hand_over(self, size: int, end: bytes = b"") -> None:
        piece = bytes(self._rest[:size])
        del self._rest[:size]
        if (waiting := self._on_line(piece.removesuffix(end).decode(errors="replace"))) is not None:
            await waiting


def by_line(on_line: OnLine) -> Output:
    """For ``on_stdout`` and ``on_stderr``: *on_line* is called with each line, as text and without its end.

    A last line without an end comes when the command has ended; one of more than 1 MiB comes in pieces.  Make one
    for each stream, or lines of both run into each other.
    """
    return Lines(on_line)


async def finish(*outputs: Output | None) -> None:
    """Tell those that wait for the end of a line that there is none."""
    for output in outputs:
        if isinstance(output, Lines):
            await output.end()
