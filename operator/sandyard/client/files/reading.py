"""Reads archives that a sandbox has sent: what is not understood is `BadAnswer`, and no header costs memory.

Tar is read by hand, since Python's own reader believes the sizes in headers and fails in many ways: POSIX and GNU
(pax(1), "ustar Interchange Format" and "pax Interchange Format"; tar(5) for GNU's long names and sparse files).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from sandyard.client import answers
from sandyard.client.errors import BadAnswer

__all__ = ["LONGEST_NAME", "Entry", "Kind", "read_plain", "read_tar"]

Kind = Literal["file", "folder", "link", "hardlink", "other"]
LONGEST_NAME: Final = 4096
_PIECE: Final = 256 * 1024
_BLOCK: Final = 512
_NONE: Final = bytes(_BLOCK)
# Of a header that names things: two long names, and what some tars add to them.
_LONGEST_HEADER: Final = 64 * 1024
# A file has a few of them at most.
_MOST_HEADERS: Final = 8
_KINDS: Final[dict[bytes, Kind]] = {b"0": "file", b"\0": "file", b"7": "file", b"5": "folder", b"2": "link",
                                    b"1": "hardlink"}  # fmt: skip
# Devices and pipes.
_BARE: Final = (b"3", b"4", b"6")
_PLAIN_KINDS: Final[dict[bytes, Kind]] = {b"f": "file", b"d": "folder", b"l": "link"}
_PLAIN_HEAD: Final = 100
_LARGEST: Final = 2**60


@dataclass(frozen=True)
class Entry:
    """One member of an archive; *name* is relative, with slashes."""

    name: str
    kind: Kind
    mode: int = 0o644
    size: int = 0
    target: str = ""


def read_tar(stream: BinaryIO) -> Iterator[tuple[Entry, BinaryIO | None]]:
    """The members of a tar stream, each with its content.

    Raises
    ------
    BadAnswer
        The stream is no tar, or breaks off.
    """
    while (head := _block(stream)) != _NONE:
        extra: dict[str, bytes] = {}
        for _ in range(_MOST_HEADERS):
            if not _names(head, stream, extra):
                break
            head = _block(stream)
        else:
            raise BadAnswer("tar: too many headers for one file")
        entry = _entry(head, extra)
        content = _Part(stream, entry.size)
        yield entry, content if entry.kind == "file" else None  # type: ignore[misc]
        content.skip()
        _exactly(stream, -entry.size % _BLOCK)
    # What is added after the end, so that whoever sends it need not break off.
    while stream.read(_PIECE):
        pass


def read_plain(stream: BinaryIO) -> Iterator[tuple[Entry, BinaryIO | None]]:
    """The members of a stream by ``pack.sh``: a line, a name, a target, and so many bytes, one after the other.

    Raises
    ------
    BadAnswer
        The stream is none of that kind, or breaks off.
    """
    while head := _until(stream, b"\n", _PLAIN_HEAD):
        if head.split() == [b"end"]:
            return
        kind, mode, size = answers.words(head, 3, "archive")
        if kind not in _PLAIN_KINDS:
            raise BadAnswer(f"what the sandbox sent is no archive: {head!r}")
        bytes_, permissions = answers.number(size, "archive", most=_LARGEST), answers.octal(mode, "archive")
        name, target = (os.fsdecode(_until(stream, b"\0", LONGEST_NAME)) for _ in range(2))
        entry = Entry(name, _PLAIN_KINDS[kind], permissions, bytes_, target)
        content = _Part(stream, entry.size) if entry.kind == "file" else None
        yield entry, content  # type: ignore[misc]
        if content is not None:
            content.skip()
    raise BadAnswer("what the sandbox sent broke off")


def _entry(head: bytes, extra: dict[str, bytes]) -> Entry:
    """A header with what the ones before have said of it."""
    name, prefix = _text(head[:100]), _text(head[345:500])
    # GNU's own format has other things where POSIX has the beginning of a name.
    if prefix and head[257:263] == b"ustar\0":
        name = prefix + b"/" + name
    name, target = extra.get("path", name), extra.get("linkpath", _text(head[157:257]))
    kind = _KINDS.get(head[156:157], "other")
    if kind == "file" and name.endswith(b"/"):
        kind = "folder"
    if any(key.startswith("GNU.sparse") for key in extra):
        kind = "other"
    size = answers.number(extra["size"], "tar: size", most=_LARGEST) if "size" in extra else _number(head[124:136])
    if kind in ("folder", "link", "hardlink") or head[156:157] in _BARE:
        # Whatever they say, nothing of them follows.
        size = 0
    mode = _number(head[100:108]) & 0o7777
    return Entry(os.fsdecode(name), kind, mode, size, os.fsdecode(target))


def _names(head: bytes, stream: BinaryIO, extra: dict[str, bytes]) -> bool:
    """Whether *head* only says something of the next one; that goes into *extra*."""
    kind = head[156:157]
    if kind == b"S":
        _skip_sparse(head, stream)
        return False
    if kind not in (b"L", b"K", b"x", b"g", b"X"):
        return False
    size = _number(head[124:136])
    if size > _LONGEST_HEADER:
        raise BadAnswer(f"tar: a header of {size} bytes")
    content = _exactly(stream, size)
    _exactly(stream, -size % _BLOCK)
    if kind in (b"L", b"K"):
        extra["path" if kind == b"L" else "linkpath"] = _text(content)
    elif kind != b"g":
        # What holds for all files of an archive names none of them.
        extra.update(_records(content))
    return True


def _records(content: bytes) -> dict[str, bytes]:
    """Of pax: ``LENGTH KEY=VALUE``, each ended by a line feed."""
    found = {}
    while content:
        digits, space, _ = content[:20].partition(b" ")
        length = answers.number(digits, "tar: length", most=len(content))
        key, sign, value = content[len(digits) + 1 : length].partition(b"=")
        if not space or not sign or not value.endswith(b"\n"):
            raise BadAnswer("tar: a header of pax cannot be read")
        found[key.decode(errors="replace")] = value[:-1]
        content = content[length:]
    return found


def _skip_sparse(head: bytes, stream: BinaryIO) -> None:
    """GNU's old form of a file with holes: its map may go on in blocks of its own."""
    more = head[482:483]
    while more not in (b"", b"\0"):
        more = _exactly(stream, _BLOCK)[504:505]


