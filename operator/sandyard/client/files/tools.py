"""Runs the programs of the image that files are reached by; what goes wrong becomes an error of files."""

from __future__ import annotations

from typing import Final

from sandyard.client.errors import (
    CommandFailed,
    InvalidArgument,
    IsADirectory,
    NoSpace,
    PermissionDenied,
    SandboxError,
    SandboxFileExists,
    SandboxFileNotFound,
)
from sandyard.client.exec import runner
from sandyard.client.exec.command import Command, Input, Output, Sinks
from sandyard.client.result import CommandResult
from sandyard.client.session.session import Session

__all__ = ["NO_PIPE", "READ_LIMIT", "Tools", "check_path", "undashed"]

READ_LIMIT: Final = 100 * 1024 * 1024
_TIMEOUT_SECONDS: Final = 120.0
# Shell code: to open a FIFO is to wait for whoever has its other end.
NO_PIPE: Final = '[ ! -p "$1" ] && [ ! -S "$1" ] || { echo "$1: not a plain file" >&2; exit 1; };'
# Where output is handed over, the result needs no more than the message of an error.
_KEEP_MESSAGE: Final = 64 * 1024
# The pod's own variables are for what is run there; of our programs they would change the answers.
_OURS: Final = {"CDPATH": "", "TAR_OPTIONS": "", "GREP_OPTIONS": ""}
_ERRORS: Final[dict[str, type[SandboxError]]] = {
    "No such file": SandboxFileNotFound,
    # Of busybox.
    "no such file": SandboxFileNotFound,
    "nonexistent directory": SandboxFileNotFound,
    "can't cd to": SandboxFileNotFound,
    "Permission denied": PermissionDenied,
    "Operation not permitted": PermissionDenied,
    "Read-only file system": PermissionDenied,
    "Is a directory": IsADirectory,
    "not a plain file": InvalidArgument,
    "Not a directory": InvalidArgument,
    "File exists": SandboxFileExists,
    "File name too long": InvalidArgument,
    "Too many levels of symbolic links": InvalidArgument,
    "No space left on device": NoSpace,
    "Disk quota exceeded": NoSpace,
    # What tar and busybox say of the last piece that fits.
    "Wrote only": NoSpace,
    "short write": NoSpace,
}


class Tools:
    """Shell code on files of one sandbox, run in the folder *cwd*."""

    def __init__(self, session: Session, cwd: str = ".") -> None:
        self._session = session
        self._cwd = cwd

    @property
    def sandbox(self) -> str:
        """Its name."""
        return self._session.name

    async def run(self, code: str, *words: str, stdin: Input = b"", limit: int = READ_LIMIT,
                  timeout: float | None = _TIMEOUT_SECONDS, on_stdout: Output | None = None,
                  locale: str = "C") -> bytes:  # fmt: skip
        """Run shell code with *words* as its arguments, the first a path; return its output, *limit* bytes at most.

        With *on_stdout*, hands over its output instead.

        Raises
        ------
        SandboxError
            The error of files that its message stands for; `CommandFailed` where it stands for none.
        """
        done = await self.result(code, *words, stdin=stdin, limit=limit, timeout=timeout, on_stdout=on_stdout,
                                 locale=locale)  # fmt: skip
        if done.exit_code != 0:
            raise self.error(done)
        return done.stdout

    async def result(self, code: str, *words: str, stdin: Input = b"", limit: int = READ_LIMIT,
                     timeout: float | None = _TIMEOUT_SECONDS, on_stdout: Output | None = None,
                     locale: str = "C") -> CommandResult:  # fmt: skip
        """The same, whatever its exit code."""
        for word in words:
            check_path(word, self.sandbox)
        # Without words the code may be longer than an argument.
        told = ["sandyard-files", undashed(words[0]), *words[1:]] if words else []
        command = Command(["/bin/sh", "-c", code, *told], self._cwd, {**_OURS, "LC_ALL": locale}, stdin, timeout, limit)
        sinks = Sinks(on_stdout, keep=_KEEP_MESSAGE if on_stdout is not None else limit)
        return await runner.run(self._session, command, sinks)

    @staticmethod
    def knows(message: str) -> str | None:
        """The part of it that an error of files stands for."""
        return next((text for text in _ERRORS if text in message), None)

    def error(self, done: CommandResult) -> SandboxError:
        """What the message of a command that has failed stands for."""
        message = done.stderr_text.strip()
        if text := self.knows(message):
            return _ERRORS[text](message, sandbox=self.sandbox)
        return CommandFailed(f"exit code {done.exit_code}: {message[-500:]}", done, sandbox=self.sandbox)


def check_path(path: str, sandbox: str = "") -> None:
    """Raise `InvalidArgument` unless *path* can be one."""
    if not isinstance(path, str):
        kind = type(path).__name__
        raise InvalidArgument(f"{path!r:.80} is not a path: give text, not a {kind}: str(...) of it", sandbox=sandbox)
    if "\0" in path or not path:
        raise InvalidArgument(f"{path!r} is not a path", sandbox=sandbox)


def undashed(path: str) -> str:
    """A path that no program takes for an option, or for its standard input."""
    check_path(path)
    return f"./{path}" if path.startswith("-") else path
