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
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from yarl import URL

from sandyard.api.variables import is_settable
from sandyard.client.errors import InvalidArgument
from sandyard.client.exec.command import encoded

__all__ = ["Request", "by_bash", "fits", "is_id", "kill", "leash", "new_id", "place", "run", "session", "text",
           "variables", "words_of"]  # fmt: skip

# Everything of an exec travels in the URL of its request; some proxies take no more than 8 KiB of it.  The path with
# the longest names and the options take 230 bytes, and our script up to 7.9 KB; what goes ahead of the input instead
# costs two more processes.
_LONGEST_QUERY: Final = 8192 - 250
# Linux takes no single argument from this length on (MAX_ARG_STRLEN).
_LONGEST_WORD: Final = 128 * 1024 - 1
# Nor of all of them together, with a pointer to each (a quarter of the usual stack, see execve(2)).
_LONGEST_WORDS: Final = 2 * 1024 * 1024
_POINTER: Final = 8
# Bytes of a command's text that a shell reads as a script, where it is too long for an argument.
_LONGEST_TEXT: Final = 16 * 1024 * 1024
_QUOTED: Final = 80
_LONG_NAME: Final = re.compile(r"(?<!\w)sandyard_\w+")
# Reads just so many bytes of its input, which the rest of it must not lose any of: byte by byte where dd would
# otherwise take a short read for all of it; by head where there is no dd.
_BOOT: Final = 'eval "$(dd bs=$1 count=1 iflag=fullblock 2>/dev/null || dd bs=1 count=$1 2>/dev/null || head -c $1)"'


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


@functools.cache
def _short(*parts: str) -> str:
    """The same with short names of its own, so that all of it goes into the URL of its request."""
    code = text(*parts)
    names = sorted(set(_LONG_NAME.findall(code)))
    # The letters of those that are short already are small.
    short = {name: f"_sy_{letter}" for name, letter in zip(names, string.ascii_uppercase + string.digits, strict=False)}
    return _LONG_NAME.sub(lambda found: short[found[0]], code)


def words_of(command: str | Sequence[str]) -> list[str]:
    """The words of a command; a text is run by ``/bin/sh -c``.

    Raises
    ------
    InvalidArgument
        It is neither text nor words, or a word is something else.
    """
    if isinstance(command, str):
        return ["/bin/sh", "-c", command]
    if not isinstance(command, Sequence) or isinstance(command, bytes | bytearray) or not command:
        raise InvalidArgument(f"command: {command!r:.80} is neither text nor a list of words")
    _check_text("command", *command)
    return list(command)


def by_bash(code: str, *words: str) -> list[str]:
    """The words that run a script of ours, called *words*, by bash where the image has one."""
    return ["/bin/sh", "-c", text("raw", "by_bash"), words[0], code, *words]


def variables(env: Mapping[str, str]) -> list[str]:
    """``NAME=VALUE`` words, as the scripts take them; first, after a ``=``, those that no shell can set, for env(1).

    Raises
    ------
    InvalidArgument
        A name is none that any program can have.
    """
    if not isinstance(env, Mapping):
        raise InvalidArgument(f"env: a {type(env).__name__} is no mapping of names to values")
    _check_text("env", *env, *env.values())
    for name in env:
        if not name or "=" in name:
            raise InvalidArgument(f"env: {name!r} is no name of a variable: it is empty or holds a =")
    plain = [f"{name}={value}" for name, value in env.items() if is_settable(name)]
    others = [f"{name}={value}" for name, value in env.items() if not is_settable(name)]
    return [f"={shlex.join(others)}", *plain] if others else plain


def place(folder: str) -> str:
    """The folder as ``cd`` takes it: neither an option of it, nor looked for elsewhere (CDPATH).

    Raises
    ------
    InvalidArgument
        It is no text.
    """
    _check_text("cwd", folder)
    return folder if folder.startswith("/") else f"./{folder}"


