"""What runs inside the sandbox around each command: a POSIX shell, and nothing else of the image but ``cat``.

The script runs the command in the background and waits for it, then writes a mark with the exit
code to both streams. So the end is known although a child of the command still holds a stream,
and silence is never taken for success; a first mark tells that the command is about to start.
A mark holds a secret, which the script reads from its input ahead of the command's: it is in no
environment and among no process's arguments, so that the command cannot write a mark itself. A
process of the same user that was there before could still take it from the script's input or memory.
What ends a command finds its processes by three signs: its id in their environment, a parent that is one of
them, and its session, which each exec has to itself.  So neither a child with an empty environment nor one in
a session of its own is missed; one that has dropped all three is nobody's, and goes with the sandbox.  Only a
subreaper could know it, and a shell cannot be one.  Two watches inside the sandbox do so: one when the stream
from the client ends before the command has, one when the command's time is over, should nobody have told of
the client's end.  Each process costs a small command a tenth of its time in gVisor: the second watch begins
when the client says that the command has run for a moment, where there is no input in the way.
The shell's part lies in ``sh/``.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sandyard.client.errors import InvalidArgument

__all__ = ["Request", "by_bash", "is_id", "kill", "new_id", "place", "run", "text", "variables", "words_of"]

# Everything of an exec travels in the URL of its request; some proxies take no more than 8 KiB of it.
_LONGEST_ARGUMENTS: Final = 5200
# Linux takes no single argument from this length on (MAX_ARG_STRLEN).
_LONGEST_WORD: Final = 128 * 1024 - 1
_NAME: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
# Reads just so many bytes of its input, which the rest of it must not lose any of: byte by byte where dd would
# otherwise take a short read for all of it.
_BOOT: Final = 'eval "$(dd bs=$1 count=1 iflag=fullblock 2>/dev/null || dd bs=1 count=$1 2>/dev/null)"'


@dataclass(frozen=True)
class Request:
    """An exec: the arguments in its URL, what goes ahead of its input, and the secret word in its marks."""

    words: list[str]
    preface: bytes = b""
    mark: str = ""


@functools.cache
def text(*parts: str) -> str:
    """The shell code of these files, without comments."""
    folder = importlib.resources.files("sandyard.client.exec") / "sh"
    lines = [line.strip() for part in parts for line in (folder / f"{part}.sh").read_text().splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def words_of(command: str | Sequence[str]) -> list[str]:
    """The words of a command; a text is run by ``/bin/sh -c``."""
    return ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)


def by_bash(code: str, *words: str) -> list[str]:
    """The words that run a script of ours, called *words*, by bash where the image has one."""
    return ["/bin/sh", "-c", text("raw", "by_bash"), words[0], code, *words]


def variables(env: Mapping[str, str]) -> list[str]:
    """``NAME=VALUE`` words, as the scripts take them."""
    return [f"{name}={value}" for name, value in env.items()]


def place(folder: str) -> str:
    """The folder as ``cd`` takes it: neither an option of it, nor looked for elsewhere (CDPATH)."""
    return folder if folder.startswith("/") else f"./{folder}"


def new_id() -> str:
    """An id that no output contains by chance."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Whether *text* is of the kind that `new_id` makes."""
    return re.fullmatch("[0-9a-f]{32}", text) is not None


def run(
    exec_id: str, command: str | Sequence[str], *, folder: str, env: Mapping[str, str], watch_seconds: int,
    stdin_bytes: int | None = None,
) -> Request:  # fmt: skip
    """The exec that runs *command*; a text is run by ``/bin/sh -c``.

    With *stdin_bytes* its input ends after so many, and the stream has to stay open: its end tells that the
    client is gone, which ends the command.

    Raises
    ------
    InvalidArgument
        A word is longer than Linux takes, or a variable's name is none.
    """
    words, assigned = words_of(command), variables(env)
    for name in env:
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"env: {name!r} is no name of a variable that a shell can set: letters, digits and _")
    for word in (*words, *assigned, folder):
        if "\0" in word:
            raise InvalidArgument("a command and its environment hold no NUL bytes")
        if len(_bytes(word)) > _LONGEST_WORD:
            raise InvalidArgument(
                f"{len(_bytes(word))} bytes are too long for one argument (Linux takes {_LONGEST_WORD}): "
                "write it to a file, or send it as stdin"
            )
    length = str(stdin_bytes) if stdin_bytes is not None else "-"
    code = text("functions", "raw", "run") if watch_seconds or stdin_bytes is not None else text("raw", "run")
    request = _request(code, [exec_id, str(watch_seconds), place(folder), length, *assigned, "--", *words])
    mark = new_id()
    return dataclasses.replace(request, preface=request.preface + f"{mark}\n".encode(), mark=mark)


def kill(exec_id: str, signal: str = "TERM", grace_seconds: int = 5) -> list[str]:
    """The arguments of an exec that ends every process of a command."""
    code = text("functions") + '\nsandyard_end "$@"'
    return ["/bin/sh", "-c", code, "sandyard", exec_id, signal, str(grace_seconds)]


def _request(code: str, arguments: list[str]) -> Request:
    words = ["/bin/sh", "-c", code, "sandyard-run", *arguments]
    # Names of files may hold bytes that are no text; a URL may not.
    plain = all(word.encode(errors="replace") == _bytes(word) for word in arguments)
    if plain and sum(len(_bytes(word)) for word in words) <= _LONGEST_ARGUMENTS:
        return Request(words)
    preface = _bytes(f"set -- {shlex.join(arguments)}\n{code}")
    # The id, by which what ends the command knows this shell.
    return Request(["/bin/sh", "-c", _BOOT, "sandyard-run", str(len(preface)), arguments[0]], preface)


def _bytes(word: str) -> bytes:
    return word.encode(errors="surrogateescape")
