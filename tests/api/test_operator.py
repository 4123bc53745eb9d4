"""The operator, with the chart's own rights, against a real API server and simulated kubelets."""

from __future__ import annotations

import json
import pathlib
import signal
import time
import urllib.request

import pytest

from sandyard.api import model, names
from tests.api.conftest import OPERATOR_USER, establish, render
from tests.api.lives import TEMPLATE, claim, pool, states
from tests.support import manifests, soak
from tests.support.audit import Audit
from tests.support.control_plane import ControlPlane
from tests.support.kube import Kube, Refused, holds, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess


def test_a_claim_costs_two_writes_and_no_read(kube: Kube, operator: OperatorProcess, audit: Audit) -> None:
    pool(kube, 2)
    for number in range(3):
        until("warm", lambda: kube.status("sandboxpool", "python").get("replicas") == 2)
        # Refilling and telling after the claim before this one cost writes of their own.
        until("quiet", lambda: audit.quiet_for(1.5))
        kube.create(manifests.sandbox(f"s{number}", "python"))
        kube.wait_for("sandbox", f"s{number}", "Ready")
    for number in range(3):
        posted = audit.posted("sandboxes", f"s{number}")
        assert posted is not None
        calls = sorted(audit.calls(), key=lambda call: call.ended)
        ready = next(c for c in calls if (c.resource, c.name) == ("sandboxes/status", f"s{number}"))
        between = [(c.verb, c.resource) for c in calls if posted.ended < c.ended <= ready.ended and c.started
                   >= posted.started]  # fmt: skip
        assert between == [("patch", "pods"), ("patch", "sandboxes/status")]


def test_an_operator_older_than_its_kinds_serves_them_once_they_are_there(tmp_path: pathlib.Path) -> None:
    """One `helm install` makes both at once; which is there first is chance."""
    plane = ControlPlane(tmp_path)
    operator = OperatorProcess(plane.kubeconfig, tmp_path / "operator.log")
    try:
        admin = plane.start(controllers=False)
        operator.start(wait=False)
        until("it waits for its kinds", lambda: "cannot list Sandboxes and pools" in operator.log, 90)
        assert operator.running
        kinds = [item for item in render(admin) if item["kind"] == "CustomResourceDefinition"]
        establish(admin, *kinds)
        until("it is ready", operator.ready, 90)
        until("the kind is taken", lambda: _applied(admin), 60)
        until("it serves", lambda: names.FINALIZER in _finalizers(admin), 60)
    finally:
        operator.kill()
        plane.stop()


def _applied(admin: Kube) -> bool:
    try:
        admin.apply(manifests.pool("python", 0))
    except Refused:
        return False
    return True


def _finalizers(admin: Kube) -> list[str]:
    return ((admin.get("sandboxpool", "python") or {}).get("metadata") or {}).get("finalizers", [])


@pytest.mark.soak
def test_an_idle_system_writes_nothing(kube: Kube, operator: OperatorProcess, audit: Audit) -> None:
    pool(kube, 3)
    claim(kube, "s")

    def settled() -> bool:
        status = kube.status("sandboxpool", "python")
        return [status.get(key) for key in ("replicas", "claimed", "starting", "warmHits")] == [3, 1, 0, 1]

    until("settled", settled)
    until("what is told late (Events, counters) has been told", lambda: audit.quiet_for(4))
    quiet = Audit(audit._log, audit._user)

    def nothing() -> bool:
        assert [call for call in quiet.calls() if call.writes] == []
        return True

    holds("nothing is written", nothing, soak.seconds(short=8, long=120))


def test_no_request_is_denied_to_the_operator(kube: Kube, operator: OperatorProcess, audit: Audit) -> None:
    pool(kube, 1)
    claim(kube, "s", lifetime={"seconds": 1})
    until("expired", lambda: kube.get("sandbox", "s") is None)
    kube.delete("sandboxpool", "python")
    until("policies are gone", lambda: not kube.list("networkpolicies"), 90)
    assert [call for call in audit.calls() if call.code in (401, 403)] == []


def test_a_pool_that_is_scaled_follows(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2)
    claim(kube, "s")
    kube.scale("sandboxpool", "python", 6)
    until("six", lambda: states(kube) == {"warm": 6, "claimed": 1})
    kube.scale("sandboxpool", "python", 1)
    until("one", lambda: states(kube) == {"warm": 1, "claimed": 1})
    status = until("told", lambda: (s := kube.status("sandboxpool", "python")).get("replicas") == 1 and s)
    assert (status["claimed"], status["starting"]) == (1, 0)


