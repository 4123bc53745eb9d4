"""Pausing and suspending against deleting, many rounds each, in every order that the dice find."""

from __future__ import annotations

import random

import pytest

from sandyard.api import names
from tests.support import soak
from tests.unit.simulation import World

pytestmark = [pytest.mark.soak, pytest.mark.timeout(soak.rounds(short=600, long=3600))]
ROUNDS = soak.rounds(short=100, long=500)
FAULTS = ["ok", "ok", "ok", "ok", "conflict", "failing", "unconnected", "lost", "unanswered"]


def a_little(world: World, rng: random.Random) -> None:
    """Some of what may happen next: news arrive, the operator works, kubelets act, requests fail."""
    for _ in range(rng.randrange(6)):
        world.deliver(rng.choice(["pods", "sandboxes"]), rng.randrange(1, 4))
        world.api.dice.seed(rng.random())
        world.api.faults.extend(rng.choices(FAULTS, k=rng.randrange(3)))
        world.work(rng.randrange(1, 4))
        world.api.faults.clear()
        for pod in world.pods(going=True):
            if rng.random() < 0.5:
                world.api.finish(pod["metadata"]["name"])
        world.now += rng.random()


@pytest.mark.parametrize("state", ["Paused", "Suspended"])
def test_against_delete(state: str) -> None:
    rng = random.Random(soak.seed())
    world = World(persistent=state == "Suspended")
    reached = 0
    for number in range(ROUNDS):
        name = f"s{number}"
        world.settle(40)
        world.claim(name)
        while world.api.objects["sandboxes", name]["status"].get("phase") != "Ready":
            world.deliver("pods", 100)
            world.deliver("sandboxes", 100)
            world.work()
            for pod in world.pods(going=False):
                if not pod["status"]:
                    world.start_pod(pod["metadata"]["name"])
            world.now += 0.1
        world.api.change("sandboxes", name, {"spec": {"desiredState": state}})
        a_little(world, rng)
        if rng.random() < 0.3:
            world.api.change("sandboxes", name, {"spec": {"desiredState": "Running"}})
            a_little(world, rng)
        reached += world.api.objects["sandboxes", name]["status"]["phase"] == state
        world.api.remove(("sandboxes", name))
        if rng.random() < 0.1:
            world.crash()
        world.settle(40)
        assert ("sandboxes", name) not in world.api.objects
        assert not [pod for pod in world.pods() if names.LABEL_SANDBOX_UID in pod["metadata"]["labels"]]
        claims = world.api.all("persistentvolumeclaims")
        assert len(claims) == (len(world.pods()) if world.persistent else 0), "a workspace is left"
    assert 0 < reached < ROUNDS, "it was a race: each side won some rounds"
    world.close()
