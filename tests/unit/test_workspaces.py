"""A persistent workspace: whose it becomes, what is never adopted, and that nothing goes before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.engine.cluster import workspaces
from tests.unit.simulated_api import Key
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World


@pytest.fixture
def world() -> Iterator[World]:
    """A pool whose pods have a persistent workspace, two of them warm."""
    made = World(shape="persistent")
    made.prompt(4)
    yield made
    made.close()


def work(world: World, rounds: int = 1) -> None:
    for _ in range(rounds):
        world.catch_up()
        world.work(1000)


def workspace(world: World, name: str = "s1") -> tuple[Key, dict[str, Any]]:
    key = ("persistentvolumeclaims", str(world.api.objects["sandboxes", name]["status"]["workspaceClaim"]))
    return key, world.api.objects[key]


def test_a_workspace_belongs_to_its_sandbox_beside_its_pod_which_is_neither_controlled_nor_forgotten(
    world: World,
) -> None:
    world.claim("s1")
    work(world, 2)
    sandbox = world.api.objects["sandboxes", "s1"]
    _, claim = workspace(world)
    owners = {owner["uid"]: owner.get("controller", False) for owner in claim["metadata"]["ownerReferences"]}
    assert set(owners) == {sandbox["metadata"]["uid"], sandbox["status"]["podUID"]}
    assert not owners[sandbox["metadata"]["uid"]], "an object has one controller: here the pod"
    body = next(write.body["metadata"] for write in world.api.sent if write.what == "workspace")
    assert body.get("uid") == claim["metadata"]["uid"]
    assert "resourceVersion" in body, "owners that others add meanwhile would be lost"


def test_a_sandbox_goes_after_its_workspace_and_not_before(world: World) -> None:
    world.claim("s1")
    world.settle()
    key, claim = workspace(world)
    claim["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
    world.api.remove(("sandboxes", "s1"))
    world.prompt(10, 1.0)
    assert ("sandboxes", "s1") in world.api.objects
    assert "deletionTimestamp" in claim["metadata"]
    # Nobody watches workspaces: it is looked for again.
    world.api.objects.pop(key)
    world.prompt(3, 1.0)
    assert ("sandboxes", "s1") not in world.api.objects


def test_a_workspace_that_is_going_is_nobodys(world: World) -> None:
    pods = {pod["metadata"]["name"] for pod in world.free()}
    for (kind, name), body in world.api.objects.items():
        if kind == "persistentvolumeclaims" and any(name.startswith(pod) for pod in pods):
            body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.claim("s1")
    work(world, 3)
    assert "workspace" not in [write.what for write in world.api.sent]
    assert "workspaceClaim" not in world.api.objects["sandboxes", "s1"]["status"]


def test_a_workspace_that_does_not_go_is_told(world: World) -> None:
    world.claim("s1")
    world.settle()
    (_, name), claim = workspace(world)
    claim["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
    world.api.remove(("sandboxes", "s1"))
    world.prompt(5, 1.0)
    sandbox = world.api.objects["sandboxes", "s1"]
    assert (condition(sandbox, "TeardownStuck") or {"status": "False"})["status"] == "False"
    world.prompt(60, 1.0)
    stuck = condition(sandbox, "TeardownStuck")
    assert stuck is not None
    assert stuck["status"] == "True" and name in stuck["message"]
    assert world.operator.work.store.sandboxes.stuck == 1, "an alert tells of it"
    world.api.objects.pop(("persistentvolumeclaims", name))
    world.settle()
    assert ("sandboxes", "s1") not in world.api.objects
    assert world.operator.work.store.sandboxes.stuck == 0


@pytest.mark.parametrize("metadata", [{}, {"labels": None, "ownerReferences": None}, {"labels": {"a": "b"}}])
def test_a_claim_of_somebody_else_s_that_has_neither_labels_nor_owners_is_nobodys(
    world: World, metadata: dict[str, Any]
) -> None:
    world.claim("s1")
    world.settle()
    (entry,) = world.operator.work.store.sandboxes.values()
    assert not workspaces.belongs({"metadata": metadata}, entry.record)
    assert not workspaces.made_with({"metadata": metadata}, "p")
