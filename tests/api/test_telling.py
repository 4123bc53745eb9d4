"""What is told beside the status: Events, metrics, alerts."""

from __future__ import annotations

import re
import time
from typing import Any

from sandyard.engine.metrics import Metrics
from tests.api.conftest import render
from tests.api.lives import TEMPLATE, claim, end_pod, patch, pool
from tests.support import manifests
from tests.support.kube import Kube, until
from tests.support.operator import OperatorProcess

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


def test_what_goes_wrong_is_told_as_well(kube: Kube, operator: OperatorProcess) -> None:
    kube.create(manifests.sandbox("waits", "nowhere"))
    until("told", lambda: told(kube, "waits") == ["Waiting"])
    pool(kube, 2)
    end_pod(kube, claim(kube, "ends")["podName"], 3)
    kube.kubectl("delete", "pod", claim(kube, "lost")["podName"], "--wait=false")
    until("both", lambda: (told(kube, "ends")[1:], told(kube, "lost")[1:]) == (["Finished"], ["PodLost"]))


def value(metrics: str, name: str, **labels: str) -> float:
    wanted = "".join(f'(?=[^}}]*{key}="{text}")' for key, text in labels.items())
    return sum(float(number) for number in re.findall(rf"^{name}{{{wanted}[^}}]*}} (\S+)$", metrics, re.MULTILINE))


def test_teardowns_are_counted_by_result(kube: Kube, operator: OperatorProcess, kubelet: Any) -> None:
    pool(kube, 3)
    for name in ("a", "b", "c"):
        claim(kube, name)
    kube.delete("sandbox", "a", "b")
    until("counted", lambda: value(operator.fetch("/metrics"), "sandyard_teardowns_total", result="done") == 2)
    # One whose pod another controller holds: it goes nowhere, and that is counted as well.
    pod = kube.status("sandbox", "c")["podName"]
    as_operator = "--as=system:serviceaccount:sandyard-system:sandyard"
    hold = '{"metadata":{"finalizers":["example.org/hold"]}}'
    kube.kubectl(as_operator, "patch", "pod", pod, "--type=merge", "-p", hold)
    kube.kubectl("delete", "sandbox", "c", "--wait=false")
    started = time.monotonic()
    until("stuck", lambda: value(operator.fetch("/metrics"), "sandyard_teardowns_total", result="stuck") == 1, 60)
    assert time.monotonic() - started > 30, "too early: the pod has its grace period and more"
    assert re.search(r"^sandyard_teardown_stuck 1.0$", operator.fetch("/metrics"), re.MULTILINE)
    kube.kubectl(as_operator, "patch", "pod", pod, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    until("gone", lambda: kube.get("sandbox", "c") is None, 40)
    assert re.search(r"^sandyard_teardown_stuck 0.0$", operator.fetch("/metrics"), re.MULTILINE)
    assert value(operator.fetch("/metrics"), "sandyard_teardowns_total", result="done") == 3


def test_alerts_speak_of_metrics_that_there_are(kube: Kube) -> None:
    assert not [item for item in render(kube) if item["kind"] == "PrometheusRule"]
    (rule,) = [item for item in render(kube, "metrics.rules.enabled=true") if item["kind"] == "PrometheusRule"]
    alerts = rule["spec"]["groups"][0]["rules"]  # type: ignore[index]
    assert {"SandyardTeardownStuck", "SandyardLeftovers"} <= {alert["alert"] for alert in alerts}
    known = {name for family in Metrics().registry.collect() for name in (family.name, f"{family.name}_total")}
    used = {name for alert in alerts for name in re.findall(r"sandyard_\w+", alert["expr"])}
    assert used and used <= known
