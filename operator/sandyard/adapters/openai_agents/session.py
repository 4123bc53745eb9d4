"""A session of the Agents SDK in one sandbox."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from sandyard.adapters import needs
from sandyard.adapters.openai_agents import workspace
from sandyard.adapters.openai_agents.processes import Process, Processes, begin
from sandyard.adapters.openai_agents.state import SandyardSandboxSessionState
from sandyard.client import errors
from sandyard.client.commands.forward import Forward
from sandyard.client.sandbox import AsyncSandbox

with needs("openai-agents"):
    from agents.sandbox.errors import (
        ConfigurationError,
        ErrorCode,
        ExecTimeoutError,
        ExecTransportError,
        ExposedPortUnavailableError,
        WorkspaceArchiveReadError,
        WorkspaceArchiveWriteError,
        WorkspaceReadNotFoundError,
        WorkspaceStartError,
    )
    from agents.sandbox.session.base_sandbox_session import BaseSandboxSession
    from agents.sandbox.session.pty_types import (
        PtyExecUpdate,
        clamp_pty_yield_time_ms,
        resolve_pty_write_yield_time_ms,
    )
    from agents.sandbox.session.runtime_helpers import RESOLVE_WORKSPACE_PATH_HELPER, RuntimeHelperScript
    from agents.sandbox.session.workspace_payloads import coerce_write_payload
    from agents.sandbox.types import ExecResult, ExposedPortEndpoint, User

__all__ = ["SandyardSandboxSession", "context_of"]

_log: Final = logging.getLogger(__name__)
_FIRST_LOOK_SECONDS: Final = 10.0
_NEXT_LOOK_SECONDS: Final = 0.25
# In these words the SDK tells a model what to do.
_NO_INPUT: Final = "stdin is not available for this process"


class SandyardSandboxSession(BaseSandboxSession):
    """A session in one sandbox, which has one user: whoever asks for another one gets a `ConfigurationError`.

    Attributes
    ----------
    sandbox
        What does the work.
    """

    state: SandyardSandboxSessionState

    def __init__(self, state: SandyardSandboxSessionState, sandbox: AsyncSandbox) -> None:
        self.state = state
        self.sandbox = sandbox
        self._root_is_there = False
        self._processes = Processes()
        self._forwards: dict[int, Forward] = {}

    # Files

    async def read(self, path: Path, *, user: str | User | None = None) -> io.IOBase:
        """Read a file of the workspace, of up to 100 MiB."""
        _no_user("read", user)
        return io.BytesIO(await self._content(path, None))

    async def _read_bounded(self, path: Path, *, max_bytes: int) -> bytes:
        return await self._content(path, max_bytes)

    async def _content(self, path: Path, length: int | None) -> bytes:
        where = await self._validate_path_access(path)
        try:
            return await self.sandbox.files.read(where.as_posix(), length=length)
        except errors.SandboxFileNotFound as error:
            raise WorkspaceReadNotFoundError(path=path, cause=error) from error
        except errors.SandboxError as error:
            raise WorkspaceArchiveReadError(path=path, context=context_of(error), cause=error) from error

    async def write(self, path: Path, data: io.IOBase, *, user: str | User | None = None) -> None:
        """Write a file of the workspace, all of it or nothing, and make the folders above it."""
        _no_user("write", user)
        content = coerce_write_payload(path=path, data=data).stream.read()
        where = await self._validate_path_access(path, for_write=True)
        try:
            await self.sandbox.files.write(where.as_posix(), content)
        except errors.SandboxError as error:
            raise WorkspaceArchiveWriteError(path=path, context=context_of(error), cause=error) from error

    async def persist_workspace(self) -> io.IOBase:
        """The workspace as a tar stream, without what is not to be kept."""
        root = self._workspace_root_path()
        try:
            return await workspace.pack(self.sandbox, root, sorted(self._persist_workspace_skip_relpaths()))
        except errors.SandboxError as error:
            raise WorkspaceArchiveReadError(path=root, context=context_of(error), cause=error) from error

    async def hydrate_workspace(self, data: io.IOBase) -> None:
        """Unpack a tar stream into the workspace; one with names that lead out of it is refused."""
        root = self._workspace_root_path()
        try:
            await workspace.unpack(self.sandbox, root, data)
        except errors.SandboxError as error:
            raise WorkspaceArchiveWriteError(path=root, context=context_of(error), cause=error) from error

    async def _validate_path_access(self, path: Path | str, *, for_write: bool = False) -> Path:
        # Links of the sandbox lead where its tenant wants.
        where: Path = await self._validate_remote_path_access(path, for_write=for_write)
        return where

    def _runtime_helpers(self) -> tuple[RuntimeHelperScript, ...]:
        return (RESOLVE_WORKSPACE_PATH_HELPER,)

    def _current_runtime_helper_cache_key(self) -> object | None:
        return self.state.uid

    # Commands

    async def _exec_internal(self, *command: str | Path, timeout: float | None = None) -> ExecResult:
        words, env = [str(word) for word in command], await self._environment()
        with _told(command, timeout):
            done = await self.sandbox.commands.run(words, cwd=self._cwd(), env=env, timeout=timeout)
        code = done.exit_code if done.exit_code is not None else -1
        return ExecResult(stdout=done.stdout, stderr=done.stderr, exit_code=code)

    def supports_pty(self) -> bool:
        """Whether commands may run on between calls: they may."""
        return True

    async def pty_exec_start(
        self, *command: str | Path, timeout: float | None = None, shell: bool | list[str] = True,
        user: str | User | None = None, tty: bool = False, yield_time_s: float | None = None,
        max_output_tokens: int | None = None,
    ) -> PtyExecUpdate:  # fmt: skip
        """Begin a command, and return what it has said after *yield_time_s*, or at its end if that is sooner."""
        words, env = self._prepare_exec_command(*command, shell=shell, user=user), await self._environment()
        look = clamp_pty_yield_time_ms(_milliseconds(yield_time_s, _FIRST_LOOK_SECONDS))
        with _told(command, timeout):
            process = await begin(self.sandbox, words, self._cwd(), env, tty=tty, timeout=timeout)
            number = await self._processes.add(process)
            return await self._processes.update(number, look, max_output_tokens)

    async def pty_write_stdin(
        self, *, session_id: int, chars: str, yield_time_s: float | None = None, max_output_tokens: int | None = None
    ) -> PtyExecUpdate:  # fmt: skip
        """Type *chars* on a command's terminal, and return what it has said since, as `pty_exec_start` does."""
        process = self._resolve_pty_session_entry(pty_processes=self._processes.running, session_id=session_id)
        look = resolve_pty_write_yield_time_ms(
            yield_time_ms=_milliseconds(yield_time_s, _NEXT_LOOK_SECONDS), input_empty=not chars
        )
        with _told(("write_stdin", str(session_id)), None):
            if chars:
                await _type(process, chars)
            return await self._processes.update(session_id, look, max_output_tokens)

    async def pty_terminate_all(self) -> None:
        """End every command that runs on."""
        await self._processes.end()

    def _prepare_exec_command(
        self, *command: str | Path, shell: bool | list[str], user: str | User | None
    ) -> list[str]:  # fmt: skip
        _no_user("exec", user)
        words: list[str] = super()._prepare_exec_command(*command, shell=shell, user=None)
        return words

    async def _environment(self) -> dict[str, str]:
        return dict(await self.state.manifest.environment.resolve())

    def _cwd(self) -> str:
        return self._workspace_root_path().as_posix() if self._root_is_there else "."

    # Ports

    async def _resolve_exposed_port(self, port: int) -> ExposedPortEndpoint:
        try:
            if port not in self._forwards:
                self._forwards[port] = await self.sandbox.forward(port)
        except errors.SandboxError as error:
            raise ExposedPortUnavailableError(
                port=port, exposed_ports=self.state.exposed_ports, reason="backend_unavailable",
                context=context_of(error), cause=error,
            ) from error  # fmt: skip
        end = self._forwards[port]
        return ExposedPortEndpoint(host=end.address, port=end.local_port, tls=False)

    # Its life

    async def running(self) -> bool:
        """Whether the sandbox can be used now."""
        try:
            return await self.sandbox.is_running()
        except errors.SandboxError:
            return False

    async def _prepare_backend_workspace(self) -> None:
        root = self._workspace_root_path()
        try:
            await self.sandbox.files.mkdir(root.as_posix())
        except errors.SandboxError as error:
            raise WorkspaceStartError(path=root, context=context_of(error), cause=error, message=str(error)) from error
        self._root_is_there = True

    async def _shutdown_backend(self) -> None:
        for forward in self._forwards.values():
            await forward.close()
        self._forwards.clear()
        try:
            await self.sandbox.kill(wait=False)
        except errors.SandboxError as error:
            _log.warning("Sandbox %s is left to its timeout: %s", self.sandbox.name, error)
            await self.sandbox.close()


