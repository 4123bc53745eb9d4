"""A simulated kubelet: what it reports of the pods of its node, stage by stage."""

from __future__ import annotations

from typing import Any

from sandyard.api import model, names
from tests.unit import objects
from tests.unit.simulated_api import ApiServer

__all__ = ["end_pod", "heal_pod", "report", "sicken_pod", "start_pod", "starting"]


def starting(api: ApiServer) -> list[str]:
    """Pods whose next stage can come, in the order of their names."""
    return sorted(
        pod["metadata"]["name"]
        for pod in api.all("pods")
        if "deletionTimestamp" not in pod["metadata"]
        and pod["status"].get("phase", "Pending") == "Pending"
        and not (pod["status"].get("initContainerStatuses") and not _closed(pod))
    )


def start_pod(api: ApiServer, name: str, *, well: bool = True) -> None:
    """One stage further: the setup has ended where its network has to be closed, or the pod is ready or has failed."""
    pod = api.objects["pods", name]
    order = [container["name"] for container in pod["spec"].get("initContainers", ())]
    if names.CLOSED_CONTAINER in order and not pod["status"].get("initContainerStatuses"):
        done = {"exitCode": 0, "message": objects.proof()}
        ended = [{"name": part, "state": {"terminated": done}} for part in order if part != names.CLOSED_CONTAINER]
        api.change("pods", name, {"status": {"phase": "Pending", "initContainerStatuses": ended}})
        return
    moment = model.timestamp(api.now())[:19] + "Z"
    message = objects.proof() if well else objects.proof(network="Open", reached=["x"])
    ended = [{"name": part, "state": {"terminated": {"exitCode": int(not well), "message": message}}} for part in order]
    running = [{"name": names.CONTAINER, "ready": True, "state": {"running": {"startedAt": moment}}}]
    api.change("pods", name, {"status": {
        "phase": "Running" if well else "Failed",
        "conditions": [{"type": "Ready", "status": str(well), "lastTransitionTime": moment}],
        "initContainerStatuses": ended,
        "containerStatuses": running if well else [],
    }})  # fmt: skip


def end_pod(api: ApiServer, name: str, exit_code: int) -> None:
    """The main process of a pod ends by itself."""
    moment = model.timestamp(api.now())[:19] + "Z"
    ended = {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed", "finishedAt": moment}
    api.change("pods", name, {"status": {
        "phase": "Failed" if exit_code else "Succeeded",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": moment}],
        "containerStatuses": [{"name": names.CONTAINER, "state": {"terminated": ended}}],
    }})  # fmt: skip


def sicken_pod(api: ApiServer, name: str) -> None:
    """The health probe of a running pod fails."""
    _turn(api, name, ready=False)


def heal_pod(api: ApiServer, name: str) -> None:
    """The health probe of a running pod succeeds again."""
    _turn(api, name, ready=True)


def report(api: ApiServer, name: str, reason: str) -> None:
    """The kubelet or the scheduler reports why a pod makes no progress."""
    status: dict[str, Any] = {"phase": "Pending"}
    if reason == "Unschedulable":
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": "0/1 nodes"}
        status["conditions"] = [condition]
    else:
        waiting = {"reason": reason, "message": "no such image"}
        status["containerStatuses"] = [{"name": names.CONTAINER, "state": {"waiting": waiting}}]
    api.change("pods", name, {"status": status})


def _turn(api: ApiServer, name: str, *, ready: bool) -> None:
    # A second later than the start, or the change would say nothing about what was before.
    moment = model.timestamp(api.now() + 1)[:19] + "Z"
    status = api.objects["pods", name]["status"]
    containers = [{**item, "ready": ready} for item in status["containerStatuses"]]
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": moment}]
    api.change("pods", name, {"status": {"conditions": conditions, "containerStatuses": containers}})


def _closed(pod: dict[str, Any]) -> bool:
    """Whether the network is closed as the last proof wants to find it."""
    return bool(pod["metadata"]["labels"].get(names.LABEL_EGRESS) == names.EGRESS_NONE)
