"""Commands for pools."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
import time
from typing import Any

import click

from sandyard.api import names
from sandyard.cli import tables, watching
from sandyard.cli.context import Context, Ended, note
from sandyard.cli.options import output
from sandyard.client.session.cluster import ALL_NAMESPACES, POOLS, SANDBOXES

__all__ = ["pool"]


@click.group()
def pool() -> None:
    """Create, show and scale pools."""


@pool.command("ls")
@output
@click.pass_obj
def list_(context: Context, output: str | None) -> None:
    """List pools."""

    async def job() -> list[dict[str, Any]]:
        async with context.cluster(lists=True) as cluster:
            return await cluster.items(POOLS, ALL_NAMESPACES if context.everywhere else cluster.namespace)

    tables.show(context.run(job()), output, tables.everywhere(tables.POOLS, context.everywhere))


@pool.command("create")
@click.argument("name")
@click.option("--image", required=True, help="Image of its sandboxes.")
@click.option("--replicas", type=click.IntRange(0), default=1, show_default=True, help="Warm sandboxes to keep.")
@click.option("--max", "most", type=click.IntRange(1), help="Most sandboxes at once, warm and claimed.")
@click.option("--cpu", help="CPU limit of each sandbox, for example 500m.")
@click.option("--memory", help="Memory limit of each sandbox, for example 512Mi.")
@click.option(
    "--network", type=click.Choice(["None", "Internet", "DNS"]), help="What its sandboxes may reach; default: nothing."
)
@click.option("--language", help="Language by which clients find the pool.")
@click.option("--dry-run", is_flag=True, help="Print the object and create nothing.")
@click.pass_obj
def create(
    context: Context, name: str, image: str, replicas: int, most: int | None, cpu: str | None, memory: str | None,
    network: str | None, language: str | None, dry_run: bool,
) -> None:  # fmt: skip
    """Create a pool.

    \b
    sandyard pool create python --image python:3.12-slim --replicas 3 --language python
    sandyard pool create python --image python:3.12-slim --dry-run > pool.yaml
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    template: dict[str, Any] = {"image": image}
    if cpu or memory:
        template["resources"] = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    if network:
        template["network"] = {"egress": network}
    spec: dict[str, Any] = {"replicas": replicas, "template": template}
    if most is not None:
        spec["maxSandboxes"] = most
    labels = {"labels": {names.LABEL_LANGUAGE: language}} if language else {}
    body = {"apiVersion": names.API_VERSION, "kind": names.POOL_KIND, "metadata": {"name": name, **labels},
            "spec": spec}  # fmt: skip
    if dry_run:
        tables.show(body, "yaml", tables.POOLS)
        return

    async def job() -> None:
        async with context.cluster() as cluster:
            await cluster.create(POOLS, cluster.namespace, body)

    context.run(job())
    note(f"pool {name} created; sandyard pool status {name} shows how it fills")


@pool.command("scale")
@click.argument("name")
@click.argument("replicas", type=click.IntRange(0))
@click.pass_obj
def scale(context: Context, name: str, replicas: int) -> None:
    """Set how many warm sandboxes a pool keeps."""

    async def job() -> None:
        async with context.cluster() as cluster:
            await cluster.patch(POOLS, cluster.namespace, name, {"spec": {"replicas": replicas}})

    context.run(job())


@pool.command("status")
@click.argument("name")
@output
@click.pass_obj
def status(context: Context, name: str, output: str | None) -> None:
    """Show a pool and its conditions; exits with 1 if the pool is Stalled and needs somebody's help."""

    async def job() -> dict[str, Any]:
        async with context.cluster() as cluster:
            return await cluster.get(POOLS, cluster.namespace, name)

    found = context.run(job())
    tables.show(found, output, tables.POOLS)
    conditions = found.get("status", {}).get("conditions", [])
    if output in (None, "wide"):
        click.echo("")
        click.echo(tables.table(conditions, tables.CONDITIONS))
    stalled = next((one for one in conditions if one["type"] == "Stalled" and one["status"] == "True"), None)
    if stalled is not None:
        raise Ended(f"pool {name} is stalled: {stalled['reason']}: {stalled['message']}")


@pool.command("watch")
@click.option("--interval", type=click.FloatRange(0.2, 3600), default=1.0, show_default=True,
              help="Seconds between looks.")  # fmt: skip
@click.option("--looks", type=click.IntRange(1), help="End after so many looks; default: at Ctrl-C.")
@click.pass_obj
def watch(context: Context, interval: float, looks: int | None) -> None:
    """Show pools as they change: warm, starting, claimed, queue, rate, time to Ready, failures.

    On a terminal it is one screen, drawn anew at each look. In a pipe each change of a pool is a line.
    """

    async def job() -> None:
        seen, shown = watching.Watch(), dict[str, tuple[str, ...]]()
        async with context.cluster(lists=True) as cluster:
            where = ALL_NAMESPACES if context.everywhere else cluster.namespace
            for look in itertools.count(1):
                pools, made = await cluster.items(POOLS, where), await cluster.items(SANDBOXES, where)
                rows = seen.look(pools, made, time.monotonic())
                if sys.stdout.isatty():
                    _draw(rows, where or "all namespaces")
                else:
                    _tell(rows, shown)
                if look == looks:
                    return
                await asyncio.sleep(interval)

    context.run(job())


def _draw(rows: list[watching.Row], where: str) -> None:
    size = shutil.get_terminal_size()
    title = f"Pools of {where}, {time.strftime('%H:%M:%S')} (Ctrl-C ends)"
    click.echo(f"\x1b[H\x1b[J{watching.screen(rows, size.columns, size.lines, title=title)}")


def _tell(rows: list[watching.Row], shown: dict[str, tuple[str, ...]]) -> None:
    """Print what differs from what was *shown*; a rate that has changed alone is no news."""
    for row in rows:
        news = (*row.cells[:6], *row.cells[9:])
        if shown.get(row.name) != news:
            shown[row.name] = news
            click.echo(watching.line(row))
