"""What is to be run, and where its output goes: the two values that go from a call to its exec."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sandyard.client.errors import InvalidArgument
from sandyard.client.result import DEFAULT_KEEP

__all__ = ["Command", "Input", "Output", "Sinks", "check_count", "check_timeout", "encoded", "hand_over",
           "is_number"]  # fmt: skip

# Called with each piece of output; where it is asynchronous, the next piece waits for it.
Output = Callable[[bytes], Awaitable[None] | None]
Input = bytes | AsyncIterable[bytes]


@dataclass(frozen=True)
class Command:
    """A command and its limits.

    Attributes
    ----------
    words
        The program and its arguments.
    cwd
        Folder to run in, from the template's ``workingDir``.
    env
        Variables beyond the sandbox's own.
    stdin
        Its standard input.
    timeout
        Seconds from its begin to its end at the latest; None: no limit.
    output_limit
        Bytes of a stream beyond which it is ended; None: no limit.
    """

    words: Sequence[str]
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: Input = b""
    timeout: float | None = 60.0
    output_limit: int | None = None


@dataclass(frozen=True)
class Sinks:
    """Where a command's output goes.

    Attributes
    ----------
    on_stdout, on_stderr
        Called with output as it comes, all of it.
    keep
        Bytes of each stream that the result holds; beyond it, the beginning and the end.
    """

    on_stdout: Output | None = None
    on_stderr: Output | None = None
    keep: int = DEFAULT_KEEP


async def hand_over(data: bytes, output: Output | None) -> None:
    """Call *output* with *data*, if there is any, and wait for it where it is asynchronous."""
    if output is not None and data and (waiting := output(data)) is not None:
        await waiting


def check_timeout(seconds: float | None) -> None:
    """Raise `InvalidArgument` unless *seconds* is a time that a command may take."""
    if seconds is not None and not (is_number(seconds) and 0 < seconds < math.inf):
        raise InvalidArgument(f"timeout: {seconds!r} is not above zero and finite; None is for no limit")


def is_number(said: object) -> bool:
    """Whether it is a number, which no text is; nor is a truth, though Python counts with it."""
    return isinstance(said, int | float) and not isinstance(said, bool)


def check_count(name: str, said: int | None, least: int = 0) -> None:
    """Raise `InvalidArgument` unless the argument *name* is a whole number from *least* on, or None."""
    if said is not None and (isinstance(said, bool) or not isinstance(said, int) or said < least):
        raise InvalidArgument(f"{name}: {said!r} is no whole number from {least} on")


def encoded(text: str, what: str) -> bytes:
    """*text* in UTF-8; names of files may hold other bytes, as `os.fsdecode` has them.

    Raises
    ------
    InvalidArgument
        It is no text, or holds half a character, as broken JSON does; *what* names it in the error.
    """
    if not isinstance(text, str):
        raise InvalidArgument(f"{what}: a {type(text).__name__} is no text")
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise InvalidArgument(
            f"{what}: {half!r} at {error.start} is half a character, which UTF-8 does not have"
        ) from None
