"""Events: never in anybody's way, never the same one over and over, and never at the cost of a warning."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from sandyard.api.events import Event
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.writer import NotLeader, Writer
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.turns import Turns, Urgency
from sandyard.engine.state import records
from sandyard.kube import errors
from tests.unit import objects
from tests.unit.simulation import World

_BODY = {
    "metadata": {"name": "pool", "namespace": "ns", "uid": "pool", "resourceVersion": "1",
                 "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"template": {"image": "a"}},
}  # fmt: skip
POOL = records.pool(_BODY, objects.PROBE)


class Time(Clock):
    """Time that passes when a test says so."""

    at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Posted:
    """A writer that notes what is posted, and answers as it is told to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answers: list[Exception | None] = []

    async def create(self, _path: str, body: dict[str, Any], _urgency: Urgency) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.events.append(body)

    @property
    def messages(self) -> list[str]:
        return [event["message"] for event in self.events]


class Busy(Turns):
    """Turns of an API server that has more to do than it can."""

    busy = True


def recorder(posted: Posted, time: Time | None = None, turns: Turns | None = None) -> Recorder:
    return Recorder(cast("Writer", posted), "me", Turns(Time()) if turns is None else turns, time or Time())


async def post(made: Recorder) -> None:
    """Let it post everything that it has."""
    task = asyncio.create_task(made.run())
    async with asyncio.timeout(5):
        while len(made):
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})


async def test_the_same_event_is_posted_once_a_minute() -> None:
    posted, time = Posted(), Time()
    made = recorder(posted, time)
    for seconds in (0, 30, 59, 61):
        time.at = 1_800_000_000.0 + seconds
        made.record(POOL, Event.START_FAILED, "x")
    made.record(POOL, Event.START_FAILED, "y")
    await post(made)
    assert posted.messages == ["x", "x", "y"]


async def test_under_load_what_went_well_is_left_out_and_warnings_are_not() -> None:
    assert (Event.RESTARTED.type, Event.START_FAILED.type) == ("Normal", "Warning")
    posted = Posted()
    made = recorder(posted)
    for number in range(300):
        made.record(POOL, Event.RESTARTED, f"well {number}")
    made.record(POOL, Event.START_FAILED, "ill")
    await post(made)
    assert len(posted.events) == 21
    assert posted.messages[-1] == "ill"


async def test_what_went_well_is_told_some_times_a_second_however_fast_events_are_taken() -> None:
    posted, time = Posted(), Time()
    made = recorder(posted, time)
    for number in range(1000):
        time.at += 0.025
        made.record(POOL, Event.RESTARTED, f"well {number}")
        await post(made)
    told = len(posted.events)
    assert 20 + 25 * 2 - 5 <= told <= 20 + 25 * 2 + 5, "all at first, then two a second"
    time.at += 10
    for number in range(20):
        made.record(POOL, Event.RESTARTED, f"well again {number}")
    await post(made)
    assert len(posted.events) == told + 20, "after a pause, all again"


async def test_where_writes_wait_one_of_a_kind_a_second_is_told_and_every_warning() -> None:
    posted, time = Posted(), Time()
    made = recorder(posted, time, Busy(time))
    for number in range(100):
        time.at += 0.1
        made.record(POOL, Event.RESTARTED, f"well {number}")
        made.record(POOL, Event.START_FAILED, f"ill {number}")
    made.record(POOL, Event.READY, "of another kind")
    await post(made)
    told = [message for message in posted.messages if message.startswith("well")]
    assert 9 <= len(told) <= 11
    assert len([message for message in posted.messages if message.startswith("ill")]) == 100
    assert posted.messages[-1] == "of another kind"


async def test_nobody_waits_however_many_there_are() -> None:
    made = recorder(Posted())
    for number in range(5000):
        made.record(POOL, Event.START_FAILED, str(number))
    assert len(made) == 1000


@pytest.mark.parametrize(
    "answer", [NotLeader("another leads"), errors.ApiError(403, {}), errors.TransportError("cut off")]
)
async def test_an_event_that_is_not_taken_keeps_nobody_from_the_next(answer: Exception) -> None:
    """However many are not taken: nobody who posts ends with one."""
    posted = Posted()
    posted.answers = [answer] * 20
    made = recorder(posted)
    for number in range(21):
        made.record(POOL, Event.START_FAILED, str(number))
    await post(made)
    assert posted.messages == ["20"]


async def test_what_a_terminal_would_obey_is_not_posted() -> None:
    posted = Posted()
    made = recorder(posted)
    made.record(POOL, Event.START_FAILED, "\x1b[2Jgone")
    await post(made)
    assert "\x1b" not in posted.messages[0]
    assert "gone" in posted.messages[0]


def test_what_a_sandbox_goes_through_is_told_by_its_events(world: World) -> None:
    def told(name: str) -> list[str]:
        queue: Any = world.operator.work._recorder._queue
        return [body["reason"] for body in queue._queue if body["involvedObject"]["name"] == name]

    world.claim("s1")
    world.prompt(3)
    assert told("s1") == ["Ready"]
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Paused"}})
    world.prompt(3)
    world.api.remove(("sandboxes", "s1"))
    world.prompt(5)
    assert told("s1") == ["Ready", "Paused", "Cleaned"]
