"""Commands that run programs in a known language, by themselves or as cells of a context."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from sandyard.cli import tables
from sandyard.cli.context import EXIT_OURS, EXIT_TIMEOUT, Context, err, note, out, read_stdin
from sandyard.cli.options import output
from sandyard.client import AsyncSandbox
from sandyard.client.code.code import CodeResult

__all__ = ["COMMANDS"]


@click.command("run-code")
@click.argument("name")
@click.option("-l", "--language", help="Language of the program; default: the context's, or python.")
@click.option("--context-id", help="Run it as a cell of this context: see `sandyard contexts`.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds until the program is ended.")
@click.pass_obj
def run_code(context: Context, name: str, language: str | None, context_id: str | None, timeout: float) -> None:
    """Run the program on standard input, and print what it prints; of a cell, also its value and its error.

    \b
    sandyard run-code NAME < program.py
    sandyard run-code NAME -l bash < script.sh
    echo '1 + 1' | sandyard run-code NAME --context-id $(sandyard contexts create NAME)
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    code = read_stdin().decode(errors="surrogateescape")

    async def job(sandbox: AsyncSandbox) -> CodeResult:
        within = await sandbox.contexts.connect(context_id) if context_id is not None else None
        return await sandbox.run_code(
            code, language, context=within, timeout=timeout, on_stdout=out, on_stderr=err
        )  # fmt: skip

    done = context.use(name, job, EXIT_OURS)
    for one in done.results:
        out((one.text or f"<{', '.join(one.data)}>").encode() + b"\n")
    if done.error is not None:
        err((done.error.traceback.rstrip() or f"{done.error.name}: {done.error.value}").encode() + b"\n")
    for line in done.skipped:
        note(line)
    sys.exit(EXIT_TIMEOUT if done.limit == "time" else 0 if done.ok else done.exit_code or 1)


@click.group()
def contexts() -> None:
    """Interpreters in a sandbox that keep what the programs given to them set."""


@contexts.command()
@click.argument("name")
@click.option("-l", "--language", default="python", show_default=True, help="python, javascript or bash.")
@click.option("-w", "--cwd", default=".", help="Folder to begin in.")
@click.pass_obj
def create(context: Context, name: str, language: str, cwd: str) -> None:
    """Start one, and print its id."""

    async def job(sandbox: AsyncSandbox) -> str:
        return (await sandbox.contexts.create(language, cwd=cwd)).id

    click.echo(context.use(name, job))


@contexts.command("ls")
@click.argument("name")
@output
@click.pass_obj
def list_(context: Context, name: str, output: str | None) -> None:
    """List them."""

    async def job(sandbox: AsyncSandbox) -> list[dict[str, Any]]:
        found = await sandbox.contexts.list()
        return [{"metadata": {"name": one.id}, **dataclasses.asdict(one)} for one in found]

    tables.show(context.use(name, job), output, tables.CONTEXTS)


def _on_one(verb: str, text: str) -> None:
    @contexts.command(verb, help=text)
    @click.argument("name")
    @click.argument("id_", metavar="ID")
    @click.pass_obj
    def act(context: Context, name: str, id_: str) -> None:
        async def job(sandbox: AsyncSandbox) -> None:
            found = await sandbox.contexts.connect(id_)
            await {"interrupt": found.interrupt, "restart": found.restart, "rm": found.remove}[verb]()

        context.use(name, job)


_on_one("interrupt", "Interrupt what one runs, and keep what it has set.")
_on_one("restart", "Begin anew with one: all that it has set is gone.")
_on_one("rm", "End one, with what it has started.")
COMMANDS = (run_code, contexts)
