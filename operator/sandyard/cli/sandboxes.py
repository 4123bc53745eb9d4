"""Commands that make sandboxes, show them and delete them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import click

from sandyard.api import names
from sandyard.cli import tables
from sandyard.cli.context import Context, note, waiting
from sandyard.cli.options import making, output, pairs, wanted
from sandyard.client import AsyncSandbox
from sandyard.client.errors import SandboxNotFound
from sandyard.client.session.cluster import ALL_NAMESPACES, EVENTS, SANDBOXES, Cluster

__all__ = ["COMMANDS"]


@click.command()
@click.argument("name", required=False)
@making
@click.option("--no-wait", is_flag=True, help="Return before the sandbox is Ready.")
@click.pass_obj
def create(context: Context, /, name: str | None, no_wait: bool, **options: Any) -> None:
    """Create a sandbox and print its name.

    \b
    sandyard create --pool python --ttl 3600
    sandyard create mine --image python:3.12-slim --env A=1
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    asked = wanted(**options)

    async def job() -> str:
        async with context.cluster() as cluster:
            made = await AsyncSandbox.create(**asked, name=name, wait=not no_wait, cluster=cluster)
            return made.name

    click.echo(context.run(job()))


@click.command("ls")
@click.option("-l", "--label", "labels", multiple=True, callback=pairs, help="Only sandboxes with this label.")
@click.option("--pool", help="Only sandboxes of this pool.")
@output
@click.pass_obj
def list_(context: Context, labels: dict[str, str], pool: str | None, output: str | None) -> None:
    """List sandboxes."""

    async def job() -> list[dict[str, Any]]:
        async with context.cluster(lists=True) as cluster:
            namespace = ALL_NAMESPACES if context.everywhere else None
            return list(await AsyncSandbox.list(labels=labels, pool=pool, namespace=namespace, cluster=cluster))

    tables.show(context.run(job()), output, tables.everywhere(tables.SANDBOXES, context.everywhere))


@click.command()
@click.argument("name")
@output
@click.pass_obj
def get(context: Context, name: str, output: str | None) -> None:
    """Show one sandbox."""

    async def job() -> dict[str, Any]:
        async with context.cluster() as cluster:
            return await cluster.get(SANDBOXES, cluster.namespace, name)

    tables.show(context.run(job()), output, tables.SANDBOXES)


@click.command()
@click.argument("name")
@click.pass_obj
def describe(context: Context, name: str) -> None:
    """Show a sandbox with its conditions and events."""

    async def job() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with context.cluster() as cluster:
            found = await cluster.get(SANDBOXES, cluster.namespace, name)
            return found, await events_of(cluster, name, found["metadata"]["uid"])

    found, events = context.run(job())
    click.echo(tables.fields(found, tables.DESCRIPTION))
    click.echo(f"\n{tables.table(found.get('status', {}).get('conditions') or [], tables.CONDITIONS)}")
    click.echo(f"\n{tables.table(events, tables.EVENTS)}" if events else "\nno events")


@click.command()
@click.argument("name", required=False)
@output
@click.pass_obj
def events(context: Context, name: str | None, output: str | None) -> None:
    """List the events of a sandbox or a pool; without a NAME, those of all."""

    async def job() -> list[dict[str, Any]]:
        async with context.cluster(lists=True) as cluster:
            return await events_of(cluster, name, everywhere=context.everywhere)

    tables.show(context.run(job()), output, tables.everywhere(tables.EVENTS, context.everywhere))


async def events_of(
    cluster: Cluster, name: str | None, uid: str | None = None, *, everywhere: bool = False
) -> list[dict[str, Any]]:
    """Events of Sandboxes and pools of that *name*, or with that *uid* alone; oldest first."""
    wanted = {"involvedObject.name": name, "involvedObject.uid": uid}
    selector = ",".join(f"{key}={value}" for key, value in wanted.items() if value)
    found = await cluster.items(
        EVENTS, ALL_NAMESPACES if everywhere else cluster.namespace, {"fieldSelector": selector} if selector else None
    )
    ours = [one for one in found if one["involvedObject"].get("kind") in (names.SANDBOX_KIND, names.POOL_KIND)]
    return sorted(ours, key=tables.seen)


