"""Bounds where there is no admission: the operator alone starts, hands out and opens nothing beyond them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import model
from sandyard.podspec.bounds import Bounds, Policy
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def narrow(world: World, **bounds: Any) -> None:
    """The chart is upgraded: another operator, other bounds."""
    world.settings = {**world.settings, "policy": Policy(Bounds(**bounds))}
    world.crash()


def ready(world: World, kind: str, name: str) -> dict[str, Any]:
    found = condition(world.api.objects[kind, name], "Ready")
    assert found is not None
    return found


def phase(world: World, name: str) -> str:
    return str(world.api.objects["sandboxes", name]["status"].get("phase", ""))


BEYOND: dict[str, Any] = {
    "cidrs": {"network": {"egress": "AllowList", "allow": [{"cidr": "10.0.0.0/8"}]}},
    "minMemoryRequestPercent": {"resources": {"memory": "16Ti", "requests": {"memory": "1Mi"}}},
    "tolerations": {"tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]},
    "nameservers": {"dns": {"nameservers": ["10.0.0.53"]}},
    "maxTmp": {"tmp": {"sizeLimit": "64Ti"}},
}


@pytest.mark.parametrize("bound", BEYOND)
def test_no_pod_is_made_beyond_a_bound(world: World, bound: str) -> None:
    world.settle()
    before = world.api.requests["create pods"]
    world.api.witness.forbidden = {"InvalidTemplate"}
    template = {"image": "b", **BEYOND[bound]}
    world.api.change("sandboxpools", "pool", {"spec": {"template": template}})
    world.claim("warm")
    world.api.put("sandboxes", {"metadata": {"name": "own", "finalizers": ["sandyard.dev/teardown"]},
                                "spec": {"template": template}})  # fmt: skip
    world.settle()
    assert world.api.requests["create pods"] == before
    for kind, name in (("sandboxpools", "pool"), ("sandboxes", "warm"), ("sandboxes", "own")):
        told = ready(world, kind, name)
        assert (told["status"], told["reason"]) == ("False", "InvalidTemplate")
        assert f"is beyond policy.{bound} of the chart" in told["message"]
    assert (phase(world, "warm"), phase(world, "own")) == ("Pending", "Failed")
    # Back within the bounds, everything is well again.
    world.api.change("sandboxpools", "pool", {"spec": {"template": {"image": "c", **dict.fromkeys(BEYOND[bound])}}})
    world.settle()
    assert ready(world, "sandboxpools", "pool")["status"] == "True"
    assert phase(world, "warm") == "Ready"


def test_warm_pods_of_a_pool_beyond_narrower_bounds_are_handed_to_nobody(world: World) -> None:
    world.claim("before")
    world.settle()
    assert ready(world, "sandboxpools", "pool")["status"] == "True"
    narrow(world, images=("^registry[.]example/",))
    world.claim("after")
    world.settle()
    told = ready(world, "sandboxpools", "pool")
    assert (told["status"], told["reason"]) == ("False", "InvalidTemplate")
    assert "policy.images" in told["message"]
    assert phase(world, "before") == "Ready", "what runs is left alone"
    assert phase(world, "after") == "Pending"
    assert "SandboxPool 'pool' asks for more than it may: " in ready(world, "sandboxes", "after")["message"]


def test_a_sandboxs_own_network_lies_within_the_bounds_of_its_namespace(world: World) -> None:
    world.api.change("sandboxpools", "pool", {"spec": {"allowedEgress": ["None", "Internet"]}})
    world.api.witness.forbidden = {"EgressNotAllowed"}
    narrow(world, egress=("None", "DNS"))
    world.api.change("sandboxpools", "pool", {"spec": {"allowedEgress": None}})
    world.claim("wide", network={"egress": "Internet"})
    world.api.put("sandboxes", {"metadata": {"name": "own", "finalizers": ["sandyard.dev/teardown"]},
                                "spec": {"template": {"image": "a"}, "network": {"egress": "Internet"}}})  # fmt: skip
    world.settle()
    for name in ("wide", "own"):
        told = ready(world, "sandboxes", name)
        assert told["reason"] == "EgressNotAllowed"
        assert "spec.network.egress: Internet is beyond policy.egress of the chart (None, DNS)" in told["message"]


def test_a_running_sandbox_is_not_opened_beyond_its_bounds(world: World) -> None:
    narrow(world, egress=("None",))
    world.claim("s")
    world.settle()
    assert phase(world, "s") == "Ready"
    world.api.change("sandboxes", "s", {"spec": {"network": {"egress": "DNS"}}})
    world.settle()
    labels = [pod["metadata"]["labels"]["sandyard.dev/egress"] for pod in world.pods()]
    assert set(labels) == {"None"}
    stalled = condition(world.api.objects["sandboxes", "s"], "Stalled")
    assert stalled is not None
    assert "policy.egress" in stalled["message"]


def test_a_namespace_has_no_more_sandboxes_than_it_may(world: World) -> None:
    narrow(world, max_sandboxes=2)
    world.api.change("sandboxpools", "pool", {"spec": {"maxSandboxes": None}})
    for number in range(4):
        world.claim(f"s{number}")
        world.now += 2
    world.prompt(20)
    assert [phase(world, f"s{number}") for number in range(4)] == ["Ready", "Ready", "Pending", "Pending"]
    told = ready(world, "sandboxes", "s2")
    assert told["reason"] == "MaxSandboxesReached"
    assert "policy.maxSandboxes of the operator's chart is 2" in told["message"]
    world.api.remove(("sandboxes", "s0"))
    world.prompt(20)
    assert [phase(world, f"s{number}") for number in (1, 2, 3)] == ["Ready", "Ready", "Pending"]


def test_who_waits_for_others_to_end_fails_when_its_patience_is_over(world: World) -> None:
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1, "maxSandboxes": None}})
    narrow(world, max_sandboxes=1)
    world.claim("first")
    world.now += 2
    world.claim("second", waitSeconds=30)
    world.prompt(20, step=5)
    assert (phase(world, "first"), phase(world, "second")) == ("Ready", "Failed")
    assert ready(world, "sandboxes", "second")["reason"] == "MaxSandboxesReached"


@pytest.mark.parametrize("lifetime", [None, {"seconds": 900}, {"deadline": "2099-01-01T00:00:00Z"}])
def test_nobody_lives_longer_than_the_longest_lifetime(world: World, lifetime: dict[str, Any] | None) -> None:
    world.api.witness.most_seconds = 600
    narrow(world, max_lifetime_seconds=600)
    world.claim("s", lifetime=lifetime)
    world.prompt(20)
    status = world.api.objects["sandboxes", "s"]["status"]
    assert model.seconds(status["expiresAt"]) - model.seconds(status["readyAt"]) == pytest.approx(600, abs=0.1)
    world.prompt(130, step=5)
    assert ("sandboxes", "s") not in world.api.objects
