"""What happens to a real pod is what its Sandbox says, whoever ended it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from localcluster import lifecycle, processes
from tests.support import manifests, soak
from tests.support.kube import Kube, until
from tests.support.release import Installed


def test_a_full_disk_means_eviction_and_says_so(kube: Kube) -> None:
    template = manifests.template(workspace={"sizeLimit": "16Mi"})
    kube.create(manifests.sandbox("s", template=template))
    pod = kube.wait_for("sandbox", "s", "Ready")["podName"]
    kube.kubectl("exec", pod, "-c", "sandbox", "--", "dd", "if=/dev/zero", "of=/workspace/big", "bs=1M", "count=48")
    until("it was evicted", lambda: kube.status("sandbox", "s")["phase"] == "Failed", 120)
    ended = kube.status("sandbox", "s")["lastTermination"]
    assert ended["reason"] == "Evicted"
    assert "16Mi" in ended["message"]
    kube.delete("sandbox", "s")


@pytest.mark.alone
def test_one_that_is_evicted_by_the_api_is_lost_and_says_so(kube: Kube) -> None:
    kube.create(manifests.sandbox("s", template=manifests.template()))
    pod = kube.wait_for("sandbox", "s", "Ready")["podName"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    kube.run("kubectl", "create", "--raw", f"/api/v1/namespaces/{kube.namespace}/pods/{pod}/eviction", "-f", "-",
             stdin=json.dumps(eviction))  # fmt: skip
    started = time.monotonic()
    until("it says so", lambda: kube.status("sandbox", "s")["phase"] == "Failed", 20)
    assert time.monotonic() - started < 5
    assert kube.condition("sandbox", "s", "Ready")["reason"] == "PodLost"  # type: ignore[index]
    kube.delete("sandbox", "s")


def test_a_lost_node_is_told_and_a_node_that_comes_back_heals(kube: Kube, installed: Installed) -> None:
    kube.create(manifests.sandbox("s", template=manifests.template()))
    kube.wait_for("sandbox", "s", "Ready")
    running = processes.Processes(installed.cluster)
    running.stop("kubelet")
    try:
        kube.wait_reason("sandbox", "s", "Ready", ["NodeLost"], 120)
        assert kube.status("sandbox", "s")["phase"] == "Starting"
    finally:
        lifecycle.up(installed.cluster.name, lifecycle.Options())
    kube.wait_for("sandbox", "s", "Ready", timeout=60)
    kube.delete("sandbox", "s")


@pytest.mark.soak
def test_a_broken_image_costs_few_pods(kube: Kube) -> None:
    seconds = soak.seconds(short=45, long=180)
    kube.apply(manifests.pool("broken", 5, manifests.template(image="registry.invalid/nothing/here:1"),
                              startup={"timeoutSeconds": 5}))  # fmt: skip
    made: set[str] = set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        made |= {pod["metadata"]["uid"] for pod in kube.list("pods")}
        time.sleep(0.5)  # as often as is needed to see each pod
    assert 1 <= len(made) <= soak.rounds(short=7, long=10)
    kube.delete("sandboxpool", "broken")


def others(kube: Kube, pod: dict[str, Any]) -> list[dict[str, Any]]:
    """The pods of the namespace but for *pod* and for those that are going."""
    metadata = [one["metadata"] for one in kube.list("pods")]
    return [one for one in metadata if "deletionTimestamp" not in one and one["uid"] != pod["metadata"]["uid"]]


def test_a_warm_pod_that_falls_sick_is_replaced(kube: Kube) -> None:
    probe = {"command": ["test", "!", "-e", "/workspace/sick"], "periodSeconds": 2, "timeoutSeconds": 5}
    kube.apply(manifests.pool("well", 1, warm={"probe": probe}))
    kube.wait_for("sandboxpool", "well", "Full", timeout=90)
    (before,) = kube.list("pods")
    name = before["metadata"]["name"]
    kube.kubectl("exec", name, "-c", "sandbox", "--", "touch", "/workspace/sick")
    until("it is taken out", lambda: (kube.get("pod", name) or {"metadata": {"deletionTimestamp": ""}})["metadata"].get(
        "deletionTimestamp") is not None, 20)  # fmt: skip
    # The pool's status may be that of the moment before.
    until("there is another one", lambda: others(kube, before), 60)
    kube.wait_for("sandboxpool", "well", "Full", timeout=60)
    assert len(others(kube, before)) == 1


def test_a_busy_one_is_stopped_when_its_time_is_over(kube: Kube) -> None:
    busy = manifests.template(command=["python3", "-c", "while True: pass"])
    kube.create(manifests.sandbox("s", template=busy, lifetime={"seconds": 3, "onExpiry": "Stop"}))
    kube.wait_for("sandbox", "s", "Ready")
    until("expired", lambda: kube.status("sandbox", "s")["phase"] == "Expired", 15)
    until("its pod is gone", lambda: kube.list("pods") == [], 30)
    assert kube.status("sandbox", "s")["lastTermination"]["reason"] == "Expired"
    kube.delete("sandbox", "s")
