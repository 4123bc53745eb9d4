"""Answers of the API server: refusals are told, conflicts heal within seconds, a busy server blames no template."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest

from sandyard.api import names
from sandyard.engine.process import settings
from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.lease import Lease
from tests.unit import simulated_wire
from tests.unit.simulated_witness import condition
from tests.unit.simulation import World, until


def status(world: World, name: str) -> dict[str, Any]:
    return dict(world.api.objects["sandboxes", name]["status"])


def warm(world: World) -> int:
    return sum(1 for pod in world.free() if (found := condition(pod, "Ready")) and found["status"] == "True")


def says(world: World, name: str, kind: str) -> dict[str, Any]:
    return dict(condition(world.api.objects["sandboxes", name], kind) or {})


def pool_says(world: World, kind: str) -> dict[str, Any]:
    return dict(condition(world.api.objects["sandboxpools", "pool"], kind) or {})


# Claims that are refused


@pytest.mark.parametrize("why", ["forbidden", "invalid", "bad", "large"])
def test_a_claim_that_is_refused_tries_the_next_pod(world: World, why: str) -> None:
    world.api.targeted["claim"].append(why)
    world.claim("s1")
    until(world, lambda: status(world, "s1").get("phase") == "Ready", 2)
    claims = [write.name for write in world.api.sent if write.what == "claim"]
    assert len(set(claims)) == 2
    assert status(world, "s1")["podName"] == claims[1]


@pytest.mark.parametrize("why", ["forbidden", "invalid"])
def test_a_claim_that_is_refused_everywhere_is_told_within_five_seconds(world: World, why: str) -> None:
    world.api.targeted["claim"].extend([why] * 1000)
    world.claim("s1")
    until(world, lambda: condition(world.api.objects["sandboxes", "s1"], "Stalled"), 5)
    stalled = condition(world.api.objects["sandboxes", "s1"], "Stalled")
    assert stalled is not None
    assert (stalled["status"], stalled["reason"]) == ("True", "PodRefused")
    assert simulated_wire.ANSWERS[why][2] in stalled["message"]
    events = [body for body in world.api.all("events") if body["involvedObject"]["name"] == "s1"]
    assert any(simulated_wire.ANSWERS[why][2] in event["message"] for event in events) or not events
    sent = len([write for write in world.api.sent if write.what == "claim"])
    assert sent <= 2 * 3, "not again and again"
    world.api.no_more_faults()
    until(world, lambda: status(world, "s1").get("phase") == "Ready", 10)


@pytest.mark.parametrize("why", ["forbidden", "invalid", "failing", "throttled"])
def test_the_deadline_counts_for_who_is_refused(why: str) -> None:
    world = World(wait_seconds=20)
    world.prompt(4)
    world.api.targeted["claim"].extend([why] * 10000)
    world.api.targeted["create"].extend([why] * 10000)
    world.claim("s1")
    world.claim("s2", env=[{"name": "A", "value": "1"}], waitSeconds=20)
    until(world, lambda: status(world, "s1").get("phase") == "Failed", 30, 0.5)
    until(world, lambda: status(world, "s2").get("phase") == "Failed", 30, 0.5)
    world.close()


def test_who_is_refused_keeps_nobody_waiting(world: World) -> None:
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 1, "maxSandboxes": 1}})
    world.prompt(6)
    world.api.targeted["claim"].append("forbidden")
    world.claim("refused")
    world.deliver("sandboxes")
    world.work()
    world.claim("next")
    until(world, lambda: status(world, "next").get("phase") == "Ready", 2)
    assert status(world, "refused").get("phase") != "Ready"


@pytest.mark.parametrize("why", ["forbidden", "invalid"])
def test_a_pool_whose_pods_may_not_be_opened_says_so(why: str) -> None:
    world = World(shape="open")
    world.api.targeted["network"].extend([why] * 1000)
    until(world, lambda: pool_says(world, "Stalled").get("status") == "True", 10)
    assert simulated_wire.ANSWERS[why][2] in pool_says(world, "Stalled")["message"]
    world.close()


@pytest.mark.parametrize("fault", ["failing", "lost", "forbidden"])
def test_a_pod_whose_network_could_not_be_opened_is_opened_at_the_next_attempt(fault: str) -> None:
    world = World(shape="open")
    world.api.targeted["network"].extend([fault] * 2)
    opened = ["Internet", "Internet"]
    until(world, lambda: [pod["metadata"]["labels"][names.LABEL_EGRESS] for pod in world.free()] == opened, 10)
    world.close()


@pytest.mark.parametrize("why", ["forbidden", "invalid", "bad"])
def test_a_network_that_may_not_be_changed_is_told_and_changed_once_it_may(why: str) -> None:
    world = World(shape="open")
    world.api.change("sandboxpools", "pool", {"spec": {"allowedEgress": ["DNS", "Internet"]}})
    world.claim("s1")
    until(world, lambda: status(world, "s1").get("phase") == "Ready", 10)
    world.prompt(20)
    world.api.targeted["network"].extend([why] * 1000)
    world.api.change("sandboxes", "s1", {"spec": {"network": {"egress": "DNS"}}})
    until(world, lambda: says(world, "s1", "Stalled").get("status") == "True", 5)
    assert simulated_wire.ANSWERS[why][2] in says(world, "s1", "Stalled")["message"]
    assert status(world, "s1")["phase"] == "Ready"
    before = len(world.api.sent)
    world.prompt(30)
    assert len(world.api.sent) - before < 10, "it is not tried all the time"
    world.api.no_more_faults()
    until(world, lambda: says(world, "s1", "Stalled").get("status") == "False", 40, 1.0)
    pod = world.api.objects["pods", status(world, "s1")["podName"]]
    assert pod["metadata"]["labels"][names.LABEL_EGRESS] == "DNS"
    world.close()


def test_a_pod_of_its_own_that_may_not_be_opened_is_never_handed_out() -> None:
    world = World(shape="plain")
    world.api.targeted["network"].extend(["forbidden"] * 1000)
    template = {"image": "a", "network": {"egress": "Internet"}}
    world.api.put("sandboxes", {"metadata": {"name": "s1", "finalizers": [names.FINALIZER]},
                                "spec": {"template": template, "waitSeconds": 20}})  # fmt: skip
    until(world, lambda: says(world, "s1", "Stalled").get("status") == "True", 10)
    assert "an admission policy says no" in says(world, "s1", "Stalled")["message"]
    until(world, lambda: status(world, "s1").get("phase") == "Failed", 30)
    world.close()


# Three refusals


_WRITES = ("create", "delete", "claim", "network", "status", "pool status", "finalizer")
_FAULTS = ("bare conflict", "exists", "conflict", "throttled", "failing", "unavailable", "timeout", "lost",
           "unanswered", "unconnected")  # fmt: skip
# Nobody knows whether a pod whose create was lost will arrive: its expectation runs out, in half a minute.
_FAULTS_OF_WRITES = [pair for pair in itertools.product(_WRITES, _FAULTS) if pair != ("create", "lost")]


@pytest.mark.parametrize(("what", "fault"), _FAULTS_OF_WRITES)
def test_three_faults_of_a_kind_cost_seconds(what: str, fault: str) -> None:
    world = World(shape="open" if what == "network" else "plain")
    world.api.targeted[what].extend([fault] * 3)
    until(world, lambda: warm(world) == 2, 8)
    for number in range(3):
        world.claim(f"s{number}")
    until(world, lambda: {status(world, f"s{n}").get("phase") for n in range(3)} == {"Ready"}, 8)
    until(world, lambda: warm(world) == 2, 8)
    assert len(world.pods(going=False)) <= 6, "no more than maxSandboxes"
    for number in range(3):
        world.api.remove(("sandboxes", f"s{number}"))
    until(world, lambda: not [key for key in world.api.objects if key[0] == "sandboxes"], 8)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0}})
    until(world, lambda: not world.pods(), 8)
    world.close()


def test_a_pod_that_was_refused_with_a_conflict_and_has_not_changed_is_claimed_again(world: World) -> None:
    world.api.targeted["claim"].extend(["bare conflict"] * 2)
    world.api.change("sandboxpools", "pool", {"spec": {"maxSandboxes": 2}})
    world.prompt(2)
    before = {pod["metadata"]["name"] for pod in world.free()}
    world.claim("s1")
    until(world, lambda: status(world, "s1").get("phase") == "Ready", 3)
    assert status(world, "s1")["podName"] in before


@pytest.mark.parametrize("gone", [False, True])
def test_a_pod_is_not_claimed_again_in_a_version_that_is_no_more(world: World, gone: bool) -> None:
    """The watch has yet to show what became of it."""
    pods = [pod["metadata"]["name"] for pod in world.free()]
    world.api.targeted["claim"].extend(["conflict"] * len(pods))
    world.claim("s1")
    world.deliver("sandboxes")
    world.work(1000)
    for name in pods if gone else ():
        world.api.remove(("pods", name))
        world.api.finish(name)
    for _ in range(10):
        world.deliver("sandboxes", 100)
        world.work(1000)
        world.now += 0.5
    claims = [write.name for write in world.api.sent if write.what == "claim"]
    assert sorted(claims) == sorted(pods)
    until(world, lambda: status(world, "s1").get("phase") == "Ready", 20)


def test_a_sandbox_whose_delete_met_a_conflict_expires_all_the_same(world: World) -> None:
    world.claim("s1", lifetime={"seconds": 5})
    world.prompt(4)
    world.api.targeted["expire"].append("bare conflict")
    until(world, lambda: ("sandboxes", "s1") not in world.api.objects, 9)


# A busy server


@pytest.mark.parametrize("fault", ["throttled", "failing", "unavailable", "timeout", "bare conflict"])
def test_a_busy_server_is_no_failed_start(fault: str) -> None:
    world = World()
    world.api.targeted["create"].extend([fault] * 4)
    until(world, lambda: warm(world) == 2, 10)
    memory = world.operator.work.store.pools[world.pool["metadata"]["uid"]].memory  # type: ignore[index]
    assert memory.backoff.failures == 0
    assert "lastFailure" not in world.api.objects["sandboxpools", "pool"]["status"]
    assert pool_says(world, "BackingOff")["status"] == "False"
    world.close()


def test_the_parallelism_of_a_pool_stays_when_the_server_was_busy(world: World) -> None:
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 6, "maxSandboxes": 20}})
    world.api.targeted["create"].append("throttled")
    world.catch_up()
    world.work(1000)
    world.now += 6
    world.catch_up()
    world.work(1000)
    assert len(world.free()) == 6, "all that are missing at once"


def test_a_pool_waits_as_long_as_the_server_asks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(path: str, body: Any, **options: Any) -> Any:
        if path.endswith("pods"):
            raise errors.ApiError(429, {"message": "later"}, 7.0)
        return await real(path, body, **options)

    real = world.leader.connection.create
    monkeypatch.setattr(world.leader.connection, "create", busy)
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 3}})
    world.catch_up()
    world.work(1000)
    monkeypatch.setattr(world.leader.connection, "create", real)
    before = world.api.requests["create pods"]
    # Whatever else happens to it meanwhile.
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 4}})
    world.prompt(20, 0.3)
    assert world.api.requests["create pods"] == before
    until(world, lambda: warm(world) == 4, 8)


def test_a_create_whose_outcome_is_unknown_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server fails after it has written: the pod is there, and counts before the watch shows it."""
    world = World()
    world.api.targeted["create"].extend(["unanswered"] * 2)
    world.catch_up()
    for _ in range(20):
        # The watch of pods is late.
        world.work(1000)
        world.now += 0.5
    assert len(world.pods()) == 2
    until(world, lambda: warm(world) == 2, 8)
    assert len(world.pods()) == 2
    world.close()


