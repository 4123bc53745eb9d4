"""The commands and processes of a sandbox, as a program asks for them."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence

from sandyard.client.commands import background
from sandyard.client.commands.background import BackgroundCommand, BackgroundInfo
from sandyard.client.commands.processes import ProcessInfo, parse_processes
from sandyard.client.errors import CommandNotFound, InvalidArgument, PermissionDenied, checked
from sandyard.client.exec import runner, script
from sandyard.client.exec.command import Command, Input, Output, Sinks, check_count
from sandyard.client.exec.termination import GRACE_SECONDS, signal_name, terminate
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
        """Run *command* to its end: a text by ``/bin/sh -c``, a list of words as it stands.

        Parameters
        ----------
        timeout
            Seconds from the command's start until it and all that it has started are ended (TERM, then
            KILL); None: never.
        stdin
            Bytes, or an asynchronous iterator of bytes that is read as fast as the command reads.
        cwd
            Folder to run the command in, relative to the template's ``workingDir``.
        on_stdout, on_stderr
            Called with all output, as it comes.
        max_output
            Bytes of each stream that the result keeps: where there is more, the beginning and the end.
        output_limit
            Bytes of one stream beyond which the command is ended.
        keep_output
            Bytes of each stream to keep in files of the sandbox, whatever the result drops:
            ``result.stdout_path``, ``stderr_path``. *stdin* must be bytes then.
        check
            Raise `CommandFailed` unless the exit code is 0.

        Raises
        ------
        CommandTimeout
            The command took too long and was ended; ``error.result`` holds its output until then.
        OutputLimitExceeded
            The same, for too much output.
        SandboxDeleted, SandboxEnded, SandboxExpired, SandboxRestarted
            The sandbox ended before the command did.
        ExecTransportError
            The stream broke off; ``error.started`` says whether the command may have run.
        """
        asked = Command(script.words_of(command), cwd, env or {}, stdin, timeout, output_limit)
        for name, count in (("max_output", max_output), ("keep_output", keep_output), ("output_limit", output_limit)):
            check_count(name, count)
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
        """Start *command* in the background: it outlives this program, and any program can `connect` to it.

        Parameters
        ----------
        timeout
            Seconds after which the command is ended, from inside the sandbox; None: it may run as long as
            the sandbox.
        stdin
            Keep standard input open for `BackgroundCommand.send_stdin`; without it, standard input is empty.
        max_output
            Bytes of each stream to keep, in files of the sandbox; the rest is dropped.
        """
        check_count("max_output", max_output)
        asked = Command(script.words_of(command), cwd, env or {}, timeout=timeout)
        return await background.start(self._session, asked, stdin=stdin, keep=max_output)

    async def connect(self, id: str) -> BackgroundCommand:  # noqa: A002
        """Find the background command with this id, whichever program has started it.

        Raises
        ------
        CommandNotFound
            No background command of the sandbox has this id.
        """
        if not script.is_id(id):
            raise CommandNotFound(f"no background command {id!r}", sandbox=self._session.name)
        found = BackgroundCommand(self._session, id)
        try:
            await found.read(max_bytes=0)
        except background.SPOILED:
            # What it has made of its files must not keep anybody from ending it.
            if not await background.lives(self._session, id):
                raise
        return found

    async def list(self) -> list[BackgroundInfo]:
        """List the background commands of the sandbox, oldest first; also those that have ended."""
        done = await runner.run(self._session, Command(["/bin/sh", "-c", script.text("background_list")]))
        return background.parse_list(done.stdout)

    async def processes(self) -> builtins.list[ProcessInfo]:
        """List the processes of the sandbox, by pid, without those that the client itself runs there."""
        words = ["/bin/sh", "-c", script.text("processes"), "sandyard-processes"]
        done = await runner.run(self._session, Command(words))
        return parse_processes(done.stdout)

    async def kill(self, pid: int, signal: str = "TERM") -> None:
        """Send *signal* (a name, as of kill(1)) to one process.

        Raises
        ------
        CommandNotFound
            No process has this pid.
        PermissionDenied
            The process belongs to another user.
        """
        name = signal_name(signal)
        if isinstance(pid, bool) or not isinstance(pid, int) or pid < 1:
            raise InvalidArgument(f"pid: {pid!r} is not a process; use a number above 0")
        words = ["/bin/sh", "-c", 'LC_ALL=C; kill -s "$1" "$2"', "sandyard-kill", name, str(pid)]
        done = await runner.run(self._session, Command(words))
        if done.exit_code != 0:
            kind = PermissionDenied if "not permitted" in done.stderr_text else CommandNotFound
            raise kind(f"pid {pid}: {done.stderr_text.strip()}", sandbox=self._session.name)

    async def end(self, exec_id: str, signal: str = "TERM", grace: float = GRACE_SECONDS) -> None:
        """End every process that a command has started: *signal*, and KILL after *grace* seconds."""
        if not script.is_id(exec_id):
            raise InvalidArgument(f"exec_id: {exec_id!r} is none; a result's exec_id is, or a background command's id")
        await terminate(self._session, exec_id, signal, grace)
