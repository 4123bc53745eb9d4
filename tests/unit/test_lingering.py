"""Policies stand for as long as the process of a pod may live, also when the pod itself is gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandyard.api import names
from sandyard.pod import observe
from tests.unit import objects
from tests.unit.simulation import World

WEB = {"egress": "AllowList", "allow": [{"cidr": "198.51.100.0/24"}]}
TEMPLATE = {"image": "b", "terminationGracePeriodSeconds": 20, "network": WEB}


@pytest.fixture
def world() -> Iterator[World]:
    """A namespace with one Sandbox, which has a network of its own, and no pool."""
    made = World()
    made.claim("s1", poolRef=None, template=TEMPLATE)
    made.prompt(8)
    made.api.remove(("sandboxpools", "pool"))
    made.prompt(12)
    (pod,) = made.pods()
    made.api.change("pods", pod["metadata"]["name"], {"spec": {"nodeName": "n1"}})
    made.prompt(4)
    yield made
    made.close()


def policies(world: World) -> set[str]:
    """Profiles of the policies that stand."""
    return {name.split("-")[1] for kind, name in world.api.objects if kind == "networkpolicies"}


def vanish(world: World, phase: str | None = None) -> None:
    """Somebody deletes the pod by force, or (*phase*) its kubelet has reported the end of it."""
    (pod,) = world.pods()
    name = pod["metadata"]["name"]
    if phase is not None:
        world.api.change("pods", name, {"status": {"phase": phase}})
    world.api.finish(name)
    world.api.remove(("sandboxes", "s1"))


def test_a_pod_that_was_deleted_by_force_keeps_its_policies_for_its_grace_period_and_then_some(world: World) -> None:
    vanish(world)
    world.prompt(60, 0.5)
    assert ("sandboxes", "s1") not in world.api.objects
    assert policies(world) == {"closed", "dns", "internet", "allow"}
    world.prompt(60, 0.5)
    assert policies(world) == set()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_whose_end_its_kubelet_has_reported_needs_none(world: World, phase: str) -> None:
    vanish(world, phase)
    world.prompt(10, 0.5)
    assert policies(world) == set()


def test_a_pod_that_comes_back_into_sight_is_one_and_not_two(world: World) -> None:
    """Its labels were taken off for a moment; when it goes for good, its policies do."""
    (pod,) = world.pods()
    world.api.change("pods", pod["metadata"]["name"], {"metadata": {"labels": {names.LABEL_STATE: None}}})
    world.prompt(8)
    vanish(world, "Failed")
    world.prompt(10, 0.5)
    assert policies(world) == set()


@pytest.mark.parametrize(
    ("fields", "lives"),
    [({}, True), ({"phase": "Pending"}, True), ({"node": ""}, False), ({"phase": "Failed"}, False),
     ({"phase": "Succeeded"}, False), ({"deletion": "2026-01-01T00:00:00Z"}, True)],
)  # fmt: skip
def test_only_a_kubelet_says_that_nothing_of_a_pod_runs_any_more(fields: dict[str, str], lives: bool) -> None:
    assert (observe.outlives(objects.pod(**fields)) > 0) is lives
