"""Pools: what an empty one does, how they are kept young and well, and how they follow the demand."""

from __future__ import annotations

import time

from tests.api.lives import TEMPLATE, claim, end_pod, patch, pool, set_ready, states
from tests.support import manifests
from tests.support.kube import Kube, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess


def uids(kube: Kube) -> set[str]:
    return {pod["metadata"]["uid"] for pod in kube.list("pods") if "deletionTimestamp" not in pod["metadata"]}


def test_reject_fails_at_once_and_starts_nothing(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, whenEmpty={"action": "Reject"})
    kube.scale("sandboxpool", "python", 0)
    until("empty", lambda: states(kube) == {})
    started = time.monotonic()
    kube.create(manifests.sandbox("s", "python"))
    until("refused", lambda: kube.status("sandbox", "s").get("phase") == "Failed")
    assert time.monotonic() - started < 5
    told = kube.condition("sandbox", "s", "Ready")
    assert told is not None and told["reason"] == "PoolExhausted" and "Reject" in told["message"]
    assert states(kube) == {}


def test_a_limit_range_that_takes_the_sandbox_takes_its_proof(kube: Kube, operator: OperatorProcess) -> None:
    kube.create({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "least"},
        "spec": {"limits": [{"type": "Container", "min": {"memory": "100Mi"}, "max": {"memory": "256Mi"}}]},
    })  # fmt: skip
    try:
        pool(kube, 1, template={**TEMPLATE, "resources": {"cpu": "1", "memory": "128Mi"}})
    finally:
        kube.delete("limitrange", "least")


def test_a_start_that_hangs_is_no_exhausted_pool(kube: Kube, operator: OperatorProcess, kubelet: Kubelet) -> None:
    kubelet.stuck.add("slow")
    pool(kube, 0, ready=False, template={**TEMPLATE, "image": "slow"})
    kube.create(manifests.sandbox("s", "python", waitSeconds=600))
    kube.wait_reason("sandbox", "s", "Stalled", ["ImagePullBackOff"], 60)
    kube.patch("sandbox", "s", {"spec": {"waitSeconds": 1}})
    until("given up", lambda: kube.status("sandbox", "s").get("phase") == "Failed")
    assert kube.condition("sandbox", "s", "Ready")["reason"] == "ImagePullBackOff"  # type: ignore[index]


def test_a_waiting_claim_sees_its_place(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 0, whenEmpty={"action": "Wait", "waitSeconds": 120})
    for number in range(3):
        kube.create(manifests.sandbox(f"s{number}", "python"))
        kube.wait_reason("sandbox", f"s{number}", "Ready", ["WaitingForPool"], 60)
    assert "next in the queue" in kube.condition("sandbox", "s0", "Ready")["message"]  # type: ignore[index]
    assert "2 ahead" in kube.condition("sandbox", "s2", "Ready")["message"]  # type: ignore[index]
    kube.scale("sandboxpool", "python", 1)
    for number in range(3):
        kube.wait_for("sandbox", f"s{number}", "Ready")
    ready = [kube.status("sandbox", f"s{number}")["readyAt"] for number in range(3)]
    assert ready == sorted(ready), "somebody was overtaken"


def test_a_claim_with_cold_start_takes_what_turns_ready_first(kube: Kube, operator: OperatorProcess) -> None:
    """The maximum leaves no room for a start of its own; it gets the pod that is given back."""
    pool(kube, 1, maxSandboxes=1)
    claim(kube, "first")
    kube.create(manifests.sandbox("second", "python"))
    kube.wait_reason("sandbox", "second", "Ready", ["MaxSandboxesReached"], 60)
    kube.delete("sandbox", "first")
    assert kube.wait_for("sandbox", "second", "Ready")["start"] == "Cold"


def test_a_warm_pod_that_falls_sick_is_replaced_and_not_handed_out(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2, warm={"probe": {"command": ["true"]}})
    container = kube.list("pods")[0]["spec"]["containers"][0]
    assert container["readinessProbe"]["exec"]["command"] == ["true"]
    sick = kube.list("pods")[0]["metadata"]
    set_ready(kube, sick["name"], False)
    until("replaced", lambda: sick["uid"] not in uids(kube) and states(kube) == {"warm": 2}, 60)
    failure = kube.status("sandboxpool", "python")["lastFailure"]
    assert failure["reason"] == "PodNotReady"


def test_a_lost_node_s_pods_are_replaced_without_blame(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 3)
    lost = [pod["metadata"]["name"] for pod in kube.list("pods")[:2]]
    for name in lost:
        set_ready(kube, name, False, by_kubelet=False)
    until("replaced", lambda: kube.status("sandboxpool", "python").get("replicas") == 3
          and not {pod["metadata"]["name"] for pod in kube.list("pods")} & set(lost))  # fmt: skip
    assert "lastFailure" not in kube.status("sandboxpool", "python")


