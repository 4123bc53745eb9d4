"""Suspended: the pod goes, the workspace stays, and each way and back from every state."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sandyard.api import model
from sandyard.api.names import LABEL_EGRESS
from tests.api.conftest import OPERATOR_USER
from tests.api.lives import TEMPLATE, claim, patch, pool, states
from tests.support import manifests
from tests.support.kube import Kube, Refused, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess

PERSISTENT = {**TEMPLATE, "workspace": {"persistent": {"size": "1Gi"}}}


def want(kube: Kube, name: str, state: str) -> None:
    patch(kube, "sandbox", name, {"desiredState": state})


def suspended(kube: Kube, name: str = "s") -> dict[str, Any]:
    until("suspended", lambda: kube.status("sandbox", name).get("phase") == "Suspended")
    return kube.status("sandbox", name)


def claims(kube: Kube) -> dict[str, list[str]]:
    """Owners of each PersistentVolumeClaim, by name."""
    found = kube.list("persistentvolumeclaims")
    return {
        item["metadata"]["name"]: [owner["kind"] for owner in item["metadata"].get("ownerReferences", ())]
        for item in found
        if "deletionTimestamp" not in item["metadata"]
    }


def test_a_warm_pods_workspace_becomes_its_sandboxs_and_outlives_the_pod(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template=PERSISTENT)
    before = claim(kube, "s")
    until("adopted", lambda: kube.status("sandbox", "s").get("workspaceClaim"))
    workspace = kube.status("sandbox", "s")["workspaceClaim"]
    assert workspace == f"{before['podName']}-workspace"
    want(kube, "s", "Suspended")
    told = suspended(kube)
    assert not {"podName", "podUID", "podIP", "claimedAt"} & told.keys()
    assert kube.condition("sandbox", "s", "Reconciling")["reason"] == "Suspended"  # type: ignore[index]
    until("its pod is gone", lambda: states(kube) == {"warm": 1})
    until("the Sandbox alone owns it", lambda: claims(kube)[workspace] == ["Sandbox"])

    want(kube, "s", "Running")
    after = kube.wait_for("sandbox", "s", "Ready")
    assert after["podUID"] != before["podUID"]
    assert (after["restarts"], after["readyAt"], after["workspaceClaim"]) == (1, before["readyAt"], workspace)
    pod = kube.get("pod", after["podName"])
    assert pod is not None
    assert {"name": "workspace", "persistentVolumeClaim": {"claimName": workspace}} in pod["spec"]["volumes"]
    kube.delete("sandbox", "s")
    assert workspace not in claims(kube), "the Sandbox was gone before its workspace"


def test_a_network_that_is_asked_for_while_the_workspace_is_adopted_is_given(
    kube: Kube, operator: OperatorProcess
) -> None:
    """Right after Ready the operator adopts the workspace; a change that comes in between is not lost."""
    count = 8
    pool(kube, count, template=PERSISTENT, allowedEgress=["None", "DNS"])
    for number in range(count):
        claim(kube, f"s{number}")
        patch(kube, "sandbox", f"s{number}", {"network": {"egress": "DNS"}})
    pods = [kube.status("sandbox", f"s{number}")["podName"] for number in range(count)]

    def switched() -> bool:
        return all(kube.get("pod", pod)["metadata"]["labels"][LABEL_EGRESS] == "DNS" for pod in pods)  # type: ignore[index]

    until("all of them are switched", switched)


def test_each_time_it_goes_on_in_a_pod_of_another_name(kube: Kube, operator: OperatorProcess) -> None:
    kube.create(manifests.sandbox("s", template=PERSISTENT))
    pods = [kube.wait_for("sandbox", "s", "Ready")["podName"]]
    for count in (1, 2):
        want(kube, "s", "Suspended")
        suspended(kube)
        want(kube, "s", "Running")
        status = kube.wait_for("sandbox", "s", "Ready")
        assert status["restarts"] == count
        pods.append(status["podName"])
    assert len(set(pods)) == 3


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.4])
def test_asked_for_while_it_starts(kube: Kube, operator: OperatorProcess, moment: float) -> None:
    kube.create(manifests.sandbox("s", template=PERSISTENT))
    time.sleep(moment)  # the moment is the point
    want(kube, "s", "Suspended")
    suspended(kube)
    until("no pod", lambda: kube.list("pods") == [])
    want(kube, "s", "Running")
    kube.wait_for("sandbox", "s", "Ready")


def test_made_suspended_it_has_no_pod_until_it_is_to_run(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template=PERSISTENT)
    kube.create(manifests.sandbox("s", "python", desiredState="Suspended"))
    suspended(kube)
    assert states(kube) == {"warm": 1}
    want(kube, "s", "Running")
    assert kube.wait_for("sandbox", "s", "Ready")["start"] == "Warm"


def test_an_operator_that_dies_in_between_ends_what_was_begun(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template=PERSISTENT)
    claim(kube, "s")
    operator.kill()
    want(kube, "s", "Suspended")
    operator.start()
    workspace = suspended(kube)["workspaceClaim"]
    operator.kill()
    want(kube, "s", "Running")
    operator.start()
    assert kube.wait_for("sandbox", "s", "Ready")["workspaceClaim"] == workspace


def test_it_is_refused_where_nothing_would_be_kept(kube: Kube, operator: OperatorProcess) -> None:
    with pytest.raises(Refused, match=r"needs template\.workspace\.persistent"):
        kube.create(manifests.sandbox("s", template=TEMPLATE, desiredState="Suspended"))
    with pytest.raises(Refused, match=r"onExpiry Suspend needs template\.workspace\.persistent"):
        kube.create(manifests.sandbox("s", template=TEMPLATE, lifetime={"seconds": 5, "onExpiry": "Suspend"}))
    pool(kube, 1)
    claim(kube, "s")
    want(kube, "s", "Suspended")
    kube.wait_reason("sandbox", "s", "Stalled", ["WorkspaceNotPersistent"], 60)
    assert kube.status("sandbox", "s")["phase"] == "Ready", "it runs on"
    want(kube, "s", "Running")
    until("it is healthy", lambda: kube.condition("sandbox", "s", "Stalled")["status"] == "False")  # type: ignore[index]


def test_an_expired_one_is_suspended_and_goes_on_with_a_longer_life(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template=PERSISTENT)
    claim(kube, "s", lifetime={"seconds": 3, "onExpiry": "Suspend"})
    suspended(kube)
    assert kube.condition("sandbox", "s", "Reconciling")["reason"] == "Expired"  # type: ignore[index]
    patch(kube, "sandbox", "s", {"lifetime": {"seconds": 3600}})
    kube.wait_for("sandbox", "s", "Ready")


def test_an_idle_one_is_suspended_and_goes_on_when_it_is_used(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template=PERSISTENT)
    claim(kube, "s", lifetime={"idleSeconds": 5, "onExpiry": "Suspend"})
    suspended(kube)
    assert kube.condition("sandbox", "s", "Reconciling")["reason"] == "Idle"  # type: ignore[index]
    stamp = model.timestamp(time.time())
    kube.annotate("sandbox", "s", "sandyard.dev/last-activity", stamp)
    kube.wait_for("sandbox", "s", "Ready")


def test_time_asleep_is_no_idle_time(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template=PERSISTENT)
    claim(kube, "s", lifetime={"idleSeconds": 5})
    want(kube, "s", "Suspended")
    suspended(kube)
    since = time.time()
    until("longer than it may be idle", lambda: time.time() > since + 5.5)
    want(kube, "s", "Running")
    kube.wait_for("sandbox", "s", "Ready")


def test_a_start_that_fails_loses_no_workspace(kube: Kube, operator: OperatorProcess, kubelet: Kubelet) -> None:
    pool(kube, 1, template=PERSISTENT)
    claim(kube, "s", waitSeconds=600)
    want(kube, "s", "Suspended")
    workspace = suspended(kube)["workspaceClaim"]
    kubelet.stuck.add("stuck")
    patch(kube, "sandboxpool", "python", {"template": {**PERSISTENT, "image": "stuck"}})
    want(kube, "s", "Running")
    kube.wait_reason("sandbox", "s", "Stalled", ["ImagePullBackOff"], 60)
    patch(kube, "sandbox", "s", {"waitSeconds": 1})
    until("given up", lambda: kube.status("sandbox", "s")["phase"] == "Suspended")
    assert workspace in claims(kube)
    patch(kube, "sandboxpool", "python", {"template": PERSISTENT})
    patch(kube, "sandbox", "s", {"waitSeconds": 20})
    assert kube.wait_for("sandbox", "s", "Ready")["workspaceClaim"] == workspace


def test_a_suspended_one_is_deleted_with_its_workspace(kube: Kube, operator: OperatorProcess) -> None:
    kube.create(manifests.sandbox("s", template=PERSISTENT))
    kube.wait_for("sandbox", "s", "Ready")
    want(kube, "s", "Suspended")
    suspended(kube)
    kube.delete("sandbox", "s")
    assert claims(kube) == {}


def test_a_workspace_of_nobody_is_swept_away(kube: Kube, operator: OperatorProcess) -> None:
    """Made by hand, as if the Sandbox had gone while nobody looked."""
    kube.create(manifests.sandbox("s", template=PERSISTENT))
    kube.wait_for("sandbox", "s", "Ready")
    until("adopted", lambda: kube.status("sandbox", "s").get("workspaceClaim"))
    operator.kill()
    (workspace,) = claims(kube)
    made = model.seconds(kube.get("pvc", workspace)["metadata"]["creationTimestamp"])  # type: ignore[index]
    for kind, name, field in (("pvc", workspace, "ownerReferences"), ("sandbox", "s", "finalizers")):
        kube.as_user(OPERATOR_USER).patch(kind, name, {"metadata": {field: None}})
    kube.delete("sandbox", "s")
    until("old enough: the sweep leaves younger ones alone", lambda: time.time() > made + 6)
    operator.start()
    until("swept", lambda: claims(kube) == {}, 90)


def test_others_do_not_call_a_claim_theirs(kube: Kube, operator: OperatorProcess) -> None:
    with pytest.raises(Refused, match="belong to the operator"):
        kube.create({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "x", "labels": {"sandyard.dev/sandbox-uid": "y"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        })  # fmt: skip