# How long a Sandbox waits


def empty(wait_seconds: int) -> World:
    made = World(wait_seconds=wait_seconds, action="Wait")
    made.api.change("sandboxpools", "pool", {"spec": {"replicas": 0}})
    made.prompt(6)
    return made


def test_a_wait_goes_on_over_restarts() -> None:
    world = empty(100)
    world.claim("s1")
    began = world.now
    while status(world, "s1").get("phase") != "Failed":
        world.prompt(10, 1.0)
        assert world.now - began < 130, "each new leader began the wait anew"
        world.crash()
    assert world.now - began > 95
    world.close()


def test_a_wait_for_a_pool_that_is_not_there_goes_on_over_restarts() -> None:
    world = World()
    world.api.put("sandboxes", {"metadata": {"name": "s1", "finalizers": ["sandyard.dev/teardown"]},
                                "spec": {"poolRef": {"name": "none"}, "waitSeconds": 60}})  # fmt: skip
    began = world.now
    while status(world, "s1").get("phase") != "Failed":
        world.prompt(10, 1.0)
        assert world.now - began < 85
        world.replace() if world.crashes % 2 else world.crash()
    assert world.now - began > 55
    world.close()


def test_who_resumes_has_all_its_time_also_after_a_restart() -> None:
    world = World(persistent=True, wait_seconds=60)
    world.prompt(4)
    world.claim("s1", desiredState="Suspended")
    world.prompt(4)
    world.now += 3600
    world.api.change("sandboxes", "s1", {"spec": {"desiredState": "Running"}})
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 0, "paused": True}})
    for _ in range(3):
        world.catch_up()
        world.work(1000)
    world.crash()
    world.prompt(5, 1.0)
    assert status(world, "s1")["phase"] != "Failed"
    world.api.change("sandboxpools", "pool", {"spec": {"replicas": 2, "paused": False}})
    until(world, lambda: status(world, "s1").get("phase") == "Ready", 20)
    world.close()