def _block(stream: BinaryIO) -> bytes:
    """A header; one of zeros ends the archive."""
    head = _exactly(stream, _BLOCK)
    # Of all its bytes, with blanks in place of the sum itself.
    if head != _NONE and _number(head[148:156]) != sum(head) - sum(head[148:156]) + 8 * 32:
        raise BadAnswer("what the sandbox sent is no tar archive")
    return head


def _number(field: bytes) -> int:
    """An octal number, or one of GNU's of base 256."""
    if field[:1] == b"\x80":
        found = int.from_bytes(field[1:], "big")
    else:
        digits = _text(field).strip(b" ")
        if digits.strip(b"01234567") or len(digits) > 12:
            raise BadAnswer(f"what the sandbox sent is no tar archive: {field!r} is no number")
        found = int(digits or b"0", 8)
    if found > _LARGEST:
        raise BadAnswer(f"tar: {found} is too large")
    return found


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _exactly(stream: BinaryIO, size: int) -> bytes:
    found = stream.read(size) if size else b""
    if len(found) != size:
        raise BadAnswer("what the sandbox sent broke off")
    return found


class _Part(io.RawIOBase):
    """The next so many bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(min(self._left, _PIECE if size < 0 else size))
        if not piece and self._left:
            raise BadAnswer("what the sandbox sent broke off")
        self._left -= len(piece)
        return piece

    def skip(self) -> None:
        """Read what is left of them."""
        while self.read(_PIECE):
            pass


def _until(stream: BinaryIO, end: bytes, most: int) -> bytes:
    found = bytearray()
    while (byte := stream.read(1)) and byte != end:
        found += byte
        if len(found) > most:
            raise BadAnswer("what the sandbox sent is no archive")
    return bytes(found)
