"""Ends a command with all that it has started."""

from __future__ import annotations

from typing import Final

from sandyard.client.exec import script
from sandyard.client.session.session import Session

__all__ = ["GRACE_SECONDS", "terminate"]

GRACE_SECONDS: Final = 5
# Beyond the grace: looking through a long table of processes takes its time.
_SLACK_SECONDS: Final = 40.0


async def terminate(session: Session, exec_id: str, signal: str = "TERM", grace: int = GRACE_SECONDS) -> None:
    """Send *signal* to every process of a command, and KILL after *grace* seconds.

    Raises
    ------
    ApiError, TransportError
        The exec failed: whether the processes have ended is not known.
    """
    await session.run_own(script.kill(exec_id, signal, grace), grace + _SLACK_SECONDS)
