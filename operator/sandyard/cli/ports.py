"""The command that lets ports of this machine lead to those of a sandbox."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

import click

from sandyard.cli.context import EXIT_OURS, Context, note
from sandyard.client import AsyncSandbox

__all__ = ["COMMANDS"]


def _pairs(_context: click.Context, option: click.Parameter, values: Sequence[str]) -> list[tuple[int, int]]:
    """``[LOCAL:]PORT`` arguments, as (LOCAL, PORT)."""
    found = []
    for value in values:
        local, colon, port = value.rpartition(":")
        parts = (local or ("0" if colon else port), port)
        if not all(re.fullmatch("[0-9]{1,5}", part) and int(part) <= 65535 for part in parts):
            raise click.BadParameter(f"{value!r} is not PORT, LOCAL:PORT or :PORT, of TCP", param=option)
        found.append((int(local or (0 if colon else port)), int(port)))
    return found


@click.command("port-forward")
@click.argument("name")
@click.argument("ports", nargs=-1, required=True, callback=_pairs, metavar="[LOCAL:]PORT...")
@click.option("--address", default="127.0.0.1", show_default=True, help="Address of this machine to listen on.")
@click.pass_obj
def port_forward(context: Context, name: str, ports: list[tuple[int, int]], address: str) -> None:
    """Let ports of this machine lead to those of a sandbox, until Ctrl-C or its end.

    \b
    sandyard port-forward NAME 8080              port 8080 here and there
    sandyard port-forward NAME 9000:8080 5432
    sandyard port-forward NAME :8080             a free port here
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself

    async def job(sandbox: AsyncSandbox) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for local, port in ports:
                forward = await sandbox.forward(port, local, address=address, on_problem=note)
                stack.push_async_exit(forward)
                click.echo(f"Forwarding from {address}:{forward.local_port} -> {port}")
            await forward.wait()

    context.use(name, job, EXIT_OURS)


COMMANDS = (port_forward,)
