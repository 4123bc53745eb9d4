"""Packs and unpacks trees of files; what comes out of a sandbox is taken for hostile.

Nothing is written outside the destination, whatever the names and links in an archive: each step of
a path is opened below the one before without following links, and no link that leads out is made.
Nothing but plain files, folders and such links is made at all; bytes and entries are counted as
they come.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import pathlib
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from sandyard.client import answers
from sandyard.client.errors import TransferLimitExceeded
from sandyard.client.files.reading import LONGEST_NAME, Entry, read_plain, read_tar

__all__ = ["Entry", "Limits", "Progress", "Transferred", "pack", "pack_plain", "plain", "read_only", "read_plain",
           "read_tar", "unpack"]  # fmt: skip

_PIECE: Final = 256 * 1024
# What a name is to blame for, and not the disk.
_NAMES_ERRORS: Final = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ,
                        errno.EINVAL, errno.ENOENT)  # fmt: skip
# Of file systems that give no second name.
_NO_LINKS: Final = (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EXDEV)
_LONGEST_TOLD: Final = 200
_MOST_TOLD: Final = 1000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# Told of the bytes so far.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Limits:
    """The most that is taken from a sandbox."""

    max_bytes: int
    max_files: int


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

    def skip(self, name: str, why: str) -> None:
        """Say that *name* was left out; of very many the last ones are not named."""
        if len(self.skipped) < _MOST_TOLD:
            self.skipped.append(f"{answers.text(name, _LONGEST_TOLD)!r}: {why}")
        elif len(self.skipped) == _MOST_TOLD:
            self.skipped.append("and more")

    def count(self, name: str, content: _Whole, progress: Progress | None) -> None:
        """Count a file that was packed."""
        if content.short:
            self.skip(name, "became shorter while it was read, or could not be read on; the rest is zeros")
        self.files += 1
        self.bytes += content.size
        if progress is not None:
            progress(self.bytes)


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
    destination.mkdir(parents=True, exist_ok=True)
    top = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        unpacking = _Unpacking(top, limits, progress)
        for entry, content in entries:
            unpacking.take(entry, content)
        return unpacking.done
    finally:
        os.close(top)


def pack(source: pathlib.Path, target: BinaryIO, progress: Progress | None = None) -> Transferred:
    """Write the tree below *source* as a tar stream: plain files, folders and links, with their modes.

    A folder that its owner may not write to comes a second time at the end: until then it can be filled.  What cannot
    be read, or goes or shrinks meanwhile, is named in ``skipped``.
    """
    done, last = Transferred(), list[tarfile.TarInfo]()
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_PIECE) as archive:
        for path, name, found in _members(source, done):
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
            if stat.S_ISDIR(found.st_mode):
                member.type = tarfile.DIRTYPE
                if _locked(found):
                    last.append(copy.copy(member))
                    member.mode |= stat.S_IRWXU
                archive.addfile(member)
            elif stat.S_ISLNK(found.st_mode):
                if (linked := _linked(path, name, done)) is None:
                    continue
                member.type, member.linkname = tarfile.SYMTYPE, linked
                archive.addfile(member)
            elif stat.S_ISREG(found.st_mode):
                with _opened(path, name, done) as content:
                    if content is None:
                        continue
                    member.size = content.size
                    archive.addfile(member, content)  # type: ignore[arg-type]
                    done.count(name, content, progress)
            else:
                done.skip(name, "neither file, folder nor link")
        for member in reversed(last):
            archive.addfile(member)
    return done


def read_only(source: pathlib.Path) -> list[bytes]:
    """Names of folders below *source* that their owner may not write to: one that is there must be opened first."""
    folders = ((name, found) for _, name, found in _members(source, Transferred()) if stat.S_ISDIR(found.st_mode))
    return [os.fsencode(name) for name, found in folders if _locked(found) and "\n" not in name]


def _locked(found: os.stat_result) -> bool:
    return found.st_mode & stat.S_IRWXU != stat.S_IRWXU


def pack_plain(source: pathlib.Path, target: BinaryIO, progress: Progress | None = None) -> Transferred:
    """The same for an image without tar, as ``unpack.sh`` reads it; names with line feeds are left out."""
    done, last = Transferred(), list[bytes]()
    for path, name, found in _members(source, done):
        mode = f"{stat.S_IMODE(found.st_mode):o}"
        if "\n" in name:
            done.skip(name, "a line feed in its name, and no tar in the image")
        elif stat.S_ISDIR(found.st_mode):
            line = b" 0\n" + os.fsencode(name) + b"\n"
            target.write(f"d {stat.S_IMODE(found.st_mode) | stat.S_IRWXU:o}".encode() + line)
            if _locked(found):
                last.append(f"d {mode}".encode() + line)
        elif stat.S_ISLNK(found.st_mode):
            if (linked := _linked(path, name, done)) is not None:
                target.write(b"l 777 0\n" + os.fsencode(name) + b"\n" + os.fsencode(linked) + b"\n")
        elif stat.S_ISREG(found.st_mode):
            with _opened(path, name, done) as content:
                if content is None:
                    continue
                target.write(f"f {mode} {content.size}\n".encode() + os.fsencode(name) + b"\n")
                for start in range(0, content.size, _PIECE):
                    target.write(content.read(min(_PIECE, content.size - start)))
                done.count(name, content, progress)
        else:
            done.skip(name, "neither file, folder nor link")
    target.write(b"".join([*reversed(last), b"end 0 0\n"]))
    return done


def plain(files: Mapping[str, bytes]) -> bytes:
    """The same of a few *files* by their names; a name that ends in ``/`` is a folder."""
    parts = []
    for name, content in files.items():
        kind, mode = ("d", 755) if name.endswith("/") else ("f", 644)
        parts += [f"{kind} {mode} {len(content)}\n{name.rstrip('/')}\n".encode(), content]
    return b"".join([*parts, b"end 0 0\n"])


def _members(source: pathlib.Path, done: Transferred) -> Iterator[tuple[pathlib.Path, str, os.stat_result]]:
    """Everything below *source*, folders before what is in them, with its name in an archive."""

    def told(error: OSError) -> None:
        done.skip(os.path.relpath(error.filename or source, source), error.strerror or "it cannot be read")

    for folder, folders, files in os.walk(source, onerror=told):
        folders.sort()
        for inner in sorted([*folders, *files]):
            path = pathlib.Path(folder, inner)
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            except OSError as error:
                done.skip(path.relative_to(source).as_posix(), error.strerror or "it cannot be read")
                continue
            yield path, path.relative_to(source).as_posix(), found


class _Whole:
    """A file that is as long as it was when it was opened: what is gone meanwhile is zeros, as tar(1) has it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        self.short = False

    def read(self, size: int) -> bytes:
        try:
            piece = self._file.read(size)
        except OSError:
            piece = b""
        self.short = self.short or len(piece) < size
        return piece.ljust(size, b"\0")


