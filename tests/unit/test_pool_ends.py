"""What a pool deletes and how it goes: never what is somebody's, and never before its pods."""

from __future__ import annotations

from typing import Any

from sandyard.engine.state import records
from tests.unit.claim_steps import sent, work
from tests.unit.simulation import World
from tests.unit.test_routing import quiet, uid, woken


def pool_body(world: World) -> dict[str, Any]:
    return world.api.objects["sandboxpools", "pool"]


def test_a_pod_that_was_set_aside_after_it_was_chosen_is_not_deleted(world: World) -> None:
    """Between the decision and the delete others work: what a claim has taken meanwhile is not the pool's."""
    chosen = {pod["metadata"]["uid"] for pod in world.free()}
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0}})
    world.catch_up()
    for pod in chosen:
        world.operator.intake._store.pods[pod].reserved_for = "somebody"
    world.work()
    assert not sent(world, "delete")


def test_no_finalizer_is_put_on_a_pool_that_goes(world: World) -> None:
    """The API server takes none any more; whoever holds it is somebody else."""
    pool_body(world)["metadata"]["finalizers"] = ["example.com/audit"]
    world.api.remove(("sandboxpools", "pool"))
    work(world, 4)
    assert not sent(world, "finalizer")
    assert pool_body(world)["metadata"]["finalizers"] == ["example.com/audit"]


def test_a_pool_that_goes_is_there_until_its_last_pod_is_gone(world: World) -> None:
    first, last = (pod["metadata"]["name"] for pod in world.free())
    world.api.remove(("sandboxpools", "pool"))
    work(world, 4)
    world.api.finish(first)
    work(world, 4)
    assert ("sandboxpools", "pool") in world.api.objects
    world.api.finish(last)
    work(world, 4)
    assert ("sandboxpools", "pool") not in world.api.objects


def test_what_was_read_before_wakes_nobody(world: World) -> None:
    """A reply or a list that comes late shows an older version than the watch has shown."""
    world.claim("s1")
    world.settle()
    body = world.api.objects["sandboxes", "s1"]
    older = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
    quiet(world).operator.intake.sandbox_found(records.sandbox(older))
    assert woken(world, "sandboxes") == set()
    assert world.operator.intake._store.sandboxes[uid(world, "sandboxes", "s1")].record.version > 1
