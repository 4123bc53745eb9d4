"""What Helm, Flux and kubectl wait see of a pool over its life: a dip is its work, trouble is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import conditions, model
from sandyard.api.conditions import Finding
from sandyard.api.reasons import Condition, Reason
from sandyard.engine.state.pool_memory import PoolMemory, remember
from sandyard.pool.demand import Demand
from sandyard.pool.status import PoolStatus
from tests.support import kstatus
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World


@pytest.fixture
def world() -> Iterator[World]:
    """Its pool is full."""
    made = World(maximum=20)
    made.prompt(30)
    yield made
    made.close()


def said(world: World, kind: str) -> tuple[str, str]:
    found = condition(world.api.objects["sandboxpools", "pool"], kind)
    assert found is not None
    return found["status"], found["reason"]


def judged(world: World) -> str:
    return kstatus.judge(world.api.objects["sandboxpools", "pool"])


def start(world: World, seconds: float) -> None:
    """Time passes; each pod takes four seconds to start."""
    end = world.now + seconds
    while world.now < end:
        world.catch_up()
        world.work(1000)
        for pod in world.pods(going=False):
            if not pod["status"].get("phase") and world.now - born(pod) >= 4:
                world.start_pod(pod["metadata"]["name"])
        for pod in world.pods(going=True):
            world.api.finish(pod["metadata"]["name"])
        world.now += 0.5


def born(pod: dict[str, Any]) -> float:
    return model.seconds(pod["metadata"]["creationTimestamp"])


def test_a_pool_that_is_claimed_every_four_seconds_is_ready_all_the_time(world: World) -> None:
    seen: set[tuple[str, str, str]] = set()
    full: set[str] = set()
    for number in range(12):
        world.claim(f"s{number}")
        for _ in range(8):
            start(world, 0.5)
            seen.add((*said(world, "Ready"), judged(world)))
            full.add(said(world, "Full")[0])
    assert seen == {("True", "Ready", "Current")}
    assert full == {"True", "False"}, "the dips were seen"


def test_a_pool_is_ready_once_it_was_filled_and_not_before() -> None:
    world = World(maximum=20)
    world.catch_up()
    world.work()
    world.now += 2
    world.work()
    assert (said(world, "Ready"), judged(world)) == (("False", "Scaling"), "InProgress")
    world.prompt(30)
    assert (said(world, "Ready"), judged(world)) == (("True", "Ready"), "Current")
    world.close()


@pytest.mark.parametrize("spec", [{"replicas": 5}, {"template": {"image": "b"}}])
def test_what_is_newly_asked_for_is_ready_when_it_is_there(world: World, spec: dict[str, Any]) -> None:
    world.api.change("sandboxpools", "pool", {"spec": spec})
    world.catch_up()
    start(world, 2.5)
    assert (said(world, "Ready")[0], judged(world)) == ("False", "InProgress")
    start(world, 15)
    assert (said(world, "Ready"), said(world, "Reconciling")[0], judged(world)) == (
        ("True", "Ready"), "False", "Current",
    )  # fmt: skip


def test_less_is_there_at_once(world: World) -> None:
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    world.prompt(5, 1.0)
    assert (said(world, "Ready"), judged(world)) == (("True", "Ready"), "Current")


def test_a_pool_from_which_nothing_more_comes_is_not_ready_after_a_start_takes_too_long(world: World) -> None:
    for number in range(2):
        world.claim(f"s{number}")
    for _ in range(8):
        world.catch_up()
        world.work(1000)
        world.now += 1
    assert said(world, "Ready") == ("True", "Ready")
    for _ in range(10):
        world.catch_up()
        world.work(1000)
        world.now += 1
    assert (said(world, "Ready"), judged(world)) == (("False", "Empty"), "InProgress")
    world.prompt(20)
    assert (said(world, "Ready"), judged(world)) == (("True", "Ready"), "Current")


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "Unschedulable"])
def test_what_keeps_it_from_refilling_is_told_though_it_was_filled(world: World, reason: str) -> None:
    world.claim("s")
    world.catch_up()
    world.work(1000)
    world.catch_up()
    world.work(1000)
    for pod in world.free():
        if not pod["status"].get("phase"):
            world.report(pod["metadata"]["name"], reason)
    for _ in range(4):
        world.catch_up()
        world.work(1000)
        world.now += 1
    assert (said(world, "Ready"), judged(world)) == (("False", reason), "Failed")


def test_an_operator_that_takes_over_in_a_dip_believes_that_the_pool_was_filled(world: World) -> None:
    world.claim("s")
    world.catch_up()
    world.work(1000)
    world.crash()
    for _ in range(4):
        world.catch_up()
        world.work(1000)
        assert said(world, "Ready") == ("True", "Ready")
        world.now += 0.5


def test_how_long_a_pool_may_be_empty_follows_from_what_a_start_takes() -> None:
    memory = PoolMemory("h")
    assert memory.empty_too_long_at(300) is None
    memory.counted(0, 100.0)
    memory.counted(0, 150.0)
    assert memory.empty_too_long_at(300) == 400.0, "not measured yet: as long as a start may take"
    memory.demand = Demand(warm_up_seconds=20.0)
    assert memory.empty_too_long_at(300) == 140.0
    memory.demand = Demand(warm_up_seconds=1.0)
    assert memory.empty_too_long_at(300) == 110.0
    memory.counted(1, 160.0)
    assert memory.empty_too_long_at(300) is None


@pytest.mark.parametrize(("ready", "known"), [(True, 7), (False, None), (None, None)])
def test_what_was_filled_is_known_from_the_status(ready: bool | None, known: int | None) -> None:
    merged = conditions.merge((), [Finding(Condition.READY, ready, Reason.READY)], 7, 100.0)
    assert remember(PoolStatus(conditions=tuple(merged)), 100.0).filled_generation == known
    assert remember(PoolStatus(), 100.0).filled_generation is None


def measured(world: World, name: str) -> float | None:
    """A gauge of the pool as a scrape shows it."""
    world.operator._health.collect()
    return world.leader.metrics.registry.get_sample_value(name, {"namespace": "ns", "pool": "pool"})


def test_the_age_of_the_oldest_claim_is_measured_at_each_scrape(world: World) -> None:
    name = "sandyard_pool_oldest_claim_age_seconds"
    for pod in range(3):
        world.claim(f"s{pod}")
    world.catch_up()
    world.work(1000)
    first = measured(world, name)
    world.now += 30
    assert first is not None and measured(world, name) == pytest.approx(first + 30)
    start(world, 60)
    assert measured(world, name) is None, "nobody waits any more"


def test_a_pool_that_backs_off_is_measured_until_its_pods_start() -> None:
    world = World(maximum=20)
    try:
        world.catch_up()
        world.work(1000)
        for pod in world.pods(going=False):
            world.start_pod(pod["metadata"]["name"], well=False)
        world.catch_up()
        world.work(1000)
        world.now += 2
        world.work(1000)
        assert measured(world, "sandyard_pool_backing_off") == 1
        start(world, 600)
        assert measured(world, "sandyard_pool_backing_off") == 0
    finally:
        world.close()
