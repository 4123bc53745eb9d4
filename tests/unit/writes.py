"""Writes that wait for their turn, and time that passes when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.turns import Turns, Urgency

__all__ = ["Time", "Writes", "settle"]


class Time(Clock):
    """Time of which more passes when a test says so."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._alarms: list[tuple[float, asyncio.TimerHandle]] = []

    def monotonic(self) -> float:
        return super().monotonic() + self._passed

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.Handle:
        handle = asyncio.get_running_loop().call_later(seconds, callback)
        self._alarms.append((self.monotonic() + seconds, handle))
        return handle

    def pass_by(self, seconds: float) -> None:
        """So much more time passes, and what was to be called meanwhile is called."""
        self._passed += seconds
        due = [handle for at, handle in self._alarms if at <= self.monotonic()]
        self._alarms = [(at, handle) for at, handle in self._alarms if at > self.monotonic()]
        for handle in due:
            if not handle.cancelled():
                handle._run()
                handle.cancel()


class Writes:
    """Writes that take as long as the test wants, and the order in which they began."""

    def __init__(self) -> None:
        self.clock = Time()
        self.turns = Turns(self.clock)
        self.began: list[str] = []
        self.under_way = 0
        self.most = 0
        self._held: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, name: str, namespace: str, urgency: Urgency, error: Exception | None = None) -> asyncio.Task[None]:
        task = asyncio.create_task(self._send(name, namespace, urgency, error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send(self, name: str, namespace: str, urgency: Urgency, error: Exception | None) -> None:
        async with self.turns.turn("PATCH pods", namespace, urgency):
            self.began.append(name)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            done = asyncio.get_running_loop().create_future()
            self._held.append(done)
            try:
                await done
            finally:
                self.under_way -= 1
            if error is not None:
                raise error

    async def answer(self, count: int = 1) -> None:
        """The API server answers the oldest *count* of them."""
        for _ in range(count):
            self._held.pop(0).set_result(None)
            await settle()

    async def let_one_go(self) -> None:
        """As `answer`, and what follows from it has not happened yet."""
        self._held.pop(0).set_result(None)

    @property
    def unanswered(self) -> int:
        return len(self._held)

    async def end(self) -> None:
        while self._held:
            await self.answer()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
