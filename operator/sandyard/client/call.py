"""One exec of a sandbox under way: begun in its turn, followed to its end, ended when its time is over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sandyard.api import names
from sandyard.client import script
from sandyard.client.cluster import explain
from sandyard.client.errors import ExecTransportError, SandboxEnded, SandboxError, SandboxNotFound
from sandyard.client.gate import Gate, Turn
from sandyard.client.script import Request, Tail
from sandyard.kube import errors, remotecommand

if TYPE_CHECKING:
    from sandyard.client.sandbox import AsyncSandbox

__all__ = ["Call", "Input", "Output", "end"]

# Called with each piece of output; where it is asynchronous, the next piece waits for it.
Output = Callable[[bytes], Awaitable[None] | None]
Input = bytes | AsyncIterable[bytes]
GRACE_SECONDS = 5
# How long the reason of a broken stream is waited for.
_REASON_SECONDS = 3.5
# The same when the connection is lost: then the watch most often hears nothing either.
LOST_REASON_SECONDS = 1.0
# How long a sandbox that lives may take for a command that does nothing.
_ANSWER_SECONDS = 1.0
# A command that has run for so long has left its node's runtime in peace again.
SETTLE_SECONDS = 2.0
# After its end a command's stream is kept until the node has done with it as well, unless a child holds on to it.
_LINGER_SECONDS = 5.0
# Exit codes above it are signals.
_SIGNALS = 128
# What containerd says of an exec that it could not even make.
_NEVER_STARTED = ("failed to load task", "failed to create exec", "failed to load container")


async def end(sandbox: AsyncSandbox, exec_id: str, signal: str = "TERM", grace: int = GRACE_SECONDS) -> None:
    """End every process of a command: *signal*, and KILL after *grace* seconds."""
    await _exec(sandbox, script.kill(exec_id, signal, grace), grace + 40.0)


async def _exec(sandbox: AsyncSandbox, words: Sequence[str], seconds: float) -> remotecommand.Completed:
    """Run a small command of our own, past the turns of the caller's."""
    return await remotecommand.run(
        sandbox._cluster.client, sandbox._exec_path(), words, container=names.CONTAINER, timeout_seconds=seconds,
        protocol=sandbox._cluster.exec_protocol,
    )  # fmt: skip


