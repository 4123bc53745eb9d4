"""The command line: create, use, look at and delete sandboxes."""

from __future__ import annotations

import click

from sandyard import __version__
from sandyard.cli import admin, code, files, mcp, ports, sandboxes
from sandyard.cli import exec as exec_
from sandyard.cli.context import Context, Program
from sandyard.cli.options import anywhere
from sandyard.cli.pools import pool

__all__ = ["main"]


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-n", "--namespace", help="Namespace; default: that of the kubeconfig's context.")
@click.option("-A", "--all-namespaces", is_flag=True, help="List what is in all namespaces.")
@click.option("--context", "name", help="Context of the kubeconfig; default: the current one.")
@click.option("--kubeconfig", type=click.Path(), help="Path of the kubeconfig; default: $KUBECONFIG.")
@click.version_option(__version__, "-V", "--version", message="%(version)s")
@click.pass_context
def main(
    context: click.Context, namespace: str | None, all_namespaces: bool, name: str | None, kubeconfig: str | None
) -> None:
    """Isolated sandboxes from warm pools. These options may stand anywhere on the line, before the words of a command.

    \b
    Examples:
      sandyard create --pool python              take a sandbox from a pool, print its name
      sandyard exec NAME -- python3 -c 'print(1)'
      sandyard run --pool python -- uname -a     create, exec and delete at once
      sandyard shell NAME                        a shell in the sandbox
      sandyard cp ./data NAME:data               copy into the sandbox
      sandyard rm NAME
    """  # noqa: D301 - click's mark for "do not wrap" is the character itself
    context.obj = Context(namespace, everywhere=all_namespaces, name=name, kubeconfig=kubeconfig)


for command in (*sandboxes.COMMANDS, *exec_.COMMANDS, *code.COMMANDS, *files.COMMANDS, *ports.COMMANDS, *mcp.COMMANDS,
                pool, *admin.COMMANDS):  # fmt: skip
    main.add_command(anywhere(command))


if __name__ == "__main__":
    main(prog_name="sandyard")
