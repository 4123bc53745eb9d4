"""Runs commands in a sandbox: bytes in, bytes out, an end that is known, and a time-out that kills."""

from __future__ import annotations

import asyncio
import builtins
import itertools
import math
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sandyard.client import background, script
from sandyard.client import call as calls
from sandyard.client.background import BackgroundCommand, BackgroundInfo
from sandyard.client.call import GRACE_SECONDS, Call, Input, Output
from sandyard.client.errors import (
    CommandNotFound,
    CommandTimeout,
    ExecTransportError,
    InvalidArgument,
    OutputLimitExceeded,
    PermissionDenied,
    checked,
)
from sandyard.client.gate import Gate
from sandyard.client.processes import SIGNALS, ProcessInfo, parse_processes
from sandyard.client.result import DEFAULT_KEEP, CommandResult
from sandyard.client.script import Tail
from sandyard.kube import remotecommand

if TYPE_CHECKING:
    from sandyard.client.sandbox import AsyncSandbox

__all__ = ["Commands"]

# Beyond the client's own limit: the watch inside is for clients that are gone by then.
_WATCH_SLACK_SECONDS = 7
# Two streams of a few commands fit into a /tmp of the usual size.
_BACKGROUND_KEEP = 16 * 1024 * 1024
# How long a node that is too busy to begin a command is asked again.
_TRY_SECONDS = 60


