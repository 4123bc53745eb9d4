"""Bounds how many commands of a sandbox its node begins at once.

gVisor's shim must not be asked to begin many at once: while it waits for one, each process that
ends fills a queue of 32, and once one of those is full it reaps one process a second, so that
every exec hangs for half a minute (shim v1, and containerd's reaper below it).  An exec ends two
processes of it, its starter and itself, so that six under way fill a third of that; with 24 some
are refused.  Those that run cost it nothing: a turn lasts until the command has begun, so that
nobody waits for what others run.  And each crowd of which one was refused halves the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

__all__ = ["ExecLimit", "Turn"]

_MOST: Final = 6
# So long after a command's first word its starter has ended as well.
_SETTLE_SECONDS: Final = 0.3
# One that has no first word has been begun after so long.
_SILENT_SECONDS: Final = 2.0


class Turn:
    """The right to have one command begun; release it once the node has begun it."""

    def __init__(self, limit: ExecLimit) -> None:
        self._limit = limit
        self._most = limit.most
        self._held = True
        self._began = True

    def release(self) -> None:
        """Give the turn to the next in the queue; doing so twice is no harm."""
        if self._held:
            self._held = False
            self._limit._leave(self._began)

    def settle(self, *, begun: bool = False) -> None:
        """Release it once the node has done with the beginning of what runs on; *begun*: it has spoken."""
        asyncio.get_running_loop().call_later(_SETTLE_SECONDS if begun else _SILENT_SECONDS, self.release)

    def refused(self) -> None:
        """Say that the node could not begin the command."""
        self._began = False
        self._limit._halve(self._most)


class ExecLimit:
    """Gives out as many turns at once as the node begins in time.

    Attributes
    ----------
    most
        How many turns may be held at once, at present.
    """

    def __init__(self, most: int = _MOST) -> None:
        self.most = most
        self._ceiling = most
        self._inside = 0
        self._left = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> Turn:
        """Wait for a turn, first come, first served."""
        while self._inside >= self.most:
            call = asyncio.get_running_loop().create_future()
            self._waiting.append(call)
            try:
                await call
            except asyncio.CancelledError:
                if call in self._waiting:
                    self._waiting.remove(call)
                else:
                    # It was called already: the next one is.
                    self._call()
                raise
        self._inside += 1
        return Turn(self)

    def _leave(self, began: bool) -> None:
        self._inside -= 1
        self._left += began
        if self._left >= self.most and self.most < self._ceiling:
            self.most += 1
            self._left = 0
        self._call()

    def _halve(self, most: int) -> None:
        # One crowd is one mistake, however many of it come back.
        if self.most >= most:
            self.most = max(1, most // 2)
        self._left = 0

    def _call(self) -> None:
        for _ in range(self.most - self._inside):
            if not self._waiting:
                return
            call = self._waiting.popleft()
            if not call.done():
                call.set_result(None)
