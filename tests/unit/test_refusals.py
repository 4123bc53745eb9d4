"""Pods, policies and deletes that the API server does not take or does not answer: told, and tried again."""

from __future__ import annotations

from typing import Any

import pytest

from sandyard.api import names
from sandyard.api.reasons import Reason
from sandyard.engine.cluster.starts import refusal
from sandyard.kube import errors
from sandyard.podspec import rules
from tests.unit.claim_steps import sent, status, work
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('pods "x" is forbidden: exceeded quota: q, requested: pods=1', Reason.QUOTA_EXCEEDED),
        ('pods "x" is forbidden: failed quota: q: must specify limits.cpu', Reason.QUOTA_EXCEEDED),
        ('pods "x" is forbidden: pod rejected: RuntimeClass "gvisor" not found', Reason.RUNTIME_CLASS_MISSING),
        ("admission webhook denied the request", Reason.POD_REFUSED),
    ],
)
def test_why_a_pod_was_refused_is_told_by_a_reason_of_its_own(message: str, reason: Reason) -> None:
    found, told = refusal(errors.ApiError(403, {"message": message}))
    assert found is reason
    assert message in told


def test_a_delete_of_which_nothing_comes_is_sent_again(world: World) -> None:
    """It was answered, and forgotten when the API server was restored from a backup."""
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    work(world)
    (pod,) = world.pods(going=True)
    del pod["metadata"]["deletionTimestamp"]
    world.api.events["pods"].clear()
    world.api.touch(("pods", pod["metadata"]["name"]))
    world.prompt(20, 1.0)
    assert len(sent(world, "delete")) == 1
    world.prompt(60, 1.0)
    assert len(world.free()) == 1


@pytest.mark.parametrize("fault", ["lost", "unconnected", "failing", "forbidden"])
def test_pods_whose_policies_could_not_be_made_take_no_room(fault: str) -> None:
    world = World(maximum=2)
    world.api.targeted["policy"].extend([fault] * 3)
    work(world, 2)
    assert not world.pods()
    world.prompt(90, 1.0)
    assert len(world.free()) == 2
    world.close()


def test_a_network_that_cannot_be_prepared_is_told_and_tried_again(world: World) -> None:
    world.api.targeted["policy"].append("forbidden")
    own = {"image": "a", "network": {"egress": "AllowList", "allow": [{"cidr": "203.0.113.5/32"}]}}
    metadata = {"name": "s1", "finalizers": [names.FINALIZER]}
    world.api.put("sandboxes", {"metadata": metadata, "spec": {"template": own}})
    work(world, 3)
    stalled = condition(world.api.objects["sandboxes", "s1"], "Stalled")
    assert stalled is not None
    assert (status(world, "s1")["phase"], stalled["reason"]) == ("Pending", "PodRefused")
    assert len(world.pods()) == 2, "no pod starts before its policy stands"
    world.prompt(90, 1.0)
    assert status(world, "s1")["phase"] == "Ready"


@pytest.mark.parametrize("fault", ["lost", "failing", "forbidden"])
def test_a_pause_that_was_cut_off_is_not_taken_for_one(world: World, fault: str) -> None:
    world.claim("s1")
    world.prompt(2)
    world.api.targeted["exec"].append(fault)
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Paused"}})
    work(world, 3)
    ready = condition(world.api.objects["sandboxes", "s1"], "Ready") or {}
    assert (status(world, "s1")["phase"], ready.get("reason")) == ("Ready", "NotPaused")
    world.prompt(30)
    assert status(world, "s1")["phase"] == "Paused"


