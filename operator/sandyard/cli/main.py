"""Commands for people: make, use, look at and end sandboxes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import click
import yaml

from sandyard import __version__
from sandyard.api import names
from sandyard.cli import show
from sandyard.client import AsyncSandbox, Cluster, errors
from sandyard.client.cluster import POOLS, SANDBOXES, explain
from sandyard.kube import errors as kube_errors

__all__ = ["main"]

T = TypeVar("T")
# As of timeout(1) and of ssh(1): the command ran out of time; it could not be run.
_EXIT_TIMEOUT, _EXIT_TRANSPORT = 124, 125


class _Context:
    """What every command is given."""

    def __init__(self, namespace: str | None) -> None:
        self._namespace = namespace

    def run(self, job: Coroutine[Any, Any, T]) -> T:
        """Run *job*; an error of the client is told in one line, and ends the program."""
        try:
            return asyncio.run(job)
        except errors.CommandTimeout as error:
            _write(error.result.stdout, error.result.stderr)
            raise _Ended(str(error), _EXIT_TIMEOUT) from error
        except errors.ExecTransportError as error:
            raise _Ended(str(error), _EXIT_TRANSPORT) from error
        except errors.SandboxError as error:
            raise _Ended(f"{error} [{error.code}]", 1) from error

    def use(self, name: str, act: Callable[[AsyncSandbox], Awaitable[T]]) -> T:
        """Let *act* use the sandbox *name*."""

        async def job() -> T:
            async with self.cluster() as cluster:
                return await act(await AsyncSandbox.connect(name, cluster=cluster))

        return self.run(job())

    def cluster(self) -> Cluster:
        """A connection to the cluster."""
        return Cluster(namespace=self._namespace)


class _Ended(click.ClickException):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        click.echo(f"sandyard: {self.message}", file=file or sys.stderr)


_output = click.option(
    "-o", "--output", type=click.Choice(["json", "yaml", "wide", "name"]), help="Another form than a table."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-n", "--namespace", help="Namespace; default: that of the kubeconfig's context.")
@click.version_option(__version__, "-V", "--version", message="%(version)s")
@click.pass_context
def main(context: click.Context, namespace: str | None) -> None:
    """Isolated sandboxes from warm pools.

    \b
    Examples:
      sandyard create --pool python              take one from a pool, print its name
      sandyard exec NAME -- python3 -c 'print(1)'
      sandyard run --pool python -- uname -a     create, exec and delete in one
      sandyard rm NAME
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    context.obj = _Context(namespace)


