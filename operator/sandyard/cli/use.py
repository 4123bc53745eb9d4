"""Commands that run things in a sandbox, and those for its files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sandyard.cli import show, terminal
from sandyard.cli.base import Context, Ended, err, note, out, output, pairs, print_, waiting, words
from sandyard.cli.life import making, wanted
from sandyard.client import AsyncSandbox
from sandyard.client.files.archive import Transferred

__all__ = ["COMMANDS"]

_AS_IT_STANDS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
_command = click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, callback=words)
_stdin = click.option("-i", "--stdin", "interactive", is_flag=True, help="Send standard input.")
_timeout = click.option("--timeout", type=float, help="Seconds after which it is ended; then the exit code is 124.")
_PIECE = 64 * 1024


async def _input() -> AsyncIterator[bytes]:
    """Standard input, as it comes. A thread of its own may wait for what never comes, and holds up nothing."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(16)

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            while True:
                room.acquire()
                piece = os.read(sys.stdin.fileno(), _PIECE)
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
                if not piece:
                    return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while piece := await pieces.get():
        room.release()
        yield piece


@click.command("exec", context_settings=_AS_IT_STANDS)
@click.argument("name")
@_command
@_stdin
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal: this one.")
@_timeout
@click.option("--bg", is_flag=True, help="Run it in the background and print its id, for logs and kill.")
@click.option("-w", "--cwd", default=".", help="Folder to run it in.")
@click.option("-e", "--env", multiple=True, callback=pairs, help="Environment variable NAME=VALUE.")
@click.pass_obj
def exec_(
    context: Context, name: str, command: Sequence[str], interactive: bool, tty: bool, timeout: float | None, bg: bool,
    cwd: str, env: Mapping[str, str],
) -> None:  # fmt: skip
    """Run a command in a sandbox; its exit code is this program's.

    \b
    sandyard exec NAME -- python3 -c 'print(1)'
    sandyard exec -i NAME -- sh < script.sh
    sandyard exec -t NAME -- python3
    sandyard exec --bg NAME -- python3 -m http.server
    """  # noqa: D301 - as above
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

    sys.exit(context.use(name, job))


@click.command()
@click.argument("name")
@click.option("-w", "--cwd", default=".", help="Folder to begin in.")
@click.option("-e", "--env", multiple=True, callback=pairs, help="Environment variable NAME=VALUE.")
@click.pass_obj
def shell(context: Context, name: str, cwd: str, env: Mapping[str, str]) -> None:
    """Open a shell in a sandbox, on this terminal."""
    sys.exit(context.use(name, lambda sandbox: terminal.connect(sandbox, (), cwd, env)))


@click.command("run", context_settings=_AS_IT_STANDS)
@_command
@making
@_stdin
@_timeout
@click.pass_obj
def run(context: Context, /, command: Sequence[str], interactive: bool, timeout: float | None, **options: Any) -> None:
    """Make a sandbox, run a command in it, and delete it.

    \b
    sandyard run --pool python -- python3 -c 'print(1)'
    sandyard run -i --language python -- python3 - < program.py
    """  # noqa: D301 - as above
    if not command:
        raise click.UsageError("Missing argument 'COMMAND...'.")
    asked = wanted(**options)

    async def job() -> int | None:
        async with context.cluster() as cluster:
            async with waiting("waiting for a sandbox"):
                sandbox = await AsyncSandbox.create(**asked, cluster=cluster)
            async with sandbox:
                done = await sandbox.commands.run(
                    list(command), stdin=_input() if interactive else b"", timeout=timeout, on_stdout=out,
                    on_stderr=err, max_output=2,
                )  # fmt: skip
                return done.exit_code

    sys.exit(context.run(job()))


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

    print_(context.use(name, job), output, show.BACKGROUND if bg else show.PROCESSES)


