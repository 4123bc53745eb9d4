"""Commands in the background: any client can find, read, feed and end one by its id.

All files of one lie in ``/tmp/.sandyard/proc/<id>`` inside the sandbox, so they survive the client
and the operator, and go with the sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from sandyard.client import answers
from sandyard.client.errors import (
    BadAnswer,
    CommandNotFound,
    CommandTimeout,
    ExecTransportError,
    InvalidArgument,
    NotFinished,
    SandboxFileNotFound,
    StdinClosed,
    checked,
)
from sandyard.client.exec import runner, script
from sandyard.client.exec.command import Command, Output, Sinks, check_count, hand_over, is_number
from sandyard.client.exec.lines import finish
from sandyard.client.exec.stream import Tail
from sandyard.client.exec.termination import terminate
from sandyard.client.result import DEFAULT_KEEP, CommandResult
from sandyard.client.session.session import Session

__all__ = ["SPOILED", "BackgroundCommand", "BackgroundInfo", "OutputChunk"]

# What a look ends with where the command has spoiled its own files.
SPOILED: Final = (BadAnswer, CommandNotFound, ExecTransportError)

_FOLDER: Final = "/tmp/.sandyard/proc"
_CHUNK_BYTES: Final = 1024 * 1024
_FOLLOW_BYTES: Final = 8 * _CHUNK_BYTES
# How long one look inside waits for news.
_LOOK_SECONDS: Final = 20
_STDIN_SECONDS: Final = 20.0
_ANSWER_SECONDS: Final = 20.0
_END_SECONDS: Final = 10.0
_EMPTY_SECONDS: Final = 0.5
# Beyond any output: such a look returns at the end only.
_END: Final = 2**60
_GONE: Final = 44
_NO_READER: Final = 45
_NO_FILES: Final = 46
# SIGPIPE, as the shell tells it.
_BROKEN_PIPE: Final = 141
_TOO_LONG: Final = "the command took longer than its timeout, and was ended"


@dataclass(frozen=True)
class OutputChunk:
    """A piece of output.

    Attributes
    ----------
    stdout_offset, stderr_offset
        Where the next piece begins: bytes from the beginning of the stream.
    done
        Whether the command has ended and this is the last of its output.
    exit_code
        0-255; None while the command runs.
    timed_out
        Whether the command took longer than its ``timeout`` and was ended.
    truncated
        Whether there was more output than is kept; the rest is dropped.
    """

    stdout: bytes
    stderr: bytes
    stdout_offset: int
    stderr_offset: int
    done: bool
    exit_code: int | None
    timed_out: bool
    truncated: bool


@dataclass(frozen=True)
class BackgroundInfo:
    """One line of the list of background commands.

    Attributes
    ----------
    started_at
        Seconds since the epoch, by the sandbox's clock.
    exit_code
        None while the command runs.
    """

    id: str
    command: str
    pid: int
    started_at: int
    exit_code: int | None

    @property
    def running(self) -> bool:
        """Whether the command still runs."""
        return self.exit_code is None


class BackgroundCommand:
    """A command that runs in the background.

    Attributes
    ----------
    id
        The id by which `Commands.connect` finds the command from any program.
    """

    def __init__(self, session: Session, id: str) -> None:  # noqa: A002
        self._session = session
        self.id = id

    @property
    def stdout_path(self) -> str:
        """Path inside the sandbox of the command's standard output."""
        return f"{self._folder}/stdout"

    @property
    def stderr_path(self) -> str:
        """Path inside the sandbox of the command's standard error."""
        return f"{self._folder}/stderr"

    async def read(
        self, stdout_offset: int = 0, stderr_offset: int = 0, *, max_bytes: int = _CHUNK_BYTES, wait: float = 0
    ) -> OutputChunk:
        """Read output from these offsets on, at most *max_bytes* of each stream.

        With *wait*, waits up to so many seconds for new output, or for the end.

        Raises
        ------
        CommandNotFound
            The sandbox has no such command, or the command was removed.
        ExecTransportError
            There was no answer in time; the command runs on.
        """
        check_count("stdout_offset", stdout_offset)
        check_count("stderr_offset", stderr_offset)
        check_count("max_bytes", max_bytes)
        if not is_number(wait) or not 0 <= wait < math.inf:
            raise InvalidArgument(f"wait: {wait!r} is not a number of seconds from 0 on")
        words = ["/bin/sh", "-c", script.text("background_read"), "sandyard-read", self.id]
        words += [str(stdout_offset), str(stderr_offset), str(max_bytes), str(int(wait))]
        look = Command(words, timeout=wait + _ANSWER_SECONDS)
        try:
            done = await runner.run(self._session, look, Sinks(keep=2 * max_bytes + 200))
        except CommandTimeout as error:
            # It is the look that was ended, not what is looked at.
            text = f"background command {self.id}: its sandbox gave no answer within {look.timeout:g} s"
            raise ExecTransportError(text, started=True, sandbox=self._session.name) from error
        if done.exit_code == _GONE:
            raise CommandNotFound(f"no background command {self.id!r}", sandbox=self._session.name)
        if done.exit_code == _NO_FILES:
            raise BadAnswer(f"background command {self.id}: its output is no file any more; it may have changed that")
        return _chunk(self.id, done, stdout_offset, stderr_offset, max_bytes)

    async def follow(self, on_stdout: Output | None = None, on_stderr: Output | None = None) -> OutputChunk:
        """Hand over all output as it comes, from the beginning; returns when the command has ended."""
        at = OutputChunk(b"", b"", 0, 0, False, None, False, False)
        while not at.done:
            at = await self.read(
                at.stdout_offset, at.stderr_offset, max_bytes=_FOLLOW_BYTES, wait=_LOOK_SECONDS
            )  # fmt: skip
            await hand_over(at.stdout, on_stdout)
            await hand_over(at.stderr, on_stderr)
            if not at.done and not at.stdout and not at.stderr:
                # It says that there is more and has nothing: looked at again, but not at once.
                await asyncio.sleep(_EMPTY_SECONDS)
        await finish(on_stdout, on_stderr)
        return at

    async def wait(
        self, timeout: float | None = None, *, max_output: int = DEFAULT_KEEP, check: bool = False
    ) -> CommandResult:
        """Wait until the command has ended, and return its result as `Commands.run` does.

        Raises
        ------
        NotFinished
            The command still runs after *timeout* seconds, and continues to run.
        CommandTimeout
            The command took longer than its own ``timeout`` and was ended.
        """
        if timeout is not None and not (is_number(timeout) and timeout >= 0):
            raise InvalidArgument(f"timeout: {timeout!r} is not a number of seconds from 0 on; None is for no limit")
        started = time.monotonic()
        while True:
            left = _LOOK_SECONDS if timeout is None else min(_LOOK_SECONDS, timeout - (time.monotonic() - started))
            end = await self.read(_END, _END, max_bytes=0, wait=max(0, left))
            if end.exit_code is not None:
                break
            if timeout is not None and time.monotonic() - started >= timeout:
                raise NotFinished(f"{self.id} still runs", sandbox=self._session.name)
            await asyncio.sleep(0 if left >= 1 else 0.2)
        whole = Command(["/bin/sh", "-c", "cat stdout; cat stderr >&2"], self._folder, timeout=None)
        kept = await runner.run(self._session, whole, Sinks(keep=max_output))
        result = CommandResult(
            end.exit_code, kept.stdout, kept.stderr, end.timed_out, time.monotonic() - started, kept.omitted_bytes,
            self.id,
        )  # fmt: skip
        if end.timed_out:
            raise CommandTimeout(
                "the command took longer than its timeout, and was ended", result, sandbox=self._session.name
            )
        return checked(result, self._session.name) if check else result

    async def kill(self, signal: str = "TERM", grace: float = 2) -> bool:
        """Send *signal* to the command and all that it has started, and KILL after *grace* seconds.

        Returns False if the command had ended before.
        """
        try:
            running = (await self.read(_END, _END, max_bytes=0)).exit_code is None
        except SPOILED:
            # Nothing that it makes of its files keeps it from its end.
            if not await lives(self._session, self.id):
                raise
            running = True
        await terminate(self._session, self.id, signal, grace)
        return running

    async def send_stdin(self, data: bytes) -> None:
        """Write to the standard input of a command that was started with ``stdin=True``.

        Returns when the command has taken all of it, but for the 64 KiB that a pipe holds.

        Raises
        ------
        StdinClosed
            The command has ended, has closed its standard input, or never had one: some of *data* may be lost.
        """
        await self._to_stdin(script.text("feed_background"), data, None)

    async def close_stdin(self) -> None:
        """Close the command's standard input."""
        code = f"[ -p stdin ] && [ ! -e exit ] || exit {_NO_READER}; "
        code += "[ -e stdin_closed ] || { : >stdin_closed; : >hold; }"
        await self._to_stdin(code, b"", _STDIN_SECONDS)

    async def remove(self) -> None:
        """End the command if it still runs, and delete its files."""
        await terminate(self._session, self.id, "KILL", 0)
        await runner.run(self._session, Command(["rm", "-rf", "--", self._folder]))

    @property
    def _folder(self) -> str:
        return f"{_FOLDER}/{self.id}"

    async def _to_stdin(self, code: str, data: bytes, timeout: float | None) -> None:
        name = self._session.name
        feed = Command(["/bin/sh", "-c", code], self._folder, stdin=data, timeout=timeout)
        try:
            done = await runner.run(self._session, feed)
        except CommandTimeout as error:
            raise StdinClosed(f"{self.id} does not read its input", sandbox=name) from error
        except SandboxFileNotFound as error:
            raise CommandNotFound(f"no background command {self.id!r}", sandbox=name) from error
        if done.exit_code in (_NO_READER, _BROKEN_PIPE):
            raise StdinClosed(f"{self.id} has no standard input any more", sandbox=name)
        if done.exit_code != 0:
            raise CommandNotFound(f"no background command {self.id!r}", sandbox=name)


