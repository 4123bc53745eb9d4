"""The command line: create, use, look at and delete sandboxes."""

from __future__ import annotations

import click

from sandyard import __version__
from sandyard.cli import admin, files, sandboxes
from sandyard.cli import exec as exec_
from sandyard.cli.context import Context
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
      sandyard create --pool python              take a sandbox from a pool, print its name
      sandyard exec NAME -- python3 -c 'print(1)'
      sandyard run --pool python -- uname -a     create, exec and delete at once
      sandyard shell NAME                        a shell in the sandbox
      sandyard cp ./data NAME:data               copy into the sandbox
      sandyard rm NAME
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    context.obj = Context(namespace)


for command in (*sandboxes.COMMANDS, *exec_.COMMANDS, *files.COMMANDS, pool, *admin.COMMANDS):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="sandyard")