def test_a_pod_that_breaks_a_rule_is_never_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Admission, which would refuse it, may be gone."""
    monkeypatch.setattr(rules, "violations", lambda *_: ["spec.hostNetwork"])
    world.api.witness.forbidden.add("InvalidTemplate")
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 3}})
    world.claim("s1", env=[{"name": "A", "value": "1"}])
    before = world.api.requests["create pods"]
    work(world, 5)
    for kind, name in (("sandboxpools", "pool"), ("sandboxes", "s1")):
        stalled = condition(world.api.objects[kind, name], "Stalled") or {}
        assert (stalled.get("status"), stalled.get("reason")) == ("True", "InvalidTemplate")
    assert world.api.requests["create pods"] == before


def test_a_claim_that_waits_for_room_says_so() -> None:
    world = World(maximum=1)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    world.settle()
    for name in ("s1", "s2"):
        world.claim(name)
        world.prompt(5)
    reconciling = condition(world.api.objects["sandboxes", "s2"], "Reconciling") or {}
    assert reconciling["reason"] == "MaxSandboxesReached"
    world.close()


@pytest.mark.parametrize("shape", ["setup", "open", "persistent"])
def test_a_sandbox_that_starts_cold_is_ready_whatever_its_pods_are_like(shape: str) -> None:
    world = World(shape=shape)
    world.prompt(6)
    world.claim("s1", env=[{"name": "A", "value": "1"}])
    world.prompt(8)
    assert (status(world, "s1")["phase"], status(world, "s1")["start"]) == ("Ready", "Cold")
    world.close()


def test_a_start_without_a_reply_is_one_start(world: World) -> None:
    """The next attempt finds the pod of its name, and that it is its own."""
    world.api.targeted["create"].append("unanswered")
    world.claim("s1", env=[{"name": "A", "value": "1"}])
    world.deliver("sandboxes")
    for _ in range(4):
        # The watch of pods is late.
        world.work(1000)
        world.now += 0.3
    mine = world.api.objects["sandboxes", "s1"]["metadata"]["uid"]
    assert [pod["metadata"]["labels"].get(names.LABEL_SANDBOX_UID) for pod in world.pods()].count(mine) == 1
    stalled = condition(world.api.objects["sandboxes", "s1"], "Stalled") or {}
    assert stalled.get("status") != "True"
    world.prompt(4)
    assert status(world, "s1")["phase"] == "Ready"


def test_who_waits_for_a_pool_that_is_made_anew_is_served_by_the_new_one() -> None:
    world = World(action="Wait")
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0}})
    world.settle()
    world.claim("s1")
    work(world, 4)
    assert status(world, "s1")["phase"] == "Pending"
    world.api.change("sandboxpools", "pool", {"metadata": {"finalizers": None}})
    world.api.remove(("sandboxpools", "pool"))
    world.make_pool()
    world.prompt(8)
    assert status(world, "s1")["phase"] == "Ready"
    assert not world.operator.work.store.sandboxes.stuck
    world.close()


def test_a_claim_that_no_pod_may_take_is_tried_on_three_and_no_more() -> None:
    world = World(maximum=20)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 8}})
    world.settle()
    world.api.targeted["claim"].extend(["forbidden"] * 50)
    world.claim("s1")
    work(world, 4)
    tried = {write.name for write in sent(world, "claim")}
    assert len(tried) == 3
    world.api.no_more_faults()
    for number in range(8):
        world.claim(f"n{number}")
    work(world, 3)
    assert sum(status(world, f"n{number}").get("phase") == "Ready" for number in range(8)) >= 7
    world.close()


def test_a_pod_that_is_going_is_not_asked_to_go_again(world: World) -> None:
    """A node that does not answer keeps it for as long as it likes."""
    world.claim("s1", onLost="Replace")
    world.prompt(3)
    pod = status(world, "s1")["podName"]
    world.api.remove(("pods", pod))
    for _ in range(10):
        work(world)
        world.api.touch(("pods", pod))
    assert status(world, "s1")["phase"] == "Starting"
    assert not [write for write in sent(world, "delete") if write.name == pod]


@pytest.mark.parametrize(("shape", "writes"), [("plain", 0), ("open", 2)])
def test_a_warm_pod_costs_one_write_where_its_network_is_opened_and_else_none(shape: str, writes: int) -> None:
    world = World(shape=shape)
    world.settle()
    assert len(world.free()) == 2
    assert len(sent(world, "network")) == writes
    world.close()


def test_pods_that_a_failing_server_has_made_all_the_same_are_looked_for_and_not_made_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(maximum=20)
    real = world.leader.connection.create

    async def create(path: str, body: dict[str, Any], **options: Any) -> dict[str, Any]:
        made = await real(path, body, **options)
        if path.endswith("pods"):
            raise errors.ApiError(500, {"message": "etcd is busy"})
        return made

    monkeypatch.setattr(world.leader.connection, "create", create)
    world.deliver("sandboxpools", 10)
    world.work(1000)
    monkeypatch.setattr(world.leader.connection, "create", real)
    for _ in range(20):
        # The watch of pods is late.
        world.now += 0.5
        world.work(1000)
    assert world.api.requests["create pods"] == 2
    world.close()


@pytest.mark.parametrize("fault", ["failing", "forbidden", "lost", "unconnected"])
def test_a_delete_of_a_pool_that_has_failed_is_sent_again_soon(world: World, fault: str) -> None:
    world.api.targeted["delete"].append(fault)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1}})
    world.prompt(20)
    assert len(world.free()) == 1


def test_nothing_is_done_in_a_namespace_before_its_watches_have_shown_all_of_it() -> None:
    """What they have yet to show would look like something that is missing."""
    world = World(settings={"namespaces": ("ns",)})
    left = "sandyard-allow-0123456789abcdef"
    world.api.put("networkpolicies", {"metadata": {"name": left, "labels": {names.LABEL_POLICY: "ns"}}, "spec": {}})
    world.claim("s1")
    world.prompt(5)
    assert [write for write in world.api.sent if write.what != "event"] == []
    world.operator.intake.namespace_seen("ns")
    world.prompt(8)
    assert ("networkpolicies", left) not in world.api.objects
    assert status(world, "s1")["phase"] == "Ready"
    assert len(world.free()) == 2
    world.close()


def test_each_pod_that_a_sandbox_starts_has_a_name_of_its_own() -> None:
    """The one before may be there for as long as its node likes."""
    world = World(shape="persistent")
    world.prompt(4)
    world.claim("s1")
    world.prompt(3)
    used = []
    for _ in range(3):
        for state in ("Suspended", "Running"):
            world.api.change("sandboxes", "s1", {"spec": {"desiredState": state}})
            world.prompt(8)
        used.append(status(world, "s1")["podName"])
    assert len(set(used)) == 3
    world.close()
