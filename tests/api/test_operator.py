"""The operator, with the chart's own rights, against a real API server and simulated kubelets."""

from __future__ import annotations

import json
import pathlib
import signal
import time
import urllib.request

from sandyard.api import model, names
from tests.api.conftest import render
from tests.api.lives import TEMPLATE, claim, pool, states
from tests.support import manifests
from tests.support.audit import Audit
from tests.support.control_plane import ControlPlane
from tests.support.kube import Kube, Refused, holds, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess


def test_a_claim_costs_two_writes_and_no_read(kube: Kube, operator: OperatorProcess, audit: Audit) -> None:
    pool(kube, 2)
    for number in range(5):
        until("warm", lambda: kube.status("sandboxpool", "python").get("replicas") == 2)
        kube.create(manifests.sandbox(f"s{number}", "python"))
        kube.wait_for("sandbox", f"s{number}", "Ready")
    for number in range(5):
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
        admin = plane.start()
        operator.start(wait=False)
        until("it waits for its kinds", lambda: "cannot list Sandboxes and pools" in operator.log, 20)
        assert operator.running
        kinds = [item for item in render(admin) if item["kind"] == "CustomResourceDefinition"]
        admin.apply_as_is(*kinds)
        admin.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        until("it is ready", operator.ready, 20)
        until("the kind is taken", lambda: _applied(admin), 20)
        until("it serves", lambda: names.FINALIZER in _finalizers(admin), 10)
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


def test_an_idle_system_writes_nothing(kube: Kube, operator: OperatorProcess, audit: Audit) -> None:
    pool(kube, 3)
    claim(kube, "s")
    until("settled", lambda: kube.status("sandboxpool", "python").get("replicas") == 3)
    until("what is told late (Events, counters) has been told", lambda: audit.quiet_for(2))
    quiet = Audit(audit._log, audit._user)
    holds("nothing is written", lambda: not any(call.writes for call in quiet.calls()), 8)


def test_no_request_is_denied_to_the_operator(kube: Kube, operator: OperatorProcess, audit: Audit) -> None:
    pool(kube, 1)
    claim(kube, "s", lifetime={"seconds": 1})
    until("expired", lambda: kube.get("sandbox", "s") is None)
    kube.delete("sandboxpool", "python")
    until("policies are gone", lambda: not kube.list("networkpolicies"))
    assert [call for call in audit.calls() if call.code in (401, 403)] == []


def test_a_pool_that_is_scaled_follows(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2)
    claim(kube, "s")
    kube.kubectl("scale", "sandboxpool/python", "--replicas=6")
    until("six", lambda: states(kube) == {"warm": 6, "claimed": 1})
    kube.kubectl("scale", "sandboxpool/python", "--replicas=1")
    until("one", lambda: states(kube) == {"warm": 1, "claimed": 1})
    status = until("told", lambda: (s := kube.status("sandboxpool", "python")).get("replicas") == 1 and s)
    assert (status["claimed"], status["starting"]) == (1, 0)


def test_the_scale_subresource_counts_warm_pods(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 2)
    path = f"/apis/sandyard.dev/v1alpha1/namespaces/{kube.namespace}/sandboxpools/python/scale"
    scale = json.loads(kube.kubectl("get", "--raw", path))
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
    kube.wait_reason("sandbox", "d", "Ready", ["MaxSandboxesReached"], 10)
    assert states(kube) == {"claimed": 3}
    kube.delete("sandbox", "a")
    assert kube.wait_for("sandbox", "d", "Ready")["start"] == "Cold"
    assert sum(states(kube).values()) <= 3


def test_a_lowered_maximum_takes_warm_pods_only(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 4)
    claim(kube, "a")
    until("whole", lambda: states(kube) == {"warm": 4, "claimed": 1})
    kube.kubectl("patch", "sandboxpool", "python", "--type=merge", "-p", '{"spec":{"maxSandboxes":2}}')
    until("two", lambda: states(kube) == {"warm": 1, "claimed": 1})


def test_wait_means_wait_and_ends_with_pool_exhausted(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 0, whenEmpty={"action": "Wait", "waitSeconds": 60})
    kube.create(manifests.sandbox("patient", "python"), manifests.sandbox("hasty", "python", waitSeconds=1))
    until("given up", lambda: kube.status("sandbox", "hasty").get("phase") == "Failed")
    assert kube.condition("sandbox", "hasty", "Ready")["reason"] == "PoolExhausted"  # type: ignore[index]
    assert states(kube) == {}
    kube.kubectl("scale", "sandboxpool/python", "--replicas=1")
    kube.wait_for("sandbox", "patient", "Ready")


