"""How a pod's main process ended, from the pod's own status."""

from __future__ import annotations

from typing import Any

from sandyard.api import conditions, names
from sandyard.api.objects import Pod
from sandyard.api.reasons import Reason

__all__ = ["of"]


def of(pod: Pod) -> dict[str, Any] | None:
    """``lastTermination`` of the pod's Sandbox; None while the main process may still run.

    Its end is final, since it is never started again (``restartPolicy: Never``); the pod's own
    phase follows only when all of the pod is gone, seconds later.

    Out of memory is taken from the container's own reason, never from exit code 137: a
    process that kills itself looks the same.
    """
    if pod.status.reason == "Evicted":
        return {"reason": Reason.EVICTED.value, "message": conditions.printable(pod.status.message)}
    over = pod.status.phase in ("Succeeded", "Failed")
    if pod.metadata.deletion_timestamp is not None and not over:
        # It is ended from outside, and how it takes that says nothing.
        return None
    for status in pod.status.container_statuses:
        ended = status.state.terminated
        if status.name != names.CONTAINER or ended is None:
            continue
        if ended.reason == "OOMKilled":
            reason = Reason.OOM_KILLED
        else:
            reason = Reason.COMPLETED if ended.exit_code == 0 else Reason.ERROR
        found: dict[str, Any] = {"reason": reason.value, "exitCode": ended.exit_code}
        number = ended.signal or (ended.exit_code - 128 if 128 < ended.exit_code < 160 else None)
        if number:
            found["signal"] = number
        if ended.message:
            found["message"] = conditions.printable(ended.message)
        if ended.finished_at:
            found["finishedAt"] = ended.finished_at
        return found
    if not over:
        return None
    message = conditions.printable(pod.status.message or f"the pod is {pod.status.phase}")
    return {"reason": Reason.ERROR.value, "message": message}