def test_the_scale_subresource_counts_warm_pods(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2)
    path = f"/apis/sandyard.dev/v1alpha1/namespaces/{kube.namespace}/sandboxpools/python/scale"
    scale = kube.request("GET", path)
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 2)
    assert len(kube.list("pods", scale["status"]["selector"])) == 2


def test_a_changed_template_replaces_warm_pods_and_leaves_claimed_ones(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 4)
    kept = claim(kube, "s")["podUID"]
    old = {pod["metadata"]["uid"] for pod in kube.list("pods")}
    kube.apply(manifests.pool("python", 4, {**TEMPLATE, "image": "b"}))
    fresh = claim(kube, "t")
    assert fresh["podUID"] not in old, "a pod of the old template was handed out"
    until("replaced", lambda: {pod["metadata"]["uid"] for pod in kube.list("pods")} & old == {kept})
    assert kube.status("sandbox", "s")["podUID"] == kept


def test_the_maximum_holds_and_a_waiting_claim_is_served_when_there_is_room(
    kube: Kube, operator: OperatorProcess
) -> None:
    pool(kube, 2, maxSandboxes=3)
    for name in ("a", "b", "c"):
        claim(kube, name)
    kube.create(manifests.sandbox("d", "python"))
    kube.wait_reason("sandbox", "d", "Ready", ["MaxSandboxesReached"], 60)
    assert states(kube) == {"claimed": 3}
    kube.delete("sandbox", "a")
    assert kube.wait_for("sandbox", "d", "Ready")["start"] == "Cold"
    assert sum(states(kube).values()) <= 3


def test_a_lowered_maximum_takes_warm_pods_only(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 4)
    claim(kube, "a")
    until("whole", lambda: states(kube) == {"warm": 4, "claimed": 1})
    kube.patch("sandboxpool", "python", {"spec": {"maxSandboxes": 2}})
    until("two", lambda: states(kube) == {"warm": 1, "claimed": 1})


def test_wait_means_wait_and_ends_with_pool_exhausted(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 0, whenEmpty={"action": "Wait", "waitSeconds": 60})
    kube.create(manifests.sandbox("patient", "python"), manifests.sandbox("hasty", "python", waitSeconds=1))
    until("given up", lambda: kube.status("sandbox", "hasty").get("phase") == "Failed")
    assert kube.condition("sandbox", "hasty", "Ready")["reason"] == "PoolExhausted"  # type: ignore[index]
    assert states(kube) == {}
    kube.scale("sandboxpool", "python", 1)
    kube.wait_for("sandbox", "patient", "Ready")


