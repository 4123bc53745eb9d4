"""Connects this terminal with a terminal in a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence

from sandyard.cli.context import Ended, out, stdin_descriptor
from sandyard.client import AsyncSandbox

__all__ = ["connect"]


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Every key goes through as it is; the terminal is as before afterwards."""
    before = termios.tcgetattr(descriptor)
    try:
        # What was typed ahead is not thrown away.
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        # One that was closed has no settings any more.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


async def connect(sandbox: AsyncSandbox, command: Sequence[str], cwd: str, env: Mapping[str, str]) -> int | None:
    """Run *command* on this terminal; gives its exit code."""
    descriptor = stdin_descriptor()
    if not os.isatty(descriptor):
        raise Ended("standard input is no terminal; leave out -t", 2)
    size = shutil.get_terminal_size()
    variables = {"TERM": os.environ.get("TERM", "xterm-256color"), **env}
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    connecting = asyncio.current_task()
    assert connecting is not None
    gone = False
    async with await sandbox.pty(command, columns=size.columns, rows=size.lines, cwd=cwd, env=variables) as inside:

        def changed() -> None:
            size = shutil.get_terminal_size()
            resizing.append(loop.create_task(inside.resize(size.columns, size.lines)))

        async def send() -> None:
            while True:
                await inside.write(await typed.get())

        def read() -> None:
            nonlocal gone
            data = b""
            with contextlib.suppress(OSError):
                data = os.read(descriptor, 65536)
            if data:
                typed.put_nowait(data)
            else:
                # The terminal was closed, and whoever started this ignores SIGHUP.
                gone = True
                loop.remove_reader(descriptor)
                connecting.cancel()

        resizing: list[asyncio.Task[None]] = []
        sending = loop.create_task(send())
        with _raw(descriptor):
            loop.add_reader(descriptor, read)
            loop.add_signal_handler(signal.SIGWINCH, changed)
            try:
                async for data in inside:
                    out(data)
            except asyncio.CancelledError:
                if gone:
                    raise Ended("the terminal was closed", 128 + signal.SIGHUP) from None
                raise
            finally:
                loop.remove_reader(descriptor)
                loop.remove_signal_handler(signal.SIGWINCH)
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        return inside.exit_code