@contextlib.contextmanager
def _opened(path: pathlib.Path, name: str, done: Transferred) -> Iterator[_Whole | None]:
    """A file to be packed; None: it cannot be opened, which is told."""
    try:
        # Whatever it has become since it was looked at: neither is a pipe waited for, nor a link followed.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        done.skip(name, error.strerror or "it cannot be read")
        yield None
        return
    with file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield _Whole(file)
        else:
            done.skip(name, "neither file, folder nor link")
            yield None


def _linked(path: pathlib.Path, name: str, done: Transferred) -> str | None:
    """What a link leads to; None: it is none any more, which is told."""
    try:
        return os.readlink(path)
    except OSError as error:
        done.skip(name, error.strerror or "it cannot be read")
        return None


def _parts(name: str) -> list[str] | None:
    """The steps of a relative name; None if it leads out, or is none."""
    if name.startswith("/") or "\0" in name or len(name) > LONGEST_NAME:
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


class _Unpacking:
    """Writes one member after the other below the open folder *top*."""

    def __init__(self, top: int, limits: Limits, progress: Progress | None) -> None:
        self.done = Transferred()
        self._top = top
        self._limits = limits
        self._progress = progress
        self._seen = 0
        # What this archive has brought itself: second names are given to nothing else.
        self._files: set[tuple[str, ...]] = set()

    def take(self, entry: Entry, content: BinaryIO | None) -> None:
        self._seen += 1
        if self._seen > self._limits.max_files:
            raise TransferLimitExceeded(f"more than max_files ({self._limits.max_files}) in it")
        parts = _parts(entry.name)
        why = self._refused(entry, parts)
        if why is None and parts:
            try:
                self._write(parts, entry, content)
            except OSError as error:
                if error.errno not in _NAMES_ERRORS:
                    raise
                why = error.strerror or "it cannot be written"
        if why is not None:
            self.done.skip(entry.name, why)

    def _refused(self, entry: Entry, parts: list[str] | None) -> str | None:
        target = answers.text(entry.target, _LONGEST_TOLD)
        if parts is None:
            return "leads out of the destination"
        if entry.kind == "other":
            return "neither file, folder nor link"
        if entry.kind == "link" and _leads_out(parts, entry.target):
            return f"a link that leads out ({target!r})"
        if entry.kind == "hardlink" and (
            tuple(_parts(entry.target) or ()) not in self._files or _parts(entry.target) == parts
        ):
            return f"another name of what was not copied ({target!r})"
        return None

    def _write(self, parts: list[str], entry: Entry, content: BinaryIO | None) -> None:
        *above, last = parts
        with _below(self._top, above) as folder:
            if entry.kind == "folder":
                with _below(folder, [last]) as inner:
                    os.fchmod(inner, 0o700 | (entry.mode & 0o077))
                return
            self._files.discard(tuple(parts))
            # A folder of that name stays, and the entry is skipped.
            try:
                os.unlink(last, dir_fd=folder)
            except FileNotFoundError:
                pass
            if entry.kind == "link":
                os.symlink(entry.target, last, dir_fd=folder)
                return
            if entry.kind == "hardlink":
                self._second_name(_parts(entry.target) or [], folder, last)
            else:
                assert content is not None
                self._fill(folder, last, content, entry.mode)
        self._files.add(tuple(parts))
        self.done.files += 1

    def _fill(self, folder: int, name: str, content: BinaryIO, mode: int) -> None:
        with open(os.open(name, _NEW_FILE, 0o600, dir_fd=folder), "wb") as file:
            while piece := content.read(_PIECE):
                self.done.bytes += len(piece)
                if self.done.bytes > self._limits.max_bytes:
                    raise TransferLimitExceeded(f"more than max_bytes ({self._limits.max_bytes}) in it")
                file.write(piece)
                if self._progress is not None:
                    self._progress(self.done.bytes)
            # Never set-user-ID or the like: it is the caller's file now.
            os.fchmod(file.fileno(), 0o600 | (mode & 0o177))

    def _second_name(self, target: list[str], folder: int, name: str) -> None:
        *above, last = target
        with _below(self._top, above) as there:
            try:
                os.link(last, name, src_dir_fd=there, dst_dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with open(os.open(last, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=there), "rb") as file:
                    self._fill(folder, name, file, os.fstat(file.fileno()).st_mode)


@contextlib.contextmanager
def _below(top: int, parts: list[str]) -> Iterator[int]:
    """The folder at *parts* below an open one, made if need be."""
    folder = os.dup(top)
    try:
        for part in parts:
            folder = _enter(folder, part)
        yield folder
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
