"""One stream of a command's output: what of it is kept, and the marks by which its end is known."""

from __future__ import annotations

__all__ = ["Tail"]


class Tail:
    """One stream of output: keeps its beginning and its end, and finds the marks at both.

    Parameters
    ----------
    exec_id
        Id in the mark.
    limit
        Most bytes that are kept, half of them from the beginning.

    Attributes
    ----------
    begun
        Whether the first mark has come.
    seen, omitted
        Bytes of output, and those of them that are not kept.
    exit_code
        From the last mark, when it has come.
    """

    def __init__(self, exec_id: str, limit: int) -> None:
        self._mark = b"\x00" + exec_id.encode() + b":"
        # A mark with its code and the last zero.
        self._longest = len(self._mark) + 4
        self._half = max(1, limit // 2)
        self._head = bytearray()
        self._end = bytearray()
        self._pending = b""
        self.seen = 0
        self.omitted = 0
        self.begun = False
        self.exit_code: int | None = None

    @property
    def ended(self) -> bool:
        """Whether the mark has come."""
        return self.exit_code is not None

    def feed(self, data: bytes) -> bytes:
        """Take in *data*; returns what of it (and of before) is output for certain."""
        if self.ended:
            # A child that lives on writes to the same stream; it is not the command any more.
            return b""
        data = self._pending + data
        start = data.find(self._mark)
        if start >= 0:
            code, ending, rest = data[start + len(self._mark) :].partition(b"\x00")
            if ending and code == b"+":
                self.begun = True
                self._pending = b""
                return self._keep(data[:start]) + self.feed(rest)
            if ending:
                self.exit_code = int(code)
                self._pending = b""
                return self._keep(data[:start])
            self._pending = data[start:]
            return self._keep(data[:start])
        # The mark may have begun in the last bytes.
        cut = data.rfind(b"\x00", max(0, len(data) - self._longest))
        cut = cut if cut >= 0 and self._mark.startswith(data[cut:]) else len(data)
        self._pending = data[cut:]
        return self._keep(data[:cut])

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
