"""Packs and unpacks trees of files; what comes out of a sandbox is taken for hostile.

Nothing is written outside the destination, whatever the names and links in an archive: each step of
a path is opened below the one before without following links, and no link that leads out is made.
Nothing but plain files, folders and such links is made at all; bytes and entries are counted as
they come.
"""

from __future__ import annotations

import io
import os
import pathlib
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Literal

from sandyard.client.errors import InvalidArgument, TransferLimitExceeded

__all__ = ["Entry", "Limits", "Progress", "Transferred", "pack", "pack_plain", "plain", "read_plain", "read_tar",
           "unpack"]  # fmt: skip

_PIECE: Final = 256 * 1024
_LONGEST_NAME: Final = 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# Told of the bytes so far.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Limits:
    """The most that is taken from a sandbox."""

    max_bytes: int
    max_files: int


@dataclass(frozen=True)
class Entry:
    """One member of an archive; *name* is relative, with slashes."""

    name: str
    kind: Literal["file", "folder", "link", "other"]
    mode: int = 0o644
    size: int = 0
    target: str = ""


@dataclass
class Transferred:
    """What was copied.

    Attributes
    ----------
    files, bytes
        Number of files, and of the bytes in them.
    skipped
        What was left out, each with the reason: links that lead out, devices, sockets.
    """

    files: int = 0
    bytes: int = 0
    skipped: list[str] = field(default_factory=list)


