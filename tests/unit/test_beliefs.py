"""What is not believed on its word alone: a cache that has lost a pod, labels, a status, a list that was late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sandyard.api import names
from sandyard.engine.state import records
from tests.unit.simulated_api import Event
from tests.unit.simulation import World


def status(world: World, name: str) -> dict[str, Any]:
    return dict(world.api.objects["sandboxes", name]["status"])


def ready(world: World, name: str, **spec: Any) -> str:
    """A Sandbox that is Ready; returns the name of its pod."""
    world.claim(name, **spec)
    world.prompt(6)
    assert status(world, name)["phase"] == "Ready"
    return str(status(world, name)["podName"])


def lose(world: World, pod: str) -> None:
    """The watch shows for gone what is not."""
    world.leader.show(Event("DELETED", "pods", world.api.objects["pods", pod]))


def turns(world: World, rounds: int = 6) -> None:
    """Operator and watches of Sandboxes; nothing new about pods, and no kubelet."""
    for _ in range(rounds):
        world.deliver("sandboxes", 100)
        world.work(1000)
        world.now += 0.6


# The cache


@pytest.mark.parametrize("cold", [False, True], ids=["claimed", "of its own"])
def test_a_sandbox_is_not_let_go_while_its_pod_runs_unseen(world: World, cold: bool) -> None:
    own = {"env": [{"name": "A", "value": "1"}]} if cold else {}
    pod = ready(world, "s1", **own)
    lose(world, pod)
    world.api.remove(("sandboxes", "s1"))
    turns(world)
    assert ("sandboxes", "s1") in world.api.objects, "its pod is still there"
    assert "deletionTimestamp" in world.api.objects["pods", pod]["metadata"], "and has been asked to go"
    world.api.finish(pod)
    turns(world)
    assert ("sandboxes", "s1") not in world.api.objects


@pytest.mark.parametrize(
    "spec",
    [{"env": [{"name": "A", "value": "1"}]}, {"poolRef": None, "template": {"image": "b"}},
     {"network": {"egress": "None"}}],
)  # fmt: skip
def test_a_sandbox_is_not_let_go_with_a_pod_on_the_way(spec: dict[str, Any]) -> None:
    """It was deleted right after its own pod was sent, which no watch has shown yet."""
    world = World(shape="open")
    world.api.change("sandboxpools", "pool", {"spec": {"allowedEgress": ["None", "Internet"]}})
    world.settle()
    others = {pod["metadata"]["name"] for pod in world.pods()}
    world.claim("s1", **spec)
    world.deliver("sandboxes", 100)
    world.work(1000)
    (own,) = [pod["metadata"]["name"] for pod in world.pods() if pod["metadata"]["name"] not in others]
    world.api.remove(("sandboxes", "s1"))
    turns(world)
    assert ("sandboxes", "s1") in world.api.objects
    assert "deletionTimestamp" in world.api.objects["pods", own]["metadata"]
    world.settle()
    assert ("sandboxes", "s1") not in world.api.objects
    world.close()


def test_a_sandbox_whose_pod_is_gone_at_once_is_lost(world: World) -> None:
    """Somebody has deleted it by force: it never showed that it was going."""
    world.claim("s1")
    world.prompt(3)
    pod = status(world, "s1")["podName"]
    world.api.remove(("pods", pod))
    world.api.finish(pod)
    world.prompt(3)
    assert status(world, "s1")["phase"] == "Failed"
    assert status(world, "s1")["lastTermination"]["reason"] == "PodLost"


def test_a_sandbox_whose_pod_is_gone_indeed_is_let_go(world: World) -> None:
    pod = ready(world, "s1")
    world.api.remove(("pods", pod))
    world.api.finish(pod)
    world.api.remove(("sandboxes", "s1"))
    world.prompt(6)
    assert ("sandboxes", "s1") not in world.api.objects


def test_a_pod_of_the_same_name_that_is_anothers_keeps_nobody(world: World) -> None:
    pod = ready(world, "s1")
    world.api.remove(("pods", pod))
    world.api.finish(pod)
    world.deliver("pods", 100)
    other = {"metadata": {"name": pod, "labels": {names.LABEL_SANDBOX_UID: "another"}}, "spec": {}}
    world.api.put("pods", other)
    world.api.remove(("sandboxes", "s1"))
    turns(world)
    assert ("sandboxes", "s1") not in world.api.objects
    assert "deletionTimestamp" not in world.api.objects["pods", pod]["metadata"]


def test_a_sandbox_is_not_suspended_while_its_pod_runs_unseen() -> None:
    world = World(persistent=True)
    world.prompt(4)
    pod = ready(world, "s1")
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Suspended"}})
    lose(world, pod)
    turns(world)
    assert status(world, "s1")["phase"] != "Suspended"
    world.api.finish(pod)
    world.prompt(6)
    assert status(world, "s1")["phase"] == "Suspended"
    world.close()


# Lists


@pytest.mark.parametrize("resource", ["sandboxes", "sandboxpools"])
def test_a_list_brings_nobody_back_who_went_while_it_was_read(world: World, resource: str) -> None:
    world.claim("s1")
    world.prompt(6)
    name = "s1" if resource == "sandboxes" else "pool"
    body = world.api.objects[resource, name]
    intake: Any = world.operator.intake
    parse = intake.sandbox_event if resource == "sandboxes" else intake.pool_event
    parse("DELETED", body)
    table: Any = world.operator.work.store.sandboxes if resource == "sandboxes" else world.operator.work.store.pools
    uid = body["metadata"]["uid"]
    assert uid not in table
    for kind in ("ADDED", "MODIFIED", None):
        parse(kind, body)
        assert uid not in table
    world.sweep()
    assert uid not in table, "the list was read before it went"


def test_a_sandbox_that_went_while_the_sweep_read_claims_no_pod(world: World) -> None:
    """Page by page, with news between the pages."""
    world.claim("s1")
    body = world.api.objects["sandboxes", "s1"]
    world.deliver("sandboxes")
    free = len(world.free())
    world.leader.show(Event("DELETED", "sandboxes", body))
    world.sweep()
    world.work(1000)
    assert len(world.free()) == free


def test_who_is_missing_from_a_list_is_looked_for_before_it_counts_as_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list comes from a server that lags behind."""
    pod = ready(world, "s1")
    world.claim("s2")
    world.catch_up()
    real = world.leader.connection.items

    async def items(path: str, params: Any = None) -> list[dict[str, Any]]:
        return [] if path.endswith(("sandboxes", "sandboxpools")) else await real(path, params)

    monkeypatch.setattr(world.leader.connection, "items", items)
    world.sweep()
    world.prompt(6)
    assert status(world, "s2")["phase"] == "Ready"
    assert status(world, "s1")["podName"] == pod
    assert len(world.free()) == 2, "its pool stays"