def test_what_nobody_looked_at_while_no_operator_ran_has_all_its_time_before_it() -> None:
    world = World(wait_seconds=60)
    world.prompt(4)
    world.leader.kill()
    world.claim("s1")
    world.claim("s2", env=[{"name": "A", "value": "1"}], waitSeconds=60)
    world.now += 3600
    world.start()
    until(world, lambda: {status(world, name).get("phase") for name in ("s1", "s2")} == {"Ready"}, 20)
    world.close()


# The lease of a pod's earlier process


class Leases:
    """One lease, held by *holder*."""

    def __init__(self, holder: str) -> None:
        self.body = {"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": holder, "renewTime": "now",
                     "leaseDurationSeconds": 10, "leaseTransitions": 3}}  # fmt: skip

    async def get(self, _path: str) -> dict[str, Any]:
        return self.body

    async def replace(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        return body


@pytest.mark.parametrize(
    ("holder", "taken"),
    [("pod_1_aaaa", True), ("", True), ("pod_2_aaaa", False), ("other_1_aaaa", False), ("pod_11_aaaa", False),
     ("pod_1", False)],
)  # fmt: skip
async def test_a_process_takes_over_from_the_one_before_it_in_its_pod_at_once(holder: str, taken: bool) -> None:
    lease = Lease(cast("Client", Leases(holder)), "ns", "sandyard", "pod_1_bbbb", 10, "pod_1_")
    assert await lease._attempt() is taken


async def test_without_the_pods_uid_a_lease_is_nobodys_heritage() -> None:
    lease = Lease(cast("Client", Leases("pod_1_aaaa")), "ns", "sandyard", "pod_1_bbbb", 10)
    assert not await lease._attempt()


def test_the_identity_of_a_process_names_its_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "sandyard-0")
    first, second = settings.load({"SANDYARD_POD_UID": "uid"}), settings.load({"SANDYARD_POD_UID": "uid"})
    assert first.lineage == "sandyard-0_uid_"
    assert first.identity.startswith(second.lineage)
    assert first.identity != second.identity
    assert settings.load({}).lineage == ""
