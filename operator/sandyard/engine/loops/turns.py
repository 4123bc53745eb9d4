"""Who may write next: as many at once as the API server takes well, and whoever is waited for first.

An API server that has more requests than it can work on answers all of them late.  So only a few
writes are under way at once, and the others wait here, in an order of our own: by how much depends
on them, and by turns between namespaces, so that a thousand claims in one do not delay the one in
another.  While there is no API server, one at a time finds out whether it is back.

What is for later (teardown, refill, what is told) gives way to claims that are under way, whether
there are places or not, for a second at most: what an API server, a scheduler and kubelets do for
it, claims would wait for.

The order is start-time fair queuing (Goyal, Vin and Cheng, 1996): a flow is the writes of one
urgency in one namespace, each flow gets its share, and none waits for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import IntEnum

from sandyard.engine.loops.clock import Clock
from sandyard.kube import backoff, errors

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
# So long what is for later lets claims go first, while there are any.
_GIVES_WAY_SECONDS = 1.0
# A claim is two writes, one after the other: nothing comes between them.
_BETWEEN_SECONDS = 0.01
# Between two attempts to connect to an API server that is away: the first time, and at most.
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5
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


@dataclass(order=True)
class _Waiting:
    """A write that waits: those that begin first come first, then those that came first.

    Attributes
    ----------
    begin
        When it would begin if every flow were served at its own pace; virtual time.
    patient
        Whether it still gives way to claims.
    """

    begin: float
    place: int
    urgency: Urgency = field(compare=False)
    turn: asyncio.Future[None] = field(compare=False)
    patient: bool = field(compare=False)


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
        self._places: dict[int, tuple[Urgency, asyncio.Handle]] = {}
        # How many of them are claims', and what ends the pause after the last of those.
        self._claims = 0
        self._between: asyncio.Handle | None = None
        # Heaps: those who take the next place that is free, and those who give way to claims.
        self._waiting: list[_Waiting] = []
        self._later: list[_Waiting] = []
        self._numbers = itertools.count()
        self._virtual = 0.0
        self._ends: dict[tuple[str, Urgency], float] = {}
        # How often there was no connection, and what ends the pause after it.
        self._refused = 0
        self._pause: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._waiting) + len(self._later)

    @property
    def busy(self) -> bool:
        """Whether writes wait for places: what need not be told now is better told later, or never."""
        return len(self) > 0 and not self._free()

    @contextlib.asynccontextmanager
    async def turn(self, kind: str, namespace: str, urgency: Urgency) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends."""
        place = next(self._numbers)
        line = self._line(urgency)
        if line or not self._free() or (line is self._later and self._claiming):
            await self._wait(place, namespace, urgency)
        else:
            self._take(place, urgency)
        began, under_way = self._clock.monotonic(), len(self._places)
        try:
            yield
        except errors.NotConnected:
            self._nobody_there()
            raise
        except errors.ApiError as error:
            self._answered()
            if error.status == 429:
                self.limit.refused()
            raise
        else:
            self._answered()
            self.limit.took(kind, self._clock.monotonic() - began, under_way)
        finally:
            if place in self._places:
                self._leave(place)

    async def _wait(self, place: int, namespace: str, urgency: Urgency) -> None:
        flow = (namespace, urgency)
        begin = max(self._virtual, self._ends.get(flow, 0.0))
        self._ends[flow] = begin + 1 / urgency
        line = self._line(urgency)
        mine = _Waiting(begin, place, urgency, asyncio.get_running_loop().create_future(), line is self._later)
        heapq.heappush(line, mine)
        with contextlib.ExitStack() as alarm:
            if mine.patient:
                losing = functools.partial(self._lose_patience, mine)
                alarm.callback(self._clock.call_later(_GIVES_WAY_SECONDS, losing).cancel)
            try:
                await mine.turn
            except asyncio.CancelledError:
                if place in self._places:
                    self._leave(place)
                raise

    def _take(self, place: int, urgency: Urgency) -> None:
        loop = asyncio.get_running_loop()
        self._places[place] = urgency, loop.call_later(_STUCK_SECONDS, self._leave, place)
        if urgency == Urgency.CLAIM:
            self._claims += 1
            if self._between is not None:
                self._between.cancel()
                self._between = None

    def _leave(self, place: int) -> None:
        urgency, stuck = self._places.pop(place)
        stuck.cancel()
        if urgency == Urgency.CLAIM:
            self._claims -= 1
            if not self._claims:
                self._between = self._clock.call_later(_BETWEEN_SECONDS, self._claims_are_over)
        self._go_on()

    @property
    def _claiming(self) -> bool:
        """Whether claims are under way, or one may be between its two writes."""
        return self._claims > 0 or self._between is not None

    def _claims_are_over(self) -> None:
        self._between = None
        self._go_on()

    def _lose_patience(self, waiting: _Waiting) -> None:
        waiting.patient = False
        self._go_on()

    def _line(self, urgency: Urgency) -> list[_Waiting]:
        return self._later if urgency <= Urgency.TEARDOWN else self._waiting

    def _free(self) -> bool:
        """Whether one more may be sent."""
        return self._pause is None and len(self._places) < (1 if self._refused else self.limit.value)

    def _nobody_there(self) -> None:
        """There is no API server: whoever has not been sent yet waits until there is one."""
        if self._pause is None:
            seconds = backoff.pause_seconds(self._refused, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
            self._refused += 1
            self._pause = self._clock.call_later(seconds, self._try_again)

    def _try_again(self) -> None:
        self._pause = None
        self._go_on()

    def _answered(self) -> None:
        if self._refused:
            self._refused = 0
            if self._pause is not None:
                self._pause.cancel()
            self._try_again()

    def _go_on(self) -> None:
        """Give the places that are free to those who wait."""
        while self._free() and (line := self._next_line()) is not None:
            first = heapq.heappop(line)
            self._virtual = first.begin
            self._take(first.place, first.urgency)
            first.turn.set_result(None)
        if not len(self):
            self._virtual = 0.0
            self._ends.clear()

    def _next_line(self) -> list[_Waiting] | None:
        """In which line the next one stands; None: nobody may go now."""
        for line in (self._waiting, self._later):
            while line and line[0].turn.done():
                heapq.heappop(line)
        lines = [line for line in (self._waiting, self._later) if line]
        if self._later and self._later[0].patient and self._claiming:
            lines.remove(self._later)
        return min(lines, default=None)
