"""Labels of pods that others have changed: nobody is moved by them, and they are put right or the pod is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World

OURS = (names.LABEL_STATE, names.LABEL_EGRESS, names.LABEL_ALLOW, names.LABEL_INGRESS, names.LABEL_POOL_UID,
        names.LABEL_SANDBOX_UID, names.LABEL_TEMPLATE_HASH)  # fmt: skip
OPENED = {"egress-internet": {names.LABEL_EGRESS: "Internet"}, "list": {names.LABEL_ALLOW: "0123456789abcdef"},
          "peers": {names.LABEL_INGRESS: "0123456789abcdef"}, "no-profile": {names.LABEL_EGRESS: None}}  # fmt: skip
MOVED = {"another-sandbox": {names.LABEL_SANDBOX_UID: "other"}, "no-sandbox": {names.LABEL_SANDBOX_UID: None},
         "warm": {names.LABEL_STATE: "warm", names.LABEL_SANDBOX_UID: None},
         "another-pool": {names.LABEL_POOL_UID: "other"}, "another-template": {names.LABEL_TEMPLATE_HASH: "other"},
         "no-state": {names.LABEL_STATE: None}, "odd-state": {names.LABEL_STATE: "mine"},
         "all": dict.fromkeys(OURS)}  # fmt: skip


@pytest.fixture
def world() -> Iterator[World]:
    """A pool with two warm pods that lets Sandboxes ask for the internet."""
    made = World()
    made.api.change("sandboxpools", "pool", {"spec": {"allowedEgress": ["None", "Internet"]}})
    made.prompt(8)
    yield made
    made.close()


def pod_of(world: World, name: str) -> dict[str, Any]:
    pod: dict[str, Any] = world.api.objects["pods", world.api.objects["sandboxes", name]["status"]["podName"]]
    return pod


def ours(pod: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in pod["metadata"]["labels"].items() if key in OURS}


def relabel(world: World, pod: dict[str, Any], labels: dict[str, str | None]) -> None:
    """Somebody writes the pod's status, and other labels with it: its owners stay."""
    world.api.change("pods", pod["metadata"]["name"], {"metadata": {"labels": labels}})


def ready(world: World, name: str) -> bool:
    found = condition(world.api.objects["sandboxes", name], "Ready")
    return found is not None and found["status"] == "True"


# A pod that is a Sandbox's


@pytest.mark.parametrize("labels", [*OPENED.values(), *MOVED.values()], ids=[*OPENED, *MOVED])
@pytest.mark.parametrize("start", ["warm", "cold"])
def test_the_labels_of_a_sandboxs_pod_are_put_right(world: World, start: str, labels: dict[str, str | None]) -> None:
    own = {} if start == "warm" else {"env": [{"name": "A", "value": "1"}]}
    world.claim("s1", **own)
    world.prompt(8)
    before, pod = ours(pod_of(world, "s1")), pod_of(world, "s1")["metadata"]["uid"]
    relabel(world, pod_of(world, "s1"), labels)
    world.prompt(8)
    after = pod_of(world, "s1")
    assert after["metadata"]["uid"] == pod
    # What was taken off altogether is known no more, but whose it is and its network are.
    wanted = {
        key: before[key] for key in before if key != names.LABEL_TEMPLATE_HASH or names.LABEL_STATE in ours(after)
    }
    if labels.get(names.LABEL_STATE, "") is None:
        wanted[names.LABEL_STATE] = names.STATE_CLAIMED
    if len(labels) == len(OURS):
        wanted = {key: wanted[key] for key in (names.LABEL_STATE, names.LABEL_SANDBOX_UID)}
    assert {key: ours(after).get(key) for key in wanted} == wanted
    assert ready(world, "s1")


def test_a_sandbox_with_a_network_of_its_own_gets_that_one_back(world: World) -> None:
    world.claim("s1", network={"egress": "Internet"})
    world.prompt(8)
    relabel(world, pod_of(world, "s1"), {names.LABEL_EGRESS: "None"})
    world.prompt(8)
    assert ours(pod_of(world, "s1"))[names.LABEL_EGRESS] == "Internet"