async def lives(session: Session, exec_id: str) -> bool:
    """Whether any process of a command runs, whatever its files say.

    Raises
    ------
    ApiError, TransportError
        The exec failed: it is not known.
    """
    words = ["/bin/sh", "-c", script.text("functions") + '\nsandyard_tagged "$1"', "sandyard-lives", exec_id]
    return bool((await session.run_own(words, _STDIN_SECONDS)).stdout.strip())


async def start(session: Session, command: Command, *, stdin: bool, keep: int) -> BackgroundCommand:
    """Begin *command* in the background, with *keep* bytes of each stream in files of the sandbox.

    With *stdin* its standard input stays open for `BackgroundCommand.send_stdin`.

    Raises
    ------
    ExecTransportError
        The sandbox could not start the command; the message says why.
    """
    await runner.check(session, command)
    made = script.new_id()
    limit = str(max(1, round(command.timeout))) if command.timeout is not None else "0"
    code = script.text("functions", "raw", "give", "program", "background")
    words = script.by_bash(code, "sandyard-background", made, limit, str(keep), "1" if stdin else "0", ".",
                           *script.variables(command.env), "--", *command.words)  # fmt: skip
    done = await runner.run(session, Command(words, command.cwd, timeout=_STDIN_SECONDS))
    if done.exit_code != 0:
        text = f"the sandbox could not start the command: {done.stderr_text.strip()}"
        raise ExecTransportError(text, started=False, sandbox=session.name, result=done)
    return BackgroundCommand(session, made)


