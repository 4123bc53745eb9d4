"""Setup before the main process: its network, its failure, its end in time."""

from __future__ import annotations

from typing import Any

from sandyard.api import names
from tests.api.lives import TEMPLATE, claim, pool
from tests.support import manifests
from tests.support.kube import Kube, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess

SETUP = {"command": ["pip", "install", "numpy"], "timeoutSeconds": 60}
OPEN = {**SETUP, "network": {"egress": "Internet"}}


def labels(pod: dict[str, Any]) -> tuple[str, str | None]:
    """(egress, how far the setup's network is closed)."""
    metadata = pod["metadata"]
    return metadata["labels"][names.LABEL_EGRESS], metadata["annotations"].get(names.ANNOTATION_SETUP)


def test_a_setup_without_a_network_runs_between_proof_and_main_process(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template={**TEMPLATE, "setup": SETUP})
    (pod,) = kube.list("pods")
    assert [item["name"] for item in pod["spec"]["initContainers"]] == ["sandyard-probe", "sandyard-setup"]
    assert pod["spec"]["initContainers"][1]["image"] == TEMPLATE["image"]
    assert labels(pod) == ("None", None)
    claim(kube, "s")
    told = kube.condition("sandbox", "s", "SetupCompleted")
    assert told is not None and (told["status"], told["reason"]) == ("True", "Completed")


def test_the_network_of_a_setup_is_closed_before_its_pod_is_warm(kube: Kube, operator: OperatorProcess) -> None:
    pool(kube, 1, template={**TEMPLATE, "setup": OPEN, "network": {"egress": "DNS"}})
    (pod,) = kube.list("pods")
    order = ["sandyard-probe", "sandyard-setup", "sandyard-closed"]
    assert [item["name"] for item in pod["spec"]["initContainers"]] == order
    assert "--after-setup" in pod["spec"]["initContainers"][2]["command"]
    # Closed first, and only then opened as far as the template says.
    assert labels(pod) == ("DNS", "closed")
    claim(kube, "s")


def test_a_cold_sandbox_has_its_setup_closed_too(kube: Kube, operator: OperatorProcess) -> None:
    allow = {"egress": "AllowList", "allow": [{"cidr": "198.51.100.7/32", "ports": [{"port": 443}]}]}
    kube.create(manifests.sandbox("s", template={**TEMPLATE, "setup": {**SETUP, "network": allow}}))
    kube.wait_for("sandbox", "s", "Ready")
    (pod,) = kube.list("pods")
    assert labels(pod) == ("None", "closed")
    assert names.LABEL_ALLOW not in pod["metadata"]["labels"]
    assert "--closed-again=198.51.100.7:443" in pod["spec"]["initContainers"][2]["command"]


def test_a_failed_setup_is_told_with_its_output(kube: Kube, operator: OperatorProcess, kubelet: Kubelet) -> None:
    kubelet.failing_setups.add("broken")
    template = {**TEMPLATE, "image": "broken", "setup": OPEN}
    kube.create(manifests.sandbox("s", template=template))
    until("failed", lambda: kube.status("sandbox", "s").get("phase") == "Failed")
    told = kube.condition("sandbox", "s", "SetupCompleted")
    assert told is not None and (told["status"], told["reason"]) == ("False", "SetupFailed")
    assert "exit code 7" in told["message"] and "no such package" in told["message"]
    pool(kube, 2, ready=False, template=template)
    kube.wait_reason("sandboxpool", "python", "BackingOff", ["SetupFailed"], 60)


def test_a_setup_that_hangs_is_ended(kube: Kube, operator: OperatorProcess, kubelet: Kubelet) -> None:
    kubelet.slow_setups.add("slow")
    template = {**TEMPLATE, "image": "slow", "setup": {**SETUP, "timeoutSeconds": 2}}
    kube.create(manifests.sandbox("s", template=template))
    until("given up", lambda: kube.status("sandbox", "s").get("phase") == "Failed")
    assert "within timeoutSeconds (2 s)" in kube.condition("sandbox", "s", "Ready")["message"]  # type: ignore[index]
    until("its pod is gone", lambda: kube.list("pods") == [])
    pool(kube, 1, ready=False, template=template)
    kube.wait_reason("sandboxpool", "python", "BackingOff", ["SetupFailed"], 60)


def test_an_operator_that_was_away_while_the_setup_ended_closes_it_then(
    kube: Kube, operator: OperatorProcess, kubelet: Kubelet
) -> None:
    kubelet.slow_setups.add("away")
    pool(kube, 1, ready=False, template={**TEMPLATE, "image": "away", "setup": OPEN})
    until("its pod is there", lambda: len(kube.list("pods")) == 1)
    operator.kill()
    kubelet.slow_setups.discard("away")
    name = kube.list("pods")[0]["metadata"]["name"]
    kube.patch("pod", name, {"status": {"message": "look"}}, "status")
    operator.start()
    kube.wait_for("sandboxpool", "python", "Full")
    (pod,) = kube.list("pods")
    assert labels(pod) == ("None", "closed")
