"""One stream of a command's output: what of it is kept, and the marks by which its end is known."""

from __future__ import annotations

import re

__all__ = ["Tail"]

_NOT_RUN = 125


class Tail:
    """One stream of output: keeps its beginning and its end, and finds the marks at both.

    Parameters
    ----------
    word
        The word in the marks. What holds it but is no mark is output.
    limit
        Most bytes that are kept, half of them from the beginning.

    Attributes
    ----------
    begun
        Whether the first mark has come.
    seen, omitted
        Bytes of output, and those of them that are not kept.
    exit_code
        0-255, from the last mark, when it has come.
    refused
        The letter by which the script has told that nothing was run; empty otherwise.
    """

    def __init__(self, word: str, limit: int) -> None:
        self._start = b"\x00" + word.encode() + b":"
        self._mark = re.compile(re.escape(self._start) + rb"(\+|[ndp]|[0-9]{1,3})\x00")
        # What may yet become a mark.
        self._open = re.compile(re.escape(self._start) + rb"(\+|[ndp]|[0-9]{0,3})")
        self._half = max(1, limit // 2)
        self._head = bytearray()
        self._end = bytearray()
        self._pending = b""
        self.seen = 0
        self.omitted = 0
        self.begun = False
        self.exit_code: int | None = None
        self.refused = ""

    @property
    def ended(self) -> bool:
        """Whether the mark has come."""
        return self.exit_code is not None

    def feed(self, data: bytes) -> bytes:
        """Take in *data*; returns what of it (and of before) is output for certain."""
        if self.ended:
            # A child that lives on writes to the same stream; it is not the command any more.
            return b""
        data, self._pending = self._pending + data, b""
        certain, place = list[bytes](), 0
        for mark in self._mark.finditer(data):
            if mark[1] == b"+" and not self.begun:
                self.begun = True
            elif mark[1].isalpha() and not self.begun:
                self.refused, self.exit_code = mark[1].decode(), _NOT_RUN
                return self._keep(data[place : mark.start()])
            elif mark[1].isdigit() and int(mark[1]) <= 255:
                self.exit_code = int(mark[1])
                return self._keep(b"".join([*certain, data[place : mark.start()]]))
            else:
                continue
            certain.append(data[place : mark.start()])
            place = mark.end()
        cut = self._cut(data, place)
        self._pending = data[cut:]
        return self._keep(b"".join([*certain, data[place:cut]]))

    def _cut(self, data: bytes, place: int) -> int:
        """Where in *data* a mark may have begun that has not ended; its end, where none has."""
        cut = data.rfind(b"\x00", max(place, len(data) - len(self._start) - 3))
        if cut < 0:
            return len(data)
        rest = data[cut:]
        return cut if self._start.startswith(rest) or self._open.fullmatch(rest) else len(data)

    def rest(self) -> bytes:
        """The stream has broken off: what looked like a mark was none."""
        pending, self._pending = self._pending, b""
        return self._keep(pending)

    def value(self) -> bytes:
        """What is kept."""
        return bytes(self._head + self._end)

    def _keep(self, data: bytes) -> bytes:
        self.seen += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._end += data[room:] if room > 0 else data
        if len(self._end) > 2 * self._half:
            self._forget()
        return data

    def _forget(self) -> None:
        surplus = len(self._end) - self._half
        if surplus > 0:
            del self._end[:surplus]
            self.omitted += surplus

    def close(self) -> None:
        """No more will come: keep just what is to be kept."""
        self._forget()