def test_a_template_of_its_own_is_held_as_well(world: World) -> None:
    world.claim("s1", poolRef=None, template={"image": "b"})
    world.prompt(8)
    relabel(world, pod_of(world, "s1"), {names.LABEL_EGRESS: "Internet", names.LABEL_SANDBOX_UID: "other"})
    world.prompt(8)
    assert ours(pod_of(world, "s1"))[names.LABEL_EGRESS] == "None"
    assert ours(pod_of(world, "s1"))[names.LABEL_SANDBOX_UID] == world.api.objects["sandboxes", "s1"]["metadata"]["uid"]


def test_a_sandbox_does_not_get_the_pod_of_another_by_a_label(world: World) -> None:
    world.claim("s1")
    world.claim("s2")
    world.prompt(8)
    mine, pod = world.api.objects["sandboxes", "s2"]["metadata"]["uid"], pod_of(world, "s1")["metadata"]["uid"]
    relabel(world, pod_of(world, "s1"), {names.LABEL_SANDBOX_UID: mine})
    world.catch_up()
    # Before anybody has put it right, too.
    believed = world.operator.intake._store.pods[pod].pod.metadata.labels
    assert believed[names.LABEL_SANDBOX_UID] == world.api.objects["sandboxes", "s1"]["metadata"]["uid"]
    world.api.remove(("sandboxes", "s2"))
    world.prompt(12)
    assert pod in {found["metadata"]["uid"] for found in world.pods()}
    assert pod_of(world, "s1")["metadata"]["uid"] == pod
    assert "deletionTimestamp" not in pod_of(world, "s1")["metadata"]
    assert ready(world, "s1")


def test_the_next_operator_puts_right_what_was_changed_before_it_came(world: World) -> None:
    world.claim("s1")
    world.prompt(8)
    before = ours(pod_of(world, "s1"))
    relabel(world, pod_of(world, "s1"), {names.LABEL_SANDBOX_UID: None, names.LABEL_STATE: "warm",
                                         names.LABEL_EGRESS: "Internet"})  # fmt: skip
    world.crash()
    world.prompt(8)
    assert ours(pod_of(world, "s1")) == before


def test_a_network_that_its_own_spec_asks_for_costs_one_write(world: World) -> None:
    world.claim("s1")
    world.prompt(8)
    before = len(world.api.sent)
    world.api.change("sandboxes", "s1", {"spec": {"network": {"egress": "Internet"}}})
    world.prompt(20)
    assert [write.what for write in world.api.sent[before:]].count("network") == 1


def test_a_claim_is_two_writes_as_ever(world: World) -> None:
    before = len(world.api.sent)
    world.claim("s1", network={"egress": "Internet"})
    world.deliver("sandboxes", 100)
    for _ in range(4):
        world.work(1000)
        world.deliver("sandboxes", 100)
    writes = [write.what for write in world.api.sent[before:]]
    assert writes.count("claim") == 1
    assert "network" not in writes


# A pod that is nobody's


@pytest.mark.parametrize("labels", [*OPENED.values(), MOVED["another-pool"], MOVED["another-sandbox"]],
                         ids=[*OPENED, "another-pool", "another-sandbox"])  # fmt: skip
def test_a_warm_pod_that_somebody_has_relabelled_is_replaced(world: World, labels: dict[str, str | None]) -> None:
    pod = world.free()[0]
    relabel(world, pod, labels)
    world.prompt(12)
    names_ = [found["metadata"]["name"] for found in world.free()]
    assert pod["metadata"]["name"] not in names_
    assert len(names_) == 2


@pytest.mark.parametrize("labels", OPENED.values(), ids=OPENED)
def test_a_warm_pod_that_was_open_for_a_moment_is_not_handed_out(world: World, labels: dict[str, str | None]) -> None:
    for pod in world.free():
        right = ours(pod)
        relabel(world, pod, labels)
        relabel(world, pod, {key: right.get(key) for key in labels})
    touched = {pod["metadata"]["uid"] for pod in world.free()}
    world.catch_up()
    world.claim("s1")
    world.prompt(12)
    assert ready(world, "s1")
    assert pod_of(world, "s1")["metadata"]["uid"] not in touched