def new_id() -> str:
    """An id that no output contains by chance."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Whether *text* is of the kind that `new_id` makes."""
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{32}", text) is not None


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
    _check_text("cwd", folder)
    words, assigned, said = words_of(command), variables(env), ""
    if len(words) == 3 and words[:2] == ["/bin/sh", "-c"] and _LONGEST_WORD < len(_bytes(words[2])) <= _LONGEST_TEXT:
        _no_zeros(words)
        words, said = ["/bin/sh", "/dev/fd/6"], words[2]
    _check([*words, *assigned, folder])
    length = str(stdin_bytes) if stdin_bytes is not None else "-"
    watched = watch_seconds or stdin_bytes is not None
    parts = (
        (["functions"] if watched else []) + ["raw", "give", "program"] + (["feed"] if stdin_bytes else []) + ["run"]
    )
    code = _short(*parts)
    request = _request(code, [exec_id, str(watch_seconds), place(folder), length, said, *assigned, "--", *words])
    mark = new_id()
    return dataclasses.replace(request, preface=request.preface + f"{mark}\n".encode(), mark=mark)


def session(part: str, exec_id: str, folder: str, env: Mapping[str, str], *words: str) -> list[str]:
    """The arguments of an exec with a script that begins a shell or a terminal; they are all that it is told.

    Raises
    ------
    InvalidArgument
        A word is none that a request can carry, text without NUL bytes, or longer than Linux takes.
    """
    _check_text("command", *words)
    told = [exec_id, place(folder), *variables(env), *words]
    _check(told)
    for word in told:
        if word.encode(errors="replace") != _bytes(word):
            raise InvalidArgument(f"{word!r}: only text can be sent here, and this holds bytes that are none")
    return ["/bin/sh", "-c", text("raw", "give", "program", part), f"sandyard-{part}", *told]


def kill(exec_id: str, signal: str = "TERM", grace_seconds: int = 5, *, unborn: bool = False) -> list[str]:
    """The arguments of an exec that ends every process of a command.

    *unborn*: it may not have begun; a terminal that begins later than this finds a note, and ends.
    """
    code = text("functions", "unborn") if unborn else text("functions") + '\nsandyard_end "$@"'
    return ["/bin/sh", "-c", code, "sandyard", exec_id, signal, str(grace_seconds)]


def leash(exec_id: str, signal: str, grace_seconds: int = 2) -> list[str]:
    """The arguments of an exec that ends every process of a command once its own input ends without a ``q``."""
    code = 'echo\nwhile read -r sandyard_word; do [ "$sandyard_word" != q ] || exit 0; done\nsandyard_end "$@"'
    words = ["sandyard-leash", exec_id, signal, str(grace_seconds)]
    return ["/bin/sh", "-c", f"{text('functions')}\n{code}", *words]


def fits(words: Sequence[str]) -> bool:
    """Whether these arguments are no more than any proxy takes."""
    return sum(_in_query(word) for word in words) <= _LONGEST_QUERY


@functools.lru_cache(64)
def _in_query(word: str) -> int:
    """How long an argument is in a URL."""
    return len(URL.build(query=[("command", word)]).raw_query_string) + 1


def _request(code: str, arguments: list[str]) -> Request:
    words = ["/bin/sh", "-c", code, "sandyard-run", *arguments]
    # Names of files may hold bytes that are no text; a URL may not.
    plain = all(word.encode(errors="replace") == _bytes(word) for word in arguments)
    if plain and fits(words):
        return Request(words)
    preface = _bytes(f"set -- {shlex.join(arguments)}\n{code}")
    # The id, by which what ends the command knows this shell.
    return Request(["/bin/sh", "-c", _BOOT, "sandyard-run", str(len(preface)), arguments[0]], preface)


def _check(words: Sequence[str]) -> None:
    """Raise unless Linux takes these words and variables for a command."""
    _no_zeros(words)
    for word in words:
        if len(_bytes(word)) > _LONGEST_WORD:
            raise InvalidArgument(
                f"{len(_bytes(word))} bytes are too long for one argument (Linux takes {_LONGEST_WORD}): "
                "write it to a file, or send it as stdin"
            )
    together = sum(len(_bytes(word)) + 1 + _POINTER for word in words)
    if together > _LONGEST_WORDS:
        raise InvalidArgument(
            f"{together} bytes are too long for all words and variables of a command (Linux takes {_LONGEST_WORDS}): "
            "write some of them to a file, or send them as stdin"
        )


def _check_text(what: str, *words: object) -> None:
    for word in words:
        if not isinstance(word, str):
            raise InvalidArgument(
                f"{what}: {word!r:.80} is no text but of type {type(word).__name__}: give str(...) of it"
            )


def _no_zeros(words: Sequence[str]) -> None:
    if any("\0" in word for word in words):
        raise InvalidArgument("a command and its environment hold no NUL bytes")


def _bytes(word: str) -> bytes:
    return encoded(word, repr(word[:_QUOTED]))
