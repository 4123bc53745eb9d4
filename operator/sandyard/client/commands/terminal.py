"""A command with a terminal (PTY), for people and for programs that talk to one."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Final, Self

from sandyard.client.errors import ExecTransportError, InvalidArgument, NotFinished, SandboxError
from sandyard.client.exec import leash, opening, script
from sandyard.client.exec.call import LOST_REASON_SECONDS, REASON_SECONDS
from sandyard.client.exec.command import check_count, is_number
from sandyard.client.exec.farewell import to_the_end
from sandyard.client.exec.termination import terminate
from sandyard.client.session.session import Session
from sandyard.kube import errors, remotecommand

__all__ = ["Terminal"]

# By KILL: as its pod ends it, or somebody within.
_KILLED: Final = 137
_FAREWELL_SECONDS: Final = 10.0
# Pieces of output that wait for a reader; the command waits with what it says beyond them.
_MOST_PIECES: Final = 64


class _Shown:
    """Output that nobody has read yet.

    To wait for it takes nothing, so that whoever gives up waiting loses nothing; `take` may be called in any thread.
    """

    def __init__(self) -> None:
        self._pieces = deque[bytes]()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False

    @property
    def pieces(self) -> int:
        """How many wait."""
        return len(self._pieces)

    async def put(self, piece: bytes) -> None:
        """Add a piece, once there is room for it."""
        while len(self._pieces) >= _MOST_PIECES:
            self._room.clear()
            await self._room.wait()
        self._pieces.append(piece)
        self._news.set()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._news.set()

    async def some(self) -> bool:
        """Wait until there is something to take; False: there is nothing more."""
        self._room.set()
        while not self._pieces and not self._ended:
            self._news.clear()
            await self._news.wait()
        return bool(self._pieces)

    def take(self) -> bytes | None:
        """The oldest piece; None where another reader was faster."""
        with contextlib.suppress(IndexError):
            return self._pieces.popleft()
        return None


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
        check_count("columns", size[0], 1)
        check_count("rows", size[1], 1)
        self._size = size
        self._id = script.new_id()
        self._asked = cwd, env, ("--", *(script.words_of(command) if command else ()))
        self._stack = contextlib.AsyncExitStack()
        self._process: remotecommand.Exec | None = None
        self._shown = _Shown()
        self._reading: asyncio.Task[None] | None = None
        self._failure: SandboxError | None = None
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
                await asyncio.shield(asyncio.wait_for(self._close(), _FAREWELL_SECONDS))
            raise
        self._reading = asyncio.create_task(self._follow(self._process))
        self._leash = asyncio.create_task(leash.hold(self._session, self._id, "HUP"))
        for task in (self._reading, self._leash):
            self._session.keep(task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_the_end(self._close(), _FAREWELL_SECONDS)

    async def _close(self) -> None:
        # Another task may be reading: it is told of the end by what it reads.
        tasks = [task for task in (self._reading, self._leash) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stack.aclose()
        if self.exit_code is None:
            with contextlib.suppress(errors.ApiError, errors.TransportError):
                await terminate(self._session, self._id, "HUP", 2, unborn=self._reading is None)

    async def write(self, data: bytes) -> None:
        """Type *data*."""
        assert self._process is not None, "use the terminal as a context manager"
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InvalidArgument(f"data: a {type(data).__name__} is no bytes: give them as a terminal gets them")
        try:
            await self._process.write(data)
        except errors.TransportError as error:
            raise ExecTransportError(str(error), started=True, sandbox=self._session.name) from error

    async def read(self, timeout: float | None = None) -> bytes:
        """Wait for output and return it; empty once the command has ended.

        Whoever stops to wait (a time-out, Ctrl-C) loses nothing: the next one reads it.

        Raises
        ------
        NotFinished
            There was no output within *timeout* seconds; 0 is to look without waiting.
        SandboxDeleted, SandboxEnded, SandboxExpired, SandboxRestarted
            The sandbox ended before the command did.
        ExecTransportError
            The stream broke off.
        """
        while await self._await_output(timeout):
            if (piece := self._shown.take()) is not None:
                return piece
        return b""

    async def _await_output(self, timeout: float | None) -> bool:
        """The part of `read` that waits; False once the command has ended and all was taken."""
        assert self._process is not None, "use the terminal as a context manager"
        if timeout is not None and not (is_number(timeout) and 0 <= timeout < math.inf):
            raise InvalidArgument(f"timeout: {timeout!r} is not a number of seconds from 0 on; None is for no limit")
        try:
            async with asyncio.timeout(timeout):
                some = await self._shown.some()
        except TimeoutError:
            raise NotFinished(f"no output within {timeout:g} s", sandbox=self._session.name) from None
        if not some and self._failure is not None:
            raise self._failure.with_traceback(None)
        return some

    async def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size, in characters."""
        assert self._process is not None, "use the terminal as a context manager"
        with contextlib.suppress(errors.TransportError):
            await self._process.resize(columns, rows)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The terminal's output from where the last reader stopped, until the command has ended; see `read`."""
        while piece := await self.read():
            yield piece

    async def _follow(self, process: remotecommand.Exec) -> None:
        """Take in what the command says to its end, whether or not somebody reads."""

        async def collect() -> None:
            async for _, data in process:
                await self._shown.put(data)

        reading = asyncio.create_task(collect())
        try:
            async with self._session.end_watch.held() as losing:
                await asyncio.wait({reading, losing}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    raise losing.result().with_traceback(None)
                await self._finish(reading, losing)
        except SandboxError as error:
            self._failure = error
        finally:
            self._shown.end()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

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
