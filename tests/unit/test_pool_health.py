"""What Helm, Flux and kubectl wait see of a pool over its life: a dip is its work, trouble is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import conditions, model, names
from sandyard.api.conditions import Finding
from sandyard.api.reasons import Condition, Reason
from sandyard.engine.state.pods import PodEntry
from sandyard.engine.state.pool_memory import PoolMemory, remember
from sandyard.pod import observe
from sandyard.pool.demand import Demand
from sandyard.pool.ordered import Ordered
from sandyard.pool.status import AutoscaleFigures, PoolStatus
from tests.support import kstatus
from tests.unit import objects
from tests.unit import simulated_node as node
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
        failed(world)
        assert measured(world, "sandyard_pool_backing_off") == 1
        start(world, 600)
        assert measured(world, "sandyard_pool_backing_off") == 0
    finally:
        world.close()


def failed(world: World) -> None:
    """Every pod that starts fails, and the operator has seen it."""
    world.catch_up()
    world.work(1000)
    for pod in world.pods(going=False):
        world.start_pod(pod["metadata"]["name"], well=False)
    world.catch_up()
    world.work(1000)
    world.now += 2
    world.work(1000)


def test_a_dip_of_a_pool_whose_starts_failed_once_is_its_work_again() -> None:
    world = World(maximum=20)
    try:
        failed(world)
        assert (said(world, "Stalled")[0], judged(world)) == ("True", "Failed")
        start(world, 30)
        world.claim("s")
        for _ in range(4):
            world.catch_up()
            world.work(1000)
            world.now += 1
        assert said(world, "Full")[0] == "False", "the dip is seen"
        assert (said(world, "Stalled")[0], said(world, "Ready"), judged(world)) == (
            "False", ("True", "Ready"), "Current",
        )  # fmt: skip
    finally:
        world.close()


@pytest.mark.parametrize(
    ("reason", "found"),
    [(Reason.RUNTIME_NOT_ISOLATED, "runtime"), (Reason.NETWORK_NOT_ENFORCED, "network")],
)
def test_what_a_failed_pod_has_shown_holds_until_one_proves_the_opposite(reason: Reason, found: str) -> None:
    ready = objects.pod(labels={names.LABEL_TEMPLATE_HASH: "h"})
    at = observe.ready_at(ready)
    for failed_at, status in ((at - 5, True), (at + 5, False)):
        memory = PoolMemory("h")
        memory.proven = True
        memory.fail(reason, "it has shown that", failed_at)
        finding = getattr(memory, found)
        assert (finding.status, finding.reason) == (False, reason)
        memory.learn([PodEntry(ready)], Ordered(), "None", at + 6)
        assert getattr(memory, found).status is status


def test_when_what_opened_the_namespace_is_gone_only_failures_by_that_are_forgotten() -> None:
    for reason, failures in ((Reason.NETWORK_NOT_ENFORCED, 0), (Reason.IMAGE_PULL, 1)):
        memory = PoolMemory("h")
        memory.fail(reason, "x", 100.0)
        memory.forgive_network()
        assert memory.backoff.failures == failures


def test_a_pod_that_has_failed_is_one_failure_however_often_it_is_shown() -> None:
    world = World(maximum=20)
    try:
        world.catch_up()
        world.work(1000)
        for pod in world.pods():
            world.start_pod(pod["metadata"]["name"], well=False)
        shown = [event for event in world.api.events["pods"] if event.body["status"].get("phase") == "Failed"]
        world.catch_up()
        world.work(1000)
        (entry,) = world.operator.work.store.pools.values()
        assert entry.memory.backoff.failures == len(shown) == 2
        # That it is being deleted comes later.
        for event in shown:
            event.body["metadata"]["resourceVersion"] += "1"
            world.leader.show(event)
        world.work(1000)
        assert entry.memory.backoff.failures == 2
    finally:
        world.close()


def test_a_new_template_is_a_new_chance() -> None:
    world = World(maximum=20)
    try:
        failed(world)
        before = world.api.requests["create pods"]
        world.work(1000)
        assert world.api.requests["create pods"] == before, "it waits"
        world.api.change("sandboxpools", "pool", {"spec": {"template": {"image": "b"}}})
        world.catch_up()
        world.work(1000)
        assert world.api.requests["create pods"] > before
        world.now += 2
        world.work(1000)
        assert (said(world, "Stalled")[0], said(world, "BackingOff")[0]) == ("False", "False")
    finally:
        world.close()


def test_a_setup_that_takes_too_long_costs_its_pod_and_is_told() -> None:
    world = World(shape="setup")
    spec = {"replicas": 1, "template": {"setup": {"timeoutSeconds": 30}}}
    world.api.change("sandboxpools", "pool", {"spec": spec})
    try:
        for _ in range(2):
            world.catch_up()
            world.work(1000)
        (pod,) = world.free()
        began = {"running": {"startedAt": model.timestamp(world.now)[:19] + "Z"}}
        statuses = [{"name": names.SETUP_CONTAINER, "state": began}]
        world.api.change("pods", pod["metadata"]["name"], {"status": {"initContainerStatuses": statuses}})
        for seconds, going in ((28, False), (4, True)):
            for _ in range(seconds):
                world.catch_up()
                world.work(1000)
                world.now += 1
            assert bool(world.pods(going=True)) is going
        assert said(world, "Stalled") == ("True", "SetupFailed")
    finally:
        world.close()


def test_pods_that_turn_sick_while_they_are_warm_count_as_failures_and_lost_nodes_do_not(world: World) -> None:
    """The next ones of that template would be no better."""
    for pod in world.free():
        world.api.change("pods", pod["metadata"]["name"], {"status": {"conditions": [
            {"type": "Ready", "status": "Unknown", "lastTransitionTime": model.timestamp(world.now + 1)[:19] + "Z"},
        ]}})  # fmt: skip
    for _ in range(2):
        world.catch_up()
        world.work(1000)
    assert "lastFailure" not in world.api.objects["sandboxpools", "pool"]["status"]
    world.prompt(30)
    for pod in world.free():
        node.sicken_pod(world.api, pod["metadata"]["name"])
    before = len(world.pods())
    world.catch_up()
    world.work(1000)
    assert len(world.pods()) == before, "no more of them at once"
    world.now += 1
    world.work(1000)
    assert world.api.objects["sandboxpools", "pool"]["status"]["lastFailure"]["reason"] == "PodNotReady"


def test_what_a_pool_has_counted_measured_and_proven_outlives_the_operator() -> None:
    known = [
        Finding(Condition.RUNTIME_ISOLATED, True, Reason.PROVEN, "by pod a"),
        Finding(Condition.NETWORK_ENFORCED, False, Reason.NETWORK_NOT_ENFORCED, "not by pod b"),
    ]
    proven = conditions.merge((), known, 7, 100.0)
    load = AutoscaleFigures(claims_per_second="2.5", warm_up_seconds="8", replicas=30)
    status = PoolStatus(
        conditions=tuple(proven), warm_hits=3, cold_starts=4, reused=5, template_hash="h", autoscale=load
    )  # fmt: skip
    memory = remember(status, 100.0)
    assert (memory.warm_hits, memory.cold_starts, memory.reused, memory.template_hash) == (3, 4, 5, "h")
    assert memory.runtime is not None and (memory.runtime.status, memory.runtime.reason) == (True, Reason.PROVEN)
    assert memory.network is not None
    assert (memory.network.status, memory.network.message) == (False, "not by pod b")
    assert memory.demand.mean(100.0) == pytest.approx(20.0)
    odd = AutoscaleFigures(claims_per_second="many", warm_up_seconds="8", replicas=30)
    assert remember(PoolStatus(autoscale=odd), 100.0).demand == Demand()
