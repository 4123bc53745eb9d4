"""A simulated kubelet: what it reports of the pods of its node, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandyard.api import model, names
from tests.unit import objects

if TYPE_CHECKING:
    from tests.unit.simulated_api import ApiServer

__all__ = ["end_pod", "heal_pod", "report", "restart_pod", "sicken_pod", "start_pod", "starting"]


def starting(api: ApiServer) -> list[str]:
    """Pods whose next stage can come, in the order of their names."""
    return sorted(
        pod["metadata"]["name"]
        for pod in api.all("pods")
        if "deletionTimestamp" not in pod["metadata"]
        and pod["status"].get("phase", "Pending") == "Pending"
        and not (_waits_for_closing(pod) and not _closed(pod))
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
    over = {"terminated": {"exitCode": int(not well), "message": message, "startedAt": moment}}
    lasts = {"running": {"startedAt": moment}}
    ended = [_anew(pod, part, lasts if part == names.RESTART_CONTAINER else over) for part in order]
    running = [{**_anew(pod, names.CONTAINER, lasts), "ready": True}]
    api.change("pods", name, {"status": {
        "phase": "Running" if well else "Failed",
        "conditions": [{"type": "Ready", "status": str(well), "lastTransitionTime": moment}],
        "initContainerStatuses": ended,
        "containerStatuses": running if well else [],
    }})  # fmt: skip


def restart_pod(api: ApiServer, name: str) -> None:
    """The container that restarts a pod has ended in its own way: all are removed, and start anew in their order."""
    status = api.objects["pods", name]["status"]
    gone = {"waiting": {"reason": "RestartingAllContainers", "message": "The container is removed"}}
    each = {
        kind: [
            {"name": item["name"], "restartCount": item.get("restartCount", 0) + 1, "ready": False, "state": gone}
            for item in status.get(kind, ())
        ]
        for kind in ("initContainerStatuses", "containerStatuses")
    }
    moment = model.timestamp(api.now())[:19] + "Z"
    conditions = [{"type": "Ready", "status": "False", "lastTransitionTime": moment}]
    api.change("pods", name, {"status": {**each, "phase": "Pending", "conditions": conditions}})


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


def _anew(pod: dict[str, Any], part: str, state: dict[str, Any]) -> dict[str, Any]:
    """The status of a container that has been started, for the first time or again."""
    known = [*pod["status"].get("initContainerStatuses", ()), *pod["status"].get("containerStatuses", ())]
    count = next((item.get("restartCount", 0) for item in known if item["name"] == part), 0)
    return {"name": part, "containerID": f"{part}-{count}", "restartCount": count, "state": state}


def _waits_for_closing(pod: dict[str, Any]) -> bool:
    """Whether its setup has ended, and its last proof has yet to run."""
    shown = bool(pod["status"].get("initContainerStatuses"))
    return shown and any(item["name"] == names.CLOSED_CONTAINER for item in pod["spec"].get("initContainers", ()))


def _closed(pod: dict[str, Any]) -> bool:
    """Whether the network is closed as the last proof wants to find it."""
    return bool(pod["metadata"]["labels"].get(names.LABEL_EGRESS) == names.EGRESS_NONE)
