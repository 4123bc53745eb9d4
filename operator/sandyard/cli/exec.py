"""Commands that run something in a sandbox, and those for what runs there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import click

from sandyard.cli import tables, terminal
from sandyard.cli.context import EXIT_OURS, EXIT_TIMEOUT, Context, Ended, err, note, out, stdin_descriptor
from sandyard.cli.options import making, output, pairs, wanted, words
from sandyard.client import AsyncSandbox
from sandyard.client.commands.background import OutputChunk

__all__ = ["COMMANDS"]

_AS_IT_STANDS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
_command = click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, callback=words)
_stdin = click.option("-i", "--stdin", "interactive", is_flag=True, help="Send standard input.")
_timeout = click.option(
    "--timeout", type=float, help="Seconds after which the command is ended; the exit code is 124 then."
)
_PIECE = 64 * 1024


class _WithWords(click.Command):
    """A command whose last words are another's: what stands before ``--`` is ours, wherever it stands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take options behind the name, too, unless the dashes are the other command's own."""
        if "--" in args:
            ctx.allow_interspersed_args, ctx.ignore_unknown_options = True, False
            try:
                found, _, _ = self.make_parser(ctx).parse_args(args[: args.index("--")])
                words = found.get("command")
                ours = not (isinstance(words, tuple | list) and words)
            except click.UsageError:
                ours = False
            ctx.allow_interspersed_args, ctx.ignore_unknown_options = ours, not ours
        given = list(args)
        rest = super().parse_args(ctx, args)
        command = ctx.params.get("command") or []
        behind = given[given.index("--") + 1 :] if "--" in given else []
        if command and command[0].startswith("-") and command != behind:
            raise click.UsageError(
                f"{command[0]}: no such option here, and no command; what follows -- is a command", ctx
            )
        return rest


def _input() -> AsyncIterator[bytes]:
    """Standard input, as it comes."""
    return _pieces(stdin_descriptor())


async def _pieces(descriptor: int) -> AsyncIterator[bytes]:
    """What a file holds; a thread of its own waits for it, so that nothing else does."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room = threading.Semaphore(16)

    def read() -> None:
        piece: bytes | OSError = b"-"
        with contextlib.suppress(RuntimeError):  # the loop has ended
            while isinstance(piece, bytes) and piece:
                room.acquire()
                try:
                    piece = os.read(descriptor, _PIECE)
                except OSError as error:
                    piece = error
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while piece := await pieces.get():
        if isinstance(piece, OSError):
            raise Ended(f"standard input cannot be read: {piece.strerror}")
        room.release()
        yield piece


