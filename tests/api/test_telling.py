"""What is told beside the status: Events, metrics, alerts, and what the drain before an uninstall says."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from localcluster import paths
from sandyard.api import names
from sandyard.engine.process.metrics import Metrics
from tests.api.conftest import OPERATOR_USER, render
from tests.api.lives import TEMPLATE, claim, end_pod, patch, pool
from tests.support import manifests
from tests.support.audit import Audit
from tests.support.kube import Kube, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess, service_account_kubeconfig

PERSISTENT = {**TEMPLATE, "workspace": {"persistent": {"size": "1Gi"}}}


def told(kube: Kube, name: str) -> list[str]:
    """Reasons of the Events about an object, in the order in which they were posted."""
    events = [event for event in kube.list("events") if event["involvedObject"]["name"] == name]
    return [event["reason"] for event in sorted(events, key=lambda event: str(event["eventTime"]))]


def phase(kube: Kube, name: str, wanted: str) -> None:
    until(wanted, lambda: kube.status("sandbox", name).get("phase") == wanted)


def test_each_step_of_a_life_is_told_once(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template=PERSISTENT, allowedEgress=["None", "DNS"])
    claim(kube, "s", lifetime={"seconds": 3600})
    patch(kube, "sandbox", "s", {"network": {"egress": "DNS"}})
    until("switched", lambda: "NetworkChanged" in told(kube, "s"))
    patch(kube, "sandbox", "s", {"desiredState": "Suspended"})
    phase(kube, "s", "Suspended")
    patch(kube, "sandbox", "s", {"desiredState": "Running"})
    phase(kube, "s", "Ready")
    patch(kube, "sandbox", "s", {"lifetime": {"seconds": 1}})
    until("gone", lambda: kube.get("sandbox", "s") is None)
    until("the last word", lambda: "Cleaned" in told(kube, "s"))
    assert told(kube, "s") == ["Ready", "NetworkChanged", "Suspended", "Resumed", "Expired", "Cleaned"]
    assert told(kube, "python")[0] == "Ready"


def test_a_whole_life_takes_five_writes_and_no_read(kube: Kube, operator: OperatorProcess, audit: Audit) -> None:
    """The pod's claim, Ready, the pod's end, the finalizer, a new pod; with two Events that is all."""
    pool(kube, 2)
    lives = [f"s{number}" for number in range(6)]
    seen = len(audit.calls())
    for name in lives:
        claim(kube, name)
        kube.delete("sandbox", name)
        kube.wait_for("sandboxpool", "python", "Full")
    until("what comes last has come", lambda: audit.quiet_for(1.0))
    asked = Counter((call.verb, call.resource) for call in audit.calls()[seen:] if call.code < 300)
    assert {key: count for key, count in asked.items() if key[1] not in ("sandboxpools/status", "events")} == {
        ("patch", "pods"): 6, ("patch", "sandboxes/status"): 6, ("delete", "pods"): 6, ("patch", "sandboxes"): 6,
        ("create", "pods"): 6,
    }  # fmt: skip
    assert asked["create", "events"] <= 2 * len(lives)
    # Once a second at most.
    assert asked["patch", "sandboxpools/status"] <= 4 * len(lives)


def test_what_goes_wrong_is_told_as_well(kube: Kube, operator: OperatorProcess) -> None:
    kube.create(manifests.sandbox("waits", "nowhere"))
    until("told", lambda: told(kube, "waits") == ["Waiting"])
    pool(kube, 2)
    end_pod(kube, claim(kube, "ends")["podName"], 3)
    kube.delete("pod", claim(kube, "lost")["podName"], wait=False)
    until("both", lambda: (told(kube, "ends")[1:], told(kube, "lost")[1:]) == (["Finished"], ["PodLost"]))


def value(metrics: str, name: str, **labels: str) -> float:
    wanted = "".join(f'(?=[^}}]*{key}="{text}")' for key, text in labels.items())
    return sum(float(number) for number in re.findall(rf"^{name}{{{wanted}[^}}]*}} (\S+)$", metrics, re.MULTILINE))


def test_teardowns_are_counted_by_result(kube: Kube, operator: OperatorProcess, kubelet: Any) -> None:
    def counted(result: str) -> float:
        return value(operator.fetch("/metrics"), "sandyard_teardowns_total", result=result) - before[result]

    pool(kube, 3)
    for name in ("a", "b", "c"):
        claim(kube, name)
    # The last of an earlier test is counted a moment after it is gone: by now it is.
    before = {"done": 0.0, "stuck": 0.0}
    before = {result: counted(result) for result in before}
    kube.delete("sandbox", "a", "b")
    until("counted", lambda: counted("done") == 2)
    # One whose pod another controller holds: it goes nowhere, and that is counted as well.
    pod = kube.status("sandbox", "c")["podName"]
    as_operator = kube.as_user(OPERATOR_USER)
    as_operator.patch("pod", pod, {"metadata": {"finalizers": ["example.org/hold"]}})
    kube.delete("sandbox", "c", wait=False)
    started = time.monotonic()
    until("stuck", lambda: counted("stuck") == 1, 60)
    assert time.monotonic() - started > 30, "too early: the pod has its grace period and more"
    assert re.search(r"^sandyard_teardown_stuck 1.0$", operator.fetch("/metrics"), re.MULTILINE)
    as_operator.patch("pod", pod, {"metadata": {"finalizers": None}})
    until("gone", lambda: kube.get("sandbox", "c") is None, 40)
    assert re.search(r"^sandyard_teardown_stuck 0.0$", operator.fetch("/metrics"), re.MULTILINE)
    assert counted("done") == 3


def test_alerts_speak_of_metrics_that_there_are(admin: Kube) -> None:
    assert not [item for item in render(admin) if item["kind"] == "PrometheusRule"]
    (rule,) = [item for item in render(admin, "metrics.rules.enabled=true") if item["kind"] == "PrometheusRule"]
    alerts = rule["spec"]["groups"][0]["rules"]  # type: ignore[index]
    assert {"SandyardTeardownStuck", "SandyardLeftovers"} <= {alert["alert"] for alert in alerts}
    known = {name for family in Metrics().registry.collect() for name in (family.name, f"{family.name}_total",
                                                                         f"{family.name}_bucket")}  # fmt: skip
    used = {name for alert in alerts for name in re.findall(r"sandyard_\w+", alert["expr"])}
    assert used and used <= known


def test_finalizers_of_others_do_not_keep_the_drain_before_an_uninstall(
    kube: Kube, admin: Kube, operator: OperatorProcess, kubelet: Kubelet, tmp_path: pathlib.Path
) -> None:
    """On a Sandbox, on a pool, and on a pod of which nothing runs any more."""
    kube.apply(manifests.pool("python", 1, TEMPLATE))
    kube.wait_for("sandboxpool", "python", "Full")
    kube.create(*(manifests.sandbox(name, template=TEMPLATE) for name in ("held", "of-a-held-pod", "free")))
    pod = kube.wait_for("sandbox", "of-a-held-pod", "Ready")["podName"]
    kubelet.hold = True
    hold = {"metadata": {"finalizers": [names.FINALIZER, "example.com/hold"]}}
    for kind, name in (("sandbox", "held"), ("sandboxpool", "python")):
        kube.patch(kind, name, hold)
    kube.as_user(OPERATOR_USER).patch("pod", pod, {"metadata": {"finalizers": ["example.com/hold"]}})
    account = service_account_kubeconfig(admin, tmp_path / "drain", "sandyard-drain")
    command = [sys.executable, "-m", "sandyard.engine.drain", f"--namespace={kube.namespace}", "--timeout-seconds=25"]
    environment = {**os.environ, "KUBECONFIG": str(account), "PYTHONPATH": str(paths.REPOSITORY / "operator"),
                   "PYTHONSAFEPATH": "1"}  # fmt: skip
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        until("the pod goes", lambda: "deletionTimestamp" in kube.get("pod", pod)["metadata"], 20)  # type: ignore[index]
        kube.patch("pod", pod, {"status": {"phase": "Failed"}}, "status")
        kubelet.hold = False
        said, _ = run.communicate(timeout=60)
    try:
        assert run.returncode == 0, said
        for sentence in (
            f"Sandbox {kube.namespace}/held is gone but for finalizers of others: example.com/hold",
            f"SandboxPool {kube.namespace}/python is gone but for finalizers of others: example.com/hold",
            f"Pod {kube.namespace}/{pod} by example.com/hold",
        ):
            assert sentence in said
        left = {item["metadata"]["name"]: item["metadata"]["finalizers"]
                for kind in ("sandboxes", "sandboxpools") for item in kube.list(kind)}  # fmt: skip
        assert left == {"held": ["example.com/hold"], "python": ["example.com/hold"]}
    finally:
        kube.as_user(OPERATOR_USER).patch("pod", pod, {"metadata": {"finalizers": None}})
        for kind, name in (("sandbox", "held"), ("sandboxpool", "python")):
            kube.patch(kind, name, {"metadata": {"finalizers": None}})
        until("nothing is left", lambda: kube.list("pods") == [], 20)
