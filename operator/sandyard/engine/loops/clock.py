"""Time, as the engine asks for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

__all__ = ["Clock", "SteadyClock"]

_log = logging.getLogger(__name__)
# What a time server corrects now and then.
_STEP_SECONDS = 5.0
_BELIEVED_SECONDS = 600.0


class Clock:
    """The system's time; a simulation passes a clock of its own."""

    def now(self) -> float:
        """Wall time, in seconds since the epoch: for what stands in objects."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump: for how long something has lasted."""
        return time.monotonic()

    def compare(self, server: float) -> None:
        """Take note of the API server's time, of a moment ago."""

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.Handle:
        """Call *callback* after *seconds*, unless the handle is cancelled before."""
        return asyncio.get_running_loop().call_later(seconds, callback)


class SteadyClock(Clock):
    """A clock whose wall time makes no jumps: a step of the system's is believed when it has lasted.

    Otherwise one wrong hour would end every Sandbox with a lifetime before anybody can put it right.
    """

    def __init__(self, inner: Clock) -> None:
        self._inner = inner
        self._wall, self._at = inner.now(), inner.monotonic()
        self._stepped_at: float | None = None
        self._compared = False

    def now(self) -> float:
        """Wall time; for ten minutes after a step what it would be without."""
        wall, at = self._inner.now(), self._inner.monotonic()
        expected = self._wall + at - self._at
        step = wall - expected
        if abs(step) > _STEP_SECONDS and not self._believed(step, at):
            return expected
        self._wall, self._at, self._stepped_at = wall, at, None
        return wall

    def compare(self, server: float) -> None:
        """Begin with the API server's time, which objects have, where this machine's is another.

        Later it only bears witness: a step of this machine's clock that the server does not share is not believed.
        """
        at = self._inner.monotonic()
        if not self._compared and abs(server - self.now()) > _STEP_SECONDS:
            self._wall, self._at, self._stepped_at = server, at, at
            extra = {"seconds": round(self._inner.now() - server, 1), "believed_after_seconds": _BELIEVED_SECONDS}
            _log.error("the clock is not the API server's: put it right, or lifetimes follow it", extra=extra)
        elif self._stepped_at is not None and abs(server - (self._wall + at - self._at)) <= _STEP_SECONDS:
            self._stepped_at = at
        self._compared = True

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self._inner.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*."""
        await self._inner.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.Handle:
        """Call *callback* after *seconds*."""
        return self._inner.call_later(seconds, callback)

    def _believed(self, step: float, at: float) -> bool:
        """Whether a step has lasted; one that is new is logged."""
        if self._stepped_at is None:
            self._stepped_at = at
            extra = {"seconds": round(step, 1), "believed_after_seconds": _BELIEVED_SECONDS}
            _log.error("the clock has made a step: put it right, or lifetimes follow it", extra=extra)
        return at - self._stepped_at >= _BELIEVED_SECONDS
