"""A claim, from the Sandbox's event to its two writes: what is sent, to whom, and what is made of the reply."""

from __future__ import annotations

from typing import Any

import pytest

from sandyard.api import model, names
from tests.unit.claim_steps import SlowDice, owner, sent, status, work
from tests.unit.simulated_api import Event
from tests.unit.simulation import World


def with_no_pods(**fields: Any) -> World:
    """A world whose pool keeps no warm pods."""
    made = World(**fields)
    made.api.change("sandboxpools", "pool", {"spec": {"replicas": 0}})
    made.settle()
    return made


# What is sent


def test_a_warm_claim_is_two_writes_and_no_read(world: World) -> None:
    before = len(world.api.sent)
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    writes = [write.what for write in world.api.sent[before:] if write.what not in ("create", "pool status", "event")]
    assert writes == ["claim", "ready"]


def test_a_claim_names_the_version_of_the_pod_that_was_seen(world: World) -> None:
    """Without it a claim would take a pod that another has claimed a moment ago."""
    pods = [pod["metadata"]["name"] for pod in world.free()]
    for name in pods:
        # Another operator, whose change our watch has yet to show.
        world.api.patch(("pods", name), {"metadata": {"labels": {names.LABEL_SANDBOX_UID: "another"}}},
                        status=False, by="others")  # fmt: skip
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    assert [owner(world, name) for name in pods] == ["another", "another"]
    assert {write.name for write in sent(world, "claim")} == set(pods)


def test_a_claim_names_the_very_pod_and_the_status_the_very_sandbox(world: World) -> None:
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    claim, ready = sent(world, "claim")[0], sent(world, "ready")[0]
    pod, sandbox = world.api.objects["pods", claim.name], world.api.objects["sandboxes", "s1"]
    assert claim.body["metadata"]["uid"] == pod["metadata"]["uid"]
    assert ready.body["metadata"]["uid"] == sandbox["metadata"]["uid"]


def test_a_sandbox_of_the_same_name_never_gets_the_status_of_the_one_before(world: World) -> None:
    world.claim("s1")
    world.deliver("sandboxes")
    world.api.change("sandboxes", "s1", {"metadata": {"finalizers": None}})
    world.api.remove(("sandboxes", "s1"))
    world.claim("s1")
    world.work()
    assert status(world, "s1") == {}


def test_two_claims_at_once_get_two_pods(world: World) -> None:
    world.claim("s1")
    world.claim("s2")
    world.deliver("sandboxes", 10)
    world.work()
    assert len({write.name for write in sent(world, "claim")}) == 2
    assert len(sent(world, "claim")) == 2
    assert len({status(world, name)["podUID"] for name in ("s1", "s2")}) == 2


def test_a_pod_is_set_aside_before_its_claim_is_written(world: World) -> None:
    """What the watch shows of it while the write is under way offers it to nobody else."""
    world.claim("s1")
    world.deliver("sandboxes")
    world.api.dice = SlowDice()
    world.work(10, turns=3)
    assert sent(world, "claim") == [], "the write has begun and has not arrived"
    for pod in world.free():
        world.leader.show(Event("MODIFIED", "pods", pod))
    world.claim("s2")
    world.claim("s3")
    world.deliver("sandboxes", 10)
    world.work(10)
    names_ = [write.name for write in sent(world, "claim")]
    assert len(names_) == 2
    assert len(set(names_)) == 2


def test_a_leader_that_is_no_longer_one_claims_nothing(world: World) -> None:
    world.claim("s1")
    world.catch_up()
    old = world.leader
    world.replace()
    before = len(world.api.sent)
    world.old_leaders_work()
    assert old.refused
    assert [write for write in world.api.sent[before:] if write.what != "event"] == []
    work(world, 2)
    assert status(world, "s1")["phase"] == "Ready"


# What is made of the reply


@pytest.mark.parametrize("fault", ["conflict", "forbidden", "invalid", "throttled", "failing", "unconnected", "lost"])
def test_a_claim_that_did_not_take_place_is_not_taken_for_one(world: World, fault: str) -> None:
    world.api.targeted["claim"].append(fault)
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    first = sent(world, "claim")[0]
    assert owner(world, first.name) is None
    assert status(world, "s1").get("podName") != first.name
    work(world, 3)
    assert status(world, "s1")["phase"] == "Ready"


@pytest.mark.parametrize("fault", ["conflict", "missing"])
def test_after_a_pod_that_has_changed_or_gone_the_next_one_is_tried_at_once(world: World, fault: str) -> None:
    world.api.targeted["claim"].append(fault)
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    claims = sent(world, "claim")
    assert len(claims) == 2
    first, second = claims
    assert first.name != second.name
    assert status(world, "s1")["podName"] == second.name