def _pairs(_context: click.Context, option: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    found = {}
    for value in values:
        key, sign, text = value.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", param=option)
        found[key] = text
    return found


def _making(command: Any) -> Any:
    """The options of commands that make a sandbox."""
    for option in (
        click.option("--pool", help="Pool to take it from."),
        click.option("--image", help="Start one of this image alone, without a pool."),
        click.option("--ttl", default=300, show_default=True, help="Seconds that it lives; 0: as its pool says."),
        click.option("--idle", type=int, help="Seconds without use that it lives."),
        click.option("-e", "--env", multiple=True, callback=_pairs, help="Environment variable NAME=VALUE."),
        click.option("-l", "--label", "labels", multiple=True, callback=_pairs, help="Label NAME=VALUE."),
        click.option("--wait-seconds", type=int, help="How long to wait for it; default: as its pool says."),
    ):
        command = option(command)
    return command


def _wanted(pool: str | None, image: str | None, ttl: int, idle: int | None, **options: Any) -> dict[str, Any]:
    if (pool is None) == (image is None):
        raise click.UsageError("give either --pool or --image")
    template = {"image": image} if image is not None else None
    return {**options, "pool": pool, "template": template, "timeout": ttl or None, "idle_timeout": idle}


@main.command()
@click.argument("name", required=False)
@_making
@click.option("--no-wait", is_flag=True, help="Do not wait until it is Ready.")
@click.pass_obj
def create(context: _Context, /, name: str | None, no_wait: bool, **options: Any) -> None:
    """Make a sandbox and print its name."""
    wanted = _wanted(**options)

    async def job() -> str:
        async with context.cluster() as cluster:
            made = await AsyncSandbox.create(**wanted, name=name, wait=not no_wait, cluster=cluster)
            return made.name

    click.echo(context.run(job()))


@main.command("ls")
@click.option("-l", "--label", "labels", multiple=True, callback=_pairs, help="Only those with this label.")
@click.option("--pool", help="Only those of this pool.")
@_output
@click.pass_obj
def list_(context: _Context, labels: dict[str, str], pool: str | None, output: str | None) -> None:
    """List sandboxes."""

    async def job() -> list[dict[str, Any]]:
        async with context.cluster() as cluster:
            return list(await AsyncSandbox.list(labels=labels, pool=pool, cluster=cluster))

    _print(context.run(job()), output, show.SANDBOXES)


@main.command()
@click.argument("name")
@_output
@click.pass_obj
def get(context: _Context, name: str, output: str | None) -> None:
    """Show one sandbox."""

    async def job() -> dict[str, Any]:
        async with context.cluster() as cluster:
            return await cluster.get(SANDBOXES, cluster.namespace, name)

    _print(context.run(job()), output, show.SANDBOXES)


def _write(stdout: bytes, stderr: bytes) -> None:
    for stream, data in ((sys.stdout, stdout), (sys.stderr, stderr)):
        stream.buffer.write(data)
        stream.buffer.flush()


def _stdin(interactive: bool) -> bytes:
    return sys.stdin.buffer.read() if interactive else b""


def _out(data: bytes) -> None:
    _write(data, b"")


def _err(data: bytes) -> None:
    _write(b"", data)


def _words(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> list[str]:
    """A command as it stands, without the dashes that part it from our own options."""
    found = list(values[1:] if values[:1] == ("--",) else values)
    if not found:
        raise click.UsageError("Missing argument 'COMMAND...'.")
    return found


_FOREVER = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@main.command("exec", context_settings=_FOREVER)
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, callback=_words)
@click.option("-i", "--stdin", "interactive", is_flag=True, help="Send standard input.")
@click.option("--timeout", type=float, help="Seconds after which it is ended; then the exit code is 124.")
@click.option("-w", "--cwd", default=".", help="Folder to run it in.")
@click.option("-e", "--env", multiple=True, callback=_pairs, help="Environment variable NAME=VALUE.")
@click.pass_obj
def exec_(
    context: _Context, name: str, command: Sequence[str], interactive: bool, timeout: float | None, cwd: str,
    env: Mapping[str, str],
) -> None:  # fmt: skip
    """Run a command in a sandbox; its exit code is this program's.

    \b
    sandyard exec NAME -- python3 -c 'print(1)'
    sandyard exec -i NAME -- sh < script.sh
    """  # noqa: D301 - as above

    async def job() -> int | None:
        async with context.cluster() as cluster:
            sandbox = await AsyncSandbox.connect(name, cluster=cluster)
            done = await sandbox.commands.run(
                list(command), stdin=_stdin(interactive), timeout=timeout, cwd=cwd, env=env, on_stdout=_out,
                on_stderr=_err, max_output=2,
            )  # fmt: skip
            return done.exit_code

    sys.exit(context.run(job()))


@main.command("run", context_settings=_FOREVER)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, callback=_words)
@_making
@click.option("-i", "--stdin", "interactive", is_flag=True, help="Send standard input.")
@click.option("--timeout", type=float, help="Seconds after which it is ended; then the exit code is 124.")
@click.pass_obj
def run(context: _Context, /, command: Sequence[str], interactive: bool, timeout: float | None, **options: Any) -> None:
    """Make a sandbox, run a command in it, and delete it."""
    wanted = _wanted(**options)

    async def job() -> int | None:
        async with context.cluster() as cluster, await AsyncSandbox.create(
            **wanted, cluster=cluster
        ) as sandbox:  # fmt: skip
            done = await sandbox.commands.run(
                list(command), stdin=_stdin(interactive), timeout=timeout, on_stdout=_out, on_stderr=_err, max_output=2
            )
            return done.exit_code

    sys.exit(context.run(job()))


