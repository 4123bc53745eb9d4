"""What goes wrong is told within seconds, costs little, and heals when it is put right."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support import manifests, soak
from tests.support.kube import Kube
from tests.support.release import Installed

# Of this the proof of isolation takes three seconds, and fourteen on a machine that is busy with much else.
TOLD_WITHIN = 15


def pool_tells(kube: Kube, name: str, reason: str) -> str:
    message = kube.wait_reason("sandboxpool", name, "Stalled", [reason], TOLD_WITHIN)
    assert kube.condition("sandboxpool", name, "Ready")["reason"] == reason  # type: ignore[index]
    return message


def few_pods_were_made(kube: Kube) -> None:
    events = kube.list("events")
    made = {e["involvedObject"]["name"] for e in events if e["involvedObject"]["kind"] == "Pod"}
    assert len(made) <= 5, f"a storm: {sorted(made)}"


def heals(kube: Kube, name: str) -> None:
    status = kube.wait_for("sandboxpool", name, "Full", timeout=90)
    assert {c["type"]: c["status"] for c in status["conditions"]}["Stalled"] == "False"


def change(kube: Kube, name: str, template: dict[str, Any]) -> None:
    kube.apply(manifests.pool(name, 2, template))


@pytest.mark.alone
def test_an_image_that_cannot_be_pulled(kube: Kube) -> None:
    change(kube, "broken", manifests.template(image="registry.invalid/nothing/here:1"))
    message = pool_tells(kube, "broken", "ImagePullBackOff")
    assert "registry.invalid" in message
    few_pods_were_made(kube)
    change(kube, "broken", manifests.template())
    heals(kube, "broken")


def test_a_runtime_class_that_does_not_exist(kube: Kube) -> None:
    name = f"missing-{kube.namespace}"
    change(kube, "classless", manifests.template(runtimeClassName=name))
    message = pool_tells(kube, "classless", "RuntimeClassMissing")
    assert name in message
    made = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "runsc"}
    kube.apply(made)
    try:
        heals(kube, "classless")
        kube.delete("sandboxpool", "classless")
    finally:
        kube.delete("runtimeclass", name)


def test_a_pod_that_fits_nowhere(kube: Kube) -> None:
    huge = manifests.template(resources={"cpu": "500", "memory": "1Gi", "requests": {"cpu": "400"}})
    change(kube, "huge", huge)
    message = pool_tells(kube, "huge", "Unschedulable")
    assert "Insufficient cpu" in message
    few_pods_were_made(kube)
    change(kube, "huge", manifests.template())
    heals(kube, "huge")


@pytest.mark.soak
def test_fifty_that_fit_nowhere_do_not_make_it_spin(kube: Kube, installed: Installed) -> None:
    huge = manifests.template(resources={"cpu": "500", "memory": "1Gi", "requests": {"cpu": "400"}})
    kube.apply(manifests.pool("huge", 50, huge, startup={"parallelism": 50}))
    pool_tells(kube, "huge", "Unschedulable")
    audit = installed.audit()
    seconds = soak.rounds(short=15, long=30)
    time.sleep(seconds)  # the time over which it is counted
    calls = [call for call in audit.calls() if call.resource not in ("leases", "events")]
    assert len([call for call in calls if call.verb == "create"]) <= 3
    assert len(calls) <= 2 * seconds // 3, f"it spins: {calls}"
    few_pods_were_made(kube)


def test_a_quota_that_is_exceeded(kube: Kube) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
    kube.apply(quota)
    change(kube, "many", manifests.template())
    message = pool_tells(kube, "many", "QuotaExceeded")
    assert "few" in message
    kube.delete("resourcequota", "few")
    heals(kube, "many")


@pytest.mark.alone
def test_a_cold_sandbox_tells_the_same(kube: Kube) -> None:
    broken = manifests.template(image="registry.invalid/nothing/here:1")
    kube.create(manifests.sandbox("alone", template=broken, waitSeconds=20))
    message = kube.wait_reason("sandbox", "alone", "Stalled", ["ImagePullBackOff"], TOLD_WITHIN)
    assert "registry.invalid" in message
    kube.wait_reason("sandbox", "alone", "Finished", ["ImagePullBackOff"], 30)
    assert kube.status("sandbox", "alone")["phase"] == "Failed"
