"""What is done next for one Sandbox: ``decide(view) -> Step``, a pure function.

`RULES` is the whole of it, in the order in which they are asked; the first that answers wins.
Rules that need to know more answer with a question (an action, and *again*): they are asked
once more when the view holds the answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from sandyard.api import model
from sandyard.api.events import Event
from sandyard.api.reasons import Condition, Phase, Reason
from sandyard.sandbox import acquire, expiry, follow, loss, phase, steps
from sandyard.sandbox.status import Status, until
from sandyard.sandbox.steps import Count, Step
from sandyard.sandbox.view import SandboxView, UnreadableView

__all__ = ["RULES", "UNREADABLE_RULES", "decide", "wake_at"]

# Activity is written into the status at most so often; clients stamp more rarely still.
_ACTIVITY_INTERVAL_SECONDS = 5.0
# A metrics API that fails for a moment lets nobody expire.
_METRICS_PATIENCE_SECONDS = 60.0
_RESUME_RETRY_SECONDS = 60.0
_UNSEEN_SECONDS = 0.2
_AnyView = TypeVar("_AnyView", SandboxView, UnreadableView)


def decide(view: SandboxView | UnreadableView) -> Step:
    """The next step for the Sandbox in *view*."""
    if isinstance(view, UnreadableView):
        return _first(UNREADABLE_RULES, view)
    step = _first(RULES, view)
    wait = _activity_wait(view)
    if wait is not None and (step.requeue_after is None or wait < step.requeue_after):
        return dataclasses.replace(step, requeue_after=wait)
    return step


def _first(rules: Sequence[Callable[[_AnyView], Step | None]], view: _AnyView) -> Step:
    return next(step for step in (rule(view) for rule in rules) if step is not None)


def wake_at(view: SandboxView) -> float | None:
    """When its time is over, in seconds since the epoch; None: never, or it is over already."""
    if view.deleting:
        return None
    due = view.expiry().at
    gone = expiry.deleted_at(view.spec.lifetime, view.terms, view.status)
    return min((at for at in (due, gone) if at is not None and at > view.now), default=None)


# The rules


def waits_no_more(view: SandboxView | UnreadableView) -> Step | None:
    """Whoever has a pod, has ended, goes or is to rest keeps no place in a queue, and no pod set aside."""
    rests = isinstance(view, SandboxView) and (_wants_rest(view) is not None or view.status.phase is Phase.SUSPENDED)
    over = view.deleting or view.status.ended or isinstance(view, UnreadableView)
    # A claim that was given up for lost may take place after all, when it waits for another.
    if view.waits and (over or rests or view.pods):
        return Step("waits no more", actions=(steps.StopWaiting(),), again=True)
    return None


def being_deleted(view: SandboxView | UnreadableView) -> Step | None:
    """Its pods go, then what else is its, then the finalizer."""
    return Step("being deleted", actions=(steps.TearDown(),)) if view.deleting else None


def unguarded(view: SandboxView | UnreadableView) -> Step | None:
    """Nothing is done for a Sandbox that could be gone before it is torn down."""
    return None if view.guarded else Step("unguarded", actions=(steps.AddFinalizer(),), again=True)


def unreadable(view: UnreadableView) -> Step | None:
    """Its status says what is wrong with it."""
    return Step("unreadable", status=phase.failed(view.facts(), Reason.INVALID_SPEC, view.invalid))


def over_after_finish(view: SandboxView) -> Step | None:
    """It has ended, and secondsAfterFinished is over."""
    gone_at = expiry.deleted_at(view.spec.lifetime, view.terms, view.status)
    if gone_at is None or gone_at > view.now:
        return None
    event = (Event.DELETED, "it ended, and secondsAfterFinished is over")
    return Step("over after finish", event=event, actions=(steps.DeleteSandbox(),))


def used_lately(view: SandboxView) -> Step | None:
    """A client's stamp is written into the status, where idleSeconds asks for it."""
    moment = _activity(view)
    if moment is None or _activity_wait(view) is not None:
        return None
    status = _active(view, moment, "Client")
    return Step("used lately", status=status, actions=(steps.NoteStamp(view.stamp),), again=True)


