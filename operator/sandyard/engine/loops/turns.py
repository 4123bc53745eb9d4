"""Who may write next: as many at once as the API server takes well, and whoever is waited for first.

An API server that has more requests than it can work on answers all of them late.  So only a few
writes are under way at once, and the others wait here, in an order of our own: by how much depends
on them, and by turns between namespaces, so that a thousand claims in one do not delay the one in
another.  The order is start-time fair queuing (Goyal, Vin and Cheng, 1996): a flow is the writes of
one urgency in one namespace, each flow gets its share, and none waits for ever.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum

from sandyard.engine.loops.clock import Clock
from sandyard.kube import errors

__all__ = ["Limit", "Turns", "Urgency"]

_FIRST_LIMIT = 16.0
# The API server gives each request its share: with fewer than this, others' would leave us none.
_LEAST_LIMIT = 8.0
_MOST_LIMIT = 64.0
# So many more than an idle API server would have under way: it is never short of work.
_WAITING_THERE = 4.0
# A write takes between once and twice its shortest time where nobody waits.
_USUAL_SPREAD = 2.0
_SMOOTHING = 0.1
# A write that takes longer waits for an answer that may never come: it keeps nobody else from writing.
_STUCK_SECONDS = 2.0
# The shortest time of a kind is forgotten by and by: a slower API server is no busier one.
_FORGETTING = 1.0001


class Urgency(IntEnum):
    """What a write is for; the value is its share of the turns where others wait too."""

    CLAIM = 32
    """Stands between a Sandbox and Ready."""
    START = 8
    """Somebody waits for it, but for more besides."""
    TEARDOWN = 4
    """A Sandbox is to go."""
    REFILL = 2
    """Pods for Sandboxes to come."""
    TELLING = 1
    """What somebody may read later."""


class Limit:
    """How many writes may be under way at once, from how long they take.

    While a write takes as long as on an idle API server there is room for more; when it takes
    several times as long, the others stand in a queue there.  (The gradient of Netflix'
    concurrency-limits, with the shortest time in place of a long-term average.)
    """

    def __init__(self) -> None:
        self._value = _FIRST_LIMIT
        self._shortest: dict[str, float] = {}

    @property
    def value(self) -> int:
        """So many."""
        return int(self._value)

    def took(self, kind: str, seconds: float, under_way: int) -> None:
        """A write of that *kind* has taken *seconds*; *under_way* at once were sent then."""
        seconds = max(seconds, 1e-6)
        shortest = self._shortest[kind] = min(seconds, _FORGETTING * self._shortest.get(kind, seconds))
        idle = min(1.0, _USUAL_SPREAD * shortest / seconds)
        if idle == 1.0 and under_way < self._value / 2:
            # Nobody needs more.
            return
        self._move(self._value + _SMOOTHING * (under_way * idle + _WAITING_THERE - self._value))

    def refused(self) -> None:
        """The API server has said 429: too many."""
        self._move(self._value / 2)

    def _move(self, value: float) -> None:
        self._value = min(_MOST_LIMIT, max(_LEAST_LIMIT, value))


class Turns:
    """Gives each write its turn.

    Attributes
    ----------
    limit
        How many are under way at once.
    """

    def __init__(self, clock: Clock) -> None:
        self.limit = Limit()
        self._clock = clock
        # Who has one, and when it is given to another at the latest.
        self._places: dict[int, asyncio.Handle] = {}
        # By when each would begin if every flow were served at its own pace; then in order of arrival.
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._virtual = 0.0
        self._ends: dict[tuple[str, Urgency], float] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether writes have to wait: what need not be told now is better told later, or never."""
        return bool(self._waiting)

    @asynccontextmanager
    async def turn(self, kind: str, namespace: str, urgency: Urgency) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends."""
        place = next(self._numbers)
        if self._waiting or len(self._places) >= self.limit.value:
            await self._wait(place, namespace, urgency)
        else:
            self._take(place)
        began, under_way = self._clock.monotonic(), len(self._places)
        try:
            yield
        except errors.ApiError as error:
            if error.status == 429:
                self.limit.refused()
            raise
        else:
            self.limit.took(kind, self._clock.monotonic() - began, under_way)
        finally:
            if place in self._places:
                self._leave(place)

    async def _wait(self, place: int, namespace: str, urgency: Urgency) -> None:
        flow = (namespace, urgency)
        begin = max(self._virtual, self._ends.get(flow, 0.0))
        self._ends[flow] = begin + 1 / urgency
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (begin, place, mine))
        try:
            await mine
        except asyncio.CancelledError:
            if place in self._places:
                self._leave(place)
            raise

    def _take(self, place: int) -> None:
        loop = asyncio.get_running_loop()
        self._places[place] = loop.call_later(_STUCK_SECONDS, self._leave, place)

    def _leave(self, place: int) -> None:
        self._places.pop(place).cancel()
        while self._waiting and len(self._places) < self.limit.value:
            begin, next_place, future = heapq.heappop(self._waiting)
            if not future.done():
                self._virtual = begin
                self._take(next_place)
                future.set_result(None)
        if not self._waiting:
            self._virtual = 0.0
            self._ends.clear()
