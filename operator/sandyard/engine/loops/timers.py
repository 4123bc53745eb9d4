"""Expiry times of all Sandboxes in one heap: ten thousand of them cost one sleeping task."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from sandyard.engine.loops.clock import Clock

__all__ = ["Timers"]

# Wall-clock times may jump; look again at least this often.
_SLACK = 64
_LONGEST_SLEEP_SECONDS = 30.0


class Timers:
    """Calls *fire* with a key when its time has come (seconds since the epoch)."""

    def __init__(self, fire: Callable[[str], None], clock: Clock) -> None:
        self._fire = fire
        self._clock = clock
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: str, at: float | None) -> None:
        """Set, move or (None) cancel the timer of *key*."""
        if at is None:
            self._due.pop(key, None)
            return
        if self._due.get(key) == at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        # A timer that is moved again and again would otherwise fill the heap with its past.
        if len(self._heap) > 2 * len(self._due) + _SLACK:
            self._heap = [(at, key) for key, at in self._due.items()]
            heapq.heapify(self._heap)
        if self._heap[0] == (at, key):
            self._changed.set()

    async def run(self) -> None:
        """Fire timers until cancelled."""
        while True:
            self._changed.clear()
            self.fire_due(self._clock.now())
            delay = _LONGEST_SLEEP_SECONDS
            if self._heap:
                delay = min(delay, max(0.001, self._heap[0][0] - self._clock.now()))
            try:
                await asyncio.wait_for(self._changed.wait(), delay)
            except TimeoutError:
                continue

    def fire_due(self, now: float) -> None:
        """Fire every timer that is due at *now*."""
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            # A moved or cancelled timer leaves its old entry behind.
            if self._due.get(key) == at:
                del self._due[key]
                self._fire(key)