async def _type(process: Process, chars: str) -> None:
    if process.terminal is None:
        raise RuntimeError(_NO_INPUT)
    # One that has ended, or was lost, tells that itself.
    with contextlib.suppress(errors.ExecTransportError):
        await process.terminal.write(chars.encode())


def context_of(error: errors.SandboxError) -> dict[str, object]:
    """What the SDK's own error keeps of one of the client's."""
    return {"backend": "sandyard", "sandbox": error.sandbox, "code": error.code, "detail": str(error)}


@contextlib.contextmanager
def _told(command: Sequence[str | Path], timeout: float | None) -> Iterator[None]:
    """Raise the SDK's errors of a command."""
    try:
        yield
    except errors.CommandTimeout as error:
        raise ExecTimeoutError(command=command, timeout_s=timeout, cause=error) from error
    except errors.SandboxError as error:
        raise ExecTransportError(
            command=command, context=context_of(error), cause=error, message=str(error), retryable=error.retryable
        ) from error


def _no_user(op: Literal["exec", "read", "write"], user: str | User | None) -> None:
    if user is None:
        return
    name = user.name if isinstance(user, User) else user
    raise ConfigurationError(
        message=f"user: a sandbox runs everything as its template's user, and nothing as {name!r}; leave it out",
        error_code=ErrorCode.SANDBOX_CONFIG_INVALID, op=op, context={"backend": "sandyard", "user": name},
    )  # fmt: skip


def _milliseconds(seconds: float | None, otherwise: float) -> int:
    return round(1000 * (otherwise if seconds is None else seconds))