def expired(view: SandboxView) -> Step | None:
    """Its time is over: it is deleted, or (``onExpiry: Stop``) ends and stays."""
    due = view.expiry()
    if due.at is None or due.at > view.now:
        return None
    if due.reason is Reason.IDLE:
        busy = _busy(view, due.at)
        if busy is not None:
            return busy
    stops = view.ending in ("Stop", "Suspend")
    if stops and (view.status.ended or (view.ending == "Suspend" and view.may_suspend)):
        return None
    if stops:
        return Step(
            "expired", status=phase.expired(view.facts(), due.reason, due.message),
            event=(Event.EXPIRED, f"{due.message}: its pod goes, the Sandbox stays"),
            counts=(Count("expired", (due.reason.value, "Stop")),),
        )  # fmt: skip
    return Step(
        "expired", event=(Event.EXPIRED, f"{due.message}: deleting it"),
        counts=(Count("expired", (due.reason.value, "Delete")),), actions=(steps.DeleteSandbox(),),
    )  # fmt: skip


def suspended(view: SandboxView) -> Step | None:
    """It rests without a pod and keeps its workspace, or (rested) resumes."""
    wanted = _wants_rest(view)
    if wanted is not None:
        return _suspend(view, *wanted)
    if view.status.being_suspended and view.may_suspend:
        # Its pod may have been asked to go already: it is suspended first, and resumes from there.
        step = _suspend(view, Reason.SUSPENDED, "it is to resume, in a new pod")
        return step if step.again else dataclasses.replace(step, requeue_after=0.1)
    return _rest_or_resume(view) if view.status.phase is Phase.SUSPENDED else None


def stands_with_pod(view: SandboxView) -> Step | None:
    """It has a pod: what that shows decides (`sandyard.sandbox.follow`)."""
    return follow.decide(view, view.pods[0], view.pods[1:]) if view.pods else None


def ended(view: SandboxView) -> Step | None:
    """An ended Sandbox stays as it is; only a changed spec is acknowledged."""
    return follow.kept(view) if view.status.ended else None


def pod_lost(view: SandboxView) -> Step | None:
    """It had a pod that is not in sight: the cluster itself is asked before it fails."""
    status = view.status
    if not status.pod_uid or not status.pod_name:
        return None
    if view.answers.pod_seen is None:
        return Step("pod not in sight", actions=(steps.LookUpPod(status.pod_name, status.pod_uid),), again=True)
    if view.answers.pod_seen:
        return Step("pod not in sight yet", requeue_after=_UNSEEN_SECONDS)
    return loss.lost(view, f"pod {status.pod_name} is gone")


def needs_pod(view: SandboxView) -> Step | None:
    """It has none and needs one (`sandyard.sandbox.acquire`)."""
    return acquire.decide(view)


RULES = (
    waits_no_more,
    being_deleted,
    unguarded,
    over_after_finish,
    used_lately,
    expired,
    suspended,
    loss.being_replaced,
    stands_with_pod,
    ended,
    pod_lost,
    needs_pod,
)

UNREADABLE_RULES = (waits_no_more, being_deleted, unguarded, unreadable)


# Activity


def _activity(view: SandboxView) -> float | None:
    """When a client has used it after what is known; None: nothing new, or nobody asks."""
    lifetime = view.terms.effective(view.spec.lifetime)
    if lifetime is None or lifetime.idle_seconds is None or view.status.ended:
        return None
    if not view.stamp or view.stamp == view.noted_stamp:
        return None
    known = view.status.active_seconds
    moment = expiry.activity(view.stamp, known, view.now)
    return None if moment is None or (known is not None and moment <= known) else moment


