"""Claims on a real cluster: from warm pods, once each, in two writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import manifests, soak
from tests.support.kube import Kube, until
from tests.support.release import Installed


def warm_uids(kube: Kube) -> set[str]:
    return {pod["metadata"]["uid"] for pod in kube.list("pods", "sandyard.dev/state=warm")}


def test_a_warm_claim_is_a_pod_of_the_pool_in_two_writes_and_no_read(pool: Kube, installed: Installed) -> None:
    before = warm_uids(pool)
    audit = installed.audit()
    pool.create(manifests.sandbox("hello", "python"))
    status = pool.wait_for("sandbox", "hello", "Ready")

    assert status["start"] == "Warm"
    assert status["podUID"] in before
    assert status["runtime"] == "gvisor"

    def until_ready() -> list[tuple[str, str]]:
        """The operator's calls from the POST to Ready; the API server notes each a moment after it was answered."""
        posted = audit.posted("sandboxes", "hello")
        # What the pool starts and says of itself at the same time is no part of it; whatever is read is.
        mine = ("hello", status["podName"])
        calls = [call for call in audit.calls() if call.name in mine or not call.writes]
        told = [call.ended for call in calls if (call.resource, call.name) == ("sandboxes/status", "hello")]
        if posted is None or not told:
            return []
        calls = [call for call in calls if posted.ended < call.ended <= told[0]]
        return [(call.verb, call.resource) for call in sorted(calls, key=lambda call: call.ended)]

    found = until("it is noted", until_ready, 10)
    assert found == [("patch", "pods"), ("patch", "sandboxes/status")]
    pool.wait_for("sandboxpool", "python", "Full")
    pool.delete("sandbox", "hello")


@pytest.mark.soak
def test_more_claims_than_warm_pods(kube: Kube) -> None:
    replicas, claims = soak.rounds(short=3, long=20), soak.rounds(short=8, long=50)
    kube.apply(manifests.pool("python", replicas, whenEmpty={"action": "ColdStart", "waitSeconds": 240}))
    kube.wait_for("sandboxpool", "python", "Full", timeout=120)
    before = warm_uids(kube)
    assert len(before) == replicas
    names = [f"claim-{number}" for number in range(claims)]
    kube.create(*(manifests.sandbox(name, "python") for name in names))
    kube.kubectl("wait", "--for=condition=Ready", "sandboxes", "--all", "--timeout=240s", timeout=260)

    statuses = [item["status"] for item in kube.list("sandboxes")]
    pods = [status["podUID"] for status in statuses]
    assert len(set(pods)) == claims, "a pod was handed out twice"
    warm = {status["podUID"] for status in statuses if status["start"] == "Warm"}
    # A late claim may get a substitute that has turned warm meanwhile.
    assert before <= warm
    assert any(status["start"] == "Cold" for status in statuses)

    kube.wait_for("sandboxpool", "python", "Full", timeout=240)
    status_equals_pods(kube, warm=replicas, claimed=claims)
    until("all are counted", lambda: kube.status("sandboxpool", "python")["warmHits"] == len(warm), 10)
    assert kube.status("sandboxpool", "python")["coldStarts"] == claims - len(warm)
    kube.delete("sandboxes", "--all", timeout=120)


def status_equals_pods(kube: Kube, warm: int, claimed: int) -> None:
    def same() -> bool:
        status = kube.status("sandboxpool", "python")
        pods = [pod for pod in kube.list("pods") if "deletionTimestamp" not in pod["metadata"]]
        states = [pod["metadata"]["labels"]["sandyard.dev/state"] for pod in pods]
        counted = (states.count("warm"), states.count("claimed"))
        told = (status["replicas"] + status["starting"], status["claimed"])
        return counted == told == (warm, claimed)

    until("the pool's status equals its pods", same, 30)


def test_an_empty_pool_starts_one_for_the_claim(kube: Kube) -> None:
    kube.apply(manifests.pool("python", 0))
    kube.create(manifests.sandbox("hello", "python"))
    status = kube.wait_for("sandbox", "hello", "Ready")
    assert status["start"] == "Cold"
    until("it is counted", lambda: kube.status("sandboxpool", "python").get("coldStarts") == 1)
    kube.delete("sandbox", "hello")


def test_a_sandbox_with_its_own_environment_is_started_cold(pool: Kube) -> None:
    pool.create(manifests.sandbox("hello", "python", env=[{"name": "WHO", "value": "me and $(HOME)"}]))
    status = pool.wait_for("sandbox", "hello", "Ready")
    assert status["start"] == "Cold"
    said = pool.kubectl("exec", status["podName"], "-c", "sandbox", "--", "printenv", "WHO")
    assert said == "me and $(HOME)\n"
    assert pool.status("sandboxpool", "python")["replicas"] == 1
    pool.delete("sandbox", "hello")


def test_a_sandbox_waits_for_its_pool_and_says_so(kube: Kube) -> None:
    kube.create(manifests.sandbox("early", "later"))
    message = kube.wait_reason("sandbox", "early", "Stalled", ["PoolNotFound"], 15)
    assert "later" in message
    kube.apply(manifests.pool("later", 1))
    assert kube.wait_for("sandbox", "early", "Ready")["phase"] == "Ready"
    kube.delete("sandbox", "early")


def test_a_sandbox_expires_by_itself(pool: Kube) -> None:
    pool.create(manifests.sandbox("short", "python", lifetime={"seconds": 3}))
    assert pool.wait_for("sandbox", "short", "Ready")["expiresAt"]
    until("it is gone", lambda: pool.get("sandbox", "short") is None, 20)
    pool.create(manifests.sandbox("late", "python", lifetime={"deadline": "2020-01-01T00:00:00Z"}))
    until("it expired at once", lambda: pool.get("sandbox", "late") is None, 10)


def test_a_sandbox_whose_pod_is_lost_gets_a_fresh_one_with_nothing_of_the_one_before(pool: Kube) -> None:
    pool.create(manifests.sandbox("kept", "python", onLost="Replace"))
    before = pool.wait_for("sandbox", "kept", "Ready")
    write = ("sh", "-c", "echo mine >/workspace/file")
    pool.kubectl("exec", before["podName"], "-c", "sandbox", "--", *write)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": before["podName"]}}
    path = f"/api/v1/namespaces/{pool.namespace}/pods/{before['podName']}/eviction"
    pool.run("kubectl", "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def replaced() -> dict[str, Any] | None:
        status = pool.status("sandbox", "kept")
        return status if status.get("podUID") not in (None, before["podUID"]) else None

    after = until("a fresh pod", replaced, 60)
    pool.wait_for("sandbox", "kept", "Ready")
    assert pool.get("pod", before["podName"]) is None, "two at once"
    left = pool.kubectl("exec", after["podName"], "-c", "sandbox", "--", "ls", "-A", "/workspace")
    assert left.strip() == ""
    lost = pool.condition("sandbox", "kept", "StateLost")
    assert lost is not None and lost["status"] == "True" and before["podName"] in lost["message"]
    pool.delete("sandbox", "kept")
