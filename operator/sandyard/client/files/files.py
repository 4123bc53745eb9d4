"""Files of a sandbox: whole and exact, written in one step or not at all.

Every call runs programs of the image (``cat``, ``mv``, ``mkdir``), because nothing else reaches
every volume of every runtime.  Relative paths begin at the template's ``workingDir``; nothing in a
path is expanded.
"""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import io
import math
import pathlib
import posixpath
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sandyard.client import answers
from sandyard.client.errors import CommandFailed, InvalidArgument, OutputLimitExceeded
from sandyard.client.exec import script
from sandyard.client.exec.command import check_count, encoded
from sandyard.client.files import listing, many, transfer
from sandyard.client.files.archive import Limits, Progress, Transferred
from sandyard.client.files.listing import FileChange, FileInfo
from sandyard.client.files.tools import NO_PIPE, READ_LIMIT, Tools, check_path, undashed
from sandyard.client.session.session import Session

__all__ = ["FileChange", "FileInfo", "FileLines", "Files", "GrepResult", "Match"]

_LONGEST_LINE: Final = 2000
_NUMBER: Final = re.compile(rb"[0-9]{1,18}")
# Makes those above the second path.
_FOLDERS: Final = 'case $2 in */*) mkdir -p -- "${2%/*}" ;; esac'
_NO_FOLDER: Final = '[ ! -d "$2" ] || { echo "$2: Is a directory" >&2; exit 1; };'
# What is read-only can be removed by whoever owns it.
_REMOVE: Final = (
    'rm -rf -- "$1" 2>/dev/null && exit; find "$1" -type d ! -perm -700 -exec chmod u+rwx {} \\; 2>/dev/null; '
    'exec rm -rf -- "$1"'
)
_EDIT_NOT_ONCE: Final = "the old text is in the file {count} times, not once; give more of it, or replace_all=True"


@dataclass(frozen=True)
class FileLines:
    """Some lines of a file.

    Attributes
    ----------
    text
        The lines with their line ends; bytes that are not UTF-8 are replaced.
    start
        Number of the first line, from 1.
    total_lines
        Number of lines of the whole file.
    """

    text: str
    start: int
    total_lines: int


