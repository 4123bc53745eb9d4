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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from sandyard.client import answers
from sandyard.client.errors import TransferLimitExceeded
from sandyard.client.files.reading import LONGEST_NAME, Entry, read_plain, read_tar
from sandyard.client.files.sources import Leave, Progress, Transferred, linked, members, opened

__all__ = ["Entry", "Limits", "Progress", "Transferred", "pack", "pack_plain", "plain", "read_only", "read_plain",
           "read_tar", "unpack"]  # fmt: skip

_PIECE: Final = 256 * 1024
# What a name is to blame for, and not the disk.
_NAMES_ERRORS: Final = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ,
                        errno.EINVAL, errno.ENOENT)  # fmt: skip
# Of file systems that give no second name.
_NO_LINKS: Final = (errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EXDEV)
_LONGEST_TOLD: Final = 200
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Limits:
    """The most that is taken from a sandbox."""

    max_bytes: int
    max_files: int


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


def pack(
    source: pathlib.Path, target: BinaryIO, progress: Progress | None = None, leave: Leave | None = None
) -> Transferred:
    """Write the tree below *source* as a tar stream: plain files with all their names, folders and links, with modes.

    A folder that its owner may not write to comes a second time at the end: until then it can be filled.  What cannot
    be read, or goes or shrinks meanwhile, is named in ``skipped``.
    """
    done, last, packed = Transferred(), list[tarfile.TarInfo](), dict[tuple[int, int], str]()
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_PIECE) as archive:
        for path, name, found in members(source, done, leave):
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
            if stat.S_ISDIR(found.st_mode):
                member.type = tarfile.DIRTYPE
                if _locked(found):
                    last.append(copy.copy(member))
                    member.mode |= stat.S_IRWXU
                archive.addfile(member)
            elif stat.S_ISLNK(found.st_mode):
                if (to := linked(path, name, done)) is None:
                    continue
                member.type, member.linkname = tarfile.SYMTYPE, to
                archive.addfile(member)
            elif stat.S_ISREG(found.st_mode):
                with opened(path, name, done) as content:
                    if content is None:
                        continue
                    if (first := packed.setdefault(content.inode, name)) != name:
                        member.type, member.linkname = tarfile.LNKTYPE, first
                        archive.addfile(member)
                        done.files += 1
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
    folders = ((name, found) for _, name, found in members(source, Transferred()) if stat.S_ISDIR(found.st_mode))
    return [os.fsencode(name) for name, found in folders if _locked(found) and "\n" not in name]


def _locked(found: os.stat_result) -> bool:
    return found.st_mode & stat.S_IRWXU != stat.S_IRWXU


def pack_plain(
    source: pathlib.Path, target: BinaryIO, progress: Progress | None = None, leave: Leave | None = None
) -> Transferred:
    """The same for an image without tar, as ``unpack.sh`` reads it; names with line feeds are left out."""
    done, last, packed = Transferred(), list[bytes](), dict[tuple[int, int], str]()
    for path, name, found in members(source, done, leave):
        mode = f"{stat.S_IMODE(found.st_mode):o}"
        if "\n" in name:
            done.skip(name, "a line feed in its name, and no tar in the image")
        elif stat.S_ISDIR(found.st_mode):
            line = b" 0\n" + os.fsencode(name) + b"\n"
            target.write(f"d {stat.S_IMODE(found.st_mode) | stat.S_IRWXU:o}".encode() + line)
            if _locked(found):
                last.append(f"d {mode}".encode() + line)
        elif stat.S_ISLNK(found.st_mode):
            if (to := linked(path, name, done)) is not None:
                target.write(b"l 777 0\n" + os.fsencode(name) + b"\n" + os.fsencode(to) + b"\n")
        elif stat.S_ISREG(found.st_mode):
            with opened(path, name, done) as content:
                if content is None:
                    continue
                if (first := packed.setdefault(content.inode, name)) != name:
                    target.write(b"h 0 0\n" + os.fsencode(name) + b"\n" + os.fsencode(first) + b"\n")
                    done.files += 1
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
            return "its name is too long" if len(entry.name) > LONGEST_NAME else "leads out of the destination"
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
