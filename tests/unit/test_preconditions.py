"""Each write names the very object, and where it goes by what was read, the very version."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from sandyard.api import names
from sandyard.engine.cluster.objects import Objects
from sandyard.engine.loops.turns import Urgency
from sandyard.engine.state import records
from sandyard.kube import errors
from tests.unit.claim_steps import sent, work
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


def test_a_policy_that_somebody_has_made_before_under_our_name_is_made_ours() -> None:
    """Nothing of it is left: neither what it opens, nor who owns it."""
    world = World()
    theirs = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}
    owner = {"kind": "ConfigMap", "name": "x", "uid": "x"}
    metadata = {"name": "sandyard-closed", "ownerReferences": [owner]}
    world.api.put("networkpolicies", {"metadata": metadata, "spec": theirs})
    world.api.events["networkpolicies"].clear()
    world.settle()
    found = world.api.objects["networkpolicies", "sandyard-closed"]
    assert found["spec"] != theirs
    assert names.LABEL_POLICY in found["metadata"]["labels"]
    assert len(world.free()) == 2
    world.close()


def test_a_policy_that_somebody_has_deleted_stands_again(world: World) -> None:
    world.claim("s1")
    world.settle()
    before = len(sent(world, "policy"))
    world.api.remove(("networkpolicies", "sandyard-closed"))
    world.settle()
    assert ("networkpolicies", "sandyard-closed") in world.api.objects
    assert len(sent(world, "policy")) - before == 1, "the others stand"


def test_a_finalizer_that_could_not_go_because_of_others_is_tried_again(world: World) -> None:
    """What they changed came with our reply: the watch has nothing new to show of it."""
    world.claim("s1")
    world.settle()
    world.api.targeted["finalizer"].append("conflict")
    world.api.remove(("sandboxes", "s1"))
    world.prompt(6, 1.0)
    assert [write.fault for write in sent(world, "finalizer")] == ["conflict", "ok"]
    assert ("sandboxes", "s1") not in world.api.objects


@pytest.mark.parametrize(("now", "same"), [("one", True), ("another", False)])
async def test_what_has_come_under_the_name_of_one_that_is_gone_is_not_taken_for_it(now: str, same: bool) -> None:
    """Somebody has changed it, so the finalizer could not go; by the time we look, it may be another's name."""

    def body(uid: str) -> dict[str, Any]:
        metadata = {"name": "s", "namespace": "ns", "uid": uid, "finalizers": [names.FINALIZER], "resourceVersion": "1",
                    "creationTimestamp": "2026-01-01T00:00:00Z"}  # fmt: skip
        return {"metadata": metadata, "spec": {"poolRef": {"name": "pool"}}}

    class Changed:
        async def patch(self, _path: str, _body: Any, _urgency: Any) -> None:
            raise errors.ApiError(409, {"reason": "Conflict"})

        async def read(self, _path: str) -> dict[str, Any]:
            return body(now)

    found = await Objects(cast("Any", Changed()), cast("Any", None)).remove_finalizer(records.sandbox(body("one")))
    assert (found is not None) is same


@pytest.mark.parametrize("told", ["etcdserver: request is too large", "trying to send message larger than max"])
async def test_an_object_that_field_managers_have_filled_has_its_status_written_without_them(told: str) -> None:
    """All else of it is bounded. Without its status nothing would count its life."""
    asked: list[dict[str, Any]] = []

    class Full:
        async def patch(self, _path: str, body: Any, _urgency: Any) -> dict[str, Any]:
            asked.append(json.loads(json.dumps(body)))
            if len(asked) == 1:
                raise errors.ApiError(500, {"reason": "InternalError", "message": told})
            return made

    metadata = {"name": "s", "namespace": "ns", "uid": "one", "resourceVersion": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z"}  # fmt: skip
    made = {"metadata": metadata, "spec": {"poolRef": {"name": "pool"}}}
    status = {"phase": "Ready"}
    objects = Objects(cast("Any", Full()), cast("Any", None))
    await objects.write_sandbox_status(records.sandbox(made), status, Urgency.CLAIM)
    assert asked[0] == {"metadata": {"uid": "one"}, "status": status}
    assert asked[1] == {"metadata": {"uid": "one", "managedFields": [{}]}, "status": status}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [("sandboxpools", {"replicas": 1, "template": {"image": "a"}}), ("sandboxes", {"poolRef": {"name": "pool"}})],
)
def test_where_admission_puts_no_finalizer_on_the_operator_does_so_before_all_else(
    world: World, kind: str, spec: dict[str, Any]
) -> None:
    before = len(world.api.sent)
    world.api.put(kind, {"metadata": {"name": "bare"}, "spec": spec})
    work(world, 2)
    writes = [write.what for write in world.api.sent[before:] if write.what not in ("event", "policy")]
    assert writes[0] == "finalizer"
    assert len(writes) > 1
    assert finalizers(world, kind, "bare") == [names.FINALIZER]
