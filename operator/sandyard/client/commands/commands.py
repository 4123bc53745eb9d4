"""The commands and processes of a sandbox, as a program asks for them."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence

from sandyard.client.commands import background
from sandyard.client.commands.background import BackgroundCommand, BackgroundInfo
from sandyard.client.commands.processes import SIGNALS, ProcessInfo, parse_processes
from sandyard.client.errors import CommandNotFound, InvalidArgument, PermissionDenied, checked
from sandyard.client.exec import runner, script
from sandyard.client.exec.command import Command, Input, Output, Sinks
from sandyard.client.exec.termination import GRACE_SECONDS, terminate
from sandyard.client.result import DEFAULT_KEEP, CommandResult
from sandyard.client.session.session import Session

__all__ = ["Commands"]

# Two streams of a few commands fit into a /tmp of the usual size.
_BACKGROUND_KEEP = 16 * 1024 * 1024


class Commands:
    """The commands and processes of one sandbox."""

    def __init__(self, session: Session) -> None:
        self._session = session

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
        asked = Command(script.words_of(command), cwd, env or {}, stdin, timeout, output_limit)
        sinks = Sinks(on_stdout, on_stderr, max(max_output, output_limit or 0))
        if keep_output:
            result = await background.run_kept(self._session, asked, sinks, keep_output)
        else:
            result = await runner.run(self._session, asked, sinks)
        return checked(result, self._session.name) if check else result

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
        asked = Command(script.words_of(command), cwd, env or {}, timeout=timeout)
        return await background.start(self._session, asked, stdin=stdin, keep=max_output)

    async def connect(self, id: str) -> BackgroundCommand:  # noqa: A002
        """The background command of this id, from whatever program it was begun.

        Raises
        ------
        CommandNotFound
            There is none.
        """
        found = BackgroundCommand(self._session, id)
        await found.read(max_bytes=0)
        return found

    async def list(self) -> list[BackgroundInfo]:
        """All background commands of the sandbox, also those that have ended; oldest first."""
        done = await runner.run(self._session, Command(["/bin/sh", "-c", script.text("background_list")]))
        return background.parse_list(done.stdout)

    async def processes(self) -> builtins.list[ProcessInfo]:
        """All processes of the sandbox, by pid."""
        done = await runner.run(self._session, Command(["/bin/sh", "-c", script.text("processes")]))
        return parse_processes(done.stdout)

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
            raise InvalidArgument(f"unknown signal {signal!r}; use one of {', '.join(sorted(SIGNALS))}")
        if isinstance(pid, bool) or not isinstance(pid, int) or pid < 1:
            raise InvalidArgument(f"pid: {pid!r} is not a process; use a number above 0")
        words = ["/bin/sh", "-c", 'LC_ALL=C; kill -s "$1" "$2"', "sandyard-kill", name, str(pid)]
        done = await runner.run(self._session, Command(words))
        if done.exit_code != 0:
            kind = PermissionDenied if "not permitted" in done.stderr_text else CommandNotFound
            raise kind(f"pid {pid}: {done.stderr_text.strip()}", sandbox=self._session.name)

    async def end(self, exec_id: str, signal: str = "TERM", grace: int = GRACE_SECONDS) -> None:
        """End every process that a command has started: *signal*, and KILL after *grace* seconds."""
        await terminate(self._session, exec_id, signal, grace)
