from __future__ import annotations

import pytest

from sandyard.api import names
from sandyard.api.reasons import Reason
from sandyard.pod import observe
from sandyard.pod.observe import PodState
from tests.unit import objects


@pytest.mark.parametrize(
    ("changes", "egress", "expected"),
    [
        ({}, "None", PodState.WARM),
        ({}, "Internet", PodState.PROVEN),
        ({"labels": {names.LABEL_EGRESS: "Internet"}}, "Internet", PodState.WARM),
        ({"ready": False}, "None", PodState.STARTING),
        ({"message": ""}, "None", PodState.STARTING),
        ({"message": "not json"}, "None", PodState.STARTING),
        ({"labels": {names.LABEL_SANDBOX_UID: "s"}}, "None", PodState.CLAIMED),
        ({"labels": {names.LABEL_SANDBOX_UID: "s"}, "phase": "Failed"}, "None", PodState.CLAIMED),
        ({"phase": "Failed", "ready": False}, "None", PodState.FAILED),
        ({"phase": "Succeeded", "ready": False}, "None", PodState.FAILED),
        ({"deletion": "2026-01-01T00:00:00Z"}, "None", PodState.TERMINATING),
        ({"deletion": "2026-01-01T00:00:00Z", "labels": {names.LABEL_SANDBOX_UID: "s"}}, "None", PodState.TERMINATING),
    ],
)
def test_what_a_pod_is_to_its_pool(changes: dict[str, object], egress: str, expected: PodState) -> None:
    assert observe.classify(objects.pod(**changes), egress) is expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"containers": [{"name": "sandbox", "state": {"waiting": {"reason": "ErrImagePull", "message": "404"}}}]},
         Reason.IMAGE_PULL),
        ({"containers": [{"name": "sandbox", "state": {"waiting": {"reason": "InvalidImageName"}}}]},
         Reason.IMAGE_PULL),
        ({"init": [{"name": "sandyard-probe", "state": {"waiting": {"reason": "CreateContainerError"}}}]},
         Reason.CONTAINER_ERROR),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}]},
         Reason.UNSCHEDULABLE),
        ({"phase": "Failed", "message": objects.proof(isolated=False, runtime="not-gvisor")},
         Reason.RUNTIME_NOT_ISOLATED),
        ({"phase": "Failed", "message": objects.proof(network="Open", reached=["10.96.0.1:443"])},
         Reason.NETWORK_NOT_ENFORCED),
        ({"phase": "Failed", "message": "Traceback"}, Reason.PROBE_FAILED),
        ({"phase": "Failed", "reason": "Evicted", "message": ""}, Reason.EVICTED),
        ({"phase": "Succeeded", "message": "",
          "containers": [{"name": "sandbox", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]},
         Reason.CONTAINER_ERROR),
        ({"phase": "Failed", "message": "",
          "containers": [{"name": "sandbox", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
         Reason.OOM_KILLED),
    ],
)  # fmt: skip
def test_why_a_pod_does_not_get_on(changes: dict[str, object], reason: Reason) -> None:
    found = observe.trouble(objects.pod(ready=False, **changes))
    assert found is not None
    assert found.reason is reason


def test_a_healthy_pod_has_no_trouble() -> None:
    assert observe.trouble(objects.pod()) is None
    assert observe.trouble(objects.pod(ready=False, message="", phase="Pending")) is None
