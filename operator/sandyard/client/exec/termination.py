"""Ends a command with all that it has started."""

from __future__ import annotations

import math
from typing import Final

from sandyard.client.errors import InvalidArgument
from sandyard.client.exec import script
from sandyard.client.exec.command import is_number
from sandyard.client.session.session import Session

__all__ = ["GRACE_SECONDS", "signal_name", "terminate"]

GRACE_SECONDS: Final = 5
# A day: nobody waits for longer, and a shell's arithmetic takes it.
_LONGEST_GRACE: Final = 86_400
# What POSIX knows by name (signal.h), and what any shell's ``kill -s`` takes.
_NAMES: Final = """HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM CHLD CONT STOP TSTP TTIN TTOU
URG XCPU XFSZ VTALRM PROF WINCH SYS"""
_SIGNALS: Final = frozenset(_NAMES.split())
# Beyond the grace: looking through a long table of processes takes its time.
_SLACK_SECONDS: Final = 40.0


def signal_name(signal: str) -> str:
    """The name of *signal* as a shell has it, without ``SIG``.

    Raises
    ------
    InvalidArgument
        POSIX knows no such signal.
    """
    name = str(signal).upper().removeprefix("SIG")
    if name not in _SIGNALS:
        raise InvalidArgument(f"unknown signal {signal!r}; use one of {', '.join(sorted(_SIGNALS))}")
    return name


async def terminate(
    session: Session, exec_id: str, signal: str = "TERM", grace: float = GRACE_SECONDS, *, unborn: bool = False
) -> None:
    """Send *signal* to every process of a command, and KILL after *grace* seconds, of which a part counts as one.

    *unborn*: of a terminal that may not have begun, and then never does.

    Raises
    ------
    InvalidArgument
        There is no such signal, or *grace* is no time.
    ApiError, TransportError
        The exec failed: whether the processes have ended is not known.
    """
    name = signal_name(signal)
    if not is_number(grace) or not 0 <= grace <= _LONGEST_GRACE:
        raise InvalidArgument(f"grace: {grace!r} is not from 0 to {_LONGEST_GRACE} seconds")
    await session.run_own(script.kill(exec_id, name, math.ceil(grace), unborn=unborn), grace + _SLACK_SECONDS)