@dataclass(frozen=True)
class Match:
    """A line that matches; *path* is relative to the folder of the search, *line* counts from 1."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class GrepResult:
    """Lines that match; *truncated* says whether there are more."""

    matches: list[Match]
    truncated: bool


class Files:
    """The files of one sandbox."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tools = Tools(session)

    async def read(
        self, path: str, *, offset: int = 0, length: int | None = None, max_bytes: int = READ_LIMIT
    ) -> bytes:
        """Read the whole file, or *length* bytes from *offset* on.

        Raises
        ------
        SandboxFileNotFound, IsADirectory, PermissionDenied
            The file cannot be read.
        InvalidArgument
            The file is longer than *max_bytes*.
        """
        for name, count in (("offset", offset), ("length", length), ("max_bytes", max_bytes)):
            check_count(name, count)
        code, span = f'{NO_PIPE} exec cat -- "$1"', []
        if offset or length is not None:
            span = [str(offset + 1), str(max_bytes + 1 if length is None else length)]
            code = script.text("part")
        try:
            return await self._tools.run(code, path, *span, limit=max_bytes)
        except OutputLimitExceeded as error:
            text = f"{path}: longer than max_bytes ({max_bytes}); read parts of it, or download it"
            raise InvalidArgument(text, sandbox=self._session.name) from error

    async def read_text(self, path: str, *, max_bytes: int = READ_LIMIT) -> str:
        """Read the whole file as UTF-8."""
        content = await self.read(path, max_bytes=max_bytes)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            text = f"{path}: not UTF-8 at byte {error.start}; read() returns it as bytes"
            raise InvalidArgument(text, sandbox=self._session.name) from None

    async def write(self, path: str, data: bytes | str) -> None:
        """Write the whole file and make the folders above it; if that fails, the old file stays as it was.

        A link stays, and what it names is written. Of several writers at once each writes all of it, and the
        last one stays.
        """
        content = _bytes(data, path)
        digest = hashlib.sha256(content).hexdigest()
        tag = script.new_id()
        await self._tools.run(script.text("write"), path, str(len(content)), tag, digest, stdin=content)

    async def write_files(self, files: Mapping[str, bytes | str]) -> None:
        """Write files by path, each as `write` does, thousands of them in the time of a few.

        All of them arrive before the first one is in its place.

        Raises
        ------
        InvalidArgument
            Two of them cannot both be there; nothing is written then.
        SandboxError
            Some of them could not be written: the message names one and its reason, and says which others are as they
            were. Whoever stops to wait (a time-out, Ctrl-C) finds each as it was or as it was to be.
        """
        contents = _check_apart(files)
        if len(contents) > 1:
            await many.write(self._tools, contents)
        for path in contents if len(contents) == 1 else ():
            await self.write(path, contents[path])

    async def watch_dir(
        self, path: str = ".", *, depth: int = 1, interval: float = 1.0
    ) -> AsyncGenerator[FileChange, None]:  # fmt: skip
        """Tell what becomes of the files of a folder, from now on: it is listed every *interval* seconds.

        A file that comes and goes between two looks is not told of; nor is one that changes twice within a second
        and keeps its size.

        Raises
        ------
        SandboxFileNotFound
            There is no such folder, or no longer.
        InvalidArgument
            *interval* is below 0.1.
        """
        if not 0.1 <= interval < math.inf:
            raise InvalidArgument(f"interval: {interval} is below 0.1 seconds, or never over")
        before = await self.list(path, depth=depth)
        while True:
            await asyncio.sleep(interval)
            now = await self.list(path, depth=depth)
            for change in listing.changes(before, now):
                yield change
            before = now

    async def read_lines(self, path: str, start: int = 1, end: int | None = None) -> FileLines:
        """Read lines *start* to *end*, both included and counted from 1; None: to the last line.

        Raises
        ------
        InvalidArgument
            *start* is below 1, or *end* below *start*.
        """
        check_count("start", start)
        check_count("end", end)
        if start < 1 or (end is not None and end < start):
            raise InvalidArgument(f"lines {start} to {end}: lines count from 1, and the end is not before the start")
        printed = await self._tools.run(script.text("lines"), path, str(start), str(end) if end is not None else "$")
        total, _, text = printed.partition(b"\n")
        return FileLines(text.decode(errors="replace"), start, answers.number(total, f"{path}: number of lines"))

    async def insert(self, path: str, after_line: int, text: str) -> None:
        """Insert *text* after line *after_line*; 0: at the beginning, beyond the last line: at the end."""
        check_count("after_line", after_line)
        await self.write(path, inserted(await self.read(path), after_line, _bytes(text, path)))

    async def grep(
        self, pattern: str, path: str = ".", *, fixed: bool = False, ignore_case: bool = False, max_results: int = 200
    ) -> GrepResult:
        """Find lines below the folder *path* that match an extended regular expression, or with *fixed* a text.

        Skips ``.git``, ``node_modules`` and ``.cache``, and files that are not text.

        Raises
        ------
        InvalidArgument
            *pattern* is empty, or the image's grep does not understand it.
        """
        if not isinstance(pattern, str) or not pattern or "\n" in pattern:
            raise InvalidArgument("pattern: one line of text that is not empty")
        check_count("max_results", max_results)
        options = ("F" if fixed else "E") + ("i" if ignore_case else "")
        try:
            printed = await self._tools.run(
                script.text("grep"), path, str(max_results + 1), options, pattern, locale="C.UTF-8"
            )  # fmt: skip
        except CommandFailed as error:
            if error.result.exit_code != 3:
                raise
            raise InvalidArgument(f"pattern: {error.result.stderr_text.strip()}", sandbox=self._session.name) from error
        found = list(_matches(printed))
        return GrepResult(found[:max_results], len(found) > max_results)

    async def upload(self, local: str | pathlib.Path, path: str, *, on_progress: Progress | None = None) -> Transferred:
        """Copy a file, or a folder and all that is in it, into the sandbox as *path*; files there are replaced.

        A file arrives whole and verified, or the old one stays. *on_progress* is called with the bytes so far.
        """
        return await transfer.upload(self._tools, pathlib.Path(local), path, on_progress)

    async def download(
        self, path: str, local: str | pathlib.Path, *, max_bytes: int = transfer.MAX_BYTES,
        max_files: int = transfer.MAX_FILES, on_progress: Progress | None = None,
    ) -> Transferred:  # fmt: skip
        """Copy a file, or a folder and all that is in it, out of the sandbox as *local*.

        Whatever the sandbox sends, nothing is written outside *local*, and no link out of *local* is made;
        ``skipped`` of the result names what was left out, and what changed or could not be read while it was copied.
        Second names of a file (hard links) are made here too. *on_progress* is called with the bytes so far.

        Raises
        ------
        TransferLimitExceeded
            There are more bytes than *max_bytes*, or more files than *max_files*.
        """
        limits = Limits(max_bytes, max_files)
        return await transfer.download(self._tools, path, pathlib.Path(local), limits, on_progress)

    async def append(self, path: str, data: bytes | str) -> None:
        """Write to the end of the file; a file that does not exist is created."""
        await self._tools.run(f'{NO_PIPE} exec cat >>"$1"', path, stdin=_bytes(data, path))

    async def edit(self, path: str, changes: builtins.list[tuple[str, str]], *, replace_all: bool = False) -> int:
        """Replace each old text by its new text, exactly; either all of them or none.

        Returns
        -------
        int
            Number of replacements.

        Raises
        ------
        InvalidArgument
            The file does not hold an old text, or holds it more than once without *replace_all*; the file
            is unchanged.
        """
        if isinstance(changes, str | Mapping) or not all(
            isinstance(one, tuple | list) and len(one) == 2 for one in changes
        ):
            raise InvalidArgument("changes: not a list of pairs, each of an old text and a new one")
        content, made = await self.read(path), 0
        for old, new in changes:
            before, after = _bytes(old, path), _bytes(new, path)
            count = content.count(before) if before else 0
            if count == 0 or (count > 1 and not replace_all):
                why = _EDIT_NOT_ONCE.format(count=count) if count else "the old text is not in the file"
                raise InvalidArgument(f"{path}: {why}", sandbox=self._session.name)
            content = content.replace(before, after)
            made += count
        await self.write(path, content)
        return made

    async def list(self, path: str = ".", *, depth: int = 1) -> list[FileInfo]:
        """List what is in the folder, by name; with *depth* 2 also what is in its folders, ``sub/name``, and so on."""
        if not isinstance(depth, int) or depth < 1:
            raise InvalidArgument(f"depth: {depth} is no whole number from 1 on")
        printed = await self._tools.run(script.text("list"), path, str(depth))
        return sorted(listing.parse(printed), key=lambda info: info.name)

    async def stat(self, path: str) -> FileInfo:
        """Look up a file, folder or link; a link is not followed."""
        printed = await self._tools.run("exec stat -c '%f %s %Y %u %g' -- \"$1\"", path)
        return listing.info(path, printed)

    async def exists(self, path: str) -> bool:
        """Whether there is a file, folder or link of that name."""
        return (await self._tools.run('[ -e "$1" ] || [ -L "$1" ] && echo yes || echo no', path)).strip() == b"yes"

    async def mkdir(self, path: str) -> None:
        """Make a folder and those above it; a folder that exists is no error."""
        await self._tools.run('exec mkdir -p -- "$1"', path)

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file, or with *recursive* a folder and all that is in it."""
        await self._tools.run('[ -e "$1" ] || [ -L "$1" ] || { echo "$1: No such file or directory" >&2; exit 1; }; '
                       + (_REMOVE if recursive else 'exec rm -- "$1"'), path)  # fmt: skip

    async def rename(self, old: str, new: str) -> None:
        """Rename or move a file or folder; the folders above the new name are made, a file of that name is replaced.

        Raises
        ------
        IsADirectory
            There is a folder of the new name.
        """
        await self._tools.run(f'{_FOLDERS} && {_NO_FOLDER} exec mv -f -- "$1" "$2"', old, undashed(new))

    async def copy(self, old: str, new: str) -> None:
        """Copy a file, or a folder and all that is in it; what a folder of the new name holds is replaced or stays.

        Raises
        ------
        IsADirectory
            A file was to be copied, and there is a folder of the new name.
        """
        code = f'{_FOLDERS} && if [ -d "$1" ] && [ ! -L "$1" ] && [ -d "$2" ]; then exec cp -fRP -- "$1/." "$2"; fi; '
        await self._tools.run(f'{code} {_NO_FOLDER} exec cp -fRP -- "$1" "$2"', old, undashed(new))


def inserted(content: bytes, after_line: int, text: bytes) -> bytes:
    """*content* with *text* after so many of its lines; they end at line feeds, as ``grep`` and ``sed`` have them."""
    lines = io.BytesIO(content).readlines()
    above, below = b"".join(lines[:after_line]), b"".join(lines[after_line:])
    if above and text and not above.endswith(b"\n"):
        above += b"\n"
    return above + text + (b"\n" if below and not text.endswith(b"\n") else b"") + below


def _bytes(data: bytes | str, path: str) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview | str):
        raise InvalidArgument(f"{path}: {type(data).__name__} is neither text nor bytes")
    return encoded(data, path) if isinstance(data, str) else bytes(data)


def _check_apart(files: Mapping[str, bytes | str]) -> dict[str, bytes]:
    """What is to be written, of which no file may be another, or lie within it."""
    if not isinstance(files, Mapping):
        raise InvalidArgument(f"files: {type(files).__name__} is no mapping of paths to contents")
    known, contents = dict[str, str](), dict[str, bytes]()
    for path, data in files.items():
        check_path(path)
        contents[path] = _bytes(data, path)
        other = known.setdefault(posixpath.normpath(path), path)
        if other is not path:
            raise InvalidArgument(f"files: {other!r} and {path!r} are the same file")
    for plain, path in known.items():
        above = posixpath.dirname(plain)
        while above not in ("", "/"):
            if above in known:
                raise InvalidArgument(f"files: {path!r} would lie within {known[above]!r}, which is a file")
            above = posixpath.dirname(above)
    return contents


def _matches(printed: bytes) -> Iterator[Match]:
    """The lines of ``grep.sh``, of which each begins with a name, a zero, and a number; names may hold line feeds."""
    if b"\0" not in printed:
        yield from _matches_without_zeros(printed)
    place = 0
    while (zero := printed.find(b"\0", place)) >= 0:
        end = printed.find(b"\n", zero)
        end = end if end >= 0 else len(printed)
        number, colon, text = printed[zero + 1 : end].partition(b":")
        if colon and _NUMBER.fullmatch(number):
            yield _match(printed[place:zero], number, text)
        place = end + 1


def _matches_without_zeros(printed: bytes) -> Iterator[Match]:
    """The same where the image's grep ends names by a colon: the first number tells."""
    for line in printed.split(b"\n"):
        if found := re.match(rb"(.*?):([0-9]{1,18}):", line):
            yield _match(found[1], found[2], line[found.end() :])


def _match(name: bytes, number: bytes, text: bytes) -> Match:
    path = name.decode(errors="surrogateescape").removeprefix("./")
    return Match(path, int(number), text.removesuffix(b"\r")[:_LONGEST_LINE].decode(errors="replace"))
