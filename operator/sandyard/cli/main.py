"""Commands for people: make, use, look at and end sandboxes."""

from __future__ import annotations

import click

from sandyard import __version__
from sandyard.cli import admin, life, use
from sandyard.cli.base import Context
from sandyard.cli.pools import pool

__all__ = ["main"]


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
      sandyard shell NAME                        a shell in it
      sandyard cp ./data NAME:data               copy into it
      sandyard rm NAME
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    context.obj = Context(namespace)


for command in (*life.COMMANDS, *use.COMMANDS, pool, *admin.COMMANDS):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="sandyard")
