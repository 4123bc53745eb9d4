"""Lifetimes of Sandboxes: every limit, what happens then, and what a change or a restart does to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import model
from tests.api.conftest import establish
from tests.api.lives import TEMPLATE, claim, end_pod, patch, pool
from tests.support import manifests
from tests.support.audit import Audit
from tests.support.kube import Kube, Refused, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess


def remaining(kube: Kube, name: str) -> float:
    """Seconds from Ready until it expires."""
    status = kube.status("sandbox", name)
    return model.seconds(status["expiresAt"]) - model.seconds(status["readyAt"])


def gone(kube: Kube, name: str, timeout: float = 60) -> None:
    until(f"{name} is gone", lambda: kube.get("sandbox", name) is None, timeout)


def stamp(kube: Kube, name: str, moment: float) -> None:
    kube.annotate("sandbox", name, "sandyard.dev/last-activity", model.timestamp(moment))


def test_a_lifetime_can_be_extended_and_shortened_while_it_runs(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2)
    claim(kube, "s", lifetime={"seconds": 4})
    claim(kube, "witness", lifetime={"seconds": 4})
    patch(kube, "sandbox", "s", {"lifetime": {"seconds": 3600}})
    until("extended", lambda: abs(remaining(kube, "s") - 3600) < 1)
    gone(kube, "witness")
    assert kube.status("sandbox", "s")["phase"] == "Ready"
    patch(kube, "sandbox", "s", {"lifetime": {"seconds": 6}})
    gone(kube, "s")


def test_a_deadline_that_is_moved_to_the_past_expires_at_once(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    claim(kube, "s", lifetime={"deadline": "2090-01-01T00:00:00Z"})
    patch(kube, "sandbox", "s", {"lifetime": {"deadline": "2020-01-01T00:00:00Z"}})
    gone(kube, "s", 5)


def test_a_deadline_that_passed_while_no_operator_ran_is_kept(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    ends = model.seconds(claim(kube, "short", lifetime={"seconds": 2})["expiresAt"])
    claim(kube, "long", lifetime={"seconds": 600})
    operator.kill()
    until("its time is over", lambda: time.time() > ends)
    operator.start()
    gone(kube, "short")
    assert abs(remaining(kube, "long") - 600) < 1
    assert kube.status("sandbox", "long")["phase"] == "Ready"


def test_stop_takes_the_pod_and_keeps_the_sandbox(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    pod = claim(kube, "s", lifetime={"seconds": 1, "onExpiry": "Stop"})["podName"]
    until("stopped", lambda: kube.status("sandbox", "s").get("phase") == "Expired")
    until("its pod is gone", lambda: kube.get("pod", pod) is None)
    status = kube.status("sandbox", "s")
    assert status["lastTermination"]["reason"] == "Expired"
    assert "podIP" not in status and "expiresAt" not in status
    told = {c["type"]: c["status"] for c in status["conditions"]}
    assert (told.get("Ready"), told["Finished"], told["Stalled"]) == (None, "True", "False")
    patch(kube, "sandbox", "s", {"lifetime": {"seconds": 3600, "onExpiry": "Stop"}})
    until("seen", lambda: kube.status("sandbox", "s")["observedGeneration"] == 2)
    assert kube.status("sandbox", "s")["phase"] == "Expired", "what has expired does not come back"


def test_a_stopped_sandbox_with_an_early_deadline_never_gets_a_pod(
    kube: Kube, operator: OperatorProcess, audit: Audit
) -> None:
    """Neither one from the pool, nor a cold one that goes again: the API server's own account tells of each."""
    pool(kube, 1)
    (warm,) = kube.list("pods")
    calls = Audit(audit._log, audit._user)
    lifetime = {"deadline": "2020-01-01T00:00:00Z", "onExpiry": "Stop"}
    kube.create(manifests.sandbox("s", "python", lifetime=lifetime))
    kube.create(manifests.sandbox("cold", template=TEMPLATE, lifetime=lifetime))
    for name in ("s", "cold"):
        until("expired", lambda name=name: kube.status("sandbox", name).get("phase") == "Expired")  # type: ignore[misc]
    # Once more, now that it is over: a change wakes the operator.
    for name in ("s", "cold"):
        patch(kube, "sandbox", name, {"lifetime": {**lifetime, "deadline": "2020-01-02T00:00:00Z"}})
        until("seen", lambda name=name: kube.status("sandbox", name)["observedGeneration"] == 2)  # type: ignore[misc]
    assert [call for call in calls.calls() if call.resource == "pods" and call.writes] == []
    assert [pod["metadata"]["uid"] for pod in kube.list("pods")] == [warm["metadata"]["uid"]]
    for name in ("s", "cold"):
        assert not {"podName", "podUID", "claimedAt", "readyAt"} & kube.status("sandbox", name).keys()