async def run_kept(session: Session, command: Command, sinks: Sinks, keep: int) -> CommandResult:
    """Run *command* to its end, with *keep* bytes of each stream in files of the sandbox.

    A caller that is cancelled ends the command.
    """
    await runner.check(session, command)
    if not isinstance(command.stdin, bytes) or command.output_limit is not None:
        raise InvalidArgument("keep_output goes with stdin of bytes, and without output_limit")
    started = time.monotonic()
    handle = await start(session, command, stdin=bool(command.stdin), keep=keep)
    # Its files hold no marks: what looks like one is output.
    tails = Tail(script.new_id(), sinks.keep), Tail(script.new_id(), sinks.keep)

    def into(tail: Tail, output: Output | None) -> Output:
        def take(data: bytes) -> Awaitable[None] | None:
            tail.feed(data)
            return output(data) if output is not None else None

        return take

    try:
        async with asyncio.TaskGroup() as tasks:
            if command.stdin:
                tasks.create_task(_feed(handle, command.stdin))
            end = await handle.follow(into(tails[0], sinks.on_stdout), into(tails[1], sinks.on_stderr))
    except BaseException as error:
        # Nobody waits for it any more, or nobody feeds it.
        with contextlib.suppress(Exception):
            await asyncio.shield(asyncio.wait_for(terminate(session, handle.id), _END_SECONDS))
        if isinstance(error, BaseExceptionGroup):
            raise error.exceptions[0] from None
        raise
    await finish(sinks.on_stdout, sinks.on_stderr)
    for tail in tails:
        tail.rest()
        tail.close()
    result = CommandResult(
        end.exit_code, tails[0].value(), tails[1].value(), end.timed_out, time.monotonic() - started,
        tails[0].omitted + tails[1].omitted, handle.id, handle.stdout_path, handle.stderr_path,
    )  # fmt: skip
    if end.timed_out:
        raise CommandTimeout(_TOO_LONG, result, sandbox=session.name)
    return result


