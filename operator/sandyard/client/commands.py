"""Runs commands in a sandbox: bytes in, bytes out, an end that is known, and a time-out that kills."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sandyard.api import names
from sandyard.client import script
from sandyard.client.cluster import explain
from sandyard.client.errors import (
    CommandFailed,
    CommandTimeout,
    ExecTransportError,
    InvalidArgument,
    SandboxError,
    SandboxNotFound,
)
from sandyard.client.result import CommandResult
from sandyard.client.script import Tail
from sandyard.kube import errors, exec  # noqa: A004 - Kubernetes' own word

if TYPE_CHECKING:
    from sandyard.client.sandbox import AsyncSandbox

__all__ = ["Commands", "Output"]

Output = Callable[[bytes], None]
_GRACE_SECONDS = 5
# Beyond the client's own limit: the watch inside is for clients that are gone by then.
_WATCH_SLACK_SECONDS = 7
# How long the reason of a broken stream is waited for.
_REASON_SECONDS = 4.0
_DEFAULT_KEEP = 10 * 1024 * 1024
# Commands of one sandbox at the same time: a node's runtime starts them one after the other, and
# gives up on those that wait too long.
_AT_ONCE = 32
_ATTEMPTS = 4
# What containerd says of an exec that it could not even make.
_NEVER_STARTED = ("failed to load task", "failed to create exec", "failed to load container")


class Commands:
    """The commands of one sandbox."""

    def __init__(self, sandbox: AsyncSandbox) -> None:
        self._sandbox = sandbox
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = 60.0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        on_stdout: Output | None = None,
        on_stderr: Output | None = None,
        max_output: int = _DEFAULT_KEEP,
        check: bool = False,
    ) -> CommandResult:
        """Run *command* to its end: a text by ``/bin/sh -c``, a list as it stands.

        Parameters
        ----------
        timeout
            Seconds after which it and all that it has started are ended (TERM, then KILL); None: never.
        cwd
            Folder, from the template's ``workingDir``.
        on_stdout, on_stderr
            Called with output as it comes, all of it.
        max_output
            Bytes of each stream to keep; beyond it, the beginning and the end.
        check
            Raise `CommandFailed` unless its exit code is 0.

        Raises
        ------
        CommandTimeout
            It was ended; ``error.result`` holds what it had said.
        SandboxDeleted, SandboxEnded, SandboxExpired, SandboxRestarted
            The sandbox went away meanwhile.
        ExecTransportError
            The stream broke off; ``error.started`` says whether the command may have run.
        """
        sandbox = self._sandbox
        sandbox._check_usable()
        if timeout is not None and timeout <= 0:
            raise InvalidArgument(f"timeout: {timeout!r} is not above zero; None is for no limit")
        exec_id = script.new_id()
        watch = math.ceil(timeout) + _WATCH_SLACK_SECONDS if timeout is not None else 0
        words = script.run(exec_id, command, folder=cwd, env=env or {}, watch_seconds=watch)
        if sum(len(word.encode()) for word in words) > script.LONGEST_ARGUMENTS:
            raise InvalidArgument("the command is too long for one request: send it as stdin, or write it to a file")
        started = time.monotonic()
        for attempt in range(_ATTEMPTS):
            out, err = Tail(exec_id, max_output), Tail(exec_id, max_output)
            call = _Call(sandbox, exec_id, words, stdin, {exec.STDOUT: (out, on_stdout), exec.STDERR: (err, on_stderr)})
            async with self._at_once:
                timed_out = await call.run(timeout)
            if not call.never_started:
                break
            # The node was too busy; nothing has run, so nothing is done twice.
            await asyncio.sleep(0.5 * 2**attempt)
        out.close()
        err.close()
        code = out.exit_code if out.exit_code is not None else err.exit_code
        if code is None and call.exit is not None:
            code = call.exit.code
        result = CommandResult(
            code, out.value(), err.value(), timed_out, time.monotonic() - started, out.omitted + err.omitted, exec_id
        )
        if isinstance(call.error, ExecTransportError):
            call.error.result = result
        if call.error is not None:
            raise call.error
        if timed_out:
            raise CommandTimeout(f"not finished within {timeout:g} s, and ended", result, sandbox=sandbox.name)
        if code is None:
            text = call.exit.message if call.exit is not None else "the stream ended without a word"
            raise ExecTransportError(text, started=not call.never_started, sandbox=sandbox.name, result=result)
        if check and code != 0:
            told = result.stderr_text.strip() or result.stdout_text.strip()
            raise CommandFailed(f"exit code {code}: {told[-500:]}", result, sandbox=sandbox.name)
        return result

    async def end(self, exec_id: str, signal: str = "TERM", grace: int = _GRACE_SECONDS) -> None:
        """End every process of a command: *signal*, and KILL after *grace* seconds."""
        words = script.kill(exec_id, signal, grace)
        await exec.run(
            self._sandbox._cluster.client, self._sandbox._exec_path(), words, container=names.CONTAINER,
            timeout_seconds=grace + 40.0,
        )  # fmt: skip


class _Call:
    """One exec under way, with an eye on the sandbox."""

    def __init__(
        self, sandbox: AsyncSandbox, exec_id: str, words: list[str], stdin: bytes,
        streams: Mapping[int, tuple[Tail, Output | None]],
    ) -> None:  # fmt: skip
        self._sandbox = sandbox
        self._exec_id = exec_id
        self._words = words
        self._stdin = stdin
        self._streams = streams
        self._started = False
        self.exit: exec.Exit | None = None
        self.error: SandboxError | None = None

    @property
    def never_started(self) -> bool:
        """Whether the node could not even begin."""
        return (
            self.exit is not None
            and self.exit.code is None
            and any(text in self.exit.message for text in _NEVER_STARTED)
        )

    async def run(self, timeout: float | None) -> bool:
        """Follow the command to its end; says whether its time was over."""
        with contextlib.suppress(SandboxError):
            await self._sandbox._stamp()
        reading = asyncio.create_task(self._read())
        losing = asyncio.create_task(self._sandbox._lost())
        timed_out = False
        try:
            done, _ = await asyncio.wait({reading, losing}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                timed_out = True
                with contextlib.suppress(errors.ApiError, errors.TransportError):
                    await self._sandbox.commands.end(self._exec_id)
                # Its last words.
                await asyncio.wait({reading}, timeout=1)
            elif reading not in done:
                self.error = losing.result()
            else:
                await self._finish(reading, losing)
        except asyncio.CancelledError:
            # Nobody waits for it any more: it must not run on. The watch inside is the second line.
            with contextlib.suppress(Exception):
                await asyncio.shield(asyncio.wait_for(self._sandbox.commands.end(self._exec_id), 10))
            raise
        finally:
            for task in (reading, losing):
                task.cancel()
            await asyncio.gather(reading, losing, return_exceptions=True)
        return timed_out

    async def _finish(self, reading: asyncio.Task[None], losing: asyncio.Task[SandboxError]) -> None:
        """The stream has ended, well or not; if not, the sandbox's state says more."""
        failure = reading.exception()
        ended = any(tail.ended for tail, _ in self._streams.values())
        if failure is None and ended:
            return
        # Without its mark the script was ended from outside: by a KILL, or with its pod.
        with contextlib.suppress(TimeoutError):
            self.error = await asyncio.wait_for(asyncio.shield(losing), _REASON_SECONDS)
            return
        if failure is None:
            return
        if isinstance(failure, errors.ApiError):
            self.error = explain(failure, self._sandbox.name)
            if isinstance(self.error, SandboxNotFound):
                self.error = SandboxNotFound(f"the pod of Sandbox {self._sandbox.name!r} is gone")
        elif isinstance(failure, errors.TransportError):
            self.error = ExecTransportError(str(failure), started=self._started, sandbox=self._sandbox.name)
        else:
            raise failure

    async def _read(self) -> None:
        async with exec.open_exec(
            self._sandbox._cluster.client, self._sandbox._exec_path(), self._words, container=names.CONTAINER
        ) as process:
            self._started = True
            feeding = asyncio.create_task(self._feed(process))
            try:
                async for channel, data in process:
                    tail, output = self._streams[channel]
                    certain = tail.feed(data)
                    if output is not None and certain:
                        output(certain)
                    if all(tail.ended for tail, _ in self._streams.values()):
                        # A child that lives on may hold the streams open.
                        return
                self.exit = process.exit
            finally:
                feeding.cancel()

    async def _feed(self, process: exec.Exec) -> None:
        try:
            await process.write(self._stdin)
            await process.close_stdin()
        except errors.TransportError:
            # It may end without reading its input.
            return
