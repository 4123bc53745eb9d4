"""What a claim does beside its two writes: to the network of its pod, to its pool's counts and to its pool's room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.unit.simulation import World

WEB = {"egress": "AllowList", "allow": [{"cidr": "198.51.100.0/24"}]}
OWN = {"env": [{"name": "A", "value": "1"}]}


@pytest.fixture
def world() -> Iterator[World]:
    """A pool with two warm pods that lets Sandboxes widen their network."""
    made = World()
    made.api.change("sandboxpools", "pool", {"spec": {"allowedEgress": ["None", "AllowList"]}})
    made.settle()
    yield made
    made.close()


def work(world: World, rounds: int = 1) -> None:
    """The operator and what its users do, but nothing that the watch of pods would show."""
    for _ in range(rounds):
        world.deliver("sandboxes", 100)
        world.work(1000)


def sent(world: World, since: int = 0) -> list[str]:
    return [write.what for write in world.api.sent[since:]]


def pod_of(world: World, name: str) -> dict[str, Any]:
    pod: dict[str, Any] = world.api.objects["pods", world.api.objects["sandboxes", name]["status"]["podName"]]
    return pod


def test_the_policy_of_a_wider_network_stands_before_the_pod_that_it_opens_is_claimed(world: World) -> None:
    before = len(world.api.sent)
    world.claim("s1", network=WEB)
    work(world)
    writes = sent(world, before)
    assert "policy" in writes[: writes.index("claim")]
    assert f"sandyard-allow-{pod_of(world, 's1')['metadata']['labels'][names.LABEL_ALLOW]}" in {
        name for kind, name in world.api.objects if kind == "networkpolicies"
    }


def test_a_network_is_switched_once_its_policy_stands_and_nothing_of_the_one_before_stays(world: World) -> None:
    world.claim("s1", network=WEB)
    world.settle()
    other = {"egress": "AllowList", "allow": [{"cidr": "203.0.113.0/24"}]}
    before = len(world.api.sent)
    world.api.change("sandboxes", "s1", {"spec": {"network": other}})
    work(world)
    writes = sent(world, before)
    assert "policy" in writes[: writes.index("network")]
    world.api.change("sandboxes", "s1", {"spec": {"network": {"egress": "None", "allow": None}}})
    world.settle()
    labels = pod_of(world, "s1")["metadata"]["labels"]
    assert labels[names.LABEL_EGRESS] == names.EGRESS_NONE
    assert names.LABEL_ALLOW not in labels


def test_a_claim_whose_status_could_not_be_written_is_replaced_in_its_pool_all_the_same(world: World) -> None:
    world.api.targeted["ready"].append("failing")
    before = len(world.api.sent)
    world.claim("s1")
    work(world, 2)
    assert sent(world, before).count("create") == 1
    world.settle()
    assert len(world.free()) == 2
    assert world.api.objects["sandboxpools", "pool"]["status"]["warmHits"] == 1


def test_where_a_claim_spends_its_time_is_measured_by_its_stages(world: World) -> None:
    metrics = world.operator._health.metrics
    world.claim("s1")
    world.deliver("sandboxes", 100)
    world.now += 3
    work(world)
    stages = {sample.labels["stage"]: sample.value for metric in metrics.claim_stage_seconds.collect()
              for sample in metric.samples if sample.name.endswith("_sum")}  # fmt: skip
    assert set(stages) == {"queue", "pod", "status"}
    assert stages["queue"] == pytest.approx(3)
    assert stages["pod"] == stages["status"] == 0


def test_a_claim_that_waits_is_demand_once_however_often_it_is_looked_at() -> None:
    def rate(looks: int) -> float:
        world = World(action="Wait")
        scale = {"minReplicas": 1, "maxReplicas": 40}
        world.api.change("sandboxpools", "pool", {"spec": {"autoscale": scale, "maxSandboxes": 1}})
        world.settle()
        for name in ("s1", "s2"):
            world.claim(name)
            work(world)
        for _ in range(looks):
            world.operator.queues.sandboxes.add(world.api.objects["sandboxes", "s2"]["metadata"]["uid"])
            work(world)
        world.prompt(8)
        told = float(world.api.objects["sandboxpools", "pool"]["status"]["autoscale"]["claimsPerSecond"])
        world.close()
        return told

    assert rate(30) == rate(1) > 0


def test_a_start_without_a_reply_keeps_its_room() -> None:
    world = World(maximum=1)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0}})
    world.settle()
    world.api.targeted["create"].append("unanswered")
    for name in ("s1", "s2"):
        world.claim(name, **OWN)
        work(world, 2)
    assert len(world.pods()) == 1
    world.close()


def test_each_start_of_a_pod_is_measured_once_warm_or_cold_and_by_the_operator_that_began_it() -> None:
    def measured() -> tuple[float, float]:
        found = world.operator._health.metrics
        sums = [sample.value for metric in (found.start_seconds, found.network_open_seconds)
                for part in metric.collect() for sample in part.samples if sample.name.endswith("_count")]  # fmt: skip
        return sums[0], sums[1]

    world = World()
    world.settle()
    assert measured() == (2, 2)
    world.claim("warm")
    world.claim("cold", poolRef=None, template={"image": "python:3.11"})
    world.settle()
    assert measured() == (4, 4), "one in the place of the one that was claimed, and one of a Sandbox's own"
    world.crash()
    world.settle()
    assert measured() == (0, 0), "another has measured them"
    world.close()


@pytest.mark.parametrize("of", ["sandboxes", "sandboxpools"])
def test_what_is_called_missing_when_its_finalizer_is_taken_off_is_not_left_with_it(world: World, of: str) -> None:
    template = {"image": "python:3.11", "workspace": {"persistent": {"size": "1Gi"}}}
    world.claim("s1", poolRef=None, template=template)
    world.settle()
    gone = "s1" if of == "sandboxes" else "pool"
    world.api.targeted["finalizer"].append("missing")
    world.api.remove((of, gone))
    # No sweep comes to help.
    world.prompt(60)
    assert not world.api.targeted["finalizer"], "it has met its fault"
    assert (of, gone) not in world.api.objects