@pytest.mark.parametrize("fault", ["forbidden", "failing", "unconnected", "unanswered", "lost"])
def test_a_claim_that_found_a_warm_pod_is_a_warm_start_however_often_it_was_tried(world: World, fault: str) -> None:
    world.api.targeted["claim"].append(fault)
    world.claim("s1")
    work(world, 5)
    assert (status(world, "s1")["phase"], status(world, "s1")["start"]) == ("Ready", "Warm")


@pytest.mark.parametrize("fault", ["forbidden", "failing", "unconnected"])
def test_a_pod_whose_claim_was_refused_is_offered_to_others(world: World, fault: str) -> None:
    world.api.targeted["claim"].append(fault)
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    world.api.remove(("sandboxes", "s1"))
    work(world, 3)
    for name in ("s2", "s3"):
        world.claim(name)
    work(world, 2)
    assert [status(world, name).get("phase") for name in ("s2", "s3")] == ["Ready", "Ready"]


# Who waits, and for how long


def test_nobody_overtakes_a_claim_that_waits() -> None:
    world = with_no_pods()
    world.claim("first")
    work(world, 2)
    world.start_pod(world.free()[0]["metadata"]["name"])
    world.claim("second")
    # The newcomer is looked at first, and the pod that has just turned warm is there for the taking.
    world.deliver("pods", 100)
    world.deliver("sandboxes", 100)
    for queue in world.queues:
        queue.waiting = dict(sorted(queue.waiting.items(), key=lambda item: item[0], reverse=True))
    world.work()
    work(world, 3)
    assert status(world, "first")["phase"] == "Ready"
    assert status(world, "second").get("phase") != "Ready"
    world.close()


def test_a_cold_claim_on_an_empty_pool_starts_one_pod() -> None:
    world = with_no_pods()
    for number in range(3):
        before = world.api.requests["create pods"]
        world.claim(f"s{number}")
        world.prompt(8)
        assert status(world, f"s{number}")["phase"] == "Ready"
        assert world.api.requests["create pods"] - before == 1
    world.close()


def test_a_sandbox_that_ended_while_it_waited_leaves_its_place() -> None:
    world = with_no_pods(maximum=1)
    world.claim("ended", lifetime={"deadline": model.timestamp(world.now + 8), "onExpiry": "Stop"})
    world.claim("next")
    work(world, 2)
    world.now += 10
    work(world, 2)
    assert status(world, "ended")["phase"] == "Expired"
    world.prompt(10, 1.0)
    assert status(world, "next")["phase"] == "Ready"
    world.close()


def test_no_room_is_kept_for_a_sandbox_that_ended_while_it_waited_for_some() -> None:
    world = World(maximum=2)
    world.prompt(4)
    own = {"env": [{"name": "A", "value": "1"}]}
    world.claim("s1", **own)
    world.claim("s2", **own)
    world.prompt(10)
    world.claim("ended", lifetime={"deadline": model.timestamp(world.now + 8), "onExpiry": "Stop"}, **own)
    work(world, 2)
    world.now += 10
    work(world, 2)
    assert status(world, "ended")["phase"] == "Expired"
    world.api.remove(("sandboxes", "s1"))
    world.settle()
    assert len(world.free()) == 1, "its place is the pool's again"
    world.close()


def test_a_claim_whose_network_has_changed_waits_for_no_warm_pod() -> None:
    """It needs a pod of its own now; a warm one that is set aside for it takes the room for that."""
    world = World(shape="open", maximum=2)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0, "allowedEgress": ["None", "Internet"]}})
    world.claim("s0")
    world.settle()
    world.claim("s1")
    work(world, 2)
    world.start_pod(world.free()[0]["metadata"]["name"])
    for _ in range(2):
        # Its network is opened, then it is warm and set aside.
        world.deliver("pods", 100)
        world.work()
    world.api.change("sandboxes", "s1", {"spec": {"network": {"egress": "None"}}})
    world.prompt(10)
    assert status(world, "s1")["phase"] == "Ready"
    assert len(world.pods()) == 2
    world.close()


def test_what_a_sandbox_asks_for_is_in_the_pod_that_is_started_for_it(world: World) -> None:
    world.claim("s1", env=[{"name": "A", "value": "1"}])
    world.prompt(4)
    pod = world.api.objects["pods", status(world, "s1")["podName"]]
    (main,) = [part for part in pod["spec"]["containers"] if part["name"] == names.CONTAINER]
    assert {"name": "A", "value": "1"} in main["env"]


