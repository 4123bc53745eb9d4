"""Commands for pools."""

from __future__ import annotations

from typing import Any

import click

from sandyard.api import names
from sandyard.cli import show
from sandyard.cli.base import Context, Ended, note, output, print_
from sandyard.client.session.cluster import POOLS

__all__ = ["pool"]


@click.group()
def pool() -> None:
    """Make pools, look at them and size them."""


@pool.command("ls")
@output
@click.pass_obj
def list_(context: Context, output: str | None) -> None:
    """List pools."""

    async def job() -> list[dict[str, Any]]:
        async with context.cluster() as cluster:
            return await cluster.client.items(POOLS.path(cluster.namespace))

    print_(context.run(job()), output, show.POOLS)


@pool.command("create")
@click.argument("name")
@click.option("--image", required=True, help="Image of its sandboxes.")
@click.option("--replicas", type=click.IntRange(0), default=1, show_default=True, help="Warm sandboxes to keep.")
@click.option("--max", "most", type=click.IntRange(1), help="The most sandboxes, warm and claimed.")
@click.option("--cpu", help="CPU limit of each, for example 500m.")
@click.option("--memory", help="Memory limit of each, for example 512Mi.")
@click.option("--network", type=click.Choice(["None", "Internet", "DNS"]), help="What they may reach; else nothing.")
@click.option("--language", help="Language that clients find it by.")
@click.option("--dry-run", is_flag=True, help="Print the object instead of making it.")
@click.pass_obj
def create(
    context: Context, name: str, image: str, replicas: int, most: int | None, cpu: str | None, memory: str | None,
    network: str | None, language: str | None, dry_run: bool,
) -> None:  # fmt: skip
    """Make a pool.

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
        print_(body, "yaml", show.POOLS)
        return

    async def job() -> None:
        async with context.cluster() as cluster:
            await cluster.create(POOLS, cluster.namespace, body)

    context.run(job())
    note(f"pool {name} made; sandyard pool status {name} shows how it fills")


@pool.command("scale")
@click.argument("name")
@click.argument("replicas", type=click.IntRange(0))
@click.pass_obj
def scale(context: Context, name: str, replicas: int) -> None:
    """Keep so many warm sandboxes."""

    async def job() -> None:
        async with context.cluster() as cluster:
            await cluster.patch(POOLS, cluster.namespace, name, {"spec": {"replicas": replicas}})

    context.run(job())


@pool.command("status")
@click.argument("name")
@output
@click.pass_obj
def status(context: Context, name: str, output: str | None) -> None:
    """Show a pool and what its conditions say; ends with 1 if it needs somebody's help (Stalled)."""

    async def job() -> dict[str, Any]:
        async with context.cluster() as cluster:
            return await cluster.get(POOLS, cluster.namespace, name)

    found = context.run(job())
    print_(found, output, show.POOLS)
    told = found.get("status", {}).get("conditions", [])
    if output in (None, "wide"):
        click.echo("")
        click.echo(show.table(told, show.CONDITIONS))
    stalled = next((one for one in told if one["type"] == "Stalled" and one["status"] == "True"), None)
    if stalled is not None:
        raise Ended(f"pool {name} is stalled: {stalled['reason']}: {stalled['message']}")
