"""Writes many files with few execs: one archive of all of them, once it is known where each goes.

Each is put beside its place first, in a folder there, since nothing but a rename within one file system is one step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import posixpath
import re
import tarfile
from collections.abc import Iterable, Mapping
from typing import Final

from sandyard.client.errors import InvalidArgument, SandboxError
from sandyard.client.exec import script
from sandyard.client.files.places import Place, crowds, line, look
from sandyard.client.files.tools import Tools
from sandyard.client.result import CommandResult

__all__ = ["write"]

_SECONDS: Final = 120.0
_BYTES_A_SECOND: Final = 1024 * 1024
_MOST_NAMED: Final = 10
# The folder that a file lies in before it is in its place, as messages name it.
_BESIDE: Final = re.compile(r"\.sandyard-[0-9a-f]{32}/")


async def write(tools: Tools, files: Mapping[str, bytes]) -> None:
    """Write *files* by path.

    Raises
    ------
    SandboxError
        Some of them could not be written; the message says which.
    """
    way, places = await look(tools, list(files))
    _check_apart(places, way)
    beside = f".sandyard-{script.new_id()}"
    staged = {posixpath.join(place.folder, beside, place.name): place for place in places}
    contents = [files[place.path] for place in places]
    packed = (_tar if way == "tar" else _plain)(staged, contents)
    seconds = _SECONDS + len(packed) / _BYTES_A_SECOND
    done = await tools.result(_code(staged, packed, way), stdin=packed, timeout=seconds)
    if done.exit_code != 0:
        raise _error(tools, done, staged)


def _check_apart(places: Iterable[Place], way: str) -> None:
    known = dict[tuple[str, str], str]()
    for place in places:
        other = known.setdefault((place.folder, place.name), place.path)
        if other != place.path:
            raise InvalidArgument(f"files: {other!r} and {place.path!r} are the same file, by way of a link")
        if way != "tar" and "\n" in place.folder + place.name:
            raise InvalidArgument(f"files: {place.path!r}: a line feed in its name, and no tar in the image")


def _code(staged: Mapping[str, Place], packed: bytes, way: str) -> str:
    """The shell code that takes the archive; what ``put.sh`` wants to be told stands before it."""
    names = dict[str, list[str]]()
    for where, place in staged.items():
        names.setdefault(posixpath.dirname(where), []).append(place.name)
    each = [line('"$1"', [folder, *crowd]) for folder, inside in names.items() for crowd in crowds(inside)]
    parts = [
        f"digest={hashlib.sha256(packed).hexdigest()}",
        _function("beside", [line('"$@"', crowd) for crowd in crowds(names)]),
        _function("each", each),
        # With the modes as they are, and the time of the sandbox.
        _function("unpack", [f"set -- / {way} pm", script.text("unpack")]),
        script.text("put"),
    ]
    return "\n".join(parts)


def _function(name: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{name}() {{", *lines, "}"])


def _tar(staged: Mapping[str, Place], contents: Iterable[bytes]) -> bytes:
    target = io.BytesIO()
    # Its long names are read by every tar.
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as made:
        for (where, place), content in zip(staged.items(), contents, strict=True):
            member = tarfile.TarInfo(where.lstrip("/"))
            member.size, member.mode = len(content), place.mode
            made.addfile(member, io.BytesIO(content))
    return target.getvalue()


def _plain(staged: Mapping[str, Place], contents: Iterable[bytes]) -> bytes:
    """The same for an image without tar, as ``unpack.sh`` reads it."""
    parts = list[bytes]()
    for (where, place), content in zip(staged.items(), contents, strict=True):
        parts += [f"f {place.mode:o} {len(content)}\n".encode(), os.fsencode(where.lstrip("/")), b"\n", content]
    return b"".join([*parts, b"end 0 0\n"])


def _error(tools: Tools, done: CommandResult, staged: Mapping[str, Place]) -> SandboxError:
    """What went wrong, by the path that the caller has given, and which files are as they were."""
    left = [staged[name].path for name in map(os.fsdecode, done.stdout.split(b"\0")) if name in staged]
    lines = done.stderr_text.strip().splitlines() or [""]
    said = next(filter(tools.knows, lines), lines[0])
    named = next((place.path for where, place in staged.items() if where.lstrip("/") in said), left[0] if left else "")
    if left:
        more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
        told = f"all {len(staged)} files were written but {', '.join(left[:_MOST_NAMED])}{more}"
    else:
        told = f"none of {len(staged)} files was written"
    message = f"{named}: {_BESIDE.sub('', said)}; {told}".removeprefix(": ")
    return tools.error(dataclasses.replace(done, stderr=message.encode()))