def test_a_paused_pool_gives_and_starts_nothing(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    claim(kube, "s")
    until("whole", lambda: states(kube) == {"warm": 1, "claimed": 1})
    kube.patch("sandboxpool", "python", {"spec": {"paused": True, "replicas": 3}})
    kube.wait_reason("sandboxpool", "python", "Full", ["Paused"], 60)
    kube.create(manifests.sandbox("later", "python"))
    kube.wait_reason("sandbox", "later", "Ready", ["Paused"], 60)
    assert states(kube) == {"warm": 1, "claimed": 1}
    kube.patch("sandboxpool", "python", {"spec": {"paused": False}})
    kube.wait_for("sandbox", "later", "Ready")
    until("three", lambda: states(kube) == {"warm": 3, "claimed": 2})


def test_the_oldest_warm_pod_goes_first(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    pod = kube.list("pods")[0]
    first = pod["metadata"]["uid"]
    ready_at = next(c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "Ready")
    until("a later whole second has begun", lambda: time.time() >= model.seconds(ready_at) + 1)
    kube.scale("sandboxpool", "python", 3)
    until("three", lambda: kube.status("sandboxpool", "python").get("replicas") == 3)
    assert claim(kube, "s")["podUID"] == first


def test_a_broken_image_costs_a_handful_of_pods_and_heals(
    kube: Kube, operator: OperatorProcess, kubelet: Kubelet
) -> None:
    kubelet.stuck.add("broken")
    before = len(kubelet.created)
    pool(kube, 50, ready=False, template={**TEMPLATE, "image": "broken"})
    kube.wait_reason("sandboxpool", "python", "Stalled", ["ImagePullBackOff"], 60)
    holds("a handful", lambda: len(kubelet.created) - before <= 5, 3)
    kube.apply(manifests.pool("python", 5, TEMPLATE))
    kube.wait_for("sandboxpool", "python", "Full")


def test_a_pool_that_cannot_prove_its_network_backs_off(
    kube: Kube, operator: OperatorProcess, kubelet: Kubelet
) -> None:
    kubelet.failing.add("open")
    before = len(kubelet.created)
    pool(kube, 20, ready=False, template={**TEMPLATE, "image": "open"})
    kube.wait_reason("sandboxpool", "python", "NetworkEnforced", ["NetworkNotEnforced"], 60)
    kube.wait_reason("sandboxpool", "python", "BackingOff", ["NetworkNotEnforced"], 60)
    holds("a handful", lambda: len(kubelet.created) - before <= 5, 4)
    assert kube.status("sandboxpool", "python")["replicas"] == 0


def test_a_restarted_operator_finds_everything_as_it_was(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 3)
    uid = claim(kube, "s")["podUID"]
    until("whole", lambda: states(kube) == {"warm": 3, "claimed": 1})
    until("told", lambda: kube.status("sandboxpool", "python").get("warmHits") == 1)
    pods = {pod["metadata"]["uid"] for pod in kube.list("pods")}
    operator.kill()
    operator.start()
    claim(kube, "t")
    assert kube.status("sandbox", "s")["podUID"] == uid
    assert kube.status("sandbox", "t")["podUID"] in pods
    until("counted on", lambda: kube.status("sandboxpool", "python").get("warmHits") == 2)


def test_a_claim_cut_off_after_its_first_write_is_finished(kube: Kube, operator: OperatorProcess) -> None:
    """The pod says whose it is; the Sandbox's status does not yet."""
    pool(kube, 1)
    operator.kill()
    kube.create(manifests.sandbox("s", "python"))
    owner = kube.get("sandbox", "s")["metadata"]["uid"]  # type: ignore[index]
    pod = kube.list("pods")[0]["metadata"]["name"]
    labels = {"sandyard.dev/state": "claimed", "sandyard.dev/sandbox-uid": owner}
    reference = {"apiVersion": "sandyard.dev/v1alpha1", "kind": "Sandbox", "name": "s", "uid": owner}
    written = {"metadata": {"labels": labels, "ownerReferences": [{**reference, "controller": True}]}}
    kube.as_user(OPERATOR_USER).patch("pod", pod, written)
    operator.start()
    assert kube.wait_for("sandbox", "s", "Ready")["podName"] == pod


def test_what_belongs_to_nobody_is_swept_and_nothing_else(kube: Kube, operator: OperatorProcess) -> None:
    """The Sandbox and the pool went while no operator ran, and so did their finalizers.

    Beside them stands what must stay: pods with our labels whose pool or Sandbox lives, one of them of the very pool
    that is gone, and what is not ours at all.
    """
    pool(kube, 1)
    orphan = claim(kube, "s")["podUID"]
    kept = claim(kube, "kept")["podUID"]
    until("whole", lambda: states(kube) == {"warm": 1, "claimed": 2})
    kube.apply(manifests.pool("other", 1, TEMPLATE))
    kube.wait_for("sandboxpool", "other", "Full")
    bystander = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bystander"},
                 "spec": {"containers": [{"name": "c", "image": "a"}]}}  # fmt: skip
    foreign = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "foreign"},
               "spec": {"podSelector": {}}}  # fmt: skip
    kube.apply(bystander, foreign)
    pods = {pod["metadata"]["uid"]: pod["metadata"] for pod in kube.list("pods")}
    gone_pool = kube.get("sandboxpool", "python")["metadata"]["uid"]  # type: ignore[index]
    assert pods[kept]["labels"][names.LABEL_POOL_UID] == gone_pool
    swept = {orphan} | {uid for uid, pod in pods.items() if pod.get("labels", {}).get(names.LABEL_POOL_UID) == gone_pool
                        and names.LABEL_SANDBOX_UID not in pod["labels"]}  # fmt: skip
    assert len(swept) == 2

    operator.kill()
    for kind, name in (("sandbox", "s"), ("sandboxpool", "python")):
        kube.as_user(OPERATOR_USER).patch(kind, name, {"metadata": {"finalizers": None}})
        kube.request("DELETE", kube.path(kind, name), {"propagationPolicy": "Orphan"})
    for kind, name in (("sandbox", "s"), ("sandboxpool", "python")):
        until("gone", lambda kind=kind, name=name: kube.get(kind, name) is None)  # type: ignore[misc]
    youngest = max(model.seconds(pods[uid]["creationTimestamp"]) for uid in swept)
    until("old enough: younger pods are spared", lambda: time.time() > youngest + 6)
    operator.start()

    def uids() -> set[str]:
        return {pod["metadata"]["uid"] for pod in kube.list("pods")}

    until("swept", lambda: not uids() & swept, 90)
    stay = pods.keys() - swept
    holds("nothing else went", lambda: uids() == stay, 2)
    assert kube.status("sandbox", "kept")["podUID"] == kept
    assert {"foreign", "sandyard-closed"} <= {item["metadata"]["name"] for item in kube.list("networkpolicies")}
    kube.delete("sandbox", "kept")
    kube.delete("sandboxpool", "other")
    # The network of a pod on its way keeps them for half a minute.
    until("ours go with the last that needs them",
          lambda: [item["metadata"]["name"] for item in kube.list("networkpolicies")] == ["foreign"], 90)  # fmt: skip
    kube.delete("networkpolicy", "foreign")
    kube.delete("pod", "bystander", force=True)