def test_a_pod_that_was_set_aside_before_its_pool_changed_is_not_handed_out() -> None:
    world = World(action="Wait")
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0}})
    world.settle()
    world.claim("s1")
    work(world, 2)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    work(world, 2)
    old = world.free()[0]["metadata"]
    world.start_pod(old["name"])
    world.deliver("pods", 100)
    world.work()
    assert world.operator.work.store.reserved_for(old["uid"]), "it is not set aside"
    world.api.change("sandboxpools", "pool", {"spec": {"template": {"image": "b"}}})
    world.deliver("sandboxpools", 100)
    world.work()
    work(world, 3)
    assert owner(world, old["name"]) is None
    world.prompt(8)
    assert status(world, "s1")["phase"] == "Ready"
    world.close()


@pytest.mark.parametrize("forced", [False, True])
def test_no_room_is_kept_for_a_sandbox_that_was_deleted_while_it_waited_for_some(forced: bool) -> None:
    world = World(maximum=1)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    world.claim("s0", env=[{"name": "A", "value": "1"}])
    world.prompt(10)
    world.claim("s1", env=[{"name": "A", "value": "1"}])
    work(world, 3)
    if forced:
        world.api.change("sandboxes", "s1", {"metadata": {"finalizers": None}})
    world.api.remove(("sandboxes", "s1"))
    work(world, 4)
    assert ("sandboxes", "s1") not in world.api.objects
    world.api.remove(("sandboxes", "s0"))
    world.settle()
    assert len(world.free()) == 1, "its place is the pool's again"
    world.close()


def test_room_that_a_start_did_not_need_after_all_is_the_pools_again() -> None:
    world = World(maximum=2)
    world.api.remove(("sandboxpools", "pool"))
    world.settle()
    for name in ("s1", "s2"):
        world.claim(name, env=[{"name": "A", "value": "1"}])
    work(world, 2)
    world.make_pool()
    world.now += 400
    world.prompt(5)
    assert {status(world, name)["phase"] for name in ("s1", "s2")} == {"Failed"}
    assert len(world.free()) == 2
    world.close()


@pytest.mark.parametrize("why", ["forbidden", "invalid", "failing"])
def test_room_of_a_pod_that_is_refused_goes_to_the_next_who_waits_at_once(why: str) -> None:
    world = with_no_pods(maximum=1)
    own = {"env": [{"name": "A", "value": "1"}]}
    world.api.targeted["create"].append(why)
    world.api.dice = SlowDice()
    for name in ("refused", "next"):
        world.claim(name, **own)
        world.deliver("sandboxes")
        # The pool has looked, and found no room, before the answer comes.
        world.work(10, turns=3)
        world.work(10, turns=3)
    assert not sent(world, "create"), "the first is still under way"
    for _ in range(4):
        # No time passes: nobody comes back by a timer.
        world.work(1000)
    assert [write.fault for write in sent(world, "create")][-2:] == [why, "ok"]
    assert [owner(world, pod["metadata"]["name"]) for pod in world.pods()] == [
        world.api.objects["sandboxes", "next"]["metadata"]["uid"]
    ]
    world.close()


def test_a_sandbox_that_is_to_resume_while_it_is_being_suspended_resumes() -> None:
    """Its pod has been asked to go by then; that is no loss of the Sandbox."""
    world = World(shape="persistent")
    world.prompt(4)
    world.claim("s1")
    world.prompt(3)
    before = status(world, "s1")
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Suspended"}})
    work(world)
    assert world.pods(going=True)
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Running"}})
    work(world, 3)
    world.settle()
    after = status(world, "s1")
    assert after["phase"] == "Ready"
    assert after["podUID"] != before["podUID"]
    assert after["workspaceClaim"] == before["workspaceClaim"]
    world.close()


def test_a_pod_that_was_set_aside_for_one_who_leaves_is_the_next_ones_at_once() -> None:
    world = World(action="Wait", maximum=2)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    world.settle()
    for name in ("s0", "leaves", "next"):
        world.claim(name)
        work(world, 2)
    world.start_pod(world.free()[0]["metadata"]["name"])
    world.deliver("pods", 100)
    world.work()
    assert world.operator.work.store.reserved_for(world.free()[0]["metadata"]["uid"]), "it is not set aside"
    world.api.remove(("sandboxes", "leaves"))
    work(world, 3)
    assert status(world, "next")["phase"] == "Ready"
    world.close()


@pytest.mark.parametrize("state", ["Running", "Paused", "Suspended"])
def test_one_that_stays_as_it_is_costs_no_write(state: str) -> None:
    world = World(shape="persistent")
    world.prompt(4)
    world.claim("s1")
    world.claim("s2")
    world.settle()
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": state}})
    world.settle()
    before = len(world.api.sent)
    for _ in range(3):
        world.operator.work.wake_all()
        work(world, 3)
    assert [write.what for write in world.api.sent[before:] if write.what != "event"] == []
    world.close()
