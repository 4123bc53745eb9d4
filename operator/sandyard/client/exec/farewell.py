"""What is begun at the end of something is brought to its own end, whoever gives up meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine

__all__ = ["to_the_end"]


async def to_the_end(ending: Coroutine[None, None, None], seconds: float) -> None:
    """Await *ending*; whoever is cancelled meanwhile waits for it first, for *seconds* at most."""
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(task, seconds)
        raise
