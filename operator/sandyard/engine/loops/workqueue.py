"""A queue of keys: each key is handled by one worker at a time, and again if it was added meanwhile.

The semantics are those of client-go's workqueue: adding a key that waits changes nothing,
adding one that is being handled makes it run once more afterwards, a failure brings it back
later, each time later than before.  Beyond those, keys may be grouped: groups take turns, so
that a thousand claims in one namespace do not delay the one in another.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from sandyard.kube import backoff, errors

__all__ = ["WorkQueue"]

_log = logging.getLogger(__name__)
_FIRST_DELAY_SECONDS = 0.05
_LONGEST_DELAY_SECONDS = 30.0
# An API server that is away costs nobody more than this after it has come back.
_LONGEST_CUT_OFF_SECONDS = 5.0


def _one_group(_key: str) -> str:
    return ""


def _nothing() -> None:
    pass


class WorkQueue:
    """Hands keys to the handler that runs it, at most *workers* at once.

    Of one group at most *most_of_a_group* keys are handled at once; None: as many as there are workers.

    While `active` is False keys are dropped: a standby does no work, and a new leader adds
    every key anyway.
    """

    def __init__(
        self, name: str, workers: int, group: Callable[[str], str] = _one_group, most_of_a_group: int | None = None
    ) -> None:  # fmt: skip
        self.name = name
        self.active = False
        self.failures_total = 0
        self._workers = workers
        self._group = group
        self._most_of_a_group = most_of_a_group or workers
        self._busy: Counter[str] = Counter()
        # Groups in the order of their turns; oldest key first within each.
        self._waiting: dict[str, deque[str]] = {}
        self._queued: set[str] = set()
        self._running: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        # Keys that wait because no reply came.
        self._cut_off: dict[str, None] = {}
        # What is due in less than a millisecond has no timer with uvloop, which then tells no time either.
        self._timers: dict[str, tuple[float, asyncio.Handle]] = {}
        # Begins to handle keys for as long as somebody may; nobody, until it runs.
        self._begin: Callable[[], None] = _nothing

    def __len__(self) -> int:
        return len(self._queued)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._waiting and not self._running

    def add(self, key: str) -> None:
        """Handle *key* soon."""
        if not self.active:
            return
        if key in self._running:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._waiting.setdefault(self._group(key), deque()).append(key)
            self._begin()

    def add_after(self, key: str, seconds: float) -> None:
        """Handle *key* after *seconds*, or earlier if it is due earlier already."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if key in self._timers:
            known, timer = self._timers[key]
            if known <= due:
                return
            timer.cancel()
        self._timers[key] = due, loop.call_at(due, self._fire, key)

    async def run(self, handler: Callable[[str], Awaitable[None]]) -> None:
        """Hand keys to *handler* until cancelled."""
        async with asyncio.TaskGroup() as group:

            def begin() -> None:
                # A task for each key: a thousand workers that wait for keys cost more than the keys.
                while len(self._running) < self._workers and (turn := self._next_group()) is not None:
                    key = self._next(turn)
                    group.create_task(self._handle(handler, turn, key), name=self.name)

            self._begin = begin
            begin()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._begin = _nothing

    def _fire(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _handle(self, handler: Callable[[str], Awaitable[None]], group: str, key: str) -> None:
        try:
            await handler(key)
            self._failures.pop(key, None)
            self._connected(key)
        except Exception as error:  # noqa: BLE001 - one bad object must not stop the queue
            self._retry(key, error)
        finally:
            self._running.discard(key)
            self._leave(group)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            self._begin()

    def _next_group(self) -> str | None:
        """Whose turn it is; None if all that wait have their share."""
        return next((group for group in self._waiting if self._busy[group] < self._most_of_a_group), None)

    def _leave(self, group: str) -> None:
        """A key of *group* has been handled."""
        self._busy[group] -= 1
        if not self._busy[group]:
            del self._busy[group]

    def _next(self, group: str) -> str:
        """Take the oldest key of *group*, to be handled now."""
        keys = self._waiting.pop(group)
        key = keys.popleft()
        if keys:
            # Back to the end: the next turn is another group's.
            self._waiting[group] = keys
        self._queued.discard(key)
        self._running.add(key)
        self._busy[group] += 1
        return key

    def _connected(self, key: str) -> None:
        """The API server answers again: whoever was cut off need wait no longer."""
        self._cut_off.pop(key, None)
        for other in list(self._cut_off):
            self.add(other)
        self._cut_off.clear()

    def _retry(self, key: str, error: Exception) -> None:
        self.failures_total += 1
        count = self._failures.get(key, 0) + 1
        self._failures[key] = count
        cut_off = isinstance(error, errors.TransportError)
        longest = _LONGEST_CUT_OFF_SECONDS if cut_off else _LONGEST_DELAY_SECONDS
        delay = backoff.pause_seconds(count - 1, _FIRST_DELAY_SECONDS, longest)
        if cut_off:
            self._cut_off[key] = None
        if isinstance(error, errors.ApiError):
            delay = max(delay, error.retry_after_seconds or 0.0)
        expected = isinstance(error, (errors.ApiError, errors.TransportError))
        _log.log(
            logging.INFO if expected and count < 5 else logging.WARNING,
            "will retry",
            extra={"queue": self.name, "key": key, "failures": count, "seconds": round(delay, 2), "error": str(error)},
            exc_info=None if expected else error,
        )
        self.add_after(key, delay)