def test_the_pool_s_lifetime_holds_for_those_who_name_none(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2, claimDefaults={"lifetime": {"seconds": 500, "onExpiry": "Stop"}})
    claim(kube, "default")
    claim(kube, "own", lifetime={"seconds": 60})
    assert abs(remaining(kube, "default") - 500) < 1
    assert abs(remaining(kube, "own") - 60) < 1


def test_nobody_outlives_the_maximum_of_the_pool_even_when_the_pool_is_gone(
    kube: Kube, operator: OperatorProcess
) -> None:
    pool(kube, 2, maxLifetimeSeconds=100)
    claim(kube, "none")
    claim(kube, "much", lifetime={"seconds": 3600, "deadline": "2090-01-01T00:00:00Z"})
    assert abs(remaining(kube, "none") - 100) < 1
    assert abs(remaining(kube, "much") - 100) < 1
    kube.delete("sandboxpool", "python")
    patch(kube, "sandbox", "much", {"lifetime": {"seconds": 7200}})
    until("seen", lambda: kube.status("sandbox", "much")["observedGeneration"] == 2)
    assert abs(remaining(kube, "much") - 100) < 1


def test_a_lowered_maximum_holds_for_those_that_run(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, maxLifetimeSeconds=1000)
    claim(kube, "s")
    patch(kube, "sandboxpool", "python", {"maxLifetimeSeconds": 1})
    gone(kube, "s")


def test_an_ended_sandbox_is_deleted_after_its_time(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2)
    claim(kube, "kept")
    claim(kube, "tidy", lifetime={"secondsAfterFinished": 2})
    for name in ("kept", "tidy"):
        end_pod(kube, kube.status("sandbox", name)["podName"], 0)
    until("ended", lambda: kube.status("sandbox", "tidy").get("phase") in ("Succeeded", None))
    gone(kube, "tidy")
    assert kube.status("sandbox", "kept")["phase"] == "Succeeded"