def read_tar(stream: BinaryIO) -> Iterator[tuple[Entry, BinaryIO | None]]:
    """The members of a tar stream, each with its content."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                content = None
                kind: Literal["file", "folder", "link", "other"] = "other"
                if member.isdir():
                    kind = "folder"
                elif member.issym():
                    kind = "link"
                elif member.isreg() and not member.issparse():
                    kind, content = "file", archive.extractfile(member)
                yield Entry(member.name, kind, member.mode, member.size, member.linkname), content  # type: ignore[misc]
    except tarfile.TarError as error:
        raise InvalidArgument(f"what the sandbox sent is no tar archive: {error}") from error


def read_plain(stream: BinaryIO) -> Iterator[tuple[Entry, BinaryIO | None]]:
    """The members of a stream by ``pack.sh``: a line, a name, a target, and so many bytes, one after the other."""
    kinds: dict[bytes, Literal["file", "folder", "link"]] = {b"f": "file", b"d": "folder", b"l": "link"}
    while head := _until(stream, b"\n", 100):
        fields = head.split()
        if fields == [b"end"]:
            return
        if len(fields) != 3 or fields[0] not in kinds or not fields[2].isdigit():
            raise InvalidArgument(f"what the sandbox sent is no archive: {head[:80]!r}")
        name, target = (os.fsdecode(_until(stream, b"\0", _LONGEST_NAME)) for _ in range(2))
        entry = Entry(name, kinds[fields[0]], int(fields[1], 8), int(fields[2]), target)
        content = _Part(stream, entry.size) if entry.kind == "file" else None
        yield entry, content  # type: ignore[misc]
        if content is not None:
            while content.read(_PIECE):
                pass
    raise InvalidArgument("what the sandbox sent broke off")


def unpack(
    entries: Iterable[tuple[Entry, BinaryIO | None]], destination: pathlib.Path, limits: Limits,
    progress: Progress | None = None,
) -> Transferred:  # fmt: skip
    """Write *entries* below *destination*; files that are there are replaced.

    Raises
    ------
    TransferLimitExceeded
        There is more than *limits* allow; what was written until then stays.
    """
    done, seen = Transferred(), 0
    destination.mkdir(parents=True, exist_ok=True)
    top = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for entry, content in entries:
            seen += 1
            if seen > limits.max_files:
                raise TransferLimitExceeded(f"more than max_files ({limits.max_files}) in it")
            parts = _parts(entry.name)
            if parts is None:
                done.skipped.append(f"{entry.name!r}: leads out of the destination")
                continue
            if not parts:
                continue
            try:
                _one(top, parts, entry, content, done, limits, progress)
            except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
                done.skipped.append(f"{entry.name!r}: {error.strerror}")
    finally:
        os.close(top)
    return done


def pack(source: pathlib.Path, target: BinaryIO, progress: Progress | None = None) -> Transferred:
    """Write the tree below *source* as a tar stream: plain files, folders and links, with their modes."""
    done = Transferred()
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_PIECE) as archive:
        for path, name, found in _members(source):
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
            if stat.S_ISDIR(found.st_mode):
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            elif stat.S_ISLNK(found.st_mode):
                member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
                archive.addfile(member)
            elif stat.S_ISREG(found.st_mode):
                member.size = found.st_size
                with path.open("rb") as content:
                    archive.addfile(member, content)
                done.files += 1
                done.bytes += found.st_size
                if progress is not None:
                    progress(done.bytes)
            else:
                done.skipped.append(f"{name!r}: neither file, folder nor link")
    return done


def pack_plain(source: pathlib.Path, target: BinaryIO, progress: Progress | None = None) -> Transferred:
    """The same for an image without tar, as ``unpack.sh`` reads it; names with line feeds are left out."""
    done = Transferred()
    for path, name, found in _members(source):
        mode = f"{stat.S_IMODE(found.st_mode):o}"
        if "\n" in name:
            done.skipped.append(f"{name!r}: a line feed in its name, and no tar in the image")
        elif stat.S_ISDIR(found.st_mode):
            target.write(f"d {mode} 0\n".encode() + os.fsencode(name) + b"\n")
        elif stat.S_ISLNK(found.st_mode):
            target.write(b"l 777 0\n" + os.fsencode(name) + b"\n" + os.fsencode(os.readlink(path)) + b"\n")
        elif stat.S_ISREG(found.st_mode):
            target.write(f"f {mode} {found.st_size}\n".encode() + os.fsencode(name) + b"\n")
            with path.open("rb") as content:
                left = found.st_size
                while piece := content.read(min(left, _PIECE)):
                    left -= len(piece)
                    target.write(piece)
            if left:
                raise InvalidArgument(f"{path} became shorter while it was read")
            done.files += 1
            done.bytes += found.st_size
            if progress is not None:
                progress(done.bytes)
        else:
            done.skipped.append(f"{name!r}: neither file, folder nor link")
    target.write(b"end 0 0\n")
    return done


def plain(files: Mapping[str, bytes]) -> bytes:
    """The same of a few *files* by their names; a name that ends in ``/`` is a folder."""
    parts = []
    for name, content in files.items():
        kind, mode = ("d", 755) if name.endswith("/") else ("f", 644)
        parts += [f"{kind} {mode} {len(content)}\n{name.rstrip('/')}\n".encode(), content]
    return b"".join([*parts, b"end 0 0\n"])


def _members(source: pathlib.Path) -> Iterator[tuple[pathlib.Path, str, os.stat_result]]:
    """Everything below *source*, folders before what is in them, with its name in an archive."""
    for path in sorted(source.rglob("*")):
        yield path, path.relative_to(source).as_posix(), path.lstat()


def _parts(name: str) -> list[str] | None:
    """The steps of a relative name; None if it leads out, or is none."""
    if name.startswith("/") or "\0" in name or len(name) > _LONGEST_NAME:
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else parts


def _leads_out(parts: list[str], target: str) -> bool:
    """Whether a link at *parts* might name something outside, whatever other links there are.

    Its own folders are real ones, so going up from there is safe as far as they reach; going up after
    a name is not, since that name may be a link itself.
    """
    if target.startswith("/") or "\0" in target or not target:
        return True
    steps = [step for step in target.split("/") if step not in ("", ".")]
    up = 0
    while up < len(steps) and steps[up] == "..":
        up += 1
    return up >= len(parts) or ".." in steps[up:]


def _one(
    top: int, parts: list[str], entry: Entry, content: BinaryIO | None, done: Transferred, limits: Limits,
    progress: Progress | None,
) -> None:  # fmt: skip
    if entry.kind == "other":
        done.skipped.append(f"{entry.name!r}: neither file, folder nor link")
        return
    if entry.kind == "link" and _leads_out(parts, entry.target):
        done.skipped.append(f"{entry.name!r}: a link that leads out ({entry.target!r})")
        return
    *above, last = parts
    folder = os.dup(top)
    try:
        for part in above:
            folder = _enter(folder, part)
        if entry.kind == "folder":
            folder = _enter(folder, last)
            os.fchmod(folder, 0o700 | (entry.mode & 0o077))
            return
        # A folder of that name stays, and the entry is skipped.
        try:
            os.unlink(last, dir_fd=folder)
        except FileNotFoundError:
            pass
        if entry.kind == "link":
            os.symlink(entry.target, last, dir_fd=folder)
            return
        assert content is not None
        with open(os.open(last, _NEW_FILE, 0o600, dir_fd=folder), "wb") as file:
            while piece := content.read(_PIECE):
                done.bytes += len(piece)
                if done.bytes > limits.max_bytes:
                    raise TransferLimitExceeded(f"more than max_bytes ({limits.max_bytes}) in it")
                file.write(piece)
                if progress is not None:
                    progress(done.bytes)
            # Never set-user-ID or the like: it is the caller's file now.
            os.fchmod(file.fileno(), 0o600 | (entry.mode & 0o177))
        done.files += 1
    finally:
        os.close(folder)


def _enter(folder: int, part: str) -> int:
    """The folder *part* of an open one, made if need be; a link in its place is not followed."""
    try:
        inner = os.open(part, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        os.mkdir(part, 0o755, dir_fd=folder)
        inner = os.open(part, _FOLDER, dir_fd=folder)
    os.close(folder)
    return inner


class _Part(io.RawIOBase):
    """The next so many bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(min(self._left, _PIECE if size < 0 else size))
        if not piece and self._left:
            raise InvalidArgument("what the sandbox sent broke off")
        self._left -= len(piece)
        return piece


def _until(stream: BinaryIO, end: bytes, most: int) -> bytes:
    found = bytearray()
    while (byte := stream.read(1)) and byte != end:
        found += byte
        if len(found) > most:
            raise InvalidArgument("what the sandbox sent is no archive")
    return bytes(found)
