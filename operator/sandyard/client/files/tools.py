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
    checked,
)
from sandyard.client.exec import runner
from sandyard.client.exec.command import Command, Input, Output, Sinks
from sandyard.client.session.session import Session

__all__ = ["READ_LIMIT", "Tools"]

READ_LIMIT: Final = 100 * 1024 * 1024
_TIMEOUT_SECONDS: Final = 120.0
# Where output is handed over, the result needs no more than the message of an error.
_KEEP_MESSAGE: Final = 64 * 1024
_ERRORS: Final[dict[str, type[SandboxError]]] = {
    "No such file": SandboxFileNotFound,
    "nonexistent directory": SandboxFileNotFound,
    "can't cd to": SandboxFileNotFound,
    "Permission denied": PermissionDenied,
    "Operation not permitted": PermissionDenied,
    "Read-only file system": PermissionDenied,
    "Is a directory": IsADirectory,
    "File exists": SandboxFileExists,
    "No space left on device": NoSpace,
    "Disk quota exceeded": NoSpace,
}


class Tools:
    """Shell code on files of one sandbox."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def run(self, code: str, *words: str, stdin: Input = b"", limit: int = READ_LIMIT,
                  timeout: float | None = _TIMEOUT_SECONDS, on_stdout: Output | None = None) -> bytes:  # fmt: skip
        """Run shell code with *words* as its arguments and return its output, *limit* bytes at most.

        With *on_stdout*, hands over its output instead.

        Raises
        ------
        SandboxError
            The error of files that its message stands for; `CommandFailed` where it stands for none.
        """
        name = self._session.name
        for word in words:
            if "\0" in word or not word:
                raise InvalidArgument(f"{word!r} is not a path", sandbox=name)
        command = Command(["/bin/sh", "-c", code, "sandyard-files", *words], env={"LC_ALL": "C"}, stdin=stdin,
                          timeout=timeout, output_limit=limit)  # fmt: skip
        sinks = Sinks(on_stdout, keep=_KEEP_MESSAGE if on_stdout is not None else limit)
        try:
            return checked(await runner.run(self._session, command, sinks), name).stdout
        except CommandFailed as error:
            message = error.result.stderr_text.strip()
            for text, kind in _ERRORS.items():
                if text in message:
                    raise kind(message, sandbox=name) from error
            raise