def test_a_policy_that_somebody_removed_is_put_back(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    kube.as_user(OPERATOR_USER).delete("networkpolicy", "sandyard-closed", wait=False)
    until("back", lambda: kube.get("networkpolicy", "sandyard-closed"))


def test_teardown_waits_for_the_pod_and_tells_when_it_does_not_go(
    kube: Kube, operator: OperatorProcess, kubelet: Kubelet
) -> None:
    pool(kube, 1)
    pod = str(claim(kube, "s")["podName"])
    kubelet.hold = True
    kube.delete("sandbox", "s", wait=False)
    until("asked to go", lambda: "deletionTimestamp" in (kube.get("pod", pod) or {"metadata": {}})["metadata"])
    until("told", lambda: kube.status("sandbox", "s").get("phase") == "Terminating")
    assert kube.get("sandbox", "s") is not None
    kubelet.hold = False
    until("gone", lambda: kube.get("sandbox", "s") is None)


def test_a_standby_is_ready_writes_nothing_and_takes_over(
    kube_apart: Kube, operator_config: pathlib.Path, kubelet: Kubelet, tmp_path: pathlib.Path
) -> None:
    kube = kube_apart
    settings = {"SANDYARD_LEADER_ELECTION": "true", "SANDYARD_WATCH_NAMESPACES": kube.namespace}
    first = OperatorProcess(operator_config, tmp_path / "first.log", **settings)
    second = OperatorProcess(operator_config, tmp_path / "second.log", **settings)
    kube.within("sandyard-system").delete("lease", "sandyard")
    try:
        first.start()
        until("the first leads", lambda: first.metric("sandyard_leader") == 1, 60)
        second.start()
        pool(kube, 1)
        assert second.metric("sandyard_leader") == 0
        writes = [line for line in second.fetch("/metrics").splitlines()
                  if line.startswith("sandyard_api_requests_total") and 'verb="P' in line]  # fmt: skip
        assert writes == []
        first.signal(signal.SIGSTOP)
        started = time.monotonic()
        until("the second leads", lambda: second.metric("sandyard_leader") == 1, 60)
        assert time.monotonic() - started < 15
        first.signal(signal.SIGCONT)
        until("the first has noticed", lambda: not first.running, 60)
        claim(kube, "s")
        kube.delete("sandboxes,sandboxpools", "--all")
        assert kube.list("pods") == []
        assert second.stop() == 0
    finally:
        first.kill()
        second.kill()


def test_the_operator_tells_how_it_is(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2)
    claim(kube, "s")
    until("counted", lambda: operator.metric("sandyard_claims_total") >= 1)
    for name in ("sandyard_claim_duration_seconds_count", "sandyard_api_requests_total", "sandyard_pod_starts_total"):
        assert operator.metric(name) >= 1, name
    until("gauges", lambda: f'sandyard_pool_pods{{namespace="{kube.namespace}",pool="python",state="warm"}} 2.0'
          in operator.fetch("/metrics"))  # fmt: skip
    assert 'sandyard_queue_length{queue="sandboxes"} 0.0' in operator.fetch("/metrics")
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/healthz", timeout=2) as reply:
        assert reply.status == 200
    for line in operator.log.splitlines():
        assert {"time", "level", "logger", "message"} <= set(json.loads(line))
    events = {event["reason"] for event in kube.list("events")}
    assert "Ready" in events