@main.command()
@click.argument("name")
@click.argument("path")
@click.pass_obj
def cat(context: _Context, name: str, path: str) -> None:
    """Print a file of a sandbox."""
    _out(context.use(name, lambda sandbox: sandbox.files.read(path)))


@main.command()
@click.argument("name")
@click.argument("path")
@click.pass_obj
def write(context: _Context, name: str, path: str) -> None:
    """Write standard input to a file of a sandbox, in one step."""
    context.use(name, lambda sandbox: sandbox.files.write(path, sys.stdin.buffer.read()))


@main.command()
@click.argument("name")
@click.pass_obj
def pause(context: _Context, name: str) -> None:
    """Stop every process of a sandbox; memory is kept."""
    context.use(name, lambda sandbox: sandbox.pause())


@main.command()
@click.argument("name")
@click.pass_obj
def resume(context: _Context, name: str) -> None:
    """Let a paused or suspended sandbox go on."""
    context.use(name, lambda sandbox: sandbox.resume())


@main.command()
@click.argument("name")
@click.argument("seconds", type=click.IntRange(1))
@click.pass_obj
def ttl(context: _Context, name: str, seconds: int) -> None:
    """Let a sandbox live for so many seconds from now."""
    context.use(name, lambda sandbox: sandbox.set_timeout(seconds))


@main.command()
@click.argument("names_", metavar="NAME...", nargs=-1)
@click.option("-l", "--label", "labels", multiple=True, callback=_pairs, help="All with this label.")
@click.option("--all", "all_", is_flag=True, help="All of the namespace.")
@click.option("--no-wait", is_flag=True, help="Do not wait until they are gone.")
@click.pass_obj
def rm(context: _Context, names_: Sequence[str], labels: dict[str, str], all_: bool, no_wait: bool) -> None:
    """Delete sandboxes and everything of them."""
    if not names_ and not labels and not all_:
        raise click.UsageError("name a sandbox, or give --label or --all")

    async def job() -> None:
        async with context.cluster() as cluster:
            bodies = [await cluster.get(SANDBOXES, cluster.namespace, name) for name in names_]
            if labels or all_:
                bodies += await AsyncSandbox.list(labels=labels, cluster=cluster)
            going = [AsyncSandbox(cluster, body, own_cluster=False, ends=False) for body in bodies]
            await asyncio.gather(*(sandbox.kill(wait=not no_wait) for sandbox in going))
            for sandbox in going:
                click.echo(f"{sandbox.name} deleted")

    context.run(job())


@main.group()
def pool() -> None:
    """Look at pools and size them."""


@pool.command("ls")
@_output
@click.pass_obj
def pool_list(context: _Context, output: str | None) -> None:
    """List pools."""

    async def job() -> list[dict[str, Any]]:
        async with context.cluster() as cluster:
            try:
                return await cluster.client.items(POOLS.path(cluster.namespace))
            except (kube_errors.ApiError, kube_errors.TransportError) as error:
                raise explain(error) from error

    _print(context.run(job()), output, show.POOLS)


@pool.command("scale")
@click.argument("name")
@click.argument("replicas", type=click.IntRange(0))
@click.pass_obj
def pool_scale(context: _Context, name: str, replicas: int) -> None:
    """Keep so many warm sandboxes."""

    async def job() -> None:
        async with context.cluster() as cluster:
            await cluster.patch(POOLS, cluster.namespace, name, {"spec": {"replicas": replicas}})

    context.run(job())


def _print(found: Any, output: str | None, columns: show.Columns) -> None:
    items = found if isinstance(found, list) else [found]
    if output == "json":
        click.echo(json.dumps(_document(found), indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(json.loads(json.dumps(_document(found))), sort_keys=False), nl=False)
    elif output == "name":
        for item in items:
            click.echo(item["metadata"]["name"])
    else:
        click.echo(show.table(items, columns, wide=output == "wide"))


def _document(found: Any) -> Any:
    if isinstance(found, list):
        return {"apiVersion": "v1", "kind": "List", "items": found}
    return {"apiVersion": names.API_VERSION, **found}


if __name__ == "__main__":
    main(prog_name="sandyard")