def test_a_stopped_sandbox_is_deleted_after_its_time_too(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    claim(kube, "s", lifetime={"seconds": 1, "onExpiry": "Stop", "secondsAfterFinished": 1})
    gone(kube, "s")


def test_an_idle_sandbox_expires_and_one_that_is_used_does_not(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2)
    # The busy one first: without its work it would go before the other.
    for name in ("busy", "idle"):
        claim(kube, name, lifetime={"idleSeconds": 5})

    def goes_while_the_other_works() -> bool:
        stamp(kube, "busy", time.time())
        return kube.get("sandbox", "idle") is None

    until("the idle one is gone", goes_while_the_other_works, 60, interval=0.7)
    status = kube.status("sandbox", "busy")
    assert status["phase"] == "Ready"
    assert time.time() - model.seconds(status["lastActivityAt"]) < 4
    gone(kube, "busy")


def metrics(kube: Kube, pod: str, cpu: str) -> dict[str, Any]:
    """What a metrics server would say of a pod just now."""
    return {
        "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics", "metadata": {"name": pod},
        "timestamp": model.timestamp(time.time())[:19] + "Z", "window": "15s",
        "containers": [{"name": "sandbox", "usage": {"cpu": cpu, "memory": "10Mi"}}],
    }  # fmt: skip


@pytest.fixture
def metrics_api(admin: Kube) -> Iterator[None]:
    """The metrics API, its objects written by the test."""
    group = "metrics.k8s.io"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    establish(admin, {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"pods.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
        "spec": {"group": group, "scope": "Namespaced", "versions": [version],
                 "names": {"plural": "pods", "singular": "pod", "kind": "PodMetrics"}},
    })  # fmt: skip
    yield
    admin.delete("crd", f"pods.{group}")


def test_one_that_works_without_a_client_is_not_idle(kube: Kube, operator: OperatorProcess, metrics_api: None) -> None:
    pool(kube, 2)
    pods = {name: claim(kube, name, lifetime={"idleSeconds": 5})["podName"] for name in ("busy", "idle")}

    def goes_while_the_other_works() -> bool:
        kube.apply(metrics(kube, pods["idle"], "3m"), metrics(kube, pods["busy"], "812345678n"))
        return kube.get("sandbox", "idle") is None

    until("the idle one is gone", goes_while_the_other_works, 60, interval=0.7)
    status = kube.status("sandbox", "busy")
    assert (status["phase"], status["activitySource"]) == ("Ready", "CPU")
    gone(kube, "busy")


def test_a_forged_stamp_gives_no_more_than_the_moment_it_was_made(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, maxLifetimeSeconds=300)
    claim(kube, "s", lifetime={"idleSeconds": 5})
    stamp(kube, "s", time.time() + 10**8)
    told = until("seen", lambda: kube.status("sandbox", "s").get("lastActivityAt"))
    assert abs(model.seconds(told) - time.time()) < 5
    gone(kube, "s")


def test_stamps_cost_few_writes(kube: Kube, operator: OperatorProcess, audit: Audit) -> None:
    pool(kube, 1)
    claim(kube, "s", lifetime={"idleSeconds": 600})
    until("what follows Ready has been told", lambda: audit.quiet_for(1.5))
    quiet = Audit(audit._log, audit._user)
    started = time.monotonic()
    for _ in range(20):
        stamp(kube, "s", time.time())
    writes = [call for call in quiet.calls() if call.writes and call.resource == "sandboxes/status"]
    # One in five seconds, however long a busy machine takes for twenty stamps.
    assert len(writes) <= 2 + (time.monotonic() - started) / 5


def test_other_annotations_of_ours_and_broken_stamps_are_refused(kube: Kube) -> None:
    kube.create(manifests.sandbox("s", "nowhere"))
    for key, value, told in (
        ("sandyard.dev/terms", "x", "belong to the operator"),
        ("sandyard.dev/last-activity", "soon", "must be a time such as"),
    ):
        with pytest.raises(Refused, match=told):
            kube.annotate("sandbox", "s", key, value)


def test_a_lost_pod_is_replaced_once_it_is_gone(kube: Kube, operator: OperatorProcess, kubelet: Kubelet) -> None:
    pool(kube, 2, onLost="Replace")
    before = claim(kube, "s", lifetime={"seconds": 3600})
    claim(kube, "fails", onLost="Fail")
    kubelet.hold = True
    kube.delete("pod", before["podName"], kube.status("sandbox", "fails")["podName"], wait=False)
    kube.wait_reason("sandbox", "s", "Ready", ["PodLost"], 30)
    until("the other one fails", lambda: kube.status("sandbox", "fails")["phase"] == "Failed")
    mine = f"sandyard.dev/sandbox-uid={kube.get('sandbox', 's')['metadata']['uid']}"  # type: ignore[index]
    assert [pod["metadata"]["uid"] for pod in kube.list("pods", mine)] == [before["podUID"]], "two at once"
    assert "podUID" not in kube.status("sandbox", "s")
    kubelet.hold = False
    after = kube.wait_for("sandbox", "s", "Ready")
    assert after["podUID"] != before["podUID"]
    assert (after["readyAt"], after["restarts"], after["replacements"]) == (before["readyAt"], 1, 1)
    assert before["podName"] in kube.condition("sandbox", "s", "StateLost")["message"]  # type: ignore[index]
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "no disk"}
    kube.patch("pod", after["podName"], {"status": evicted}, "status")
    until("its pod is told lost", lambda: kube.status("sandbox", "s").get("replacements") == 2)
    kube.delete("sandbox", "s")
    assert kube.list("pods", mine) == []
