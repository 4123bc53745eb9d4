"""Runs one command from its beginning to its end: bytes in, bytes out, an end that is known, a timeout that kills."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterable
from typing import Final

from sandyard.client.errors import (
    CommandTimeout,
    ExecTransportError,
    InvalidArgument,
    OutputLimitExceeded,
    PermissionDenied,
    SandboxError,
    SandboxFileNotFound,
)
from sandyard.client.exec import script
from sandyard.client.exec.call import Call
from sandyard.client.exec.command import Command, Input, Sinks, check_count, check_timeout, hand_over
from sandyard.client.exec.lines import finish
from sandyard.client.result import CommandResult
from sandyard.client.session.session import Session
from sandyard.kube import remotecommand
from sandyard.kube.backoff import pause_seconds

__all__ = ["check", "run"]

# By the letter that run.sh says.
_REFUSED: Final[dict[str, type[SandboxError]]] = {
    "n": SandboxFileNotFound, "d": InvalidArgument, "p": PermissionDenied,
}  # fmt: skip
_REFUSALS: Final = {"n": "the sandbox has no folder {!r}", "d": "{!r} is no folder",
                    "p": "the sandbox's user may not enter {!r}"}  # fmt: skip

# Beyond the client's own limit: the watch inside is for clients that are gone by then.
_WATCH_SLACK_SECONDS: Final = 7
# How long a node that is too busy to begin a command is asked again.
_TRY_SECONDS: Final = 60
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 2.0


async def check(session: Session, command: Command) -> None:
    """Raise if *command* cannot be run, or the sandbox cannot be used."""
    await session.check_usable()
    check_timeout(command.timeout)
    check_count("output_limit", command.output_limit)
    if not isinstance(command.stdin, bytes | AsyncIterable):
        raise InvalidArgument(f"stdin: a {type(command.stdin).__name__} is neither bytes nor an asynchronous iterator")


async def run(session: Session, command: Command, sinks: Sinks | None = None) -> CommandResult:
    """Run *command* to its end.

    Raises
    ------
    CommandTimeout, OutputLimitExceeded
        The command was ended; ``error.result`` holds its output until then.
    SandboxDeleted, SandboxEnded, SandboxExpired, SandboxRestarted
        The sandbox ended before the command did.
    ExecTransportError
        The stream broke off; ``error.started`` says whether the command may have run.
    SandboxFileNotFound, PermissionDenied, InvalidArgument
        The folder to run in is not there, may not be entered, or is none.
    """
    await check(session, command)
    sinks = sinks or Sinks()
    exec_id = script.new_id()
    watch = math.ceil(command.timeout) + _WATCH_SLACK_SECONDS if command.timeout is not None else 0
    started = time.monotonic()
    for attempt in itertools.count():
        request = script.run(
            exec_id, command.words, folder=command.cwd, env=command.env, watch_seconds=watch,
            stdin_bytes=_stdin_bytes(session, command.stdin),
        )  # fmt: skip
        call = Call(session, exec_id, request, command, sinks)
        await call.run()
        if call.elsewhere or (call.refused and await session.cluster.falls_back()):
            continue
        if not call.never_started or time.monotonic() - started > _TRY_SECONDS:
            break
        # The node was too busy; nothing has run, so nothing is done twice.
        await asyncio.sleep(pause_seconds(attempt, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS))
    seconds = time.monotonic() - started
    # What looked like the beginning of a mark, where none came.
    await hand_over(call.stdout.rest(), sinks.on_stdout)
    await hand_over(call.stderr.rest(), sinks.on_stderr)
    await finish(sinks.on_stdout, sinks.on_stderr)
    return _outcome(session, command, call, seconds)


def _outcome(session: Session, command: Command, call: Call, seconds: float) -> CommandResult:
    """The result of a call that has ended, or the error that it ended with."""
    name = session.name
    out, err = call.stdout, call.stderr
    out.close()
    err.close()
    code = out.exit_code if out.exit_code is not None else err.exit_code
    if code is None and call.exit is not None and not call.torn_off and not call.silent:
        code = call.exit.code
    omitted = out.omitted + err.omitted
    result = CommandResult(code, out.value(), err.value(), call.timed_out, seconds, omitted, call.exec_id)
    if isinstance(call.error, ExecTransportError):
        call.error.result = result
    if call.error is not None:
        # Every call on the sandbox raises the same one.
        raise call.error.with_traceback(None)
    if out.refused:
        raise _REFUSED[out.refused](f"cwd: {_REFUSALS[out.refused].format(command.cwd)}", sandbox=name)
    if call.overflowed:
        text = f"more than {command.output_limit} bytes of output; the command was ended"
        raise OutputLimitExceeded(text, result, sandbox=name)
    if call.timed_out:
        raise CommandTimeout(f"not finished within {command.timeout:g} s; the command was ended", result, sandbox=name)
    if code is None:
        text = call.exit.message if call.exit is not None else "the stream closed without an exit status"
        if call.torn_off:
            # What is said last is the runtime's own.
            text = f"the node lost the command: {result.stderr_text.strip()[-300:] or text}"
        if call.silent:
            text = (
                f"the image's shell has not run the command (it needs dd or head): {result.stderr_text.strip()[-300:]}"
            )
        raise ExecTransportError(
            text, started=not call.never_started and not call.silent, sandbox=name, result=result
        )  # fmt: skip
    return result


def _stdin_bytes(session: Session, stdin: Input) -> int | None:
    """The length of an input; None for one that ends with its stream, which not every server can tell."""
    if isinstance(stdin, bytes):
        return len(stdin)
    if session.cluster.exec_protocol != remotecommand.V5:
        raise InvalidArgument("stdin as a stream needs Kubernetes 1.30 or newer: give bytes")
    return None
