"""What is in a tree of this machine that is copied into a sandbox, and what became of each part of it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from sandyard.client import answers

__all__ = ["Leave", "Progress", "Transferred", "Whole", "linked", "members", "opened"]

_LONGEST_TOLD: Final = 200
_MOST_TOLD: Final = 1000

# Told of the bytes so far.
Progress = Callable[[int], None]
# Why the file of a name is left out, by its mode; None: it is not. Without a word it is nothing to tell of.
Leave = Callable[[str, int], str | None]


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

    def count(self, name: str, content: Whole, progress: Progress | None) -> None:
        """Count a file that was packed."""
        if content.short:
            self.skip(name, "became shorter while it was read, or could not be read on; the rest is zeros")
        self.files += 1
        self.bytes += content.size
        if progress is not None:
            progress(self.bytes)


def members(
    source: pathlib.Path, done: Transferred, leave: Leave | None = None
) -> Iterator[tuple[pathlib.Path, str, os.stat_result]]:
    """Everything below *source*, folders before what is in them, with its name in an archive.

    What *leave* names a reason for is left out, a folder with all that is in it.
    """

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
            name = path.relative_to(source).as_posix()
            why = leave(name, found.st_mode) if leave is not None else None
            if why is None:
                yield path, name, found
                continue
            if inner in folders:
                folders.remove(inner)
            if why:
                done.skip(name, why)


class Whole:
    """A file that is as long as it was when it was opened: what is gone meanwhile is zeros, as tar(1) has it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        found = os.fstat(file.fileno())
        self.size = found.st_size
        # What all names of a file have in common.
        self.inode = found.st_dev, found.st_ino
        self.short = False

    def read(self, size: int) -> bytes:
        try:
            piece = self._file.read(size)
        except OSError:
            piece = b""
        self.short = self.short or len(piece) < size
        return piece.ljust(size, b"\0")


@contextlib.contextmanager
def opened(path: pathlib.Path, name: str, done: Transferred) -> Iterator[Whole | None]:
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
            yield Whole(file)
        else:
            done.skip(name, "neither file, folder nor link")
            yield None


def linked(path: pathlib.Path, name: str, done: Transferred) -> str | None:
    """What a link leads to; None: it is none any more, which is told."""
    try:
        return os.readlink(path)
    except OSError as error:
        done.skip(name, error.strerror or "it cannot be read")
        return None
