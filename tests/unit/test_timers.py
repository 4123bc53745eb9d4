"""Timers: they fire when they are due, and cost nothing until then."""

from __future__ import annotations

import asyncio
import time

from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.timers import Timers


def test_timers_fire_when_due_and_not_after_they_were_moved_or_cancelled() -> None:
    fired: list[str] = []
    timers = Timers(fired.append, Clock())
    timers.set("a", 10)
    timers.set("b", 20)
    timers.set("c", 5)
    timers.set("a", 30)
    timers.set("c", None)
    timers.fire_due(25)
    assert fired == ["b"]
    timers.fire_due(30)
    assert fired == ["b", "a"]
    assert len(timers) == 0


def test_timers_that_are_moved_all_the_time_take_no_more_room() -> None:
    timers = Timers(lambda _key: None, Clock())
    for moment in range(1000):
        for key in range(50):
            timers.set(f"s{key}", 10_000.0 + moment)
    assert len(timers) == 50
    assert len(timers._heap) < 300


async def test_ten_thousand_running_timers_cost_nothing_measurable() -> None:
    """A second with them takes the processor no longer than a second with none: a few milliseconds."""

    async def a_second(count: int) -> float:
        timers = Timers(lambda _key: None, Clock())
        for number in range(count):
            timers.set(f"s{number}", time.time() + 3600 + number)
        task = asyncio.create_task(timers.run())
        await asyncio.sleep(0)
        started = time.process_time()
        await asyncio.sleep(1)
        task.cancel()
        return time.process_time() - started

    assert await a_second(10_000) < await a_second(0) + 0.02
