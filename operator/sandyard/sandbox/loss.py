"""A pod that somebody else took away, and what ``onLost`` makes of that: an end, or a fresh pod.

Never two pods at once: the fresh one follows when the lost one is gone for certain, which on a silent node may take
until the node is deleted. What loses pods again and again gets them ever more rarely, and then no more.
"""

from __future__ import annotations

from sandyard.api import model
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.api.reasons import Reason
from sandyard.sandbox import phase, steps
from sandyard.sandbox.steps import Count, Step
from sandyard.sandbox.view import SandboxView

__all__ = ["MOST_REPLACEMENTS", "being_replaced", "lost", "taken"]

MOST_REPLACEMENTS = 5
# A pod that was used for so long shows that pods last; replacements are counted from one again.
_LASTING_SECONDS = 600.0
_FIRST_PAUSE_SECONDS = 10.0


def taken(pod: Pod) -> tuple[Reason, str] | None:
    """Why the pod is lost; None while it is not, or when its main process has ended well.

    ``DisruptionTarget`` is on pods that a node's pressure or shutdown, a drain or the scheduler has ended (KEP-3329).
    """
    name, status = pod.metadata.name, pod.status
    if status.phase == "Succeeded":
        return None
    disrupted = any(item.type == "DisruptionTarget" and item.status == "True" for item in status.conditions)
    if status.phase == "Failed" and (disrupted or status.reason == "Evicted"):
        return Reason.EVICTED, f"pod {name} was ended from outside: {status.message or 'its node did not keep it'}"
    if pod.metadata.deletion_timestamp is not None:
        return Reason.POD_LOST, f"pod {name} is being deleted, not by Sandyard"
    return None


def lost(
    view: SandboxView, message: str, reason: Reason = Reason.POD_LOST, event: Event = Event.POD_LOST
) -> Step:  # fmt: skip
    """Its pod is lost: a fresh one follows, or it ends."""
    number = _number(view)
    if reason is not Reason.POD_RESTARTED and view.replaces and number <= MOST_REPLACEMENTS:
        told = f"{message}; a fresh pod takes its place ({number} of {MOST_REPLACEMENTS})"
        status = phase.replacing(view.facts(), reason, told, message, number)
        return Step("pod lost", status=status, event=(event, told), again=True)
    if reason is not Reason.POD_RESTARTED and view.replaces:
        message = f"{message}; {MOST_REPLACEMENTS} pods before it were lost as well, each within ten minutes"
    return Step(
        "pod lost", status=phase.failed(view.facts(), reason, message), event=(event, message),
        counts=(Count("ended", (reason.value,)),),
    )  # fmt: skip


def being_replaced(view: SandboxView) -> Step | None:
    """Its pod was lost: a fresh one follows once that is gone, after a pause that grows."""
    if not view.status.being_replaced:
        return None
    old = [pod for pod in view.pods if taken(pod) is not None]
    if old:
        return Step("replaced when its lost pod is gone", actions=tuple(steps.DeletePod(pod) for pod in old))
    if view.pods:
        return None
    left = (view.status.resumed_seconds or 0.0) + _pause_seconds(view.status.replacements or 1) - view.now
    if left > 0:
        return Step("replaced later", requeue_after=left)
    return Step("is replaced", status=phase.replaced(view.facts()), actions=(steps.RestartClock(),), again=True)


def _number(view: SandboxView) -> int:
    """Which replacement in a row this is, from 1 on."""
    since = model.moment(view.status.claimed_at)
    lasted = since is not None and view.now - since >= _LASTING_SECONDS
    return 1 if lasted else (view.status.replacements or 0) + 1


def _pause_seconds(number: int) -> float:
    """None before the first, then 10, 20, 40, 80 seconds."""
    return 0.0 if number <= 1 else float(_FIRST_PAUSE_SECONDS * 2 ** (number - 2))
