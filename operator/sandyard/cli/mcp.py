"""The command that gives sandboxes to a model: a server of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final

import click

from sandyard.cli.context import EXIT_OURS, Context, Ended, note
from sandyard.cli.options import making, wanted

__all__ = ["COMMANDS"]

# What a server gets to answer in to those that still wait.
_END_SECONDS: Final = 3.0


def _address(_context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """HOST:PORT."""
    if value is None:
        return None
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT", param=option)
    return host.strip("[]"), int(port)


async def _ended_by_itself(serving: Coroutine[Any, Any, None]) -> None:
    """Run a server that hears the signals that end this program too: cut short, it would say so with a traceback."""
    task = asyncio.ensure_future(serving)
    try:
        await asyncio.shield(task)
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=_END_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@click.command()
@making
@click.option("--http", callback=_address, metavar="HOST:PORT",
              help="Serve streamable HTTP at http://HOST:PORT/mcp instead of standard input and output.")  # fmt: skip
@click.pass_obj
def mcp(context: Context, /, http: tuple[str, int] | None, **options: Any) -> None:
    """Serve the Model Context Protocol: a model makes sandboxes, runs code in them, reads and writes their files.

    A client sees the sandboxes that it has made, and no others; all of them end with the server. Over HTTP nobody
    is asked who he is: listen on 127.0.0.1, or let a proxy ask. Needs the extra sandyard[mcp].

    \b
    sandyard mcp --pool python
    sandyard mcp --pool python --http 127.0.0.1:8000
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    asked = wanted(**options)
    try:
        from sandyard.adapters.mcp import serving
    except ModuleNotFoundError as error:
        raise Ended(f"{error.name} is missing: pip install 'sandyard[mcp]'", EXIT_OURS) from None

    async def job() -> None:
        async with context.cluster() as cluster, serving(**asked, cluster=cluster) as server:
            if http is None:
                await server.run_stdio_async()
            else:
                note(f"serving http://{http[0]}:{http[1]}/mcp")
                await _ended_by_itself(server.run_streamable_http_async(host=http[0], port=http[1]))

    context.run(job(), EXIT_OURS)


COMMANDS = (mcp,)
