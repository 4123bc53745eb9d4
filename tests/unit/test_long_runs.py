"""What the operator costs over long times, simulated: broken pools, full nodes, nothing at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import model
from sandyard.engine.loops.timers import Timers
from tests.unit.simulation import SimClock, World


@pytest.fixture
def world() -> Iterator[World]:
    made = World(maximum=60)
    yield made
    made.close()


def name(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def condition(world: World, kind: str) -> dict[str, Any]:
    status = world.api.objects["sandboxpools", "pool"]["status"]
    return next(c for c in status["conditions"] if c["type"] == kind)


@pytest.mark.parametrize("start_timeout", [300, 60])
def test_an_image_that_cannot_be_pulled_costs_at_most_ten_pods_in_half_an_hour(
    world: World, start_timeout: int
) -> None:
    spec = {"replicas": 50, "startup": {"timeoutSeconds": start_timeout}}
    world.api.change("sandboxpools", "pool", {"spec": spec})
    world.live(1800, lambda pod: world.report(name(pod), "ImagePullBackOff"))
    assert world.api.requests["create pods"] <= 10
    assert world.api.requests["write"] <= 150
    assert condition(world, "Stalled")["status"] == "True"


def test_pods_that_end_at_once_cost_at_most_ten_in_half_an_hour(world: World) -> None:
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 50}})
    world.live(1800, lambda pod: world.start_pod(name(pod), well=False))
    assert world.api.requests["create pods"] <= 12, "two canaries, and then ever more rarely"


def test_a_full_cluster_is_not_asked_again_and_again(world: World) -> None:
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 50, "startup": {"timeoutSeconds": 3600}}})
    world.live(600, lambda pod: world.report(name(pod), "Unschedulable"))
    assert world.api.requests["create pods"] <= 3
    assert world.api.requests["write"] <= 20
    assert condition(world, "Stalled")["reason"] == "Unschedulable"


def test_a_converged_system_writes_nothing_for_an_hour(world: World) -> None:
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 5}})
    for number in range(10):
        world.claim(f"s{number}", lifetime={"seconds": 90_000})
    world.settle()
    before = world.api.requests["write"]
    world.live(3600, lambda pod: world.start_pod(name(pod)))
    world.sweep()
    assert world.api.requests["write"] == before


def test_a_pool_that_follows_its_demand_shrinks_again_and_then_is_quiet(world: World) -> None:
    scale = {"minReplicas": 1, "maxReplicas": 40}
    world.api.change("sandboxpools", "pool", {"spec": {"autoscale": scale, "maxSandboxes": None}})
    world.settle()
    for number in range(60):
        world.claim(f"s{number}", lifetime={"seconds": 20})
        world.live(1, lambda pod: world.start_pod(name(pod)), step=0.25)
    grown = world.api.objects["sandboxpools", "pool"]["status"]["autoscale"]["replicas"]
    assert grown >= 4
    # No sweep comes to help.
    world.prompt(600, 3.0)
    assert world.api.objects["sandboxpools", "pool"]["status"]["autoscale"]["replicas"] == 1
    assert len(world.pods(going=False)) == 1
    before = world.api.requests["write"]
    world.live(600, lambda pod: world.start_pod(name(pod)))
    assert world.api.requests["write"] == before


def test_a_change_that_our_own_write_overtakes_is_not_lost(world: World) -> None:
    """It comes back with the reply; when the watch shows it, it is old already."""
    world.settle()
    for number in ("shortened", "deleted"):
        # Nothing else makes the operator look at these again.
        world.claim(number, poolRef={"name": "nowhere"})
    world.deliver("sandboxes", 10)
    deadline = model.timestamp(world.now + 5)
    world.api.change("sandboxes", "shortened", {"spec": {"lifetime": {"deadline": deadline}}})
    world.api.remove(("sandboxes", "deleted"))
    world.work(100)
    assert {s["status"]["conditions"][0]["reason"] for s in world.api.all("sandboxes")} == {"PoolNotFound"}
    world.live(10, lambda pod: world.start_pod(name(pod)))
    assert world.api.all("sandboxes") == []


def test_ten_thousand_timers_cost_nothing_while_they_run(world: World) -> None:
    """To look whether one is due costs as much as with ten, and none is forgotten."""
    fired: list[str] = []

    def running(count: int) -> Timers:
        timers = Timers(fired.append, SimClock(lambda: world.now))
        for number in range(count):
            timers.set(f"s{number}", world.now + 3600 + number)
            timers.set(f"s{number}", world.now + 7200 + number)
        return timers

    def looking(timers: Timers) -> float:
        started = time.process_time()
        for _ in range(2000):
            timers.fire_due(world.now + 3599)
        return time.process_time() - started

    few, many = running(10), running(10_000)
    assert looking(many) < 5 * looking(few) + 0.05
    assert fired == []
    assert len(many) == 10_000
    many.fire_due(world.now + 7200 + 9_999)
    assert len(set(fired)) == 10_000
