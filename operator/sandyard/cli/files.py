"""Commands for the files of a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from sandyard.cli.context import Context, Ended, note, out, read_stdin
from sandyard.client import AsyncSandbox
from sandyard.client.files.archive import Transferred
from sandyard.client.files.tools import undashed

__all__ = ["COMMANDS"]


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
    """Write standard input to a file of a sandbox: whole, or not at all."""
    content = read_stdin()
    context.use(name, lambda sandbox: sandbox.files.write(path, content))


@click.command()
@click.argument("name")
@click.argument("path")
@click.option(
    "--replace", nargs=2, multiple=True, metavar="OLD NEW", help="Replace OLD, which the file holds once, by NEW."
)
@click.option("--replace-all", "everywhere", is_flag=True, help="Replace OLD everywhere.")
@click.pass_obj
def edit(context: Context, name: str, path: str, replace: Sequence[tuple[str, str]], everywhere: bool) -> None:
    """Edit a file of a sandbox: with $EDITOR, or by exact replacements.

    \b
    sandyard edit NAME main.py
    sandyard edit NAME main.py --replace 'x = 1' 'x = 2'
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself

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
@click.option("-r", "-R", "--recursive", is_flag=True, expose_value=False, help="Folders too, as without it.")
@click.pass_obj
def cp(context: Context, source: str, target: str) -> None:
    """Copy a file or a folder into a sandbox or out of it; NAME:PATH is in the sandbox.

    As cp -r: what is copied to a folder that is there gets into it, under its own name.

    \b
    sandyard cp ./data NAME:data
    sandyard cp NAME:/workspace/out ./out
    """  # noqa: D301 - as above
    inside = [_place(text) for text in (source, target)]
    if (inside[0] is None) == (inside[1] is None):
        raise click.UsageError("one of SOURCE and TARGET is NAME:PATH, the other a local path")
    progress = _Progress()
    if inside[1] is not None:
        name, path = inside[1]
        done = context.use(name, lambda sandbox: _into(sandbox, source, path, progress))
    else:
        assert inside[0] is not None
        name, path = inside[0]
        done = context.use(name, lambda sandbox: _out_of(sandbox, path, target, progress))
    progress.end(done)


async def _into(sandbox: AsyncSandbox, source: str, path: str, progress: _Progress) -> Transferred:
    """As cp(1): a folder that is there takes the copy in, under its own name."""
    there = await sandbox.commands.run(["test", "-d", undashed(path)])
    if there.ok:
        path = posixpath.join(path, _last(source))
    elif path.endswith("/") and not await asyncio.to_thread(os.path.isdir, source):
        raise Ended(f"{sandbox.name}:{path}: there is no such folder to copy into")
    return await sandbox.files.upload(source, path, on_progress=progress)


async def _out_of(sandbox: AsyncSandbox, path: str, target: str, progress: _Progress) -> Transferred:
    if await asyncio.to_thread(os.path.isdir, target):
        target = os.path.join(target, _last(path))
    elif target.endswith("/") and not (await sandbox.commands.run(["test", "-d", undashed(path)])).ok:
        raise Ended(f"{target}: there is no such folder to copy into")
    return await sandbox.files.download(path, target, on_progress=progress)


def _last(path: str) -> str:
    """The name that a copy of *path* has; ``.`` for what is in it."""
    name = posixpath.basename(path.rstrip("/"))
    return name if name not in ("", "..") else "."


def _place(text: str) -> tuple[str, str] | None:
    name, colon, path = text.partition(":")
    return (name, path or ".") if colon and name and "/" not in name else None


class _Progress:
    """Shows every second how much is copied, on a terminal."""

    def __init__(self) -> None:
        self._shown = time.monotonic()
        self._any = False

    def __call__(self, done: int) -> None:
        if not sys.stderr.isatty() or time.monotonic() - self._shown < 1:
            return
        self._shown, self._any = time.monotonic(), True
        click.echo(f"\r{done / 1e6:.1f} MB", nl=False, err=True)

    def end(self, done: Transferred) -> None:
        """Say what was copied and what was left out."""
        if self._any:
            click.echo("\r", nl=False, err=True)
        for text in done.skipped:
            note(f"skipped {text}")
        with contextlib.suppress(OSError):
            note(f"{done.files} files, {done.bytes} bytes")


COMMANDS = (cat, write, edit, cp)
