"""Network policies of others: which of them open sandboxes, and what the operator does about one that does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sandyard.api import names
from sandyard.api.objects import NetworkPolicy
from sandyard.podspec import foreign
from sandyard.podspec.foreign import Exposure
from tests.support import foreign_policies
from tests.unit.claim_steps import sent
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World

POLICIES = "networkpolicies"
OPEN = foreign_policies.policy({}, "let-us-out")


def read(body: dict[str, Any]) -> NetworkPolicy:
    metadata = {"uid": "u", "resourceVersion": "1", "namespace": "ns", **body["metadata"]}
    return msgspec.json.decode(json.dumps({**body, "metadata": metadata}), type=NetworkPolicy)


# Verdicts


@pytest.mark.parametrize("body", foreign_policies.OPENING.values(), ids=foreign_policies.OPENING)
def test_a_policy_that_can_select_a_sandbox_and_opens_something_counts(body: dict[str, Any]) -> None:
    assert foreign.opens_sandboxes(read(body), ())


@pytest.mark.parametrize("body", foreign_policies.HARMLESS.values(), ids=foreign_policies.HARMLESS)
def test_a_policy_for_other_pods_or_one_that_opens_nothing_does_not(body: dict[str, Any]) -> None:
    assert not foreign.opens_sandboxes(read(body), ())


@pytest.mark.parametrize(("body", "opens"), foreign_policies.LABELLED.values(), ids=foreign_policies.LABELLED)
def test_labels_that_templates_may_have_are_labels_of_ours(body: dict[str, Any], opens: bool) -> None:
    assert foreign.opens_sandboxes(read(body), ("example.com/",)) is opens
    assert not foreign.opens_sandboxes(read(body), ())


@pytest.mark.parametrize("requirement", [{}, {"key": "app"}, {"key": "app", "operator": "Gt", "values": ["1"]}])
def test_what_cannot_be_understood_excludes_nobody(requirement: dict[str, Any]) -> None:
    assert foreign.opens_sandboxes(read(foreign_policies.policy({"matchExpressions": [requirement]})), ())


def test_the_message_names_the_policies_and_the_way_out() -> None:
    one = Exposure(("a",), withholds=True).message
    assert "NetworkPolicy a opens" in one
    assert "delete it, or exclude" in one
    assert "key: sandyard.dev/state, operator: DoesNotExist" in one
    many = Exposure(tuple("abcde"), withholds=True).message
    assert "NetworkPolicies a, b, c and 2 more open" in many


# What the operator does


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.prompt(8)
    yield made
    made.close()


@pytest.fixture
def lenient() -> Iterator[World]:
    """isolation.network: BestEffort."""
    made = World(settings={"isolation_network": "BestEffort"})
    made.prompt(8)
    yield made
    made.close()


def status(world: World, kind: str, name: str, wanted: str) -> tuple[str, str, str]:
    found = condition(world.api.objects[kind, name], wanted)
    assert found is not None
    return found["status"], found["reason"], found["message"]


def claimed(world: World) -> int:
    return sum(names.LABEL_SANDBOX_UID in pod["metadata"]["labels"] for pod in world.pods(going=False))


def test_nothing_is_handed_out_while_a_policy_of_others_opens_the_namespace(world: World) -> None:
    world.api.put(POLICIES, OPEN)
    world.prompt(2)
    world.claim("warm")
    world.claim("cold", env=[{"name": "A", "value": "1"}])
    world.claim("own", poolRef=None, template={"image": "b"})
    world.prompt(20)
    assert claimed(world) == 0
    for name in ("warm", "cold", "own"):
        assert status(world, "sandboxes", name, "Stalled")[:2] == ("True", "ForeignNetworkPolicy")
        assert "let-us-out" in status(world, "sandboxes", name, "Ready")[2]


def test_the_pool_says_which_policy_it_is_and_starts_nothing(world: World) -> None:
    world.api.put(POLICIES, OPEN)
    world.prompt(8)
    before = len(sent(world, "create"))
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 4}})
    world.prompt(8)
    assert len(sent(world, "create")) == before
    for kind, value in (("NetworkEnforced", "False"), ("Ready", "False"), ("Stalled", "True")):
        found = status(world, "sandboxpools", "pool", kind)
        assert found[:2] == (value, "ForeignNetworkPolicy")
        assert "let-us-out" in found[2]
        assert "operator: DoesNotExist" in found[2]


def test_when_the_policy_goes_those_who_waited_are_served(world: World) -> None:
    world.api.put(POLICIES, OPEN)
    world.prompt(2)
    world.claim("s1")
    world.claim("s2", poolRef=None, template={"image": "b"})
    world.prompt(10)
    world.api.remove((POLICIES, "let-us-out"))
    world.prompt(30)
    for name in ("s1", "s2"):
        assert status(world, "sandboxes", name, "Ready")[0] == "True"
    assert status(world, "sandboxpools", "pool", "NetworkEnforced")[:2] == ("True", "Proven")
    assert status(world, "sandboxpools", "pool", "Ready")[0] == "True"


def test_a_policy_that_is_changed_counts_as_it_is_now(world: World) -> None:
    elsewhere = {"podSelector": {"matchLabels": {"app": "web"}}}
    world.api.put(POLICIES, {**OPEN, "spec": {**OPEN["spec"], **elsewhere}})
    world.claim("s1")
    world.prompt(8)
    assert status(world, "sandboxes", "s1", "Ready")[0] == "True"
    world.api.change(POLICIES, "let-us-out", {"spec": {"podSelector": {"matchLabels": None}}})
    world.claim("s2")
    world.prompt(8)
    assert status(world, "sandboxes", "s2", "Ready")[:2] == ("False", "ForeignNetworkPolicy")


def test_a_policy_that_is_changed_and_opens_as_before_goes_on_counting(world: World) -> None:
    world.api.put(POLICIES, OPEN)
    world.prompt(2)
    world.api.change(POLICIES, "let-us-out", {"metadata": {"labels": {"team": "web"}}})
    world.prompt(2)
    world.claim("s1")
    world.prompt(8)
    assert claimed(world) == 0


def test_two_policies_open_until_both_are_gone(world: World) -> None:
    world.api.put(POLICIES, OPEN)
    world.api.put(POLICIES, foreign_policies.policy({}, "another", ingress=[{}]))
    world.prompt(4)
    world.claim("s1")
    world.api.remove((POLICIES, "let-us-out"))
    world.prompt(8)
    assert "another" in status(world, "sandboxes", "s1", "Ready")[2]
    assert claimed(world) == 0


def test_who_runs_already_goes_on_and_says_so(world: World) -> None:
    world.claim("s1")
    world.prompt(8)
    world.api.put(POLICIES, OPEN)
    world.prompt(8)
    assert status(world, "sandboxes", "s1", "Ready")[0] == "True"
    found = status(world, "sandboxes", "s1", "NetworkEnforced")
    assert found[:2] == ("False", "ForeignNetworkPolicy")
    assert "let-us-out" in found[2]
    world.api.remove((POLICIES, "let-us-out"))
    world.prompt(8)
    assert status(world, "sandboxes", "s1", "NetworkEnforced")[:2] == ("True", "Proven")


def test_what_was_started_before_the_policy_came_is_not_handed_out_either(world: World) -> None:
    world.claim("s1", poolRef=None, template={"image": "b"})
    world.catch_up()
    world.work(1000)
    world.api.put(POLICIES, OPEN)
    world.prompt(10)
    assert status(world, "sandboxes", "s1", "Ready")[:2] == ("False", "ForeignNetworkPolicy")
    world.api.remove((POLICIES, "let-us-out"))
    world.prompt(10)
    assert status(world, "sandboxes", "s1", "Ready")[0] == "True"


def test_who_does_not_wait_is_told_at_once() -> None:
    world = World(action="Reject")
    world.prompt(8)
    world.api.put(POLICIES, OPEN)
    world.prompt(2)
    world.claim("s1")
    world.prompt(4)
    assert world.api.objects["sandboxes", "s1"]["status"]["phase"] == "Failed"
    assert status(world, "sandboxes", "s1", "Ready")[1] == "ForeignNetworkPolicy"
    world.close()


def test_who_has_waited_long_enough_is_told_why() -> None:
    world = World(wait_seconds=5)
    world.api.put(POLICIES, OPEN)
    world.claim("s1")
    world.prompt(40)
    assert status(world, "sandboxes", "s1", "Ready")[1] == "ForeignNetworkPolicy"
    assert world.api.objects["sandboxes", "s1"]["status"]["phase"] == "Failed"
    world.close()


def test_the_next_operator_knows_the_policy_from_its_list(world: World) -> None:
    world.api.put(POLICIES, OPEN)
    world.prompt(4)
    world.crash()
    world.claim("s1")
    world.prompt(8)
    assert claimed(world) == 0
    world.api.remove((POLICIES, "let-us-out"))
    world.prompt(30)
    assert status(world, "sandboxes", "s1", "Ready")[0] == "True"


def test_best_effort_hands_out_and_says_so(lenient: World) -> None:
    lenient.api.put(POLICIES, OPEN)
    lenient.prompt(4)
    lenient.claim("s1")
    lenient.prompt(10)
    assert status(lenient, "sandboxes", "s1", "Ready")[0] == "True"
    for kind, name in (("sandboxes", "s1"), ("sandboxpools", "pool")):
        assert status(lenient, kind, name, "NetworkEnforced")[:2] == ("False", "ForeignNetworkPolicy")
    assert status(lenient, "sandboxpools", "pool", "Ready")[0] == "True"


def test_a_namespace_that_stands_opened_costs_no_writes(world: World) -> None:
    world.api.put(POLICIES, OPEN)
    world.claim("s1")
    world.settle()
    before = len(world.api.sent)
    world.prompt(20)
    assert [write.what for write in world.api.sent[before:] if write.what != "event"] == []
