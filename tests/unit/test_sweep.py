"""The sweep: what belongs to nobody goes, by UID, not too early, and after a fresh look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from sandyard.engine.cluster.objects import Objects
from sandyard.engine.cluster.pods import Pods
from sandyard.kube import errors
from tests.unit.simulation import World


@pytest.fixture
def world() -> Iterator[World]:
    """A pool with two warm pods and a Sandbox, and nothing under way."""
    made = World(persistent=True)
    made.prompt(4)
    made.claim("s1")
    made.settle()
    yield made
    made.close()


def stray(world: World, name: str = "stray", **labels: str) -> dict[str, Any]:
    """A pod with our labels whose owners do not exist, unless *labels* says otherwise."""
    ours = {names.LABEL_STATE: names.STATE_WARM, names.LABEL_POOL_UID: "gone", names.LABEL_EGRESS: names.EGRESS_NONE}
    made = world.api.put("pods", {"metadata": {"name": name, "labels": {**ours, **labels}}, "spec": {}})
    world.catch_up()
    return made


def going(world: World) -> list[str]:
    return [pod["metadata"]["name"] for pod in world.pods(going=True)]


def uid(world: World, resource: str, name: str) -> str:
    return str(world.api.objects[resource, name]["metadata"]["uid"])


@pytest.mark.parametrize("labels", [{}, {names.LABEL_SANDBOX_UID: "gone too"}])
def test_a_pod_whose_owner_is_gone_goes_and_no_other(world: World, labels: dict[str, str]) -> None:
    stray(world, **labels)
    stray(world, "of-the-pool", **{names.LABEL_POOL_UID: uid(world, "sandboxpools", "pool")})
    stray(world, "of-the-sandbox", **{names.LABEL_SANDBOX_UID: uid(world, "sandboxes", "s1")})
    world.now += 60
    world.sweep()
    assert going(world) == ["stray"]


def test_young_pods_are_spared(world: World) -> None:
    """They may belong to an object that the list was too early to show."""
    stray(world)
    world.now += 3
    world.sweep()
    assert going(world) == []
    world.now += 3
    world.sweep()
    assert going(world) == ["stray"]


@pytest.mark.parametrize("label", [names.LABEL_POOL_UID, names.LABEL_SANDBOX_UID])
def test_before_a_delete_it_looks_at_the_pod_itself(world: World, label: str) -> None:
    """Somebody has taken it since the watch has shown it; the watch is late."""
    stray(world)
    owner = uid(world, "sandboxpools", "pool") if label == names.LABEL_POOL_UID else uid(world, "sandboxes", "s1")
    world.api.change("pods", "stray", {"metadata": {"labels": {label: owner}}})
    world.now += 60
    world.sweep()
    assert going(world) == []


def test_a_pod_of_the_same_name_that_came_after_it_is_spared(world: World) -> None:
    stray(world)
    world.api.remove(("pods", "stray"))
    world.api.finish("stray")
    world.api.put("pods", {"metadata": {"name": "stray", "labels": {names.LABEL_POOL_UID: "gone"}}, "spec": {}})
    world.now += 60
    world.sweep()
    assert going(world) == []
    assert "stray" not in [write.name for write in world.api.sent if write.what == "delete"], (
        "not even by a precondition"
    )


def test_a_pod_that_is_claimed_at_this_moment_is_spared(world: World) -> None:
    """It carries its pool's label alone, and its pool has gone; but a claim is under way."""
    world.api.targeted["claim"].append("late")
    world.claim("s2")
    world.deliver("sandboxes")
    world.work()
    world.api.change("sandboxpools", "pool", {"metadata": {"finalizers": None}})
    world.api.remove(("sandboxpools", "pool"))
    world.now += 60
    claimed = [write.name for write in world.api.sent if write.what == "claim"][-1]
    world.sweep()
    assert claimed not in going(world)


def test_a_workspace_whose_sandbox_is_gone_goes_and_no_other(world: World) -> None:
    kept = world.api.objects["sandboxes", "s1"]["status"]["workspaceClaim"]
    for name, owner in (("left", "gone"), ("used", uid(world, "sandboxes", "s1"))):
        labels = {names.LABEL_SANDBOX_UID: owner}
        metadata = {"name": name, "labels": labels, "ownerReferences": [{"uid": "x", "name": "x"}]}
        world.api.put("persistentvolumeclaims", {"metadata": metadata, "spec": {}})
    world.now += 3
    world.sweep()
    assert ("persistentvolumeclaims", "left") in world.api.objects, "it is too young"
    world.now += 3
    world.sweep()
    claims = {name for kind, name in world.api.objects if kind == "persistentvolumeclaims"}
    assert "left" not in claims
    assert {"used", kept} <= claims


