"""Commands for those who run a cluster: empty a namespace, prove isolation, take everything away."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import Any

import click
from click.shell_completion import get_completion_class

from sandyard.api import finalizers, names
from sandyard.cli import doctor as proofs
from sandyard.cli import tables
from sandyard.cli.context import Context, Ended, note
from sandyard.cli.options import output, pairs
from sandyard.client import AsyncSandbox, Cluster
from sandyard.client.session.cluster import POOLS, SANDBOXES
from sandyard.kube import errors
from sandyard.kube.paths import Resource
from sandyard.kube.removal import remove

__all__ = ["COMMANDS"]

_CRDS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions")
_NOTE_SECONDS = 2.0


@click.command()
@click.option("-l", "--label", "labels", multiple=True, callback=pairs, help="Only sandboxes with this label.")
@click.option("--all", "all_", is_flag=True, help="Every sandbox of the namespace.")
@click.option(
    "--older-than", type=click.IntRange(0), default=0, help="Only sandboxes that are at least so many seconds old."
)
@click.option(
    "--pause-pools",
    is_flag=True,
    help="Pause the pools of the namespace first, so that they start and hand out nothing.",
)
@click.option("--timeout", default=120, show_default=True, help="Seconds to wait until the sandboxes are gone.")
@click.pass_obj
def reap(
    context: Context, labels: dict[str, str], all_: bool, older_than: int, pause_pools: bool, timeout: int
) -> None:
    """Delete many sandboxes at once, and wait until nothing of them is left.

    \b
    sandyard reap --all --pause-pools           in an emergency: empty the namespace
    sandyard reap -l owner=ci --older-than 3600
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    if not (all_ or labels or older_than):
        raise click.UsageError("say which sandboxes: --label, --older-than, or --all")

    async def job() -> int:
        async with context.cluster() as cluster:
            if pause_pools:
                for pool in await cluster.client.items(POOLS.path(cluster.namespace)):
                    await cluster.patch(POOLS, cluster.namespace, pool["metadata"]["name"], {"spec": {"paused": True}})
            found = await AsyncSandbox.list(labels=labels, cluster=cluster)
            now = time.time()
            found = [one for one in found if now - one.created_at >= older_than]
            await _delete(cluster, SANDBOXES, [dict(one) for one in found], timeout)
            return len(found)

    click.echo(f"{context.run(job())} sandboxes deleted")


async def _delete(cluster: Cluster, resource: Resource, bodies: list[dict[str, Any]], timeout: float) -> None:
    """Delete objects of any namespace and wait until they are gone."""
    uids = {body["metadata"]["uid"] for body in bodies}
    spaces = {body["metadata"]["namespace"] for body in bodies}
    noted, told = time.monotonic(), set[str]()

    def held(body: dict[str, Any]) -> bool:
        """Whether only others hold it; it is told, and nobody waits for it."""
        holds = finalizers.held_by_others(body["metadata"])
        if holds and body["metadata"]["uid"] not in told:
            told.add(body["metadata"]["uid"])
            note(f"{body['metadata']['name']} is gone but for finalizers of others: {', '.join(holds)}")
        return bool(holds)

    async def look() -> dict[str, dict[str, Any]]:
        found = [body for space in spaces for body in await cluster.client.items(resource.path(space))]
        return {
            resource.path(body["metadata"]["namespace"], body["metadata"]["name"]): body
            for body in found
            if body["metadata"]["uid"] in uids and not held(body)
        }

    def progress(left: int) -> None:
        nonlocal noted
        if left and time.monotonic() - noted > _NOTE_SECONDS:
            noted = time.monotonic()
            note(f"waiting for {left} more")

    left = await remove(cluster.client, look, timeout, progress)
    if left:
        raise Ended(f"{len(left)} are still there after {timeout:g} s; their conditions say why")


@click.command()
@click.option("--pool", help="Examine a sandbox from this pool.")
@click.option("--image", help="Examine a sandbox of this image, which has /bin/sh.")
@output
@click.pass_obj
def doctor(context: Context, pool: str | None, image: str | None, output: str | None) -> None:
    """Prove on this cluster that a sandbox is isolated, and that nothing of it is left.

    Creates one sandbox in the namespace, looks into it, tries to get out of it, and deletes it. Exits
    with 1 if a check fails.
    """
    if pool and image:
        raise click.UsageError("give either --pool or --image")

    async def job() -> list[proofs.Finding]:
        async with context.cluster() as cluster:
            return [finding async for finding in proofs.examine(cluster, pool, image)]

    found = context.run(job())
    tables.show([{"metadata": {"name": one.name}, **vars(one)} for one in found], output, tables.FINDINGS)
    bad = [one.name for one in found if one.result == "FAIL"]
    if bad:
        raise Ended(f"{len(bad)} of {len(found)} failed: {', '.join(bad)}")


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--crds", is_flag=True, help="Delete the CustomResourceDefinitions too.")
@click.option("--release", default="sandyard", show_default=True, help="Helm release to uninstall.")
@click.option("--release-namespace", default="sandyard-system", show_default=True, help="Namespace of the release.")
@click.option("--timeout", default=300, show_default=True, help="Seconds to wait for each step.")
@click.pass_obj
def uninstall(context: Context, yes: bool, crds: bool, release: str, release_namespace: str, timeout: int) -> None:
    """Delete all sandboxes and pools of the cluster, then the operator: in the order that leaves nothing."""
    if not yes:
        click.confirm("Delete every Sandbox and SandboxPool of this cluster?", abort=True, err=True)

    async def empty() -> None:
        async with context.cluster() as cluster:
            for resource, plural in ((SANDBOXES, "sandboxes"), (POOLS, "pools")):
                bodies = await cluster.client.items(resource.path())
                note(f"deleting {len(bodies)} {plural}")
                await _delete(cluster, resource, bodies, timeout)

    context.run(empty())
    if shutil.which("helm"):
        done = subprocess.run(
            ["helm", "uninstall", release, "--namespace", release_namespace, "--ignore-not-found", "--wait",
             "--timeout", f"{timeout}s"], check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Ended(f"helm uninstall {release} ended with {done.returncode}")
    else:
        note(f"no helm here; now run: helm uninstall {release} --namespace {release_namespace}")
        if crds:
            raise Ended("the definitions go last: uninstall the release first, then run this again")
    if crds:
        context.run(_remove_definitions(context, timeout))


async def _remove_definitions(context: Context, timeout: int) -> None:
    async with context.cluster() as cluster:
        for plural in (names.SANDBOXES, names.POOLS):
            name = f"{plural}.{names.GROUP}"
            path = _CRDS.path(None, name)

            async def look(path: str = path) -> dict[str, dict[str, Any]]:
                try:
                    return {path: await cluster.client.get(path)}
                except errors.ApiError as error:
                    if not error.not_found:
                        raise
                    return {}

            # What is still there of its kind goes first.
            if await remove(cluster.client, look, timeout):
                raise Ended(f"{name} is still terminating; see: kubectl get {name} --all-namespaces")
            note(f"deleted {name}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    source <(sandyard completion bash)
    """  # noqa: D301 - as above
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "sandyard", "_SANDYARD_COMPLETE").source())


COMMANDS = (reap, doctor, uninstall, completion)
