"""Each write names the very object, and where it goes by what was read, the very version."""

from __future__ import annotations

from tests.unit.claim_steps import sent
from tests.unit.simulation import World


def uid(world: World, kind: str, name: str) -> str:
    return str(world.api.objects[kind, name]["metadata"]["uid"])


def finalizers(world: World, kind: str, name: str) -> list[str]:
    return list(world.api.objects[kind, name]["metadata"].get("finalizers") or ())


def test_a_status_of_a_pool_names_the_very_pool(world: World) -> None:
    written = sent(world, "pool status")
    assert written
    assert {write.body["metadata"].get("uid") for write in written} == {uid(world, "sandboxpools", "pool")}


def test_a_finalizer_is_taken_off_the_very_object_in_the_version_that_was_seen(world: World) -> None:
    world.claim("s1")
    world.settle()
    mine = uid(world, "sandboxes", "s1")
    world.api.remove(("sandboxes", "s1"))
    world.settle()
    (written,) = [write.body["metadata"] for write in sent(world, "finalizer") if write.name == "s1"]
    assert written["uid"] == mine
    assert int(written.get("resourceVersion", 0)) > 0


def test_the_finalizers_of_others_stay(world: World) -> None:
    world.claim("s1")
    world.settle()
    foreign = "example.com/audit"
    metadata = world.api.objects["sandboxes", "s1"]["metadata"]
    world.api.change("sandboxes", "s1", {"metadata": {"finalizers": [*metadata["finalizers"], foreign]}})
    world.api.remove(("sandboxes", "s1"))
    world.settle()
    assert ("sandboxes", "s1") in world.api.objects
    assert finalizers(world, "sandboxes", "s1") == [foreign]


def test_a_policy_that_somebody_has_changed_is_put_right(world: World) -> None:
    world.claim("s1")
    world.settle()
    right = dict(world.api.objects["networkpolicies", "sandyard-closed"]["spec"])
    everybody = {"podSelector": {"matchExpressions": None}, "policyTypes": ["Ingress"]}
    world.api.change("networkpolicies", "sandyard-closed", {"spec": everybody})
    world.settle()
    assert world.api.objects["networkpolicies", "sandyard-closed"]["spec"] == right


def test_a_policy_that_somebody_has_deleted_stands_again(world: World) -> None:
    world.claim("s1")
    world.settle()
    world.api.remove(("networkpolicies", "sandyard-closed"))
    world.settle()
    assert ("networkpolicies", "sandyard-closed") in world.api.objects