@click.command("exec", cls=_WithWords, context_settings=_AS_IT_STANDS)
@click.argument("name")
@_command
@_stdin
@click.option("-t", "--tty", is_flag=True, help="Connect the command with this terminal.")
@_timeout
@click.option("--bg", is_flag=True, help="Run the command in the background and print its id, for logs and kill.")
@click.option("-w", "--cwd", default=".", help="Folder to run the command in.")
@click.option("-e", "--env", multiple=True, callback=pairs, help="Environment variable NAME=VALUE.")
@click.pass_obj
def exec_(
    context: Context, name: str, command: Sequence[str], interactive: bool, tty: bool, timeout: float | None, bg: bool,
    cwd: str, env: Mapping[str, str],
) -> None:  # fmt: skip
    """Run a command in a sandbox, and exit with its exit code.

    Exit codes of its own: 124 when the time was over, 125 when it could not be done, 126 when the command cannot be
    run, 127 when there is none, 130 after Ctrl-C.

    \b
    sandyard exec NAME -- python3 -c 'print(1)'
    sandyard exec -i NAME -- sh < script.sh
    sandyard exec -t NAME -- python3
    sandyard exec --bg NAME -- python3 -m http.server
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    if not command:
        raise click.UsageError("Missing argument 'COMMAND...'.")
    if tty and (bg or timeout is not None):
        raise click.UsageError("-t goes with neither --bg nor --timeout")

    async def job(sandbox: AsyncSandbox) -> int | None:
        if tty:
            return await terminal.connect(sandbox, command, cwd, env)
        if bg:
            handle = await sandbox.commands.start(list(command), timeout=timeout, cwd=cwd, env=env, stdin=interactive)
            click.echo(handle.id)
            return 0
        done = await sandbox.commands.run(
            list(command), stdin=_input() if interactive else b"", timeout=timeout, cwd=cwd, env=env, on_stdout=out,
            on_stderr=err, max_output=2,
        )  # fmt: skip
        return done.exit_code

    sys.exit(context.use(name, job, EXIT_OURS))


@click.command()
@click.argument("name")
@click.option("-w", "--cwd", default=".", help="Folder to begin in.")
@click.option("-e", "--env", multiple=True, callback=pairs, help="Environment variable NAME=VALUE.")
@click.pass_obj
def shell(context: Context, name: str, cwd: str, env: Mapping[str, str]) -> None:
    """Open a shell in a sandbox, on this terminal."""
    sys.exit(context.use(name, lambda sandbox: terminal.connect(sandbox, (), cwd, env), EXIT_OURS))


@click.command("run", cls=_WithWords, context_settings=_AS_IT_STANDS)
@_command
@making
@_stdin
@_timeout
@click.pass_obj
def run(context: Context, /, command: Sequence[str], interactive: bool, timeout: float | None, **options: Any) -> None:
    """Create a sandbox, run a command in it, and delete the sandbox.

    \b
    sandyard run --pool python -- python3 -c 'print(1)'
    sandyard run -i --language python -- python3 - < program.py
    """  # noqa: D301 - as above
    if not command:
        raise click.UsageError("Missing argument 'COMMAND...'.")
    asked = wanted(**options)

    async def job() -> int | None:
        async with context.cluster() as cluster:
            sandbox = await AsyncSandbox.create(**asked, cluster=cluster)
            async with sandbox:
                done = await sandbox.commands.run(
                    list(command), stdin=_input() if interactive else b"", timeout=timeout, on_stdout=out,
                    on_stderr=err, max_output=2,
                )  # fmt: skip
                return done.exit_code

    sys.exit(context.run(job(), EXIT_OURS))


@click.command()
@click.argument("name")
@click.option("--bg", is_flag=True, help="Only commands in the background, also those that have ended.")
@output
@click.pass_obj
def ps(context: Context, name: str, bg: bool, output: str | None) -> None:
    """List the processes of a sandbox, or its background commands."""

    async def job(sandbox: AsyncSandbox) -> list[dict[str, Any]]:
        found: Sequence[Any] = await (sandbox.commands.list() if bg else sandbox.commands.processes())
        return [{"metadata": {"name": str(getattr(one, "id", one.pid))}, **vars(one)} for one in found]

    tables.show(context.use(name, job), output, tables.BACKGROUND if bg else tables.PROCESSES)


@click.command()
@click.argument("name")
@click.argument("id_", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Print until the command has ended, and exit as `exec` does.")
@click.pass_obj
def logs(context: Context, name: str, id_: str, follow: bool) -> None:
    """Print the output of a background command so far."""

    async def job(sandbox: AsyncSandbox) -> int | None:
        handle = await sandbox.commands.connect(id_)
        if follow:
            chunk = await handle.follow(out, err)
            told(chunk)
            return EXIT_TIMEOUT if chunk.timed_out else chunk.exit_code
        chunk = await handle.read()
        while chunk.stdout or chunk.stderr:
            out(chunk.stdout)
            err(chunk.stderr)
            chunk = await handle.read(chunk.stdout_offset, chunk.stderr_offset)
        told(chunk)
        return 0

    def told(chunk: OutputChunk) -> None:
        if chunk.truncated:
            note("it has said more than is kept")
        if chunk.timed_out:
            note("its time was over, and it was ended")

    sys.exit(context.use(name, job))


@click.command()
@click.argument("name")
@click.argument("id_", metavar="ID|PID")
@click.option("-s", "--signal", default="TERM", show_default=True, help="Signal to send.")
@click.option("--grace", default=2, show_default=True, help="Seconds until KILL follows, for a background command.")
@click.pass_obj
def kill(context: Context, name: str, id_: str, signal: str, grace: int) -> None:
    """End a background command and all that it has started, or send a signal to one process."""

    async def job(sandbox: AsyncSandbox) -> None:
        if id_.isdigit() and len(id_) < 10:
            await sandbox.commands.kill(int(id_), signal)
        elif not await (await sandbox.commands.connect(id_)).kill(signal, grace):
            note(f"{id_} had ended before")

    context.use(name, job)


COMMANDS = (exec_, shell, run, ps, logs, kill)