def _activity_wait(view: SandboxView) -> float | None:
    """Seconds after which its activity may be written again; None: at once, or there is none."""
    lifetime, known = view.terms.effective(view.spec.lifetime), view.status.active_seconds
    if known is None or lifetime is None or lifetime.idle_seconds is None or _activity(view) is None:
        return None
    wait = known + _ACTIVITY_INTERVAL_SECONDS - view.now
    return wait if wait > 0 and lifetime.idle_seconds > 2 * _ACTIVITY_INTERVAL_SECONDS else None


def _active(view: SandboxView, moment: float, source: str) -> Status:
    """The status after it was used at *moment*."""
    stamped = msgspec.structs.replace(
        view.status, last_activity_at=model.timestamp(moment), activity_source=source
    )  # fmt: skip
    at = view.expiry(status=stamped).at
    return stamped if at is None else msgspec.structs.replace(stamped, **until(at, view.now))


def _busy(view: SandboxView, due_at: float) -> Step | None:
    """No stamp came in time; perhaps it uses its CPU, as far as the metrics API knows."""
    answers, status = view.answers, view.status
    if not view.pods or not status.running or status.phase is not Phase.READY:
        return None
    if answers.asked:
        return Step("its CPU use is asked for")
    if not answers.cpu_asked:
        return Step("idle by its stamps", actions=(steps.AskCpuUse(view.pods[0]),), again=True)
    if answers.cpu_unknown:
        waiting = view.now < due_at + _METRICS_PATIENCE_SECONDS
        return Step("CPU use unknown", requeue_after=_ACTIVITY_INTERVAL_SECONDS) if waiting else None
    used = answers.cpu
    if used is None or used.cores < view.busy_cores:
        return None
    moment, known = min(used.at, view.now), status.active_seconds
    if known is not None and moment <= known:
        return None
    return Step("busy", status=_active(view, moment, "CPU"), again=True)


# Rest


def _wants_rest(view: SandboxView) -> tuple[Reason, str] | None:
    """Why it is to be suspended, if it is."""
    if not view.may_suspend or view.status.ended:
        return None
    if view.spec.desired_state == "Suspended":
        return Reason.SUSPENDED, "as asked for; set desiredState to Running to resume"
    due = view.expiry()
    if view.ending == "Suspend" and due.at is not None and due.at <= view.now:
        return due.reason, f"{due.message}; extend its lifetime to resume"
    return None


def _suspend(view: SandboxView, reason: Reason, message: str) -> Step:
    if view.pods:
        adopt = follow.workspace_to_adopt(view, view.pods[0])
        if adopt is not None:
            return adopt
        deletes = tuple(steps.DeletePod(pod) for pod in view.pods)
        return Step("suspending", status=phase.suspending(view.facts(), message), actions=deletes)
    if view.answers.unseen_pod is None:
        return Step("suspending", actions=(steps.LookForUnseenPod(),), again=True)
    if view.answers.unseen_pod:
        return Step("suspending", requeue_after=_UNSEEN_SECONDS)
    # What a stalled attempt to resume has left is overwritten: now it is as asked for.
    counts = () if reason is Reason.SUSPENDED else (Count("expired", (reason.value, "Suspend")),)
    return Step(
        "suspended", status=phase.suspended(view.facts(), reason, message), event=(Event.SUSPENDED, message),
        counts=counts,
    )  # fmt: skip


def _rest_or_resume(view: SandboxView) -> Step:
    # Of an attempt that has failed.
    deletes = tuple(steps.DeletePod(pod) for pod in view.pods)
    stalled = view.status.condition(Condition.STALLED)
    if stalled is not None and stalled["status"] == "True" and view.status.observed_generation == view.generation:
        left = (model.moment(stalled.get("lastTransitionTime")) or 0.0) + _RESUME_RETRY_SECONDS - view.now
        if left > 0:
            return Step("resumes later", actions=deletes, requeue_after=left)
    if deletes:
        return Step("resumes when its old pod is gone", actions=deletes)
    return Step("resumes", status=phase.resuming(view.facts()), actions=(steps.RestartClock(),), again=True)
