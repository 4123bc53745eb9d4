"""Odd input and odd times: unreadable pools, deadlines at the end of time, clocks that jump, floods of Events."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from sandyard.api import model, names
from sandyard.api.events import Event
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.writer import Writer
from sandyard.engine.loops.clock import Clock, SteadyClock
from sandyard.engine.loops.turns import Turns
from sandyard.engine.state import records
from tests.unit import objects
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World

HOUR = 3600.0
_BODY = {
    "metadata": {"name": "pool", "namespace": "ns", "uid": "pool", "resourceVersion": "1",
                 "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"template": {"image": "a"}},
}  # fmt: skip
POOL = records.pool(_BODY, objects.PROBE)


def status(world: World, name: str) -> dict[str, Any]:
    return dict(world.api.objects["sandboxes", name]["status"])


# Pools that cannot be read


@pytest.mark.parametrize("spec", [{"template": {"image": None}}, {"template": {"image": 5}}, {"paused": "?"}])
def test_a_pool_that_cannot_be_read_can_be_deleted(spec: dict[str, Any]) -> None:
    world = World()
    world.prompt(4)
    world.claim("s1")
    world.prompt(4)
    kept = status(world, "s1")["podName"]
    world.api.change("sandboxpools", "pool", {"spec": spec})
    world.prompt(4)
    assert condition(world.api.objects["sandboxpools", "pool"], "Stalled")
    world.api.remove(("sandboxpools", "pool"))
    world.prompt(10)
    assert ("sandboxpools", "pool") not in world.api.objects
    assert [pod["metadata"]["name"] for pod in world.pods()] == [kept], "what is somebody's stays"
    world.close()


def test_a_pool_that_could_never_be_read_can_be_deleted() -> None:
    world = World()
    world.api.put(
        "sandboxpools", {"metadata": {"name": "odd", "finalizers": [names.FINALIZER]}, "spec": {"template": {}}}
    )
    world.prompt(4)
    world.api.remove(("sandboxpools", "odd"))
    world.prompt(4)
    assert ("sandboxpools", "odd") not in world.api.objects
    world.close()


@pytest.mark.parametrize("fault", ["conflict", "failing", "unanswered", "lost"])
def test_a_fault_does_not_keep_a_pool_that_cannot_be_read(fault: str) -> None:
    world = World()
    world.prompt(4)
    world.api.change("sandboxpools", "pool", {"spec": {"template": {"image": 5}}})
    world.prompt(2)
    world.api.targeted["delete"].extend([fault] * 2)
    world.api.remove(("sandboxpools", "pool"))
    world.prompt(30)
    assert ("sandboxpools", "pool") not in world.api.objects
    world.close()


def test_a_sandbox_that_cannot_be_read_says_so_and_can_be_deleted() -> None:
    world = World()
    world.prompt(4)
    world.api.witness.forbidden.add("InvalidSpec")
    world.api.put("sandboxes", {"metadata": {"name": "odd", "finalizers": [names.FINALIZER]}, "spec": {"poolRef": 5}})
    world.claim("s1")
    world.prompt(3)
    stalled = condition(world.api.objects["sandboxes", "odd"], "Stalled")
    assert stalled is not None and "poolRef" in stalled["message"]
    assert status(world, "odd")["phase"] == "Failed"
    world.api.remove(("sandboxes", "odd"))
    world.prompt(3)
    assert ("sandboxes", "odd") not in world.api.objects
    assert status(world, "s1")["phase"] == "Ready"
    world.close()


@pytest.mark.parametrize("shape", ["plain", "restart", "persistent"])
def test_a_sandbox_that_cannot_be_read_any_more_is_torn_down_with_its_pod(shape: str) -> None:
    world = World(shape=shape)
    world.prompt(6)
    world.claim("s1")
    world.prompt(4)
    pod = status(world, "s1")["podName"]
    world.api.change("sandboxes", "s1", {"spec": {"poolRef": 5}})
    world.api.remove(("sandboxes", "s1"))
    world.settle()
    assert ("sandboxes", "s1") not in world.api.objects
    assert ("pods", pod) not in world.api.objects
    world.close()


# Times


@pytest.mark.parametrize(
    "deadline", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00"]
)
def test_a_deadline_at_the_end_of_time_lets_a_sandbox_live(deadline: str) -> None:
    world = World()
    world.prompt(4)
    world.claim("s1", lifetime={"deadline": deadline})
    world.prompt(6)
    assert status(world, "s1")["phase"] == "Ready"
    assert status(world, "s1")["expiresAt"].startswith("9999-12-31T")
    world.close()


@pytest.mark.parametrize("at", [-1e15, -62135596801.0, 0.0, 1.8e9, 253402300800.0, 1e20])
def test_every_moment_can_be_written_and_read(at: float) -> None:
    text = model.timestamp(at)
    assert len(text) == len("2030-01-31T12:00:00.000000Z")
    assert model.moment(text) is not None


@pytest.mark.parametrize("text", ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2030-01-31T25:00:00Z", "", "x"])
def test_no_time_raises(text: str) -> None:
    moment = model.moment(text)
    assert moment is None or model.timestamp(moment)


# Clocks


class Jumping(Clock):
    """Both times as the test sets them."""

    wall, passed = 1.8e9, 100.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    def go(self, seconds: float, step: float = 0.0) -> None:
        self.passed += seconds
        self.wall += seconds + step


@pytest.mark.parametrize("step", [HOUR, -HOUR, 60.0, -60.0, 1e7])
def test_a_step_of_the_clock_is_believed_when_it_has_lasted(step: float) -> None:
    inner = Jumping()
    clock = SteadyClock(inner)
    inner.go(10, step)
    assert clock.now() == pytest.approx(1.8e9 + 10)
    inner.go(500)
    assert clock.now() == pytest.approx(1.8e9 + 510)
    inner.go(101)
    assert clock.now() == inner.wall


def test_a_step_that_is_put_right_has_never_been() -> None:
    inner = Jumping()
    clock = SteadyClock(inner)
    inner.go(1, HOUR)
    clock.now()
    inner.go(500, -HOUR)
    assert clock.now() == inner.wall
    inner.go(200, HOUR)
    assert clock.now() == pytest.approx(1.8e9 + 701), "the next one has its own ten minutes"


@pytest.mark.parametrize("wrong", [HOUR, -HOUR, 60.0])
def test_a_process_that_starts_with_a_wrong_clock_begins_with_the_api_servers(wrong: float) -> None:
    inner = Jumping()
    clock = SteadyClock(inner)
    clock.compare(1.8e9 - wrong)
    inner.go(30)
    assert clock.now() == pytest.approx(1.8e9 - wrong + 30, abs=3)
    # As long as the API server sees the same time go by, nobody else's is believed.
    for _ in range(100):
        inner.go(60)
        clock.compare(inner.wall - wrong - 1)
    assert clock.now() == pytest.approx(inner.wall - wrong, abs=3)
    inner.go(1, -wrong)
    assert clock.now() == inner.wall, "put right"


@pytest.mark.parametrize("wrong", [HOUR, -HOUR, 2.0])
def test_an_api_server_whose_clock_makes_a_step_moves_nobodys(wrong: float) -> None:
    inner = Jumping()
    clock = SteadyClock(inner)
    clock.compare(inner.wall)
    for _ in range(20):
        inner.go(60)
        clock.compare(inner.wall + wrong)
        assert clock.now() == inner.wall


def test_a_step_that_the_api_server_does_not_share_is_never_believed() -> None:
    inner = Jumping()
    clock = SteadyClock(inner)
    clock.compare(inner.wall)
    inner.go(10, HOUR)
    for _ in range(60):
        inner.go(60)
        clock.compare(inner.wall - HOUR)
        assert clock.now() == pytest.approx(inner.wall - HOUR, abs=3)


def test_a_clock_that_runs_fast_is_followed() -> None:
    inner = Jumping()
    clock = SteadyClock(inner)
    for _ in range(100):
        inner.go(60, 1.0)
        assert clock.now() == inner.wall


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_of_the_clock_ends_no_sandbox(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    world = World()
    world.prompt(4)
    for number in range(3):
        world.claim(f"s{number}", lifetime={"seconds": 1800})
    world.prompt(8)
    assert {status(world, f"s{number}")["phase"] for number in range(3)} == {"Ready"}
    clock: Any = world.operator.work.store._clock
    real = clock._inner.now
    monkeypatch.setattr(clock._inner, "now", lambda: real() + step)
    for number in range(3):
        world.operator.queues.sandboxes.add(world.api.objects["sandboxes", f"s{number}"]["metadata"]["uid"])
    world.prompt(10, 20.0)
    assert {status(world, f"s{number}")["phase"] for number in range(3)} == {"Ready"}
    world.close()


# Events


class Slow:
    """A writer that never answers, and counts who waits."""

    def __init__(self) -> None:
        self.waiting = 0

    async def create(self, _path: str, _body: Any, _urgency: Any) -> None:
        self.waiting += 1
        await asyncio.Event().wait()


async def test_events_go_out_several_at_a_time() -> None:
    writer = Slow()
    recorder = Recorder(cast("Writer", writer), "test", Turns(Clock()), Clock())
    for number in range(10):
        recorder.record(POOL, Event.START_FAILED, f"{number}")
    task = asyncio.create_task(recorder.run())
    async with asyncio.timeout(5):
        while writer.waiting < 4:
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert writer.waiting == 4, "and not all at once"


def test_a_flood_of_events_costs_each_the_same() -> None:
    inner = Jumping()
    recorder = Recorder(cast("Writer", Slow()), "test", Turns(inner), inner)
    for number in range(4500):
        inner.go(0.001)
        recorder.record(POOL, Event.START_FAILED, f"{number}")
    assert len(recorder._posted) <= 4000
    assert next(reversed(recorder._posted))[2] == "4499"
    inner.go(100)
    for number in range(4100):
        recorder.record(POOL, Event.START_FAILED, f"later {number}")
    assert all(key[2].startswith("later") for key in recorder._posted), "what is old goes"
