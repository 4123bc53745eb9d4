"""Pods on their way back to their pool, and a watch that is late: what it has not shown is no ground to use them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandyard.api import names
from tests.unit.simulated_api import Event
from tests.unit.simulation import World


@pytest.fixture
def world() -> Iterator[World]:
    """A pool that cleans its pods, two of them warm, and a Sandbox whose claim the watch of pods has yet to show."""
    made = World(shape="scrub")
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


def test_a_pod_that_is_given_back_in_a_gap_of_the_watch_is_handed_out_again(world: World) -> None:
    name = pod_of(world, "s1")
    world.deliver("pods", 1000)
    world.api.remove(("sandboxes", "s1"))
    work(world)
    assert names.LABEL_SANDBOX_UID not in world.api.objects["pods", name]["metadata"]["labels"]
    relist(world)
    for sandbox in ("s2", "s3"):
        world.claim(sandbox)
    work(world)
    assert name in [pod_of(world, "s2"), pod_of(world, "s3")]


def test_a_delete_that_was_cut_off_does_not_arrive_when_the_pod_is_somebody_elses(world: World) -> None:
    name = pod_of(world, "s1")
    world.deliver("pods", 1000)
    world.api.targeted["exec"].append("failing")
    world.api.targeted["delete"].append("late")
    world.api.remove(("sandboxes", "s1"))
    for _ in range(6):
        work(world)
        world.deliver("pods", 1000)
    assert names.LABEL_SANDBOX_UID not in world.api.objects["pods", name]["metadata"]["labels"], (
        "it was cleaned at last"
    )
    for sandbox in ("s2", "s3"):
        world.claim(sandbox)
    work(world)
    assert pod_of(world, "s2") == name or pod_of(world, "s3") == name
    world.api.arrive()
    assert "deletionTimestamp" not in world.api.objects["pods", name]["metadata"]
