"""Commands for pools."""

from __future__ import annotations

from typing import Any

import click

from sandyard.api import names
from sandyard.cli import tables
from sandyard.cli.context import Context, Ended, note
from sandyard.cli.options import output
from sandyard.client.session.cluster import ALL_NAMESPACES, POOLS

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