def test_a_sweep_reads_only_what_is_news_and_lets_others_go_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(250):
        world.claim(f"s{number}", desiredState="Running")
    world.api.events.clear()
    read: list[str] = []
    real = records.sandbox
    monkeypatch.setattr(records, "sandbox", lambda body: read.append(body["metadata"]["name"]) or real(body))
    turns_of_others = 0

    async def others() -> None:
        nonlocal turns_of_others
        while True:
            turns_of_others += 1
            await asyncio.sleep(0)

    async def sweep() -> None:
        other = asyncio.create_task(others())
        await world.operator.work.sweep.listing.take_in()
        other.cancel()

    world.loop.run_until_complete(sweep())
    assert len(read) == 250
    assert turns_of_others >= 3
    world.loop.run_until_complete(sweep())
    assert len(read) == 250, "nothing was news"


def test_one_odd_object_does_not_keep_a_list_from_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = records.sandbox

    def sandbox(body: Any) -> Any:
        if body["metadata"]["name"] == "odd":
            raise OverflowError("nobody had thought of this one")
        return real(body)

    monkeypatch.setattr(records, "sandbox", sandbox)
    for name in ("odd", "s1"):
        world.claim(name)
    world.api.events.clear()
    world.sweep()
    world.prompt(6)
    assert status(world, "s1")["phase"] == "Ready"


# Labels


def forged(world: World, **changes: Any) -> str:
    """A pod that looks like a warm one of the pool; *changes* replace parts of its metadata."""
    real = world.free()[0]
    metadata = {key: real["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    body = {"metadata": {**metadata, "name": "forged", **changes}, "spec": real["spec"], "status": real["status"]}
    made = world.api.put("pods", body)
    if "namespace" in changes:
        made["metadata"]["namespace"] = changes["namespace"]
        world.api.events["pods"].clear()
        world.leader.show(Event("ADDED", "pods", made))
    return "forged"


FORGED: dict[str, dict[str, Any]] = {
    "of nobody": {"ownerReferences": []},
    "of another pool": {"ownerReferences": [{"kind": "SandboxPool", "name": "pool", "uid": "another"}]},
    "of a Deployment": {"ownerReferences": [{"kind": "ReplicaSet", "name": "pool", "uid": "x"}]},
    "of another namespace": {"namespace": "another"},
}


@pytest.mark.parametrize("how", FORGED)
def test_a_pod_that_only_carries_the_pools_label_is_not_handed_out(world: World, how: str) -> None:
    name = forged(world, **FORGED[how])
    world.catch_up()
    for number in range(3):
        world.claim(f"s{number}")
    world.prompt(8)
    assert names.LABEL_SANDBOX_UID not in world.api.objects["pods", name]["metadata"]["labels"]
    assert {status(world, f"s{number}")["phase"] for number in range(3)} == {"Ready"}
    assert name not in {write.name for write in world.api.sent if write.what in ("claim", "delete")}


def test_a_pod_that_only_carries_a_sandboxs_label_is_not_its_pod(world: World) -> None:
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0}})
    world.prompt(6)
    world.claim("s1")
    uid = world.api.objects["sandboxes", "s1"]["metadata"]["uid"]
    labels = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: uid}
    world.api.put("pods", {"metadata": {"name": "forged", "labels": labels, "ownerReferences": []}, "spec": {}})
    world.start_pod("forged")
    world.prompt(6)
    assert status(world, "s1")["podName"] != "forged"


