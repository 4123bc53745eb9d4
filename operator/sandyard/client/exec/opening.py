"""What goes ahead of an exec that begins a shell or a terminal, of which nothing is known once it has begun."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from sandyard.client.errors import ExecTransportError
from sandyard.client.exec import runner, script
from sandyard.client.exec.command import Command, encoded
from sandyard.client.session.session import Session

__all__ = ["prepared"]

_FOLDER: Final = "/tmp/.sandyard/begin"
_KEEP: Final = 'umask 077; mkdir -p "${1%/*}" && cat >"$1"'
_SECONDS: Final = 30.0


async def prepared(
    session: Session, part: str, exec_id: str, folder: str, env: Mapping[str, str], *words: str
) -> list[str]:
    """The arguments of the exec; what is too long for them lies in a file by then, which it takes away.

    Raises
    ------
    InvalidArgument
        A word is none that can be sent, or longer than Linux takes.
    SandboxFileNotFound, PermissionDenied, InvalidArgument
        The folder is not there, may not be entered, or is none.
    """
    asked = script.session(part, exec_id, folder, env, *words)
    if script.fits(asked):
        if folder != ".":
            await runner.run(session, Command(["/bin/sh", "-c", ":"], folder, timeout=_SECONDS))
        return asked
    place = f"{_FOLDER}/{exec_id}"
    code, told = asked[2], asked[4:]
    lines = f'rm -f -- "$0"\nset -- {shlex.join(told)}\n{code}\n'
    keep = Command(["/bin/sh", "-c", _KEEP, "sandyard-open", place], folder, stdin=encoded(lines, "command"),
                   timeout=_SECONDS)  # fmt: skip
    done = await runner.run(session, keep)
    if done.exit_code != 0:
        text = f"what is to be run cannot be sent: {done.stderr_text.strip()[-300:]}"
        raise ExecTransportError(text, started=False, sandbox=session.name, result=done)
    # The id, by which what ends it knows this shell.
    return ["/bin/sh", "-c", '. "$0"', place, exec_id]
