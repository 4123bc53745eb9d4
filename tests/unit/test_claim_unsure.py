"""A claim whose reply does not come: whether it has taken place, and that it never takes place later."""

from __future__ import annotations

import pytest

from sandyard.api import names
from tests.unit.claim_steps import SlowDice, owner, sent, status, work
from tests.unit.simulation import World


@pytest.mark.parametrize("fault", ["unanswered", "late"])
def test_a_claim_without_a_reply_is_looked_up_and_not_repeated(world: World, fault: str) -> None:
    world.api.targeted["claim"].append(fault)
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    world.api.arrive()
    world.now += 0.3
    world.work()
    assert [write.name for write in sent(world, "claim")] == [status(world, "s1")["podName"]]
    assert len([pod for pod in world.pods() if names.LABEL_SANDBOX_UID in pod["metadata"]["labels"]]) == 1


def test_while_it_is_not_known_whether_a_pod_was_claimed_nobody_else_gets_it(world: World) -> None:
    world.api.targeted["claim"].append("unanswered")
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    world.claim("s2")
    world.claim("s3")
    world.deliver("sandboxes", 10)
    world.work()
    claims = [write.name for write in sent(world, "claim")]
    assert len(claims) == len(set(claims))


def test_a_claim_whose_status_is_not_answered_is_ready_in_the_same_pod(world: World) -> None:
    world.api.targeted["ready"].append("lost")
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    world.crash()
    work(world, 2)
    claim = sent(world, "claim")[0]
    assert status(world, "s1")["podName"] == claim.name
    assert len(sent(world, "claim")) == 1


def test_a_delete_that_arrives_late_takes_no_pod_that_was_claimed_meanwhile(world: World) -> None:
    world.api.targeted["delete"].append("late")
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    work(world, 1)
    assert sent(world, "delete")[-1].fault == "late"
    for name in ("s1", "s2"):
        world.claim(name)
    work(world, 2)
    assert {status(world, name).get("phase") for name in ("s1", "s2")} == {"Ready"}
    world.api.arrive()
    assert len(world.pods(going=True)) == 0


@pytest.mark.parametrize("turns", [0, 2, 4, 6, 8, 12, 16])
def test_a_claim_that_is_on_its_way_while_it_is_looked_for_takes_place_or_never_will(turns: int) -> None:
    world = World()
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    world.settle()
    world.api.targeted["claim"].append("late")
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    world.now += 0.3
    world.api.dice = SlowDice()
    world.work(10, turns=turns)
    world.api.arrive()
    world.work(10)
    world.settle()
    assert status(world, "s1")["phase"] == "Ready"
    assert len(world.pods()) == 2, "its own and a warm one: none is set aside for it in vain"
    world.close()


def test_a_claim_that_was_cut_off_does_not_arrive_when_its_sandbox_is_gone(world: World) -> None:
    world.api.targeted["claim"].append("late")
    world.claim("s1")
    work(world, 1)
    assert sent(world, "claim")[-1].fault == "late"
    world.api.remove(("sandboxes", "s1"))
    work(world, 4)
    assert ("sandboxes", "s1") not in world.api.objects
    world.api.arrive()
    assert [owner(world, pod["metadata"]["name"]) for pod in world.pods()] == [None, None]


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
def test_a_claim_that_was_cut_off_on_a_pod_that_is_gone_takes_the_next_one(world: World, fault: str) -> None:
    """The watch has yet to show that it is gone."""
    world.api.targeted["claim"].append(fault)
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    first = sent(world, "claim")[0].name
    world.api.remove(("pods", first))
    world.api.finish(first)
    for _ in range(3):
        world.now += 0.3
        world.deliver("sandboxes", 10)
        world.work(10)
    assert status(world, "s1")["phase"] == "Ready"
    assert status(world, "s1")["podName"] != first


def test_a_claim_that_was_cut_off_and_came_to_nothing_is_made_anew_whatever_else_has_changed(world: World) -> None:
    """The pod has another version now, and the watch has yet to show it: nobody has it."""
    world.api.targeted["claim"].append("lost")
    world.claim("s1")
    world.deliver("sandboxes")
    world.work()
    world.api.touch(("pods", sent(world, "claim")[0].name))
    for _ in range(3):
        world.now += 0.3
        world.deliver("sandboxes", 10)
        world.work(10)
    assert status(world, "s1")["phase"] == "Ready"
    mine = world.api.objects["sandboxes", "s1"]["metadata"]["uid"]
    assert owner(world, status(world, "s1")["podName"]) == mine
