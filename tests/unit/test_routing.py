"""Whom the cluster's news wake: nobody is forgotten, and nobody is woken for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.claim_steps import status, work
from tests.unit.simulated_api import Event
from tests.unit.simulation import World


def quiet(world: World) -> World:
    """Forget all that is still to be done."""
    for queue in world.queues:
        queue.waiting.clear()
        queue.later.clear()
    return world


def woken(world: World, queue: str) -> set[str]:
    """Keys that are handled now or at some time."""
    (found,) = (item for item in world.queues if item.name == queue)
    return {*found.waiting, *found.later}


def uid(world: World, kind: str, name: str) -> str:
    return str(world.api.objects[kind, name]["metadata"]["uid"])


def forced(world: World, kind: str, name: str) -> dict[str, Any]:
    """Somebody takes the finalizers off, and deletes it: it is gone without a word to the operator."""
    body = world.api.objects.pop((kind, name))
    world.leader.show(Event("DELETED", kind, body))
    return body


@pytest.fixture
def claimed(world: World) -> World:
    """A Sandbox that is Ready, all seen, and nothing to do."""
    world.claim("s1")
    world.settle()
    return quiet(world)


@pytest.fixture
def queue_of_two(world: World) -> World:
    """Two Sandboxes that wait for a pool that starts nothing."""
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0, "whenEmpty": {"action": "Wait"}}})
    world.settle()
    for name in ("first", "second"):
        world.claim(name)
        work(world)
    assert world.operator.intake._claims.waiting(uid(world, "sandboxpools", "pool")) == 2
    return quiet(world)


def test_the_echo_of_a_claim_wakes_its_sandbox_and_starts_no_substitute_yet(world: World) -> None:
    """The claim is not Ready by then, and a start must not get in its way; the claim tells the pool in time."""
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    quiet(world).deliver("pods", 100)
    assert woken(world, "sandboxes") == {uid(world, "sandboxes", "s1")}
    assert woken(world, "pools") == set()


def test_a_change_of_a_claimed_pod_wakes_its_sandbox_and_its_pool(claimed: World) -> None:
    claimed.api.change("pods", status(claimed, "s1")["podName"], {"metadata": {"annotations": {"a": "b"}}})
    claimed.deliver("pods", 100)
    assert woken(claimed, "sandboxes") == {uid(claimed, "sandboxes", "s1")}
    assert woken(claimed, "pools") == {uid(claimed, "sandboxpools", "pool")}


def test_a_pod_that_is_gone_may_have_been_the_last_that_needs_a_policy(claimed: World) -> None:
    pod = claimed.free()[0]
    claimed.api.objects.pop(("pods", pod["metadata"]["name"]))
    claimed.leader.show(Event("DELETED", "pods", pod))
    assert woken(claimed, "policies") == {pod["metadata"]["namespace"]}


def test_a_sandbox_that_is_gone_concerns_its_pods_pool_and_the_policies(claimed: World) -> None:
    body = forced(claimed, "sandboxes", "s1")
    assert woken(claimed, "pools") == {uid(claimed, "sandboxpools", "pool")}
    assert woken(claimed, "policies") == {body["metadata"]["namespace"]}


def test_news_that_are_none_wake_nobody(claimed: World) -> None:
    for kind, name in (("sandboxes", "s1"), ("sandboxpools", "pool")):
        body = claimed.api.objects[kind, name]
        older = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
        for seen in (body, older):
            claimed.leader.show(Event("MODIFIED", kind, seen))
    assert [woken(claimed, queue) for queue in ("sandboxes", "pools")] == [set(), set()]


@pytest.mark.parametrize(("change", "concerned"), [({"maxLifetimeSeconds": 60}, True), ({"replicas": 3}, False)])
def test_sandboxes_are_looked_at_when_their_pool_changes_its_terms(
    claimed: World, change: dict[str, Any], concerned: bool
) -> None:
    claimed.api.change("sandboxpools", "pool", {"spec": change})
    claimed.deliver("sandboxpools", 100)
    assert woken(claimed, "sandboxes") == ({uid(claimed, "sandboxes", "s1")} if concerned else set())


def test_who_asks_for_a_pool_that_is_not_there_is_woken_when_it_is(world: World) -> None:
    world.api.remove(("sandboxpools", "pool"))
    world.settle()
    world.claim("early")
    work(world, 2)
    quiet(world).make_pool()
    world.deliver("sandboxpools", 100)
    assert uid(world, "sandboxes", "early") in woken(world, "sandboxes")


def test_who_waits_is_told_that_the_pool_is_paused(queue_of_two: World) -> None:
    queue_of_two.api.change("sandboxpools", "pool", {"spec": {"paused": True}})
    queue_of_two.deliver("sandboxpools", 100)
    waiting = {uid(queue_of_two, "sandboxes", name) for name in ("first", "second")}
    assert woken(queue_of_two, "sandboxes") == waiting


def test_who_waits_is_told_that_the_pool_is_gone(queue_of_two: World) -> None:
    waiting = {uid(queue_of_two, "sandboxes", name) for name in ("first", "second")}
    body = forced(queue_of_two, "sandboxpools", "pool")
    assert woken(queue_of_two, "sandboxes") == waiting
    assert woken(queue_of_two, "policies") == {body["metadata"]["namespace"]}


def test_a_sandbox_that_is_gone_has_no_place_in_the_queue(queue_of_two: World) -> None:
    claims, pool = queue_of_two.operator.intake._claims, uid(queue_of_two, "sandboxpools", "pool")
    gone = forced(queue_of_two, "sandboxes", "first")["metadata"]["uid"]
    assert claims.of(gone) is None
    assert [claim.sandbox_uid for claim in claims.waiters(pool)] == [uid(queue_of_two, "sandboxes", "second")]


def test_a_pool_that_is_gone_is_no_longer_measured(claimed: World) -> None:
    gauge = claimed.leader.metrics.pool_pods

    def pools() -> set[str]:
        return {sample.labels["pool"] for metric in gauge.collect() for sample in metric.samples}

    claimed.operator.queues.pool_status.add(uid(claimed, "sandboxpools", "pool"))
    claimed.work(1000)
    assert pools() == {"pool"}
    forced(claimed, "sandboxpools", "pool")
    assert pools() == set()
