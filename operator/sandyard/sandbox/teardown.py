"""The order of teardown: ``next_step(observed, now) -> Step``, a pure function.

The network stays closed and the finalizer stays on until every pod of the Sandbox is *gone*,
not only asked to go: a pod that was deleted by force may still run on its node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandyard.api.objects import Pod

__all__ = ["STUCK_AFTER_SECONDS", "Step", "held_by_others", "next_step"]

# Beyond the pod's own grace period: time for the kubelet and the runtime to clean up.
STUCK_AFTER_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Step:
    """What teardown does next.

    Attributes
    ----------
    delete
        Pods to ask to go.
    release
        Take the finalizer off: nothing is left.
    requeue_after
        Seconds after which to look again even if nothing happens.
    stuck
        Why it makes no progress; empty while it does.
    """

    delete: tuple[Pod, ...] = ()
    release: bool = False
    requeue_after: float | None = None
    stuck: str = ""


def next_step(pods: Sequence[Pod], asked_seconds_ago: float, grace_seconds: float) -> Step:
    """Decide on *pods*, everything that is left of the Sandbox.

    Parameters
    ----------
    asked_seconds_ago
        Time since the Sandbox was asked to go.
    grace_seconds
        Grace period of the pods.
    """
    if not pods:
        return Step(release=True)
    running = tuple(pod for pod in pods if pod.metadata.deletion_timestamp is None)
    if running:
        return Step(delete=running, requeue_after=grace_seconds + STUCK_AFTER_SECONDS)
    left = grace_seconds + STUCK_AFTER_SECONDS - asked_seconds_ago
    if left > 0:
        return Step(requeue_after=left)
    return Step(stuck=_why(pods), requeue_after=STUCK_AFTER_SECONDS)


def held_by_others(body: Mapping[str, Any]) -> list[str]:
    """Finalizers of others that hold a pod or a PersistentVolumeClaim of which nothing is in use any more.

    Empty while it may still run (its kubelet has not reported the end of its containers), or nobody holds it.
    """
    metadata, status = body["metadata"], body.get("status") or {}
    finalizers = [name for name in metadata.get("finalizers") or () if not name.startswith("kubernetes.io/")]
    if "deletionTimestamp" not in metadata:
        return []
    pod = "containers" in body.get("spec", {})
    ended = status.get("phase") in ("Succeeded", "Failed") or not body["spec"].get("nodeName")
    return finalizers if ended or not pod else []


def _why(pods: Sequence[Pod]) -> str:
    reasons = []
    for pod in pods:
        if pod.metadata.finalizers:
            reasons.append(f"pod {pod.metadata.name} has finalizers of others: {', '.join(pod.metadata.finalizers)}")
        elif pod.spec.node_name:
            reasons.append(f"pod {pod.metadata.name} is still terminating on node {pod.spec.node_name}")
        else:
            reasons.append(f"pod {pod.metadata.name} is still terminating")
    return "; ".join(reasons)
