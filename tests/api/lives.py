"""What the tests of the operator's behaviour share: a pool, a claim, and what becomes of pods."""

from __future__ import annotations

import time
from typing import Any

from sandyard.api import model
from tests.support import manifests
from tests.support.kube import Kube

__all__ = ["TEMPLATE", "claim", "end_pod", "patch", "pool", "set_ready", "states"]

TEMPLATE = {"image": "a", "runtimeClassName": "gvisor"}


def pool(kube: Kube, replicas: int, ready: bool = True, **spec: object) -> None:
    """The pool called python."""
    template = spec.pop("template", TEMPLATE)
    kube.apply(manifests.pool("python", replicas, template, **spec))  # type: ignore[arg-type]
    if ready:
        kube.wait_for("sandboxpool", "python", "Full")


def claim(kube: Kube, name: str, **spec: object) -> dict[str, Any]:
    """A Sandbox of that pool, Ready."""
    kube.create(manifests.sandbox(name, "python", **spec))
    return kube.wait_for("sandbox", name, "Ready")


def patch(kube: Kube, kind: str, name: str, spec: dict[str, Any]) -> None:
    """Change a spec."""
    kube.patch(kind, name, {"spec": spec})


def states(kube: Kube) -> dict[str, int]:
    """Number of pods by state, as `kubectl get pods` tells it."""
    found: dict[str, int] = {}
    for pod in kube.list("pods"):
        state = pod["metadata"]["labels"]["sandyard.dev/state"]
        state = "terminating" if "deletionTimestamp" in pod["metadata"] else state
        found[state] = found.get(state, 0) + 1
    return found


def set_ready(kube: Kube, pod: str, ready: bool, *, by_kubelet: bool = True) -> None:
    """Let a pod's readiness change; not *by_kubelet*: the control plane says so, its node is lost."""
    found = kube.get("pod", pod)
    assert found is not None
    status = found["status"]
    # A whole second later than the container's start, as on a real node.
    moment = model.timestamp(time.time() + 2)[:19] + "Z"
    for condition in status["conditions"]:
        if condition["type"] == "Ready":
            condition.update(status=str(ready), lastTransitionTime=moment)
    if by_kubelet:
        status["containerStatuses"][0]["ready"] = ready
    _write_status(kube, pod, {"conditions": status["conditions"], "containerStatuses": status["containerStatuses"]})


def end_pod(kube: Kube, pod: str, exit_code: int, reason: str = "Error") -> None:
    """Let a pod's main process end."""
    found = kube.get("pod", pod)
    assert found is not None
    container = found["status"]["containerStatuses"][0]
    moment = model.timestamp(time.time())[:19] + "Z"
    container.update(ready=False, state={"terminated": {"exitCode": exit_code, "reason": reason, "finishedAt": moment}})
    phase = "Succeeded" if exit_code == 0 else "Failed"
    _write_status(kube, pod, {"phase": phase, "containerStatuses": [container]})


def _write_status(kube: Kube, pod: str, status: dict[str, Any]) -> None:
    kube.patch("pod", pod, {"status": status}, "status")