# Status


def foreign_claim(world: World, name: str = "theirs") -> None:
    metadata = {"name": name, "labels": {}, "ownerReferences": [{"kind": "X", "name": "x", "uid": "x"}]}
    world.api.put("persistentvolumeclaims", {"metadata": metadata, "spec": {}})


@pytest.mark.parametrize("label", [None, "another"])
def test_a_workspace_that_a_status_names_is_not_deleted_unless_its_label_agrees(label: str | None) -> None:
    world = World(persistent=True)
    world.prompt(4)
    ready(world, "s1")
    foreign_claim(world)
    world.api.change("persistentvolumeclaims", "theirs", {"metadata": {"labels": {names.LABEL_SANDBOX_UID: label}}})
    world.api.change("sandboxes", "s1", {"status": {"workspaceClaim": "theirs"}})
    world.catch_up()
    world.api.remove(("sandboxes", "s1"))
    world.prompt(10)
    assert ("sandboxes", "s1") not in world.api.objects
    assert ("persistentvolumeclaims", "theirs") in world.api.objects
    world.close()


@pytest.mark.parametrize("going", [False, True])
def test_a_workspace_that_somebody_has_deleted_is_not_waited_for(going: bool) -> None:
    """A pod that waits for it would mount the next one of that name, whoever makes it."""
    world = World(persistent=True)
    world.prompt(4)
    ready(world, "s1")
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Suspended"}})
    world.prompt(8)
    name = status(world, "s1")["workspaceClaim"]
    if going:
        gone = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
        world.api.change("persistentvolumeclaims", name, gone)
    else:
        world.api.objects.pop(("persistentvolumeclaims", name))
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Running"}})
    world.prompt(8)
    mounted = [volume.get("persistentVolumeClaim") for pod in world.pods() for volume in pod["spec"]["volumes"]]
    assert {"claimName": name} not in mounted
    stalled = next(one for one in status(world, "s1")["conditions"] if one["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "PodRefused")
    assert f"{name!r} is gone" in stalled["message"]
    world.close()


def test_a_workspace_that_a_status_names_is_not_mounted_unless_its_label_agrees() -> None:
    world = World(persistent=True)
    world.prompt(4)
    ready(world, "s1")
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Suspended"}})
    world.prompt(8)
    foreign_claim(world)
    world.api.change("sandboxes", "s1", {"status": {"workspaceClaim": "theirs"}})
    world.catch_up()
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Running"}})
    world.prompt(8)
    mounted = [volume.get("persistentVolumeClaim") for pod in world.pods() for volume in pod["spec"]["volumes"]]
    assert {"claimName": "theirs"} not in mounted
    message = str(status(world, "s1")["conditions"])
    assert "status.workspaceClaim" in message, "and it says so"
    world.close()


def test_a_workspace_that_a_pod_names_is_not_adopted_unless_it_is_the_pods() -> None:
    world = World(persistent=True)
    world.prompt(4)
    foreign_claim(world)
    for pod in world.free():
        changes = {"metadata": {"annotations": {names.ANNOTATION_WORKSPACE: "theirs"}}}
        world.api.change("pods", pod["metadata"]["name"], changes)
    world.claim("s1")
    world.prompt(8)
    assert "workspaceClaim" not in status(world, "s1")
    assert world.api.objects["persistentvolumeclaims", "theirs"]["metadata"]["labels"] == {}
    world.close()


def test_a_workspace_that_its_owner_alone_says_is_the_pods_is_not_adopted() -> None:
    """Whoever may make volumes can name any pod as the owner of one, and mount it in a pod of his own."""
    world = World(persistent=True)
    world.prompt(4)
    for pod in world.free():
        name = pod["metadata"]["annotations"][names.ANNOTATION_WORKSPACE]
        # What Kubernetes keeps for the pod is what it finds there, if that pod owns it.
        world.api.change("persistentvolumeclaims", name, {"metadata": {"labels": {names.LABEL_POOL_UID: None}}})
    world.claim("s1")
    world.prompt(8)
    assert "workspaceClaim" not in status(world, "s1")
    world.close()
