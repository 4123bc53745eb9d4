"""Where many files are to be written: what stands there, and where links lead; asked by one exec, or two."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sandyard.client import answers
from sandyard.client.errors import BadAnswer, InvalidArgument, IsADirectory, SandboxError
from sandyard.client.exec import script
from sandyard.client.files.tools import Tools, check_path, undashed

__all__ = ["Place", "crowds", "line", "look"]

# What one program gets as arguments.
_MOST_WORDS: Final = 1000
_LONGEST_WORDS: Final = 100_000
_PERMISSIONS: Final = 0o666
# As stat says it, before a name.
_MODE: Final = re.compile(rb"([0-9a-f]{1,8}) ")


@dataclass(frozen=True)
class Place:
    """Where a file goes: *folder* is absolute and leads through no link; *mode* is what it has or gets."""

    path: str
    folder: str
    name: str
    mode: int


@dataclass(frozen=True)
class _Seen:
    """What the first look tells: the folder that it was made from, and the kinds and modes of what is there."""

    here: str
    umask: int
    way: str
    blind: bool
    modes: Mapping[str, int]

    def leads_on(self, path: str) -> bool:
        """Whether it may be a link."""
        return self.blind or stat.S_ISLNK(self.modes.get(path, 0))

    def is_bent(self, folder: str) -> bool:
        """Whether it may not be where its name says."""
        return ".." in folder.split("/") or self.blind or any(map(self.leads_on, _steps(folder)))


async def look(tools: Tools, paths: Sequence[str]) -> tuple[str, list[Place]]:
    """What unpacks an archive (``tar`` or ``plain``), and the place of each path, whose folder is there afterwards.

    Raises
    ------
    SandboxError
        There can be no file at one of them.
    """
    for path in paths:
        check_path(path, tools.sandbox)
        _check(posixpath.basename(path) not in ("", ".", ".."), IsADirectory, f"{path}: Is a directory", tools)
    above = {path: posixpath.dirname(path) or "." for path in paths}
    folders = list(dict.fromkeys(above.values()))
    seen = await _survey(tools, paths, folders)
    for path in paths:
        mode = seen.modes.get(path, stat.S_IFREG)
        _check(not stat.S_ISDIR(mode), IsADirectory, f"{path}: Is a directory", tools)
        _check(stat.S_ISREG(mode) or stat.S_ISLNK(mode), InvalidArgument, f"{path}: not a plain file", tools)
    links = list(filter(seen.leads_on, paths))
    targets, real = await _resolve(tools, links, list(filter(seen.is_bent, folders)))

    def place(path: str) -> Place:
        folder = real.get(above[path]) or _joined(seen.here, above[path])
        where, mode = _joined(folder, posixpath.basename(path)), seen.modes.get(path)
        if path in targets:
            where, mode = targets[path][0] or where, targets[path][1]
        new = _PERMISSIONS & ~seen.umask
        return Place(path, *posixpath.split(where), new if mode is None else stat.S_IMODE(mode))

    return seen.way, [place(path) for path in paths]


async def _survey(tools: Tools, paths: Sequence[str], folders: Sequence[str]) -> _Seen:
    wanted = dict.fromkeys([*paths, *(step for folder in folders for step in _steps(folder))])
    found = list(crowds(wanted))
    lines = [*(_told("found", crowd) for crowd in found), *(_told("made", crowd) for crowd in crowds(folders))]
    here, umask, way, looks, *said = await _fields(tools, "survey", lines, 4 + len(found))
    if way not in (b"tar", b"plain"):
        raise BadAnswer("the sandbox has not told what it unpacks archives with")
    modes = dict[str, int]()
    for crowd, listed in zip(found, said, strict=True):
        modes |= _modes(crowd, listed)
    return _Seen(_absolute(here), answers.octal(umask, "umask"), way.decode(), looks != b"looks", modes)


async def _resolve(
    tools: Tools, links: Sequence[str], folders: Sequence[str]
) -> tuple[dict[str, tuple[str, int | None]], dict[str, str]]:
    """What each link leads to and the mode of that, if it is there; and where each folder really is."""
    if not links and not folders:
        return {}, {}
    lines = [_told(name, crowd) for name, all_ in (("files", links), ("folders", folders)) for crowd in crowds(all_)]
    said = await _fields(tools, "resolve", lines, 2 * len(links) + len(folders))
    targets = {
        path: (_absolute(target) if target else "", answers.octal(mode, "mode") if mode else None)
        for path, target, mode in zip(links, said[: 2 * len(links) : 2], said[1 : 2 * len(links) : 2], strict=True)
    }
    return targets, dict(zip(folders, map(_absolute, said[2 * len(links) :]), strict=True))


async def _fields(tools: Tools, part: str, lines: Iterable[str], count: int) -> list[bytes]:
    """What a script says, which ends each thing with a zero."""
    fields = (await tools.run("\n".join([script.text(part), *lines]))).split(b"\0")[:-1]
    if len(fields) != count:
        raise BadAnswer(f"the sandbox has not told where files go: {len(fields)} answers, not {count}")
    return fields


def _modes(paths: Iterable[str], said: bytes) -> dict[str, int]:
    """Of those that are there, in their order: the names may hold line feeds."""
    found, at = dict[str, int](), 0
    for path in paths:
        mode, name = _MODE.match(said, at), os.fsencode(undashed(path)) + b"\n"
        if mode and said.startswith(name, mode.end()):
            found[path], at = int(mode[1], 16), mode.end() + len(name)
    return found


def _steps(folder: str) -> list[str]:
    """A folder and all above it, as far as its name tells them."""
    plain = posixpath.normpath(folder)
    places = [place for place, letter in enumerate(plain) if letter == "/" and place]
    return [step for step in (*(plain[:place] for place in places), plain) if step not in (".", "/", "//")]


def _absolute(said: bytes) -> str:
    """A path as the sandbox tells it."""
    # Of two slashes at the beginning some shells keep both.
    path = "/" + os.fsdecode(said).lstrip("/")
    if said[:1] != b"/" or posixpath.normpath(path) != path:
        raise BadAnswer("the sandbox has not told where a folder is")
    return path


def _joined(folder: str, rest: str) -> str:
    path = posixpath.normpath(posixpath.join(folder, rest))
    return "/" + path.lstrip("/")


def _check(right: bool, kind: type[SandboxError], message: str, tools: Tools) -> None:
    if not right:
        raise kind(message, sandbox=tools.sandbox)


def _told(command: str, paths: Iterable[str]) -> str:
    return line(command, map(undashed, paths))


def line(command: str, words: Iterable[str]) -> str:
    """A line of shell code."""
    return " ".join([command, *map(shlex.quote, words)])


def crowds(words: Iterable[str]) -> Iterator[list[str]]:
    """As many at a time as a program takes."""
    crowd, length = list[str](), 0
    for word in words:
        length += len(word)
        if crowd and (len(crowd) == _MOST_WORDS or length > _LONGEST_WORDS):
            yield crowd
            crowd, length = [], len(word)
        crowd.append(word)
    if crowd:
        yield crowd