def _plain(
    verb: str, becomes: str, act: Callable[[AsyncSandbox], Any], help_: str, *, ready: bool = True
) -> click.Command:
    """A command that does one thing to a sandbox."""

    @click.command(verb, help=help_)
    @click.argument("name")
    @click.pass_obj
    def command(context: Context, name: str) -> None:
        async def job(sandbox: AsyncSandbox) -> None:
            async with waiting(f"waiting until {name} is {becomes}"):
                await act(sandbox)

        context.use(name, job, ready=ready)

    return command


pause = _plain("pause", "Paused", AsyncSandbox.pause, "Stop every process of a sandbox; memory is kept.")
suspend = _plain(
    "suspend", "Suspended", AsyncSandbox.suspend, "Delete the pod of a sandbox; its persistent workspace is kept.",
    ready=False,
)  # fmt: skip
resume = _plain("resume", "Ready", AsyncSandbox.resume, "Resume a paused or suspended sandbox.")
restart = _plain(
    "restart", "Ready", AsyncSandbox.restart, "Continue a sandbox in a new pod, with the same persistent workspace."
)


@click.command()
@click.argument("name")
@click.argument("seconds", type=click.IntRange(1))
@click.pass_obj
def ttl(context: Context, name: str, seconds: int) -> None:
    """Set how many seconds a sandbox lives from now on."""
    context.use(name, lambda sandbox: sandbox.set_timeout(seconds), ready=False)


@click.command()
@click.argument("names_", metavar="NAME...", nargs=-1)
@click.option("-l", "--label", "labels", multiple=True, callback=pairs, help="Every sandbox with this label.")
@click.option("--all", "all_", is_flag=True, help="Every sandbox of the namespace.")
@click.option("--no-wait", is_flag=True, help="Return before the sandboxes are gone.")
@click.pass_obj
def rm(context: Context, names_: Sequence[str], labels: dict[str, str], all_: bool, no_wait: bool) -> None:
    """Delete sandboxes and all that belongs to them."""
    if not names_ and not labels and not all_:
        raise click.UsageError("name a sandbox, or give --label or --all")

    async def job() -> None:
        async with context.cluster() as cluster, waiting("waiting until the sandboxes are gone"):
            bodies, missing = list[dict[str, Any]](), list[SandboxNotFound]()
            for name in dict.fromkeys(names_):
                try:
                    bodies.append(await cluster.get(SANDBOXES, cluster.namespace, name))
                except SandboxNotFound as error:
                    # The others go all the same.
                    missing.append(error)
            if labels or all_:
                bodies += await AsyncSandbox.list(labels=labels, cluster=cluster)
            deleting = [AsyncSandbox(cluster, body, own_cluster=False, ends=False) for body in bodies]
            await asyncio.gather(*(sandbox.kill(wait=not no_wait) for sandbox in deleting))
            for sandbox in deleting:
                click.echo(f"{sandbox.name} deleted")
            for other in missing[1:]:
                note(f"{other} [{other.code}]")
            if missing:
                raise missing[0]

    context.run(job())


@click.command()
@click.argument("names_", metavar="[NAME...]", nargs=-1)
@output
@click.pass_obj
def top(context: Context, names_: Sequence[str], output: str | None) -> None:
    """Show what sandboxes use: CPU, memory and disk. Without a NAME, shows all that are Ready."""

    async def job() -> list[dict[str, Any]]:
        async with context.cluster() as cluster:
            if names_:
                bodies = [await cluster.get(SANDBOXES, cluster.namespace, name) for name in names_]
            else:
                bodies = [body for body in await AsyncSandbox.list(cluster=cluster) if body.phase == "Ready"]
            using = [AsyncSandbox(cluster, body, own_cluster=False, ends=False) for body in bodies]
            async with waiting("measuring the sandboxes"):
                found = await asyncio.gather(*(sandbox.get_metrics() for sandbox in using))
            for sandbox in using:
                await sandbox.close()
            return [{"metadata": {"name": sandbox.name}, "usage": vars(metrics)}
                    for sandbox, metrics in zip(using, found, strict=True)]  # fmt: skip

    tables.show(context.run(job()), output, tables.USAGE)


COMMANDS = (create, list_, get, describe, events, pause, suspend, resume, restart, ttl, rm, top)