class Call:
    """One exec under way, with an eye on the sandbox.

    Attributes
    ----------
    exec_id
        Names its processes inside the sandbox.
    most_output
        Bytes of a stream beyond which it is ended; None: never.
    exit
        What the server said of its end, if it said something.
    error
        Why it cannot be told how it went.
    timed_out
        Whether its time was over.
    overflowed
        Whether it said more than that on one stream.
    """

    def __init__(
        self, sandbox: AsyncSandbox, exec_id: str, request: Request, stdin: Input,
        streams: Mapping[int, tuple[Tail, Output | None]], *, most_output: int | None = None,
    ) -> None:  # fmt: skip
        self._sandbox = sandbox
        self.exec_id = exec_id
        self._request = request
        self._stdin = stdin
        self._streams = streams
        self.most_output = most_output
        self._connected = False
        self._failure: BaseException | None = None
        self._begun = asyncio.Event()
        self._ended = asyncio.Event()
        self.exit: remotecommand.Exit | None = None
        self.error: SandboxError | None = None
        self.timed_out = False
        self.overflowed = False

    @property
    def refused(self) -> bool:
        """Whether the server would not even open the stream."""
        return not self._connected and isinstance(self._failure, errors.ApiError)

    @property
    def never_started(self) -> bool:
        """Whether the node could not even begin."""
        return (
            self.exit is not None
            and self.exit.code is None
            and any(text in self.exit.message for text in _NEVER_STARTED)
        )

    @property
    def torn_off(self) -> bool:
        """Whether the runtime gave up a command that had begun: its exit code is then none of the command's.

        A script that has begun leaves its mark, or was ended by a signal (exit code above 128).
        """
        tails = [tail for tail, _ in self._streams.values()]
        begun = any(tail.begun for tail in tails) and not any(tail.ended for tail in tails)
        return begun and self.exit is not None and self.exit.code is not None and self.exit.code <= _SIGNALS

    async def run(self, timeout: float | None, gate: Gate) -> None:
        """Follow the command to its end; its time counts from when it has begun."""
        async with self._sandbox._lifeline.held() as losing:
            reading = asyncio.create_task(self._read(await gate.turn()))
            self._sandbox._background(reading)
            try:
                if await self._first(self._begun, reading, losing, self._sandbox._cluster.request_timeout):
                    await self._follow(reading, losing, timeout)
                else:
                    await self._end(reading)
                    seconds = self._sandbox._cluster.request_timeout
                    text = f"the node has not begun it within {seconds:g} s"
                    self.error = ExecTransportError(text, started=True, sandbox=self._sandbox.name)
            except asyncio.CancelledError:
                # Nobody waits for it any more: it must not run on. The watch inside is the second line.
                if self._connected:
                    with contextlib.suppress(Exception):
                        await asyncio.shield(asyncio.wait_for(self._end(reading), 10))
                raise
            finally:
                if not self._ended.is_set():
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)

    async def _first(
        self, event: asyncio.Event, reading: asyncio.Task[None], losing: asyncio.Task[SandboxError],
        timeout: float | None,
    ) -> bool:  # fmt: skip
        """Wait for *event*, the stream's end or the sandbox's; False if none of them comes in time."""
        waiting = asyncio.create_task(event.wait())
        try:
            done, _ = await asyncio.wait(
                {reading, losing, waiting}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()
        return bool(done)

    async def _follow(
        self, reading: asyncio.Task[None], losing: asyncio.Task[SandboxError], timeout: float | None
    ) -> None:
        self.timed_out = not await self._first(self._ended, reading, losing, timeout)
        if self.timed_out or self.overflowed:
            await self._end(reading)
        elif reading.done():
            await self._finish(reading, losing)
        elif not self._ended.is_set():
            self.error = losing.result()

    async def _end(self, reading: asyncio.Task[None]) -> None:
        """End what runs, and take in its last words."""
        with contextlib.suppress(errors.ApiError, errors.TransportError):
            await end(self._sandbox, self.exec_id)
        if not self.overflowed:
            await asyncio.wait({reading}, timeout=1)

    async def _finish(self, reading: asyncio.Task[None], losing: asyncio.Task[SandboxError]) -> None:
        """The stream has ended, well or not; if not, the sandbox's state says more."""
        self._failure = failure = reading.exception()
        if failure is not None and not isinstance(failure, (errors.ApiError, errors.TransportError)):
            # Of the caller's own input or output.
            await self._end(reading)
            raise failure
        if failure is None and (self.never_started or any(tail.ended for tail, _ in self._streams.values())):
            return
        # Without its mark the script was ended from outside: by a KILL, or with its pod.
        lost = isinstance(failure, errors.TransportError)
        with contextlib.suppress(TimeoutError):
            seconds = LOST_REASON_SECONDS if lost else _REASON_SECONDS
            self.error = await asyncio.wait_for(asyncio.shield(losing), seconds)
            return
        if self.torn_off and not await self._answers():
            # gVisor's kernel is gone; of that its runtime may need five seconds to tell the node.
            text = f"Sandbox {self._sandbox.name!r} has ended: its runtime has lost it"
            self.error = SandboxEnded(text, sandbox=self._sandbox.name)
        if failure is None:
            return
        if isinstance(failure, errors.ApiError):
            self.error = explain(failure, self._sandbox.name)
            if isinstance(self.error, SandboxNotFound):
                self.error = SandboxNotFound(f"the pod of Sandbox {self._sandbox.name!r} is gone")
        else:
            self.error = ExecTransportError(str(failure), started=self._connected, sandbox=self._sandbox.name)

    async def _answers(self) -> bool:
        """Whether anything can still be run in the sandbox."""
        try:
            done = await _exec(self._sandbox, ["/bin/sh", "-c", ":"], _ANSWER_SECONDS)
        except (errors.ApiError, errors.TransportError):
            return False
        return done.exit.code == 0

    async def _read(self, turn: Turn) -> None:
        try:
            async with self._sandbox._open_exec(self._request.words) as process:
                self._connected = True
                async with asyncio.TaskGroup() as tasks:
                    feeding = tasks.create_task(self._feed(process))
                    await self._collect(process, turn)
                    feeding.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            turn.release()

    async def _collect(self, process: remotecommand.Exec, turn: Turn) -> None:
        async for channel, data in process:
            if self._ended.is_set():
                # A child that lives on writes to the same stream; it is not the command any more.
                continue
            tail, output = self._streams[channel]
            certain = tail.feed(data)
            if tail.begun and not self._begun.is_set():
                self._begun.set()
                asyncio.get_running_loop().call_later(SETTLE_SECONDS, turn.release)
            if output is not None and certain and (waiting := output(certain)) is not None:
                await waiting
            if self.most_output is not None and tail.seen > self.most_output:
                self.overflowed = True
                return
            if all(tail.ended for tail, _ in self._streams.values()):
                self._ended.set()
                reading = asyncio.current_task()
                assert reading is not None
                asyncio.get_running_loop().call_later(_LINGER_SECONDS, reading.cancel)
        self.exit = process.exit
        if self.never_started:
            turn.refused()

    async def _feed(self, process: remotecommand.Exec) -> None:
        with contextlib.suppress(errors.TransportError):
            # It may end without reading its input.
            await process.write(self._request.preface)
            if isinstance(self._stdin, bytes):
                await process.write(self._stdin)
            else:
                # What is read from elsewhere can be sent but once.
                await self._begun.wait()
                async for piece in self._stdin:
                    await process.write(piece)
            await process.close_stdin()
