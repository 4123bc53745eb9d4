"""A backend of deepagents: an agent's files and commands are those of a sandbox.

Needs the extra ``sandyard[deepagents]``.  The sandbox is its maker's: leaving ``with Sandbox.create(...)`` deletes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from sandyard.adapters import needs
from sandyard.client.errors import (
    CommandError,
    CommandTimeout,
    ExecTransportError,
    InvalidArgument,
    IsADirectory,
    NoSpace,
    OutputLimitExceeded,
    PermissionDenied,
    SandboxError,
    SandboxFileExists,
    SandboxFileNotFound,
)
from sandyard.client.result import DEFAULT_KEEP, CommandResult
from sandyard.client.sync import Sandbox
from sandyard.client.waiting import awaited, run

with needs("deepagents"):
    from deepagents.backends.protocol import (
        FILE_NOT_FOUND,
        INVALID_PATH,
        IS_DIRECTORY,
        PERMISSION_DENIED,
        ExecuteResponse,
        FileDownloadResponse,
        FileUploadResponse,
    )
    from deepagents.backends.sandbox import BaseSandbox

__all__ = ["SandyardSandbox"]

T = TypeVar("T")
# As timeout(1) and a shell have it.
_TIMED_OUT: Final = 124
_NOT_RUN: Final = 126
# Well below what Linux takes as one argument; what is longer goes by the shell's input, which then ends.
_LONGEST_COMMAND: Final = 64 * 1024
_FROM_INPUT: Final = 'eval "$(cat)"'
_WORDS: Final[dict[type[SandboxError], str]] = {
    SandboxFileNotFound: FILE_NOT_FOUND,
    IsADirectory: IS_DIRECTORY,
    PermissionDenied: PERMISSION_DENIED,
    InvalidArgument: INVALID_PATH,
    # Of what should have been a folder.
    SandboxFileExists: INVALID_PATH,
}
# What is wrong with one file; anything else is wrong with the sandbox.
_OF_A_FILE: Final[tuple[type[SandboxError], ...]] = (*_WORDS, NoSpace, CommandError)


class SandyardSandbox(BaseSandbox):
    """A sandbox as an agent uses it.

    What a command does is told in its response; a sandbox that cannot be used any more raises `SandboxError`.

    Parameters
    ----------
    sandbox
        Where everything happens.
    timeout
        Seconds that a command may take, unless its call says so.
    max_output
        Bytes of a command's output that are kept: where there is more, the beginning and the end.
    """

    def __init__(self, sandbox: Sandbox, *, timeout: int = 1800, max_output: int = DEFAULT_KEEP) -> None:
        self._sandbox = sandbox._behind
        self._timeout = timeout
        self._max_output = max_output

    @property
    def id(self) -> str:
        """Namespace and name of the Sandbox."""
        return f"{self._sandbox.namespace}/{self._sandbox.name}"

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Run a shell command; 0 is for no *timeout*. Output and errors come as one text, in their order."""
        return self._wait(self._execute(command, timeout))

    async def aexecute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """The same; cancelling it ends the command."""
        return await self._await(self._execute(command, timeout))

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Write files, each all of it or nothing; one that fails is told in its place."""
        return self._wait(_each([self._upload(path, content) for path, content in files]))

    async def aupload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """The same, for a caller with an event loop."""
        return await self._await(_each([self._upload(path, content) for path, content in files]))

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Read files of up to 100 MiB; one that fails is told in its place."""
        return self._wait(_each([self._download(path) for path in paths]))

    async def adownload_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """The same, for a caller with an event loop."""
        return await self._await(_each([self._download(path) for path in paths]))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return run(work, self._sandbox._session)

    async def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return await awaited(work, self._sandbox._session)

    async def _execute(self, command: str, timeout: int | None) -> ExecuteResponse:
        seconds = self._timeout if timeout is None else timeout
        try:
            whole = command.encode()
            text, given = (command, b"") if len(whole) <= _LONGEST_COMMAND else (_FROM_INPUT, whole)
            # The shell joins the two streams, so that their order stays.
            done = await self._sandbox.commands.run(
                f"exec 2>&1\n{text}", stdin=given, timeout=seconds or None, max_output=self._max_output
            )
        except CommandTimeout as error:
            return _cut_off(error.result, f"it was ended after {seconds} s", _TIMED_OUT)
        except ExecTransportError as error:
            if error.result is None or not error.started:
                raise
            return _cut_off(error.result, str(error), None)
        except (InvalidArgument, UnicodeEncodeError) as error:
            return ExecuteResponse(str(error), _NOT_RUN)
        return ExecuteResponse(done.stdout_text, done.exit_code, done.truncated)

    async def _upload(self, path: str, content: bytes) -> FileUploadResponse:
        try:
            await self._sandbox.files.write(_absolute(path), content)
        except _OF_A_FILE as error:
            return FileUploadResponse(path, _word(error))
        return FileUploadResponse(path)

    async def _download(self, path: str) -> FileDownloadResponse:
        try:
            return FileDownloadResponse(path, await self._sandbox.files.read(_absolute(path)))
        except _OF_A_FILE as error:
            return FileDownloadResponse(path, error=_word(error))


def _cut_off(done: CommandResult, why: str, exit_code: int | None) -> ExecuteResponse:
    return ExecuteResponse(f"{done.stdout_text}\n[{why}]", exit_code, done.truncated)


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f"{path}: begins with no /")
    return path


def _word(error: SandboxError) -> str:
    """What a model is told; where deepagents has no word for it, the error's own."""
    if isinstance(error.__cause__, OutputLimitExceeded):
        return str(error)
    return next((word for kind, word in _WORDS.items() if isinstance(error, kind)), str(error))


async def _each(work: list[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in their order; where one raises, none of the others goes on."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