def test_a_claimed_pod_that_is_not_ready_makes_its_sandbox_not_ready(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    before = claim(kube, "s")
    set_ready(kube, before["podName"], False)
    started = time.monotonic()
    kube.wait_reason("sandbox", "s", "Ready", ["PodNotReady"], 60)
    assert time.monotonic() - started < 2
    assert kube.status("sandbox", "s")["phase"] != "Ready"
    set_ready(kube, before["podName"], True)
    after = kube.wait_for("sandbox", "s", "Ready")
    assert (after["podUID"], after["readyAt"]) == (before["podUID"], before["readyAt"])
    set_ready(kube, before["podName"], False, by_kubelet=False)
    kube.wait_reason("sandbox", "s", "Ready", ["NodeLost"], 60)


def test_what_ends_a_pod_is_told(kube: Kube, operator: OperatorProcess) -> None:
    before = operator.metric("sandyard_ended_total")
    pool(kube, 3)
    for name, code, reason, told in (
        ("oom", 137, "OOMKilled", ("Failed", "OOMKilled")),
        ("killed", 137, "Error", ("Failed", "Error")),
        ("done", 0, "Completed", ("Succeeded", "Completed")),
    ):
        end_pod(kube, claim(kube, name)["podName"], code, reason)
        until("ended", lambda name=name: kube.condition("sandbox", name, "Finished"))  # type: ignore[misc]
        status = kube.status("sandbox", name)
        assert (status["phase"], status["lastTermination"]["reason"]) == told
    assert operator.metric("sandyard_ended_total") - before == 3


def test_warm_pods_over_their_age_are_replaced_after_their_substitutes_are_ready(
    kube: Kube, operator: OperatorProcess
) -> None:
    pool(kube, 2, warm={"maxAgeSeconds": 10})
    first = uids(kube)
    fewest = 2

    def replaced() -> bool:
        nonlocal fewest
        fewest = min(fewest, kube.status("sandboxpool", "python")["replicas"])
        return not uids(kube) & first

    until("replaced", replaced, 90)
    assert fewest == 2


def test_a_rollout_with_nothing_to_spare_keeps_the_pool_full(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 3, rollout={"maxUnavailable": 0})
    old = uids(kube)
    kube.apply(manifests.pool("python", 3, {**TEMPLATE, "image": "b"}, rollout={"maxUnavailable": 0}))
    fewest = 3

    def replaced() -> bool:
        nonlocal fewest
        alive = uids(kube)
        fewest = min(fewest, len(alive))
        return not alive & old and len(alive) == 3

    until("replaced", replaced, 90)
    assert fewest == 3


def test_a_pool_follows_its_demand_and_shows_how(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, autoscale={"minReplicas": 1, "maxReplicas": 6})
    assert kube.status("sandboxpool", "python")["autoscale"]["replicas"] == 1
    for number in range(12):
        claim(kube, f"s{number}")
    grown = until("grown", lambda: (a := kube.status("sandboxpool", "python")["autoscale"])["replicas"] > 1 and a)
    assert float(grown["claimsPerSecond"]) > 0.1
    assert float(grown["warmUpSeconds"]) > 0
    until("filled", lambda: states(kube).get("warm", 0) == grown["replicas"])
    operator.kill()
    operator.start()
    kube.wait_for("sandboxpool", "python", "Full")
    assert kube.status("sandboxpool", "python")["autoscale"]["replicas"] >= grown["replicas"] - 1, (
        "it went on from there"
    )
    patch(kube, "sandboxpool", "python", {"autoscale": {"minReplicas": 0, "maxReplicas": 1}})
    until("bounded", lambda: states(kube).get("warm", 0) <= 1)


def test_a_sandbox_s_own_network_within_what_the_pool_allows(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2, allowedEgress=["None", "DNS", "AllowList"])
    warm = uids(kube)
    wide = claim(kube, "wide", network={"egress": "DNS"})
    assert wide["start"] == "Warm" and wide["podUID"] in warm
    labels = kube.get("pod", wide["podName"])["metadata"]["labels"]  # type: ignore[index]
    assert labels["sandyard.dev/egress"] == "DNS"
    listed = claim(kube, "listed", network={"egress": "AllowList", "allow": [{"cidr": "198.51.100.0/24"}]})
    assert listed["start"] == "Warm"
    digest = kube.get("pod", listed["podName"])["metadata"]["labels"]["sandyard.dev/allow"]  # type: ignore[index]
    assert kube.get("networkpolicy", f"sandyard-allow-{digest}")
    kube.create(manifests.sandbox("refused", "python", network={"egress": "Internet"}))
    until("refused", lambda: kube.status("sandbox", "refused").get("phase") == "Failed")
    told = kube.condition("sandbox", "refused", "Ready")
    assert told is not None and told["reason"] == "EgressNotAllowed" and "allows None, DNS" in told["message"]
    kube.delete("sandbox", "listed")
    until("its policy goes with it", lambda: kube.get("networkpolicy", f"sandyard-allow-{digest}") is None, 90)


def test_a_narrower_network_is_started_cold(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template={**TEMPLATE, "network": {"egress": "Internet"}}, allowedEgress=["None", "Internet"])
    warm = uids(kube)
    status = claim(kube, "closed", network={"egress": "None"})
    assert status["start"] == "Cold" and status["podUID"] not in warm
    labels = kube.get("pod", status["podName"])["metadata"]["labels"]  # type: ignore[index]
    assert labels["sandyard.dev/egress"] == "None"
    assert claim(kube, "open")["start"] == "Warm"