class Commands:
    """The commands and processes of one sandbox."""

    def __init__(self, sandbox: AsyncSandbox) -> None:
        self._sandbox = sandbox
        self._gate = Gate()

    async def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = 60.0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        stdin: Input = b"",
        on_stdout: Output | None = None,
        on_stderr: Output | None = None,
        max_output: int = DEFAULT_KEEP,
        output_limit: int | None = None,
        keep_output: int = 0,
        check: bool = False,
    ) -> CommandResult:
        """Run *command* to its end: a text by ``/bin/sh -c``, a list as it stands.

        Parameters
        ----------
        timeout
            Seconds after its begin when it and all that it has started are ended (TERM, then KILL); None: never.
        stdin
            Bytes, or an asynchronous iterator of them that is read as fast as the command reads.
        cwd
            Folder, from the template's ``workingDir``.
        on_stdout, on_stderr
            Called with output as it comes, all of it.
        max_output
            Bytes of each stream to keep; beyond it, the beginning and the end.
        output_limit
            Bytes of a stream beyond which it is ended.
        keep_output
            Bytes of each stream to keep in files of the sandbox, whatever is dropped here:
            ``result.stdout_path``, ``stderr_path``. It runs in the background then; *stdin* is bytes.
        check
            Raise `CommandFailed` unless its exit code is 0.

        Raises
        ------
        CommandTimeout
            It was ended; ``error.result`` holds what it had said.
        OutputLimitExceeded
            The same, for what it had said.
        SandboxDeleted, SandboxEnded, SandboxExpired, SandboxRestarted
            The sandbox went away meanwhile.
        ExecTransportError
            The stream broke off; ``error.started`` says whether the command may have run.
        """
        sandbox = self._sandbox
        sandbox._check_usable()
        if timeout is not None and timeout <= 0:
            raise InvalidArgument(f"timeout: {timeout!r} is not above zero; None is for no limit")
        if keep_output:
            if not isinstance(stdin, bytes) or output_limit is not None:
                raise InvalidArgument("keep_output goes with stdin of bytes, and without output_limit")
            kept = await background.run_kept(
                self, script.words_of(command), script.variables(env or {}), timeout=timeout, cwd=cwd, stdin=stdin,
                on_stdout=on_stdout, on_stderr=on_stderr, max_output=max_output, keep=keep_output,
            )  # fmt: skip
            return checked(kept, self._sandbox.name) if check else kept
        if output_limit is not None:
            max_output = max(max_output, output_limit)
        exec_id = script.new_id()
        watch = math.ceil(timeout) + _WATCH_SLACK_SECONDS if timeout is not None else 0
        started = time.monotonic()
        for attempt in itertools.count():
            request = script.run(
                exec_id, command, folder=cwd, env=env or {}, watch_seconds=watch, stdin_bytes=self._length(stdin)
            )  # fmt: skip
            out, err = Tail(exec_id, max_output), Tail(exec_id, max_output)
            streams = {remotecommand.STDOUT: (out, on_stdout), remotecommand.STDERR: (err, on_stderr)}
            call = Call(sandbox, exec_id, request, stdin, streams, most_output=output_limit)
            await call.run(timeout, self._gate)
            if call.refused and await sandbox._cluster.falls_back():
                continue
            if not call.never_started or time.monotonic() - started > _TRY_SECONDS:
                break
            # The node was too busy; nothing has run, so nothing is done twice.
            await asyncio.sleep(min(0.2 * 2**attempt, 3) * random.uniform(0.5, 1))
        result = self._told(call, out, err, time.monotonic() - started, timeout)
        return checked(result, sandbox.name) if check else result

    def _told(self, call: Call, out: Tail, err: Tail, seconds: float, timeout: float | None) -> CommandResult:
        """The result of a command that has ended, or the error that it ended with."""
        name = self._sandbox.name
        out.close()
        err.close()
        code = out.exit_code if out.exit_code is not None else err.exit_code
        if code is None and call.exit is not None and not call.torn_off:
            code = call.exit.code
        omitted = out.omitted + err.omitted
        result = CommandResult(code, out.value(), err.value(), call.timed_out, seconds, omitted, call.exec_id)
        if isinstance(call.error, ExecTransportError):
            call.error.result = result
        if call.error is not None:
            # Every call on the sandbox raises the same one.
            raise call.error.with_traceback(None)
        if call.overflowed:
            raise OutputLimitExceeded(
                f"more than {call.most_output} bytes of output, and ended", result, sandbox=name
            )  # fmt: skip
        if call.timed_out:
            raise CommandTimeout(f"not finished within {timeout:g} s, and ended", result, sandbox=name)
        if code is None:
            text = call.exit.message if call.exit is not None else "the stream ended without a word"
            if call.torn_off:
                # What is said last is the runtime's own.
                text = f"the node lost the command: {result.stderr_text.strip()[-300:] or text}"
            raise ExecTransportError(text, started=not call.never_started, sandbox=name, result=result)
        return result

    def _length(self, stdin: Input) -> int | None:
        """The length of an input whose end the server cannot tell; None where it can."""
        if self._sandbox._cluster.exec_protocol == remotecommand.V5:
            return None
        if not isinstance(stdin, bytes):
            raise InvalidArgument("stdin as a stream needs Kubernetes 1.30 or newer: give bytes")
        return len(stdin)

    async def start(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = None,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        max_output: int = _BACKGROUND_KEEP,
    ) -> BackgroundCommand:
        """Begin *command* in the background: it outlives this program, and any other can `connect` to it.

        Parameters
        ----------
        timeout
            Seconds after which it is ended, inside the sandbox; None: it runs as long as the sandbox.
        stdin
            Keep its standard input open for `BackgroundCommand.send_stdin`; else it is empty.
        max_output
            Bytes of each stream that are kept, in files in the sandbox; the rest is dropped.
        """
        return await background.start(
            self, script.words_of(command), script.variables(env or {}), timeout=timeout, cwd=cwd, stdin=stdin,
            max_output=max_output,
        )  # fmt: skip

    async def connect(self, id: str) -> BackgroundCommand:  # noqa: A002
        """The background command of this id, from whatever program it was begun.

        Raises
        ------
        CommandNotFound
            There is none.
        """
        found = BackgroundCommand(self, id)
        await found.read(max_bytes=0)
        return found

    async def list(self) -> list[BackgroundInfo]:
        """All background commands of the sandbox, also those that have ended; oldest first."""
        told = await self.run(["/bin/sh", "-c", script.text("background_list")])
        return background.parse_list(told.stdout)

    async def processes(self) -> builtins.list[ProcessInfo]:
        """All processes of the sandbox, by pid."""
        told = await self.run(["/bin/sh", "-c", script.text("processes")])
        return parse_processes(told.stdout)

    async def kill(self, pid: int, signal: str = "TERM") -> None:
        """Send *signal* (a name, as of kill(1)) to one process.

        Raises
        ------
        CommandNotFound
            There is no such process.
        PermissionDenied
            It belongs to another user.
        """
        name = signal.upper().removeprefix("SIG")
        if name not in SIGNALS:
            raise InvalidArgument(f"signal: {signal!r} is none; take one of {', '.join(sorted(SIGNALS))}")
        if isinstance(pid, bool) or not isinstance(pid, int) or pid < 1:
            raise InvalidArgument(f"pid: {pid!r} is no process; take a number above 0")
        done = await self.run(["/bin/sh", "-c", 'LC_ALL=C; kill -s "$1" "$2"', "sandyard-kill", name, str(pid)])
        if done.exit_code != 0:
            kind = PermissionDenied if "not permitted" in done.stderr_text else CommandNotFound
            raise kind(f"pid {pid}: {done.stderr_text.strip()}", sandbox=self._sandbox.name)

    async def end(self, exec_id: str, signal: str = "TERM", grace: int = GRACE_SECONDS) -> None:
        """End every process that a command has started: *signal*, and KILL after *grace* seconds."""
        await calls.end(self._sandbox, exec_id, signal, grace)