@pytest.mark.parametrize("kind", ["pools", "sandboxes"])
def test_lists_of_long_ago_cost_a_new_process_no_pod_and_no_workspace(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They show no pool, or no Sandbox, of those that there are."""

    async def long_ago(_self: Objects, _namespaces: object, _take: object) -> set[str]:
        return set()

    monkeypatch.setattr(Objects, kind, long_ago)
    workspaces = {name for resource, name in world.api.objects if resource == "persistentvolumeclaims"}
    world.crash()
    world.now += 60
    world.sweep()
    assert going(world) == []
    assert workspaces == {name for resource, name in world.api.objects if resource == "persistentvolumeclaims"}
    assert world.api.objects["sandboxes", "s1"]["status"]["phase"] == "Ready"


def test_what_was_never_delivered_is_taken_in(world: World) -> None:
    world.claim("s2")
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 3}})
    world.api.events.clear()
    world.sweep()
    world.prompt(8)
    assert world.api.objects["sandboxes", "s2"]["status"]["phase"] == "Ready"
    assert len(world.free()) == 3


def test_a_pool_that_was_deleted_unseen_is_forgotten_and_its_pods_go(world: World) -> None:
    warm = [pod["metadata"]["name"] for pod in world.free()]
    world.api.change("sandboxpools", "pool", {"metadata": {"finalizers": None}})
    world.api.remove(("sandboxpools", "pool"))
    world.api.events.clear()
    world.now += 60
    world.sweep()
    world.sweep()
    assert sorted(going(world)) == sorted(warm)
    assert not world.operator.work.store.pools


def test_what_the_lists_show_is_not_asked_for_one_by_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand Sandboxes would be as many requests, each minute."""
    asked: list[str] = []
    real = world.leader.connection.get

    async def get(path: str, params: Any = None) -> dict[str, Any]:
        asked.append(path)
        return await real(path, params)

    monkeypatch.setattr(world.leader.connection, "get", get)
    world.now += 60
    world.sweep()
    assert asked == []


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [(errors.ApiError(code, {"message": "no"}), True) for code in (400, 403, 422, 429, 500, 504)]
    + [(errors.TransportError("cut"), True), (errors.NotConnected("away"), False)],
)
def test_a_namespace_that_refuses_to_be_swept_keeps_nobody_from_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, goes_on: bool
) -> None:
    """Its Role may have been taken away, or a webhook is; without an API server the sweep ends, and comes again."""
    stray(world, "a-refused")
    stray(world, "b-stray")
    real = Pods.delete

    async def delete(self: Pods, namespace: str, name: str, uid: str) -> bool:
        if name == "a-refused":
            raise error
        return await real(self, namespace, name, uid)

    monkeypatch.setattr(Pods, "delete", delete)
    world.now += 60
    world.sweep()
    assert going(world) == (["b-stray"] if goes_on else [])


def test_a_namespace_of_which_nothing_is_swept_costs_a_pass_three_requests(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may take ten seconds."""
    tried = []

    async def delete(_self: Pods, _namespace: str, name: str, _uid: str) -> bool:
        tried.append(name)
        raise errors.TransportError("no answer in time")

    for number in range(6):
        stray(world, f"stray-{number}")
    monkeypatch.setattr(Pods, "delete", delete)
    world.now += 60
    world.sweep()
    assert len(tried) == 3
    world.sweep()
    assert len(tried) == 6


def test_a_mistake_in_the_sweep_does_not_end_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(_self: Any) -> None:
        raise KeyError("metadata")

    monkeypatch.setattr(type(world.operator.work.sweep), "run_once", odd)
    with pytest.raises(AssertionError, match="nothing here waits"):
        world.loop.run_until_complete(world.operator.work.sweep.run())


@pytest.mark.parametrize("kind", ["sandboxes", "sandboxpools"])
def test_one_that_was_made_anew_unseen_is_not_taken_for_the_one_before(world: World, kind: str) -> None:
    name = "s1" if kind == "sandboxes" else "pool"
    before = uid(world, kind, name)
    world.api.change(kind, name, {"metadata": {"finalizers": None}})
    world.api.remove((kind, name))
    if kind == "sandboxes":
        world.claim("s1")
    else:
        world.make_pool()
    world.api.events.clear()
    world.sweep()
    store = world.operator.work.store
    known = store.sandboxes if kind == "sandboxes" else store.pools
    assert before not in known
    assert uid(world, kind, name) in known


def test_who_is_gone_is_named_no_more(world: World) -> None:
    table = world.operator.work.store.sandboxes
    assert table.phases == {"Ready": 1}
    world.api.remove(("sandboxes", "s1"))
    world.settle()
    assert not list(table.naming("ns", "pool"))
    assert not table.phases, "what is measured by phase is counted down too"


def test_what_belonged_to_one_of_the_same_name_is_nobodys(world: World) -> None:
    owner = {"kind": names.SANDBOX_KIND, "name": "s1", "uid": "of the one before"}
    labels = {names.LABEL_SANDBOX_UID: owner["uid"]}
    metadata = {"name": "left", "labels": labels, "ownerReferences": [owner]}
    world.api.put("persistentvolumeclaims", {"metadata": metadata, "spec": {}})
    world.now += 60
    world.sweep()
    assert ("persistentvolumeclaims", "left") not in world.api.objects


def test_what_was_deleted_unseen_is_forgotten(world: World) -> None:
    pod = world.api.objects["sandboxes", "s1"]["status"]["podName"]
    world.api.change("sandboxes", "s1", {"metadata": {"finalizers": None}})
    world.api.remove(("sandboxes", "s1"))
    world.api.events.clear()
    world.now += 60
    world.sweep()
    world.sweep()
    assert going(world) == [pod]


def test_a_pass_of_the_sweep_comes_before_its_first_wait(world: World) -> None:
    stray(world)
    world.now += 60
    with pytest.raises(AssertionError, match="nothing here waits"):
        world.loop.run_until_complete(world.operator.work.sweep.run())
    assert going(world) == ["stray"]


def test_who_leads_no_more_in_the_midst_of_a_sweep_ends_it_as_any_other_error_does(world: World) -> None:
    stray(world)
    world.now += 60
    before = world.leader
    world.replace()
    # The first pass is over, and it waits for the next.
    with pytest.raises(AssertionError, match="nothing here waits"):
        world.loop.run_until_complete(before.operator.work.sweep.run())
    assert going(world) == []
