"""A command with a terminal (PTY), for people and for programs that talk to one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from types import TracebackType
from typing import Final, Self

from sandyard.client.errors import ExecTransportError, SandboxError
from sandyard.client.exec import leash, opening, script
from sandyard.client.exec.call import LOST_REASON_SECONDS, REASON_SECONDS
from sandyard.client.exec.termination import terminate
from sandyard.client.session.session import Session
from sandyard.kube import errors, remotecommand

__all__ = ["Terminal"]

# By KILL: as its pod ends it, or somebody within.
_KILLED: Final = 137
_FAREWELL_SECONDS: Final = 10.0


class Terminal:
    """A command on a terminal: iterate over it for its output. Leaving its context ends the command.

    Attributes
    ----------
    exit_code
        0-255 once the command has ended; None before.
    """

    def __init__(self, session: Session, command: Sequence[str], size: tuple[int, int], cwd: str,
                 env: dict[str, str]) -> None:  # fmt: skip
        self._session = session
        self._size = size
        self._id = script.new_id()
        self._asked = cwd, env, ("--", *command)
        self._stack = contextlib.AsyncExitStack()
        self._process: remotecommand.Exec | None = None
        self._output: AsyncGenerator[bytes, None] | None = None
        self._leash: asyncio.Task[None] | None = None
        self.exit_code: int | None = None

    async def __aenter__(self) -> Self:
        if self._process is not None:
            return self
        await self._session.check_usable()
        cwd, env, command = self._asked
        words = await opening.prepared(self._session, "terminal", self._id, cwd, env, *command)
        turn = await self._session.exec_limit.turn()
        turn.settle()
        try:
            self._process = await self._stack.enter_async_context(self._session.open_interactive(words, tty=True))
            await self.resize(*self._size)
        except (errors.ApiError, errors.TransportError) as error:
            raise self._session.explain_exec(error) from error
        except asyncio.CancelledError:
            # Nobody gets it, so nobody would close it.
            with contextlib.suppress(Exception):
                await asyncio.shield(asyncio.wait_for(self.__aexit__(None, None, None), _FAREWELL_SECONDS))
            raise
        self._leash = asyncio.create_task(leash.hold(self._session, self._id, "HUP"))
        self._session.keep(self._leash)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if self._leash is not None:
            self._leash.cancel()
            await asyncio.gather(self._leash, return_exceptions=True)
        if self._output is not None:
            # Another task may be reading: it is told of the end by what it reads.
            with contextlib.suppress(RuntimeError):
                await self._output.aclose()
        if self.exit_code is None:
            with contextlib.suppress(errors.ApiError, errors.TransportError):
                await terminate(self._session, self._id, "HUP", 2)

    async def write(self, data: bytes) -> None:
        """Type *data*."""
        assert self._process is not None, "use the terminal as a context manager"
        try:
            await self._process.write(data)
        except errors.TransportError as error:
            raise ExecTransportError(str(error), started=True, sandbox=self._session.name) from error

    async def read(self) -> bytes:
        """Wait for output and return it; empty once the command has ended."""
        return await anext(aiter(self), b"")

    async def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size, in characters."""
        assert self._process is not None, "use the terminal as a context manager"
        with contextlib.suppress(errors.TransportError):
            await self._process.resize(columns, rows)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The terminal's output from where the last reader stopped, until the command has ended.

        Raises
        ------
        SandboxDeleted, SandboxEnded, SandboxExpired, SandboxRestarted
            The sandbox ended before the command did.
        ExecTransportError
            The stream broke off.
        """
        if self._output is None:
            self._output = self._read()
        return self._output

    async def _read(self) -> AsyncGenerator[bytes, None]:
        assert self._process is not None, "use the terminal as a context manager"
        shown: asyncio.Queue[bytes] = asyncio.Queue(64)

        async def read(process: remotecommand.Exec) -> None:
            async for _, data in process:
                await shown.put(data)

        reading = asyncio.create_task(read(self._process))
        getting: asyncio.Task[bytes] | None = None
        try:
            async with self._session.end_watch.held() as losing:
                while not (reading.done() and shown.empty()):
                    getting = asyncio.create_task(shown.get())
                    await asyncio.wait({getting, losing, reading}, return_when=asyncio.FIRST_COMPLETED)
                    if getting.done():
                        yield getting.result()
                    elif losing.done():
                        raise losing.result().with_traceback(None)
                    else:
                        getting.cancel()
                await self._finish(reading, losing)
        finally:
            reading.cancel()
            if getting is not None:
                getting.cancel()

    async def _finish(self, reading: asyncio.Task[None], losing: asyncio.Task[SandboxError]) -> None:
        failure = reading.exception()
        process = self._process
        assert process is not None
        code = process.exit.code if failure is None and process.exit is not None else None
        if code is not None and code != _KILLED:
            self.exit_code = code
            return
        with contextlib.suppress(TimeoutError):
            seconds = LOST_REASON_SECONDS if code is None else REASON_SECONDS
            raise (await asyncio.wait_for(asyncio.shield(losing), seconds)).with_traceback(None)
        if code is not None:
            self.exit_code = code
            return
        text = str(failure) if failure is not None else process.exit.message if process.exit is not None else ""
        raise ExecTransportError(text, started=True, sandbox=self._session.name)
