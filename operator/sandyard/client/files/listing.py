"""What a sandbox says of the files in a folder, and what has become of them between two looks."""

from __future__ import annotations

import re
import stat as modes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from sandyard.client import answers
from sandyard.client.errors import BadAnswer

__all__ = ["FileChange", "FileInfo", "changes", "info", "parse"]

# Names with line feeds that are told from other lines; whoever has more of them gets odd names.
_MOST_BROKEN: Final = 100
_WORDS: Final = re.compile(rb"([0-9a-fA-F]{1,8} -?[0-9]{1,19} -?[0-9]{1,19} [0-9]{1,10} [0-9]{1,10}) ")


@dataclass(frozen=True)
class FileInfo:
    """A file, folder or link.

    Attributes
    ----------
    mode
        Type and permissions, as `os.stat` gives them.
    modified_at
        Seconds since the epoch.
    """

    name: str
    mode: int
    size: int
    modified_at: int
    uid: int
    gid: int

    @property
    def is_dir(self) -> bool:
        """Whether this is a folder."""
        return modes.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether this is a plain file."""
        return modes.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether this is a symbolic link."""
        return modes.S_ISLNK(self.mode)


@dataclass(frozen=True)
class FileChange:
    """What has become of a file: *path*, within the folder, and what it is now (before, of one that was removed)."""

    kind: Literal["created", "changed", "removed"]
    path: str
    info: FileInfo


def changes(before: Iterable[FileInfo], now: Iterable[FileInfo]) -> Iterator[FileChange]:
    """What lies between two looks at a folder: removed, created and changed files, each by name."""
    old, new = {one.name: one for one in before}, {one.name: one for one in now}
    for name in sorted(old.keys() - new.keys()):
        yield FileChange("removed", name, old[name])
    for name in sorted(new.keys() - old.keys()):
        yield FileChange("created", name, new[name])
    for name in sorted(new.keys() & old.keys()):
        if new[name] != old[name]:
            yield FileChange("changed", name, new[name])


def parse(printed: bytes) -> list[FileInfo]:
    """The answer of ``list.sh``: names, then a line for each file that was there when it was looked at.

    The names tell where a line ends whose name holds line feeds.

    Raises
    ------
    BadAnswer
        It is none, or breaks off.
    """
    said, end, lines = printed.partition(b"\0\0")
    if printed.startswith(b"\0"):
        said, end, lines = b"", b"\0", printed[1:]
    if not end or not (lines.endswith(b"\n") or not lines):
        raise BadAnswer("a folder: the sandbox has not listed it to its end")
    broken = sorted((name + b"\n" for name in said.split(b"\0") if b"\n" in name), key=len, reverse=True)
    found: dict[str, FileInfo] = {}
    place = 0
    while place < len(lines):
        words = _WORDS.match(lines, place)
        start = words.end() if words is not None else place
        long = next((name for name in broken[:_MOST_BROKEN] if lines.startswith(name, start)), None)
        place = start + len(long) if long is not None else lines.index(b"\n", start) + 1
        if words is not None:
            name = lines[start : place - 1].removeprefix(b"./").decode(errors="surrogateescape")
            found[name] = info(name, words[1])
    return list(found.values())


def info(name: str, line: bytes) -> FileInfo:
    """What ``stat`` says of a file in a line: mode, size, time, user, group.

    Raises
    ------
    BadAnswer
        It is something else.
    """
    what = f"{answers.text(name, 200)!r}"
    mode, *others = answers.words(line, 5, what)
    if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", mode):
        raise BadAnswer(f"{what}: the sandbox has answered {mode[:80]!r} for its mode")
    size, modified, uid, gid = (answers.number(one, what, least=-(2**62)) for one in others)
    return FileInfo(name, int(mode, 16), size, modified, uid, gid)
