"""Options and arguments that several commands take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from sandyard.cli.context import Context

__all__ = ["anywhere", "making", "output", "pairs", "wanted", "words"]


def _set(field: str) -> Any:
    """Take an option that stands behind the command, as if it stood before."""

    def callback(context: click.Context, _option: click.Parameter, value: Any) -> None:
        found = context.find_object(Context)
        if value and found is not None:
            setattr(found, field, value)

    return callback


def anywhere(command: click.Command) -> click.Command:
    """Let the options of the connection stand behind the command as well, and behind those below it."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            anywhere(inner)
        return command
    hidden: dict[str, Any] = {"expose_value": False, "hidden": True}
    command.params += [
        click.Option(["-n", "--namespace"], callback=_set("namespace"), **hidden),
        click.Option(["-A", "--all-namespaces"], is_flag=True, callback=_set("everywhere"), **hidden),
        click.Option(["--context"], callback=_set("name"), **hidden),
        click.Option(["--kubeconfig"], callback=_set("kubeconfig"), **hidden),
    ]
    return command


def pairs(_context: click.Context, option: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE options."""
    found = {}
    for value in values:
        key, sign, text = value.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", param=option)
        found[key] = text
    return found


def words(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> list[str]:
    """A command as it stands, without the dashes that part it from our own options."""
    return list(values[1:] if values[:1] == ("--",) else values)


output = click.option(
    "-o", "--output", type=click.Choice(["json", "yaml", "wide", "name"]), help="Print this form instead of a table."
)


def making(command: Any) -> Any:
    """The options of commands that make a sandbox."""
    for option in (
        click.option("--pool", help="Pool to take the sandbox from."),
        click.option("--language", help="Take the sandbox from the pool for this language."),
        click.option("--image", help="Start a sandbox of this image, without a pool."),
        click.option(
            "--ttl",
            default=300,
            show_default=True,
            help="Seconds that it lives, from now; 0: as its pool says.",
        ),
        click.option("--idle", type=int, help="Seconds without use after which the sandbox is deleted."),
        click.option("-e", "--env", multiple=True, callback=pairs, help="Environment variable NAME=VALUE."),
        click.option("-l", "--label", "labels", multiple=True, callback=pairs, help="Label NAME=VALUE."),
        click.option(
            "--wait-seconds",
            type=int,
            help="Seconds to wait for a sandbox or its pool.",
        ),
    ):
        command = option(command)
    return command


def wanted(
    pool: str | None, image: str | None, language: str | None, ttl: int, idle: int | None, **options: Any
) -> dict[str, Any]:
    """What the options of `making` ask for, as `AsyncSandbox.create` takes it."""
    if [pool, image, language].count(None) != 2:
        raise click.UsageError("give either --pool or --image, or --language")
    template = {"image": image} if image is not None else None
    return {**options, "pool": pool, "template": template, "language": language, "timeout": ttl or None,
            "idle_timeout": idle}  # fmt: skip