@click.command()
@click.argument("name")
@click.argument("id_", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until it has ended; its exit code is then this program's.")
@click.pass_obj
def logs(context: Context, name: str, id_: str, follow: bool) -> None:
    """Print what a background command has said so far."""

    async def job(sandbox: AsyncSandbox) -> int | None:
        handle = await sandbox.commands.connect(id_)
        if follow:
            return (await handle.follow(out, err)).exit_code
        chunk = await handle.read()
        while chunk.stdout or chunk.stderr:
            out(chunk.stdout)
            err(chunk.stderr)
            chunk = await handle.read(chunk.stdout_offset, chunk.stderr_offset)
        return 0

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


@click.command()
@click.argument("name")
@click.argument("path")
@click.pass_obj
def cat(context: Context, name: str, path: str) -> None:
    """Print a file of a sandbox."""
    out(context.use(name, lambda sandbox: sandbox.files.read(path)))


@click.command()
@click.argument("name")
@click.argument("path")
@click.pass_obj
def write(context: Context, name: str, path: str) -> None:
    """Write standard input to a file of a sandbox, in one step."""
    context.use(name, lambda sandbox: sandbox.files.write(path, sys.stdin.buffer.read()))


@click.command()
@click.argument("name")
@click.argument("path")
@click.option("--replace", nargs=2, multiple=True, metavar="OLD NEW", help="Replace OLD, which is there once, by NEW.")
@click.option("--replace-all", "everywhere", is_flag=True, help="OLD may be there more than once.")
@click.pass_obj
def edit(context: Context, name: str, path: str, replace: Sequence[tuple[str, str]], everywhere: bool) -> None:
    """Edit a file of a sandbox: with $EDITOR, or by exact replacements.

    \b
    sandyard edit NAME main.py
    sandyard edit NAME main.py --replace 'x = 1' 'x = 2'
    """  # noqa: D301 - as above

    async def job(sandbox: AsyncSandbox) -> None:
        if replace:
            await sandbox.files.edit(path, list(replace), replace_all=everywhere)
            return
        before = await sandbox.files.read(path)
        with tempfile.TemporaryDirectory(prefix="sandyard-edit-") as folder:
            copy = Path(folder) / (Path(path).name or "file")
            await asyncio.to_thread(copy.write_bytes, before)
            editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
            done = await asyncio.to_thread(subprocess.run, [*editor, str(copy)], check=False)
            after = await asyncio.to_thread(copy.read_bytes)
        if done.returncode != 0:
            raise Ended(f"{editor[0]} ended with {done.returncode}; {path} is as it was")
        if after == before:
            note(f"{path} is as it was")
        elif await sandbox.files.read(path) != before:
            raise Ended(f"{path} has changed meanwhile; nothing was written")
        else:
            await sandbox.files.write(path, after)

    context.use(name, job)


@click.command()
@click.argument("source")
@click.argument("target")
@click.pass_obj
def cp(context: Context, source: str, target: str) -> None:
    """Copy a file or a folder into a sandbox or out of it; NAME:PATH is in the sandbox.

    \b
    sandyard cp ./data NAME:data
    sandyard cp NAME:/workspace/out ./out
    """  # noqa: D301 - as above
    inside = [_place(text) for text in (source, target)]
    if (inside[0] is None) == (inside[1] is None):
        raise click.UsageError("one of the two is NAME:PATH, the other a path here")
    progress = _Progress()
    if inside[1] is not None:
        name, path = inside[1]
        done = context.use(name, lambda sandbox: sandbox.files.upload(source, path, on_progress=progress))
    else:
        assert inside[0] is not None
        name, path = inside[0]
        done = context.use(name, lambda sandbox: sandbox.files.download(path, target, on_progress=progress))
    progress.end(done)


def _place(text: str) -> tuple[str, str] | None:
    name, colon, path = text.partition(":")
    return (name, path or ".") if colon and name and "/" not in name else None


class _Progress:
    """Tells every second how far it is, if somebody looks."""

    def __init__(self) -> None:
        self._shown = time.monotonic()
        self._any = False

    def __call__(self, done: int) -> None:
        if not sys.stderr.isatty() or time.monotonic() - self._shown < 1:
            return
        self._shown, self._any = time.monotonic(), True
        click.echo(f"\r{done / 1e6:.1f} MB", nl=False, err=True)

    def end(self, done: Transferred) -> None:
        """What was left out is always said."""
        if self._any:
            click.echo("\r", nl=False, err=True)
        for text in done.skipped:
            note(f"skipped {text}")
        with contextlib.suppress(OSError):
            note(f"{done.files} files, {done.bytes} bytes")


COMMANDS = (exec_, shell, run, ps, logs, kill, cat, write, edit, cp)
