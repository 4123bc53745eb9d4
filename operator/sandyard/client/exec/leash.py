"""A second exec beside one that lasts, whose stream ends with the client: then what the first runs is ended.

Of a command with an input of known length its own stream tells that (`sandyard.client.exec.script`); of a shell, a
terminal and an input that is read as it comes, the input is the user's to end.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from sandyard.client.exec import script
from sandyard.client.session.session import Session
from sandyard.kube import errors, remotecommand

__all__ = ["hold"]

# Whatever lies between may give up a stream on which nothing is said.
_WORD_SECONDS: Final = 60.0
_FAREWELL_SECONDS: Final = 1.0


async def hold(session: Session, exec_id: str, signal: str = "TERM") -> None:
    """Have what carries *exec_id* ended by *signal* if this client is gone before this task is cancelled."""
    turn = await session.exec_limit.turn()
    turn.settle()
    with contextlib.suppress(errors.ApiError, errors.TransportError):
        async with session.open_interactive(script.leash(exec_id, signal)) as process:
            speaking = asyncio.create_task(_speak(process))
            try:
                async for _ in process:
                    turn.settle(begun=True)
            finally:
                speaking.cancel()
                with contextlib.suppress(errors.TransportError, TimeoutError):
                    async with asyncio.timeout(_FAREWELL_SECONDS):
                        await process.write(b"q\n")


async def _speak(process: remotecommand.Exec) -> None:
    with contextlib.suppress(errors.TransportError):
        while True:
            await asyncio.sleep(_WORD_SECONDS)
            await process.write(b"\n")
