"""What the probes of the operator's own pod say: when it is to be started anew, and when it is ready."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandyard.engine.caches import Caches
from sandyard.engine.health import Health
from sandyard.engine.loops.clock import Clock
from sandyard.engine.process.metrics import Metrics


class Stepped(Clock):
    """A clock that the test moves; whoever sleeps waits for the test."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.slept = asyncio.Event()

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, _seconds: float) -> None:
        await self.slept.wait()
        self.slept.clear()


class Watches:
    """Caches whose watches were heard of last at a time that the test sets."""

    def __init__(self) -> None:
        self.heard_at = 1000.0
        self.filled = asyncio.Event()

    def silent(self, before: float) -> int:
        return int(self.heard_at < before)


def health(clock: Clock, watches: Watches) -> Health:
    nobody = cast("Any", SimpleNamespace())
    return Health(cast("Caches", watches), nobody, nobody, nobody, nobody, nobody, Metrics(), clock)


async def test_a_process_whose_event_loop_stands_is_started_anew_and_one_that_turns_is_not() -> None:
    clock, watches = Stepped(), Watches()
    made = health(clock, watches)
    beating = asyncio.create_task(made.beat())
    await asyncio.sleep(0)
    try:
        for _ in range(20):
            clock.at += 5
            watches.heard_at = clock.at
            clock.slept.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert made.alive() == ""
        clock.at += 300
        watches.heard_at = clock.at
        assert made.alive() == "the event loop has stopped"
    finally:
        beating.cancel()
        await asyncio.wait({beating})


@pytest.mark.parametrize(("seconds", "alive"), [(10, True), (3600, False)])
async def test_a_process_whose_watches_are_silent_for_long_is_started_anew(seconds: float, alive: bool) -> None:
    clock, watches = Stepped(), Watches()
    clock.at += seconds
    made = health(clock, watches)
    watches.heard_at = clock.at - seconds
    assert (made.alive() == "") is alive
    assert alive or "1 watches are silent" in made.alive()


async def test_a_process_is_ready_once_its_caches_are_filled() -> None:
    watches = Watches()
    made = health(Stepped(), watches)
    assert made.not_ready() == "caches are not filled yet"
    watches.filled.set()
    assert made.not_ready() == ""
