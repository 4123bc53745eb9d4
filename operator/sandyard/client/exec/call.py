"""One exec of a sandbox under way: begun in its turn, followed to its end, ended when its time is over."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from sandyard.client.errors import ExecTransportError, SandboxEnded, SandboxError
from sandyard.client.exec import leash
from sandyard.client.exec.command import Command, Sinks, hand_over
from sandyard.client.exec.script import Request
from sandyard.client.exec.stream import Tail
from sandyard.client.exec.termination import terminate
from sandyard.client.session.exec_limit import Turn
from sandyard.client.session.session import Session
from sandyard.kube import errors, remotecommand

__all__ = ["LOST_REASON_SECONDS", "REASON_SECONDS", "Call"]

# How long the reason of a broken stream is waited for.
REASON_SECONDS: Final = 3.5
# The same when the connection is lost: then the watch most often hears nothing either.
LOST_REASON_SECONDS: Final = 1.0
# How long a sandbox that lives may take for a command that does nothing.
_ANSWER_SECONDS: Final = 1.0
# After its end a command's stream is kept until the node has done with it as well, unless a child holds on to it.
_LINGER_SECONDS: Final = 5.0
# A command that has run for so long is worth a watch of its time inside the sandbox.
_SHORT_SECONDS: Final = 1.0
# What a command gets to end in when nobody waits for it any more.
_END_SECONDS: Final = 10.0
# Exit codes above it are signals.
_SIGNALS: Final = 128
# What containerd says of an exec that it could not even make.
_NEVER_STARTED: Final = ("failed to load task", "failed to create exec", "failed to load container")


class Call:
    """One exec under way, with an eye on the sandbox.

    Attributes
    ----------
    exec_id
        Names its processes inside the sandbox.
    stdout, stderr
        What it has said.
    exit
        What the server said of its end, if it said something.
    error
        Why its outcome is not known.
    timed_out
        Whether it took longer than its command may.
    overflowed
        Whether it said more on one stream than its command may.
    elsewhere
        Whether nothing has run, as the Sandbox has another pod by now.
    """

    def __init__(self, session: Session, exec_id: str, request: Request, command: Command, sinks: Sinks) -> None:
        self.exec_id = exec_id
        self.stdout = Tail(request.mark, sinks.keep)
        self.stderr = Tail(request.mark, sinks.keep)
        self.exit: remotecommand.Exit | None = None
        self.error: SandboxError | None = None
        self.timed_out = False
        self.overflowed = False
        self.elsewhere = False
        self._session = session
        self._pod = ""
        self._request = request
        self._command = command
        self._streams = {
            remotecommand.STDOUT: (self.stdout, sinks.on_stdout),
            remotecommand.STDERR: (self.stderr, sinks.on_stderr),
        }
        self._connected = False
        self._failure: BaseException | None = None
        self._begun = asyncio.Event()
        self._ended = asyncio.Event()

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
    def silent(self) -> bool:
        """Whether its shell has ended well without a word of the script: it has run nothing at all."""
        begun = self.stdout.begun or self.stderr.begun
        refused = self.stdout.refused or self.stderr.refused
        return not begun and not refused and self.exit is not None and self.exit.code == 0

    @property
    def torn_off(self) -> bool:
        """Whether the runtime gave up a command that had begun: its exit code is then none of the command's.

        A script that has begun leaves its mark, or was ended by a signal (exit code above 128).
        """
        tails = (self.stdout, self.stderr)
        begun = any(tail.begun for tail in tails) and not any(tail.ended for tail in tails)
        return begun and self.exit is not None and self.exit.code is not None and self.exit.code <= _SIGNALS

    async def run(self) -> None:
        """Follow the command to its end; its time counts from when it has begun."""
        self._pod = self._session.pod_name
        async with self._session.end_watch.held() as losing:
            reading = asyncio.create_task(self._read(await self._session.exec_limit.turn()))
            self._session.keep(reading)
            try:
                seconds = self._session.cluster.request_timeout
                if await self._first(self._begun, reading, losing, seconds):
                    await self._follow(reading, losing)
                else:
                    await self._end(reading)
                    text = f"the node has not started the command within {seconds:g} s"
                    self.error = ExecTransportError(text, started=True, sandbox=self._session.name)
            except asyncio.CancelledError:
                # Nobody waits for it any more: it must not run on. The watch inside is the second line.
                if self._connected:
                    await asyncio.shield(self._end_in_time(reading))
                raise
            finally:
                if self.overflowed or not self._ended.is_set():
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

    async def _follow(self, reading: asyncio.Task[None], losing: asyncio.Task[SandboxError]) -> None:
        self.timed_out = not await self._first(self._ended, reading, losing, self._command.timeout)
        if self.timed_out or self.overflowed:
            await self._end(reading)
        elif reading.done():
            await self._finish(reading, losing)
        elif not self._ended.is_set() and not await self._never_came(reading):
            self.error = losing.result()

    async def _never_came(self, reading: asyncio.Task[None]) -> bool:
        """Whether it was sent to a pod of before, and is to go to that of now."""
        if not self._connected:
            await asyncio.wait({reading}, timeout=LOST_REASON_SECONDS)
        if not self._connected and reading.done():
            self._failure = reading.exception()
            return await self._is_elsewhere()
        return False

    async def _is_elsewhere(self) -> bool:
        self.elsewhere = self.refused and await self._session.has_left(self._pod, self._failure)
        return self.elsewhere

    async def _end_in_time(self, reading: asyncio.Task[None]) -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._end(reading), _END_SECONDS)

    async def _end(self, reading: asyncio.Task[None]) -> None:
        """End what runs, and take in its last words."""
        with contextlib.suppress(errors.ApiError, errors.TransportError):
            await terminate(self._session, self.exec_id)
        if not self.overflowed:
            await asyncio.wait({reading}, timeout=1)

    async def _finish(self, reading: asyncio.Task[None], losing: asyncio.Task[SandboxError]) -> None:
        """The stream has ended, well or not; if not, the sandbox's state says more."""
        self._failure = failure = reading.exception()
        if failure is not None and not isinstance(failure, (errors.ApiError, errors.TransportError)):
            # Of the caller's own input or output.
            await self._end(reading)
            raise failure
        if failure is None and (self.never_started or self.stdout.ended or self.stderr.ended):
            return
        if await self._is_elsewhere():
            return
        # Without its mark the script was ended from outside: by a KILL, or with its pod.
        lost = isinstance(failure, errors.TransportError)
        with contextlib.suppress(TimeoutError):
            seconds = LOST_REASON_SECONDS if lost else REASON_SECONDS
            self.error = await asyncio.wait_for(asyncio.shield(losing), seconds)
            return
        if self.torn_off and not await self._answers():
            # gVisor's kernel is gone; of that its runtime may need five seconds to tell the node.
            text = f"Sandbox {self._session.name!r} has ended: its runtime has lost it"
            self.error = SandboxEnded(text, sandbox=self._session.name)
        if failure is None:
            return
        if isinstance(failure, errors.ApiError):
            self.error = self._session.explain_exec(failure)
        else:
            self.error = ExecTransportError(str(failure), started=self._connected, sandbox=self._session.name)

    async def _answers(self) -> bool:
        """Whether anything can still be run in the sandbox."""
        try:
            done = await self._session.run_own(["/bin/sh", "-c", ":"], _ANSWER_SECONDS)
        except (errors.ApiError, errors.TransportError):
            return False
        return done.exit.code == 0

    async def _read(self, turn: Turn) -> None:
        try:
            async with self._session.open_exec(self._request.words) as process:
                self._connected = True
                async with asyncio.TaskGroup() as tasks:
                    beside = tasks.create_task(self._feed(process)), tasks.create_task(self._hold())
                    await self._collect(process, turn)
                    for task in beside:
                        task.cancel()
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
                turn.settle(begun=True)
            await hand_over(certain, output)
            if self._command.output_limit is not None and tail.seen > self._command.output_limit:
                # What it still says is read, and dropped: what must write it could not be ended in good order.
                self.overflowed = True
                self._ended.set()
                continue
            if self.stdout.ended and self.stderr.ended:
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
            if isinstance(self._command.stdin, bytes):
                # The stream stays open: its end would tell that this client is gone.
                await process.write(self._command.stdin)
                if not self._command.stdin:
                    await self._begun.wait()
                    await asyncio.sleep(_SHORT_SECONDS)
                    await process.write(b"\n")
                return
            # What is read from elsewhere can be sent but once.
            await self._begun.wait()
            async for piece in self._command.stdin:
                await process.write(piece)
            await process.close_stdin()

    async def _hold(self) -> None:
        """Where the end of the stream is not this client's, another tells it."""
        if not isinstance(self._command.stdin, bytes):
            await self._begun.wait()
            await leash.hold(self._session, self.exec_id)