async def _feed(handle: BackgroundCommand, data: bytes) -> None:
    """All of its input, for as long as the command takes to read it; one that has read enough wants no more."""
    with contextlib.suppress(StdinClosed):
        await handle.send_stdin(data)
    with contextlib.suppress(StdinClosed, CommandNotFound):
        await handle.close_stdin()


def parse_list(printed: bytes) -> list[BackgroundInfo]:
    """What ``background_list.sh`` prints, oldest first; what a program inside has spoiled is left out."""
    fields = printed.split(b"\0")
    rows = [fields[at : at + 5] for at in range(0, len(fields) - 4, 5)]
    found = []
    for row in rows:
        with contextlib.suppress(BadAnswer):
            found.append(_info(*row))
    return sorted(found, key=lambda info: info.started_at)


def _info(id_: bytes, pid: bytes, started: bytes, code: bytes, command: bytes) -> BackgroundInfo:
    if not script.is_id(name := id_.decode(errors="replace")):
        raise BadAnswer("a folder of another name")
    return BackgroundInfo(
        name, command.decode(errors="replace"), answers.number(pid, "pid", least=1, most=2**31),
        answers.number(started or b"0", "start", most=2**40),
        None if code == b"-" else answers.number(code, "exit code", most=255),
    )  # fmt: skip


def _chunk(id_: str, done: CommandResult, stdout_offset: int, stderr_offset: int, most: int) -> OutputChunk:
    """What ``background_read.sh`` has printed from the offsets on."""
    what = f"background command {id_}"
    head, _, out = done.stdout.partition(b"\n")
    of_out, of_err, code, timed_out, truncated = answers.words(head, 5, what)
    out, err = out[:most], done.stderr[:most] if done.exit_code == 0 else b""
    ends = [answers.number(size, what, most=_END) for size in (of_out, of_err)]
    at = stdout_offset + len(out), stderr_offset + len(err)
    ended = code != b"-"
    # Where it says that there is more and has nothing, there is no more.
    whole = (at[0] >= ends[0] and at[1] >= ends[1]) or (most > 0 and not out and not err)
    return OutputChunk(
        out, err, *at, ended and whole, answers.number(code, what, most=255) if ended else None, timed_out == b"1",
        truncated == b"1",
    )  # fmt: skip
