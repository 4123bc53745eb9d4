"""Pods on their way back to their pool, and a watch that is late: what it has not shown is no ground to use them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandyard.api import names
from tests.unit import simulated_node as node
from tests.unit.simulated_api import Event
from tests.unit.simulation import World


@pytest.fixture
def world() -> Iterator[World]:
    """A pool that restarts its pods, two of them warm, and a Sandbox whose claim the watch of pods has yet to show."""
    made = World(shape="restart")
    made.prompt(4)
    made.claim("s1")
    work(made)
    yield made
    made.close()


def work(world: World, rounds: int = 3) -> None:
    """The operator works, and sees no change of a pod."""
    for _ in range(rounds):
        world.deliver("sandboxes", 1000)
        world.work(1000)
        world.now += 0.3


def pod_of(world: World, sandbox: str) -> str:
    return str(world.api.objects["sandboxes", sandbox]["status"].get("podName"))


def relist(world: World) -> None:
    """The watch of pods has a gap: what happened in it is never shown, only what there is now."""
    world.api.events["pods"].clear()
    for body in world.api.all("pods"):
        world.leader.show(Event("MODIFIED", "pods", body))


def test_a_pod_whose_claim_the_watch_has_not_shown_is_deleted_and_not_given_back(world: World) -> None:
    """It would stay set aside for its Sandbox until the watch shows the claim, which it never would."""
    name = pod_of(world, "s1")
    world.api.remove(("sandboxes", "s1"))
    work(world)
    assert "deletionTimestamp" in world.api.objects["pods", name]["metadata"]


def until(world: World, what: str) -> None:
    """Everything goes on, until the operator has sent a write of that kind; the watch of pods has not shown it yet."""
    for _ in range(40):
        world.catch_up()
        world.work(1000)
        if any(write.what == what for write in world.api.sent):
            return
        for name in node.starting(world.api):
            world.start_pod(name)
        world.now += 0.3
    raise AssertionError(f"no {what} was sent")


def test_a_pod_that_is_given_back_in_a_gap_of_the_watch_is_handed_out_again(world: World) -> None:
    name = pod_of(world, "s1")
    world.api.remove(("sandboxes", "s1"))
    until(world, "return")
    assert names.LABEL_SANDBOX_UID not in world.api.objects["pods", name]["metadata"]["labels"]
    relist(world)
    for sandbox in ("s2", "s3"):
        world.claim(sandbox)
    work(world)
    assert name in [pod_of(world, "s2"), pod_of(world, "s3")]


def test_a_delete_that_was_cut_off_does_not_arrive_when_the_pod_is_somebody_elses(world: World) -> None:
    """One process gives a restart up, though it takes place; the next one finds all the evidence that it needs."""
    name = pod_of(world, "s1")
    world.api.targeted["restart"].append("failing")
    world.api.targeted["delete"].append("late")
    world.api.remove(("sandboxes", "s1"))
    until(world, "delete")
    node.restart_pod(world.api, name)
    world.crash()
    until(world, "return")
    for sandbox in ("s2", "s3"):
        world.claim(sandbox)
    world.catch_up()
    work(world)
    assert pod_of(world, "s2") == name or pod_of(world, "s3") == name
    world.api.arrive()
    assert "deletionTimestamp" not in world.api.objects["pods", name]["metadata"]


def test_a_process_that_finds_a_request_triggers_nothing_and_judges_by_the_same_words(world: World) -> None:
    name = pod_of(world, "s1")
    world.api.remove(("sandboxes", "s1"))
    until(world, "restart")
    world.crash()
    until(world, "return")
    assert [write.what for write in world.api.sent].count("restart") == 1
    assert names.LABEL_SANDBOX_UID not in world.api.objects["pods", name]["metadata"]["labels"]


def test_a_request_without_a_trigger_ends_with_its_time(world: World) -> None:
    """The process died between both."""
    name = pod_of(world, "s1")
    world.api.remove(("sandboxes", "s1"))
    world.catch_up()
    for queue in world.queues:
        if queue.name == "restarts":
            queue.active = False
    until(world, "request")
    world.crash()
    world.prompt(3)
    assert "deletionTimestamp" not in world.api.objects["pods", name]["metadata"]
    world.now += 30
    until(world, "delete")
    assert "return" not in [write.what for write in world.api.sent]


def test_a_kubelet_that_restarts_nothing_costs_the_pod_and_no_more(world: World) -> None:
    name = pod_of(world, "s1")
    world.api.deaf_nodes = True
    world.api.remove(("sandboxes", "s1"))
    until(world, "restart")
    world.prompt(30)
    assert "deletionTimestamp" not in world.api.objects["pods", name]["metadata"], "its time is not over"
    world.now += 30
    world.settle()
    assert ("pods", name) not in world.api.objects
    assert ("sandboxes", "s1") not in world.api.objects


@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "warm"])
def test_a_pod_that_is_restarted_unasked_is_nobodys_any_more(world: World, claimed: bool) -> None:
    world.settle()
    name = pod_of(world, "s1") if claimed else world.free()[0]["metadata"]["name"]
    node.restart_pod(world.api, name)
    world.settle()
    assert ("pods", name) not in world.api.objects
    status = world.api.objects["sandboxes", "s1"]["status"]
    assert (status["phase"] == "Failed") is claimed
    if claimed:
        ready = next(item for item in status["conditions"] if item["type"] == "Ready")
        assert ready["reason"] == "UnexpectedRestart"


def test_a_warm_pod_whose_restart_nobody_saw_is_not_handed_out(world: World) -> None:
    world.settle()
    name = world.free()[0]["metadata"]["name"]
    # Both before the watch shows anything.
    node.restart_pod(world.api, name)
    node.start_pod(world.api, name)
    world.settle()
    assert ("pods", name) not in world.api.objects


def test_a_pod_of_a_sandbox_that_has_failed_by_a_restart_is_never_used_again(world: World) -> None:
    name = pod_of(world, "s1")
    node.restart_pod(world.api, name)
    world.api.remove(("sandboxes", "s1"))
    world.settle()
    assert ("pods", name) not in world.api.objects
    assert "return" not in [write.what for write in world.api.sent]


@pytest.mark.parametrize("fault", ["forbidden", "invalid"])
@pytest.mark.parametrize("what", ["request", "return"])
def test_a_restart_that_the_api_server_does_not_take_costs_the_pod_and_no_more(
    world: World, what: str, fault: str
) -> None:
    name = pod_of(world, "s1")
    world.api.targeted[what].append(fault)
    world.api.remove(("sandboxes", "s1"))
    world.prompt(20)
    assert ("pods", name) not in world.api.objects
    assert ("sandboxes", "s1") not in world.api.objects


def test_a_request_for_a_restart_that_met_a_conflict_is_made_again(world: World) -> None:
    name = pod_of(world, "s1")
    world.api.targeted["request"].append("conflict")
    world.api.remove(("sandboxes", "s1"))
    until(world, "return")
    assert names.LABEL_SANDBOX_UID not in world.api.objects["pods", name]["metadata"]["labels"]


def test_a_pod_that_changes_while_it_is_given_back_is_not_used_again(world: World) -> None:
    name = pod_of(world, "s1")
    world.api.targeted["return"].append("conflict")
    world.api.remove(("sandboxes", "s1"))
    world.prompt(20)
    assert ("pods", name) not in world.api.objects
    assert ("sandboxes", "s1") not in world.api.objects


def test_a_pod_that_was_given_back_without_a_reply_is_back_and_used_again(world: World) -> None:
    """The watch has yet to show it when its Sandbox is looked at again."""
    name = pod_of(world, "s1")
    world.api.remove(("sandboxes", "s1"))
    world.api.targeted["return"].append("unanswered")
    until(world, "return")
    work(world, 6)
    entry = world.operator.work.store.pods[world.api.objects["pods", name]["metadata"]["uid"]]
    assert (entry.restart_failed, entry.restart_told) == ("", False)
    world.prompt(20)
    assert ("pods", name) in world.api.objects
    assert ("sandboxes", "s1") not in world.api.objects
    reasons = [body["reason"] for body in world.operator.work._recorder._queue._queue]  # type: ignore[attr-defined]
    assert "RestartFailed" not in reasons
    assert "PodRestarted" in reasons
