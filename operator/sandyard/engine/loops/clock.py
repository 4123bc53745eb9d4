"""Time, as the engine asks for it."""

from __future__ import annotations

import asyncio
import time

__all__ = ["Clock"]


class Clock:
    """The system's time; a simulation passes a clock of its own."""

    def now(self) -> float:
        """Wall time, in seconds since the epoch: for what stands in objects."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump: for how long something has lasted."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*."""
        await asyncio.sleep(seconds)