def test_a_paused_pool_gives_and_starts_nothing(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    claim(kube, "s")
    until("whole", lambda: states(kube) == {"warm": 1, "claimed": 1})
    kube.kubectl("patch", "sandboxpool", "python", "--type=merge", "-p", '{"spec":{"paused":true,"replicas":3}}')
    kube.wait_reason("sandboxpool", "python", "Ready", ["Paused"], 10)
    kube.create(manifests.sandbox("later", "python"))
    kube.wait_reason("sandbox", "later", "Ready", ["Paused"], 10)
    assert states(kube) == {"warm": 1, "claimed": 1}
    kube.kubectl("patch", "sandboxpool", "python", "--type=merge", "-p", '{"spec":{"paused":false}}')
    kube.wait_for("sandbox", "later", "Ready")
    until("three", lambda: states(kube) == {"warm": 3, "claimed": 2})


def test_the_oldest_warm_pod_goes_first(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    pod = kube.list("pods")[0]
    first = pod["metadata"]["uid"]
    ready_at = next(c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "Ready")
    until("a later whole second has begun", lambda: time.time() >= model.seconds(ready_at) + 1)
    kube.kubectl("scale", "sandboxpool/python", "--replicas=3")
    until("three", lambda: kube.status("sandboxpool", "python").get("replicas") == 3)
    assert claim(kube, "s")["podUID"] == first


def test_a_broken_image_costs_a_handful_of_pods_and_heals(
    kube: Kube, operator: OperatorProcess, kubelet: Kubelet
) -> None:
    kubelet.stuck.add("broken")
    before = len(kubelet.created)
    pool(kube, 50, ready=False, template={**TEMPLATE, "image": "broken"})
    kube.wait_reason("sandboxpool", "python", "Stalled", ["ImagePullBackOff"], 15)
    holds("a handful", lambda: len(kubelet.created) - before <= 5, 3)
    kube.apply(manifests.pool("python", 5, TEMPLATE))
    kube.wait_for("sandboxpool", "python", "Ready")


def test_a_pool_that_cannot_prove_its_network_backs_off(
    kube: Kube, operator: OperatorProcess, kubelet: Kubelet
) -> None:
    kubelet.failing.add("open")
    before = len(kubelet.created)
    pool(kube, 20, ready=False, template={**TEMPLATE, "image": "open"})
    kube.wait_reason("sandboxpool", "python", "NetworkEnforced", ["NetworkNotEnforced"], 15)
    kube.wait_reason("sandboxpool", "python", "BackingOff", ["NetworkNotEnforced"], 15)
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
    kube.kubectl("patch", "pod", pod, "--type=merge", "-p", json.dumps({"metadata": {"labels": labels}}),
                 "--as=system:serviceaccount:sandyard-system:sandyard")  # fmt: skip
    operator.start()
    assert kube.wait_for("sandbox", "s", "Ready")["podName"] == pod


def test_what_belongs_to_nobody_is_swept_and_nothing_else(kube: Kube, operator: OperatorProcess) -> None:
    """The Sandbox and the pool went while no operator ran, and so did their finalizers."""
    pool(kube, 1)
    claim(kube, "s")
    until("whole", lambda: states(kube) == {"warm": 1, "claimed": 1})
    operator.kill()
    bystander = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bystander"},
                 "spec": {"containers": [{"name": "c", "image": "a"}]}}  # fmt: skip
    kube.apply(bystander)
    as_operator = "--as=system:serviceaccount:sandyard-system:sandyard"
    for kind, name in (("sandbox", "s"), ("sandboxpool", "python")):
        kube.kubectl("patch", kind, name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', as_operator)
        kube.kubectl("delete", kind, name, "--cascade=orphan")
    time.sleep(5)  # younger pods are spared
    operator.start()
    until("swept", lambda: [pod["metadata"]["name"] for pod in kube.list("pods")] == ["bystander"], 30)
    until("policies too", lambda: not kube.list("networkpolicies"))
    kube.kubectl("delete", "pod", "bystander", "--force")


def test_a_policy_that_somebody_removed_is_put_back(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1)
    as_operator = "--as=system:serviceaccount:sandyard-system:sandyard"
    kube.kubectl("delete", "networkpolicy", "sandyard-closed", as_operator)
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
    kube: Kube, operator: OperatorProcess, tmp_path: object
) -> None:
    operator.stop()
    settings = {"SANDYARD_LEADER_ELECTION": "true", "SANDYARD_WATCH_NAMESPACES": kube.namespace}
    first = OperatorProcess(operator._kubeconfig, operator._log.with_name("first.log"), **settings)
    second = OperatorProcess(operator._kubeconfig, operator._log.with_name("second.log"), **settings)
    try:
        first.start()
        until("the first leads", lambda: first.metric("sandyard_leader") == 1, 20)
        second.start()
        pool(kube, 1)
        assert second.metric("sandyard_leader") == 0
        writes = [line for line in second.fetch("/metrics").splitlines()
                  if line.startswith("sandyard_api_requests_total") and 'verb="P' in line]  # fmt: skip
        assert writes == []
        first.signal(signal.SIGSTOP)
        started = time.monotonic()
        until("the second leads", lambda: second.metric("sandyard_leader") == 1, 20)
        assert time.monotonic() - started < 15
        first.signal(signal.SIGCONT)
        until("the first has noticed", lambda: first._process is not None and first._process.poll() is not None, 15)
        claim(kube, "s")
    finally:
        first.kill()
        second.stop()
        operator.start()


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
