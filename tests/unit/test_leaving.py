"""What is told of a Sandbox that goes: nothing if it is gone in a moment, and soon if it is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.simulation import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.claim("s1")
    made.prompt(30, 0.5)
    yield made
    made.close()


def phase(world: World) -> str:
    return str(world.api.find(("sandboxes", "s1"))["status"]["phase"])


def test_what_is_gone_in_a_moment_is_not_said_to_be_terminating(world: World) -> None:
    assert phase(world) == "Ready"
    seen = []
    world.api.remove(("sandboxes", "s1"))
    for _ in range(8):
        world.catch_up()
        world.work()
        if ("sandboxes", "s1") in world.api.objects:
            seen.append(phase(world))
        for pod in world.pods(going=True):
            world.api.finish(pod["metadata"]["name"])
    assert ("sandboxes", "s1") not in world.api.objects
    assert set(seen) == {"Ready"}


def test_what_takes_longer_is_said_to_be_terminating_within_two_seconds(world: World) -> None:
    world.api.remove(("sandboxes", "s1"))
    for _ in range(8):
        world.catch_up()
        world.work()
        world.now += 0.25
    assert phase(world) == "Terminating"
    assert ("sandboxes", "s1") in world.api.objects
