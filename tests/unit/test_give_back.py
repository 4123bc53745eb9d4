"""A used pod on its way back to its pool: what is looked at, what is sent, and what keeps it from being used again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from sandyard.engine.state.pods import PodEntry
from tests.unit import objects
from tests.unit.simulation import World


@pytest.fixture
def world() -> Iterator[World]:
    """A Sandbox of a pool that recycles."""
    made = World(shape="restart")
    made.api.change("sandboxpools", "pool", {"spec": {"maxLifetimeSeconds": 3600, "replicas": 1}})
    made.settle()
    made.claim("s1")
    made.settle()
    yield made
    made.close()


def sent(world: World) -> list[str]:
    return [write.what for write in world.api.sent]


def pod_of(world: World, name: str = "s1") -> dict[str, Any]:
    pod: dict[str, Any] = world.api.objects["pods", world.api.objects["sandboxes", name]["status"]["podName"]]
    return pod


def restarted(world: World) -> None:
    """The Sandbox is deleted, and its pod is restarted; nobody has looked since."""
    world.api.remove(("sandboxes", "s1"))
    for _ in range(20):
        world.catch_up()
        world.work(1000)
        if "restart" in sent(world):
            break
    world.start_pod(pod_of(world)["metadata"]["name"])


def let_go(world: World) -> None:
    """The Sandbox is deleted; the watch of pods shows nothing of what follows once its pod is restarted."""
    pod = pod_of(world)["metadata"]["name"]
    restarted(world)
    world.catch_up()
    for _ in range(4):
        world.work(1000)
        world.deliver("sandboxes", 100)
    assert ("pods", pod) in world.api.objects


def test_a_pod_that_is_given_back_is_its_pools_in_everything(world: World) -> None:
    pod, pool = pod_of(world), world.api.objects["sandboxpools", "pool"]
    restarted(world)
    version = pod["metadata"]["resourceVersion"]
    world.prompt(2)
    body = next(write.body for write in world.api.sent if write.what == "return")
    assert (body["metadata"].get("uid"), body["metadata"].get("resourceVersion")) == (pod["metadata"]["uid"], version)
    assert [owner["uid"] for owner in pod["metadata"]["ownerReferences"]] == [pool["metadata"]["uid"]]
    told = pod["metadata"]["annotations"]
    assert (told.get(names.ANNOTATION_SAFE_TO_EVICT), told.get(names.ANNOTATION_USES)) == ("true", "1")
    assert told.get(names.ANNOTATION_RESTARTS) == "1"
    assert not {names.ANNOTATION_SANDBOX, names.ANNOTATION_TERMS, names.ANNOTATION_RESTART} & set(told)
    assert names.LABEL_SANDBOX_UID not in pod["metadata"]["labels"]


def test_while_it_is_claimed_it_is_the_sandboxs_in_everything(world: World) -> None:
    pod, sandbox = pod_of(world), world.api.objects["sandboxes", "s1"]
    assert [owner["uid"] for owner in pod["metadata"]["ownerReferences"]] == [sandbox["metadata"]["uid"]]
    told = pod["metadata"]["annotations"]
    assert (told.get(names.ANNOTATION_SAFE_TO_EVICT), told.get(names.ANNOTATION_SANDBOX)) == ("false", "s1")
    assert "3600" in told.get(names.ANNOTATION_TERMS, "")


def test_a_pod_that_was_given_back_is_nobodys_before_the_watch_shows_it(world: World) -> None:
    let_go(world)
    assert ("sandboxes", "s1") not in world.api.objects
    assert "delete" not in sent(world)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {"containerStatuses": [{"name": names.CONTAINER, "ready": True, "restartCount": 1,
                                           "containerID": "sandbox-0",
                                           "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}},
        {"status": {"containerStatuses": []}},
        {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
        {"metadata": {"labels": {names.LABEL_EGRESS: names.EGRESS_INTERNET}}},
        {"metadata": {"labels": {names.LABEL_SANDBOX_UID: "another"}}},
        {"metadata": {"annotations": {names.ANNOTATION_RESTART: "{}"}}},
        {"metadata": {"annotations": {names.ANNOTATION_RESTART: None}}},
    ],
    ids=["the-container-from-before", "no-container", "not-ready", "opened", "another's", "odd-request", "no-request"],
)  # fmt: skip
def test_a_pod_to_which_something_happens_after_its_restart_is_not_used_again(
    world: World, changes: dict[str, Any]
) -> None:
    pod = pod_of(world)["metadata"]["name"]
    restarted(world)
    world.catch_up()
    # The operator goes by what the watch has shown, and looks once more.
    world.api.change("pods", pod, changes)
    for _ in range(4):
        world.work(1000)
        world.deliver("sandboxes", 100)
    assert "return" not in sent(world)


def test_nothing_is_restarted_for_a_pool_that_is_being_deleted(world: World) -> None:
    world.api.remove(("sandboxpools", "pool"))
    world.deliver("sandboxpools", 100)
    world.api.remove(("sandboxes", "s1"))
    for _ in range(4):
        world.deliver("sandboxes", 100)
        world.work(1000)
    assert not {"request", "restart"} & set(sent(world))
    assert "delete" in sent(world)


def test_a_pod_that_was_given_back_is_not_the_next_ones_before_that_claim_is_written() -> None:
    entry = PodEntry(objects.pod(), reserved_for="s1")
    assert entry.claim_under_way
    entry.committed = True
    assert not entry.claim_under_way
    entry.free()
    entry.reserved_for = "s2"
    assert entry.claim_under_way