def test_a_pod_that_is_granted_and_then_relabelled_is_not_handed_out(world: World) -> None:
    """It was set aside for a claim that has yet to be written."""
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0}})
    world.prompt(12)
    world.claim("s1")
    for _ in range(4):
        world.catch_up()
        world.work(1000)
    (starting,) = world.free()
    world.start_pod(starting["metadata"]["name"])
    relabel(world, starting, {names.LABEL_EGRESS: "Internet"})
    relabel(world, starting, {names.LABEL_EGRESS: "None"})
    world.prompt(12)
    assert ready(world, "s1")
    assert pod_of(world, "s1")["metadata"]["uid"] != starting["metadata"]["uid"]


def test_warm_pods_that_a_policy_of_others_had_opened_are_replaced(world: World) -> None:
    before = {pod["metadata"]["uid"] for pod in world.free()}
    world.api.put("networkpolicies", {"metadata": {"name": "open"}, "spec": {"podSelector": {}, "ingress": [{}]}})
    world.prompt(4)
    world.api.remove(("networkpolicies", "open"))
    world.prompt(12)
    after = {pod["metadata"]["uid"] for pod in world.free()}
    assert len(after) == 2
    assert not before & after


@pytest.mark.parametrize("shape", ["open", "setup", "plain", "persistent"])
def test_pods_go_their_way_without_being_suspected(shape: str) -> None:
    """Their networks are opened and closed by the operator itself."""
    world = World(shape=shape)
    world.prompt(12)
    before = {pod["metadata"]["uid"] for pod in world.free()}
    assert len(before) == 2
    world.prompt(12)
    assert {pod["metadata"]["uid"] for pod in world.free()} == before
    world.close()


def test_a_policy_whose_labels_were_changed_is_put_right(world: World) -> None:
    for labels in ({names.LABEL_POLICY: "mine"}, {names.LABEL_MANAGED_BY: None}):
        right = dict(world.api.objects["networkpolicies", "sandyard-closed"]["metadata"]["labels"])
        world.api.change("networkpolicies", "sandyard-closed", {"metadata": {"labels": labels}})
        world.prompt(4)
        assert world.api.objects["networkpolicies", "sandyard-closed"]["metadata"]["labels"] == right


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("labels", [*OPENED.values(), MOVED["another-pool"], MOVED["odd-state"]])
def test_labels_that_may_not_be_put_right_keep_a_sandbox_from_nothing_and_are_once_they_may(
    world: World, labels: dict[str, str | None], paused: bool
) -> None:
    world.claim("s1")
    world.settle()
    before = ours(pod_of(world, "s1"))
    if paused:
        world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Paused"}})
    world.api.targeted["network"].extend(["forbidden"] * 50)
    relabel(world, pod_of(world, "s1"), labels)
    for _ in range(3):
        world.catch_up()
        world.work(1000)
    assert 1 <= world.api.met["network", "forbidden"] <= 5, "once each time that it is looked at"
    assert world.api.objects["sandboxes", "s1"]["status"]["phase"] == ("Paused" if paused else "Ready")
    world.settle()
    assert ours(pod_of(world, "s1")) == before


def test_labels_are_told_to_be_back_when_they_are(world: World) -> None:
    def told() -> list[str]:
        queue: Any = world.operator.work._recorder._queue
        return [body["message"] for body in queue._queue if body["reason"] == "LabelsPutRight"]

    world.claim("s1")
    world.settle()
    world.api.targeted["network"].extend(["forbidden"] * 50)
    relabel(world, pod_of(world, "s1"), MOVED["odd-state"])
    world.prompt(4)
    assert told() == []
    world.settle()
    assert len(told()) == 1
    assert names.LABEL_STATE in told()[0]
