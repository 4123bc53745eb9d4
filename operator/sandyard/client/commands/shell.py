"""A shell that stays: it keeps what its commands set (folder, variables, functions)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from sandyard.client.errors import (
    CommandTimeout,
    ExecTransportError,
    InvalidArgument,
    SandboxError,
    ShellClosed,
    checked,
)
from sandyard.client.exec import leash, opening, script
from sandyard.client.exec.command import Output, check_timeout, encoded, hand_over
from sandyard.client.exec.farewell import to_the_end
from sandyard.client.exec.lines import finish
from sandyard.client.exec.stream import Tail
from sandyard.client.exec.termination import terminate
from sandyard.client.result import DEFAULT_KEEP, CommandResult
from sandyard.client.session.exec_limit import Turn
from sandyard.client.session.session import Session
from sandyard.kube import errors, remotecommand

__all__ = ["Shell"]

_GRACE_SECONDS = 2
# Ends the id that the processes of a shell carry; that of the shell itself is without it.
_CHILD = "-child"
# Whether it is bash, which reads what is no file byte by byte: under gVisor a megabyte takes it a minute.
_SLOW_READER = 'command printf %s "${BASH_VERSION:+$_sandyard_dd}"'
_LONG_BYTES = 4096
# An open substitution spoils the memory of bash 5.2, so such a text is read by a copy of it first, which says what is
# wrong.
_PARSES = (
    'case ${BASH_VERSION-} in ?*) ("$_sandyard_builtin" command eval "set -n; $_sandyard_text") </dev/null ;; esac'
)
# Only here: a function of bash's has no trap of that kind.
_TRAPS = (
    "; case ${BASH_VERSION-} in ?*) _sandyard_trap=$(SANDYARD_EXEC=- trap -p DEBUG); trap - DEBUG; "
    '_sandyard_loud="${_sandyard_trap:+{ $_sandyard_trap; _sandyard_last && :; \\} >/dev/null 2>&1\n}$_sandyard_loud"'
    " ;; esac"
)
# So many of the bytes that follow are the text, with a point at its end that the shell does not take for an empty line.
_READ = (
    '_sandyard_text=$(SANDYARD_EXEC=- "$_sandyard_dd" bs={size} count=1 iflag=fullblock 2>/dev/null || '
    'SANDYARD_EXEC=- "$_sandyard_dd" bs=1 count={size} 2>/dev/null) || exit\n'
)
# As a command of its own, and not in a subshell.
_RUNS_NOTHING = re.compile(
    r"(?:^|[;&|{]|\b(?:then|do|else)\s)\s*set\s+(?:[-+]\w+\s+)*(?:-[A-Za-z]*n|-[A-Za-z]*o\s+noexec\b)", re.MULTILINE
)
# After its children are gone, how long the shell has to say so.
_ANSWER_SECONDS = 3.0
# What is begun gets so long to end when nobody waits for it any more.
_FAREWELL_SECONDS = 10.0


class Shell:
    """A shell that keeps what its commands set. Leaving its context ends it; several shells share nothing.

    Commands run one after the other, with empty standard input; the shell parses each as a whole,
    as ``eval`` does.
    """

    def __init__(self, session: Session, *, cwd: str, env: Mapping[str, str]) -> None:
        self._session = session
        self._cwd = cwd
        self._env = dict(env)
        self._turn = asyncio.Lock()
        self._reading: asyncio.Task[remotecommand.Exit] | None = None
        self._leash: asyncio.Task[None] | None = None
        self._process: remotecommand.Exec | None = None
        self._tails: dict[int, tuple[Tail, Output | None]] | None = None
        self._ended = asyncio.Event()
        # What the caller's own function for output has raised.
        self._failed: asyncio.Future[Exception] | None = None
        self._id = ""
        self._by_dd = False
        # Whether a command of this session may have set a trap that bash springs for each line, ours too.
        self._traps = False

    @property
    def closed(self) -> bool:
        """Whether the shell has ended; `reset` starts a new one."""
        return self._reading is None or self._reading.done()

    async def run(
        self,
        command: str,
        *,
        timeout: float | None = 60.0,
        on_stdout: Output | None = None,
        on_stderr: Output | None = None,
        max_output: int = DEFAULT_KEEP,
        check: bool = False,
    ) -> CommandResult:
        """Run *command* in the shell, with the options of `Commands.run`.

        A command that ends the shell (``exit``) returns its exit code, and closes the shell.

        Raises
        ------
        CommandTimeout
            The command took too long, and what it had started was ended. The shell stays, unless the
            shell itself hangs.
        ShellClosed
            The shell has ended before.
        """
        if "\0" in command:
            raise InvalidArgument("a command holds no NUL bytes")
        check_timeout(timeout)
        if "<<" not in command and _RUNS_NOTHING.search(command):
            raise InvalidArgument("set -n: a shell that runs nothing more cannot be told anything; use sh -n")
        self._traps = self._traps or "DEBUG" in command
        exec_id = script.new_id()
        text = _lines(command, exec_id, by_dd=self._by_dd, traps=self._traps)
        async with self._turn:
            if self.closed:
                raise ShellClosed("the shell has ended; reset() starts a new one", sandbox=self._session.name)
            await self._session.check_usable()
            tails = (Tail(exec_id, max_output), on_stdout), (Tail(exec_id, max_output), on_stderr)
            self._tails = dict(zip((remotecommand.STDOUT, remotecommand.STDERR), tails, strict=True))
            self._ended.clear()
            self._failed = asyncio.get_running_loop().create_future()
            started = time.monotonic()
            try:
                timed_out, lost = await self._follow(text, timeout)
            except asyncio.CancelledError:
                with contextlib.suppress(Exception):
                    await asyncio.shield(asyncio.wait_for(self._give_up(), _FAREWELL_SECONDS))
                raise
            finally:
                out, err = tails[0][0], tails[1][0]
                self._tails = None
            if self._failed.done():
                raise self._failed.result()
            await finish(on_stdout, on_stderr)
            out.close()
            err.close()
            code = out.exit_code
            if code is None and self._reading is not None and self._reading.done() and not self._reading.exception():
                code = self._reading.result().code
            result = CommandResult(code, out.value(), err.value(), timed_out, time.monotonic() - started,
                                   out.omitted + err.omitted, exec_id)  # fmt: skip
        if lost is not None:
            raise lost.with_traceback(None)
        if timed_out:
            raise CommandTimeout(
                f"not finished within {timeout:g} s; the command was ended", result, sandbox=self._session.name
            )
        if code is None:
            raise ExecTransportError("the shell's stream broke off", started=True, sandbox=self._session.name,
                                     result=result)  # fmt: skip
        return checked(result, self._session.name) if check else result

    async def reset(self) -> None:
        """End the shell and all that it has started, and start a new one in the first folder and environment."""
        async with self._turn:
            await self.close()
            await self._open()

    async def close(self) -> None:
        """End the shell and all that it has started."""
        reading, self._reading = self._reading, None
        if reading is not None:
            await to_the_end(self._end(reading), _FAREWELL_SECONDS)

    async def _end(self, reading: asyncio.Task[remotecommand.Exit]) -> None:
        reading.cancel()
        held = [self._leash] if self._leash is not None else []
        for task in held:
            task.cancel()
        await asyncio.gather(reading, *held, return_exceptions=True)
        with contextlib.suppress(errors.ApiError, errors.TransportError):
            await terminate(self._session, self._id, "HUP", _GRACE_SECONDS)

    async def __aenter__(self) -> Self:
        if self._reading is None:
            await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> None:
        await self._session.check_usable()
        self._id = script.new_id()
        words = await opening.prepared(self._session, "shell", self._id, self._cwd, self._env)
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turn = await self._session.exec_limit.turn()
        self._reading = asyncio.create_task(self._read(words, turn, opened))
        self._session.keep(self._reading)
        try:
            await self._begin(self._reading, opened)
        except asyncio.CancelledError:
            # Nobody gets it, so nobody would close it.
            with contextlib.suppress(Exception):
                await asyncio.shield(asyncio.wait_for(self.close(), _FAREWELL_SECONDS))
            raise

    async def _begin(self, reading: asyncio.Task[remotecommand.Exit], opened: asyncio.Future[None]) -> None:
        waiting: set[asyncio.Future[Any]] = {opened, reading}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            failure = reading.exception()
            raise (
                self._session.explain_exec(failure)
                if isinstance(failure, (errors.ApiError, errors.TransportError))
                else ShellClosed("the shell did not start", sandbox=self._session.name)
            )
        self._leash = asyncio.create_task(leash.hold(self._session, self._id, "HUP"))
        self._session.keep(self._leash)
        reading.add_done_callback(self._let_go)
        # What it starts carries more than its id: the end of that is not the shell's.
        begin = f"{script.text('quiet', 'shell_begin')}\nexport SANDYARD_EXEC={self._id}{_CHILD}\n"
        assert self._process is not None
        await self._process.write(begin.encode())
        if not self._turn.locked():
            begun = await self.run(_SLOW_READER, timeout=self._session.cluster.request_timeout)
            self._by_dd = begun.ok and bool(begun.stdout)

    async def _read(self, words: list[str], turn: Turn, opened: asyncio.Future[None]) -> remotecommand.Exit:
        turn.settle()
        async with self._session.open_interactive(words) as process:
            self._process = process
            opened.set_result(None)
            async for channel, data in process:
                # Between two commands only what was left running speaks, and nobody listens.
                if self._tails is None:
                    continue
                tail, output = self._tails[channel]
                try:
                    await hand_over(tail.feed(data), output)
                except Exception as error:  # noqa: BLE001 - whoever runs the command gets it
                    self._tails = {of: (one, None) for of, (one, _) in self._tails.items()}
                    if self._failed is not None and not self._failed.done():
                        self._failed.set_result(error)
                if all(tail.ended for tail, _ in self._tails.values()):
                    self._ended.set()
            assert process.exit is not None
            return process.exit

    async def _follow(self, text: bytes, timeout: float | None) -> tuple[bool, SandboxError | None]:
        """Send a line and wait for its marks; whether its time was over, and why the sandbox is lost."""
        assert self._process is not None and self._reading is not None
        async with self._session.end_watch.held() as losing:
            with contextlib.suppress(errors.TransportError):
                await self._process.write(text)
            ended = asyncio.create_task(self._ended.wait())
            try:
                assert self._failed is not None
                waiting: set[asyncio.Future[Any]] = {ended, losing, self._reading, self._failed}
                done, _ = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if ended in done:
                    return False, None
                if losing in done:
                    return False, losing.result()
                if self._reading in done:
                    return False, None
                await self._give_up()
                return not done, None
            finally:
                ended.cancel()

    async def _give_up(self) -> None:
        """End what runs, and the shell itself if it hangs: nothing of it may be taken for what runs next."""
        assert self._reading is not None
        try:
            await self._end_children()
            ended = asyncio.create_task(self._ended.wait())
            await asyncio.wait({ended, self._reading}, timeout=_ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
        finally:
            if not self._ended.is_set():
                await self.close()

    def _let_go(self, _: asyncio.Task[remotecommand.Exit]) -> None:
        if self._leash is not None:
            self._leash.cancel()

    async def _end_children(self) -> None:
        with contextlib.suppress(errors.ApiError, errors.TransportError):
            await terminate(self._session, self._id + _CHILD, "TERM", _GRACE_SECONDS)


def _lines(command: str, exec_id: str, *, by_dd: bool, traps: bool) -> bytes:
    """What the shell reads for *command*, which as a value of a variable can end none of these lines.

    ``command`` takes from ``eval`` what makes it special: an error in what it runs would end the shell.
    The last line is one that bash may misread: a text that is broken leaves its parser in the middle of a
    command.  In a function, as the text of a shell that is not bash and says ``return``,
    which would end it elsewhere, ``set --`` is forgotten.  Behind ``&&`` what the last command ended with ends
    no shell with ``set -e``; and what ``set -x`` says of these lines goes nowhere.  With *traps* a trap of
    bash's that is sprung for each line is set for the text alone.
    """
    run = '_sandyard_last && :; "$_sandyard_builtin" command eval "$_sandyard_loud$_sandyard_text" </dev/null'
    if "return" in command:
        run = f'case ${{BASH_VERSION-}} in "") _sandyard_last && :; _sandyard_call </dev/null ;; *) {run} ;; esac'
    if any(begin in command for begin in ("$(", "<(", ">(")):
        run = f"{_PARSES} && {{ {run}; }}"
    end = f'_sandyard_end {exec_id} "$?" "$-" || "$_sandyard_builtin" exit 1{_TRAPS if traps else ""}; :'
    given = encoded(command, "command")
    if by_dd and len(given) > _LONG_BYTES:
        given = _READ.format(size=len(given) + 1).encode() + given + b".\n_sandyard_text=${_sandyard_text%.}\n"
    else:
        given = b"_sandyard_text=" + shlex.quote(command).encode(errors="surrogateescape") + b"\n"
    # A shell that has no number left for a file can tell nothing: its end tells it.
    return given + f'{run}; {{ {end}; }} >/dev/null 2>&1 || "$_sandyard_builtin" exit 1\n\n'.encode()
