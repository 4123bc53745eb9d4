"""How a Sandbox gets its pod: a warm one of its pool, one that starts for it, or a place in the queue."""

from __future__ import annotations

from sandyard.api.events import Event
from sandyard.api.network import Network
from sandyard.api.reasons import Reason
from sandyard.api.template import Template
from sandyard.podspec import network
from sandyard.podspec.network import Reach
from sandyard.sandbox import follow, phase, queue, steps
from sandyard.sandbox.steps import Step
from sandyard.sandbox.view import PoolFacts, Refusal, SandboxView

__all__ = ["decide", "left_seconds"]

# A claim that waits says so, but not before it has had a chance to be served at once.
_TELL_AFTER_SECONDS = 0.5
_TELL_BUSY_SECONDS = 2.0
_REFRESH_SECONDS = 5.0
# Ten thousand that wait would otherwise do nothing but say so: who is far back says it less often.
_REFRESH_SECONDS_PER_PLACE = 0.1
# Nobody wakes a Sandbox that waits for another to end.
_CROWDED_SECONDS = 1.0
# Ten thousand of them would otherwise look ten thousand times a second.
_CROWDED_SECONDS_PER_PLACE = 0.01


def decide(view: SandboxView) -> Step:
    """One step towards a pod."""
    spec, pool, pool_name = view.spec, view.pool, view.pool_name or ""
    if view.withheld:
        return _withheld(view)
    if view.bounds.max_sandboxes and view.older >= view.bounds.max_sandboxes:
        return _wait_for_others(view)
    if spec.template is not None:
        refused = view.not_allowed(spec.network)
        if refused:
            return follow.give_up(view, Reason.EGRESS_NOT_ALLOWED, refused)
        return _start(view, _with_network(spec.template, spec.network), None)
    if pool is None or pool.deleting:
        message = f"there is no SandboxPool {pool_name!r} in namespace {view.namespace!r} (yet)"
        return _wait_for_pool(view, Reason.POOL_NOT_FOUND, message, spec.wait_seconds)
    if pool.spec.paused:
        message = f"SandboxPool {pool_name!r} is paused (spec.paused)"
        return _wait_for_pool(view, Reason.PAUSED, message, _patience(view, pool))
    if pool.beyond:
        message = f"SandboxPool {pool_name!r} asks for more than it may: {pool.beyond}"
        return _wait_for_pool(view, Reason.INVALID_TEMPLATE, message, _patience(view, pool))
    template, own = pool.spec.template, spec.network
    refused = view.not_allowed(own)
    if refused:
        return follow.give_up(view, Reason.EGRESS_NOT_ALLOWED, refused)
    resumed = bool(view.status.workspace_claim)
    if resumed or spec.env or (own is not None and not network.widens(template.network, own)):
        return _start_from_pool(view, pool, _with_network(template, own))
    return _claim(view, pool)


def left_seconds(view: SandboxView) -> float | None:
    """How long it may still wait for a pod, as far as that is known; None: it waits for none, or without end."""
    if view.deleting or view.status.ended or view.status.running or view.pods:
        return None
    if view.spec.template is None and not view.spec.env and view.pool is not None:
        return _patience(view, view.pool) - _waited(view, view.waited_seconds)
    return view.start_patience_seconds - _with_pool(view, view.waited_seconds)


def _claim(view: SandboxView, pool: PoolFacts) -> Step:
    action = pool.spec.when_empty.action
    if not view.answers.claim_tried:
        patience = _patience(view, pool)
        if view.hindered and _waited(view, view.waited_seconds) >= patience:
            # Its claim ends before it can say so.
            message = f"no sandbox within {patience} s (waitSeconds): {view.hindered}"
            return follow.give_up(view, Reason.REQUEST_FAILED, message)
        own = view.spec.network
        reach = Reach(own, pool.spec.template.dns) if own is not None else None
        claim = steps.ClaimWarmPod(reach, cold=action == "ColdStart", wait=action != "Reject")
        return Step("claims", actions=(claim,), again=True)
    if view.answers.claim_refused is not None:
        return _claim_refused(view, view.answers.claim_refused, _patience(view, pool))
    if action == "Reject":
        return _reject(view, f"no warm sandbox in SandboxPool {pool.name!r}")
    joined = view.claim.waited_seconds
    if joined is None:
        # Taken off the queue meanwhile: try again.
        return Step("claims again", requeue_after=0.01)
    if joined < _TELL_AFTER_SECONDS and not view.status.conditions:
        return Step("waits", requeue_after=_TELL_AFTER_SECONDS - joined)
    place = queue.place(view.claim.ahead)
    if pool.failure is not None:
        return _wait(view, pool, *pool.failure, joined, stalled=True)
    if pool.at_maximum:
        message = f"SandboxPool {pool.name!r} has reached maxSandboxes; waiting for one to be deleted ({place})"
        return _wait(view, pool, Reason.MAX_SANDBOXES, message, joined)
    message = f"no warm sandbox in SandboxPool {pool.name!r}; waiting for one to turn ready ({place})"
    return _wait(view, pool, Reason.WAITING, message, joined)


def _claim_refused(view: SandboxView, refused: Refusal, patience: int) -> Step:
    left = patience - _waited(view, view.waited_seconds)
    if left <= 0:
        return follow.give_up(view, refused.reason, f"no sandbox within {patience} s (waitSeconds): {refused.message}")
    if refused.retry_after_seconds is not None:
        # For a moment is no news.
        told = phase.pending(view.facts(), Reason.WAITING, f"the API server is busy: {refused.message}", stalled=False)
        lasts = view.waited_seconds >= _TELL_BUSY_SECONDS or refused.retry_after_seconds >= _TELL_BUSY_SECONDS
        return Step(
            "the API server is busy", status=told if lasts else None,
            requeue_after=min(refused.retry_after_seconds, max(0.1, left)),
        )  # fmt: skip
    return _refused(view, refused, left)


def _start_from_pool(view: SandboxView, pool: PoolFacts, template: Template) -> Step:
    if view.claim.open:
        # It asked for a warm one before its network was changed.
        return Step("claims no more", actions=(steps.StopWaiting(),), again=True)
    if not view.answers.no_room:
        return _start(view, template, pool)
    message = f"SandboxPool {pool.name!r} has reached maxSandboxes"
    if pool.spec.when_empty.action == "Reject":
        return _reject(view, message)
    return _wait(view, pool, Reason.MAX_SANDBOXES, message, view.waited_seconds)


def _start(view: SandboxView, template: Template, pool: PoolFacts | None) -> Step:
    """Start a pod for this Sandbox alone."""
    waited, patience = _with_pool(view, view.waited_seconds), view.start_patience_seconds
    if not view.answers.start_tried:
        if waited >= patience:
            hindered = (Reason.REQUEST_FAILED, view.hindered) if view.hindered else None
            reason, why = view.last_refusal or hindered or (Reason.START_TIMEOUT, "no pod could be made")
            return follow.give_up(view, reason, f"not started within {patience} s: {why}")
        return Step("starts", actions=(steps.StartPod(template, from_pool=pool is not None),), again=True)
    refused = view.answers.start_refused
    if refused is None:
        return Step("started")
    if refused.final:
        return follow.give_up(view, refused.reason, refused.message)
    return _refused(view, refused, patience - waited)


def _refused(view: SandboxView, refused: Refusal, left_seconds: float) -> Step:
    """Say why the API server takes no pod for it, and try again before its time is over."""
    return Step(
        "refused", status=phase.pending(view.facts(), refused.reason, refused.message, stalled=True),
        event=(Event.WAITING, f"{refused.reason.value}: {refused.message}"),
        requeue_after=min(_REFRESH_SECONDS, max(0.1, left_seconds)),
    )  # fmt: skip


def _withheld(view: SandboxView) -> Step:
    """Wait until nothing of others opens the namespace, or give up when its time is over."""
    if view.claim.open:
        return Step("claims no more", actions=(steps.StopWaiting(),), again=True)
    pool = view.pool
    if pool is not None and pool.spec.when_empty.action == "Reject":
        return follow.give_up(view, Reason.FOREIGN_POLICY, f"{view.withheld}; whenEmpty.action is Reject")
    patience = _patience(view, pool) if pool is not None else view.start_patience_seconds
    waited = view.waited_seconds
    if waited >= patience:
        return follow.give_up(view, Reason.FOREIGN_POLICY, f"no sandbox within {patience} s: {view.withheld}")
    return Step(
        "withheld", status=phase.pending(view.facts(), Reason.FOREIGN_POLICY, view.withheld, stalled=True),
        event=(Event.WAITING, f"{Reason.FOREIGN_POLICY.value}: {view.withheld}"), requeue_after=patience - waited,
    )  # fmt: skip


def _wait_for_others(view: SandboxView) -> Step:
    """Its namespace has as many Sandboxes as it may: wait until one ends, or give up when its time is over."""
    if view.claim.open:
        return Step("claims no more", actions=(steps.StopWaiting(),), again=True)
    waited, patience, most = view.waited_seconds, view.start_patience_seconds, view.bounds.max_sandboxes
    ahead = view.older - most
    message = (
        f"namespace {view.namespace!r} has {most} or more older Sandboxes that have not ended, and policy.maxSandboxes "
        f"of the operator's chart is {most}; waiting for one to end ({queue.place(ahead)})"
    )
    if waited >= patience:
        return follow.give_up(view, Reason.MAX_SANDBOXES, f"no sandbox within {patience} s: {message}")
    return Step(
        "waits for others", status=phase.pending(view.facts(), Reason.MAX_SANDBOXES, message, stalled=True),
        requeue_after=min(patience - waited, max(_CROWDED_SECONDS, _CROWDED_SECONDS_PER_PLACE * ahead)),
    )  # fmt: skip


def _wait_for_pool(view: SandboxView, reason: Reason, message: str, patience: int | None) -> Step:
    """Wait until the pool appears, is continued or put right, or give up when its time is over."""
    if view.claim.open:
        return Step("claims no more", actions=(steps.StopWaiting(),), again=True)
    waited = _waited(view, view.waited_seconds)
    if patience is not None and waited >= patience:
        return follow.give_up(view, reason, f"no sandbox within {patience} s (waitSeconds): {message}")
    return Step(
        "waits for its pool", status=phase.pending(view.facts(), reason, message, stalled=True),
        event=(Event.WAITING, f"{reason.value}: {message}"), actions=(steps.WaitForPool(),),
        requeue_after=patience - waited if patience is not None else None,
    )  # fmt: skip


def _wait(
    view: SandboxView, pool: PoolFacts, reason: Reason, message: str, waited: float, *, stalled: bool = False
) -> Step:
    """Say why it waits, or give up when its time is over."""
    patience, waited = _patience(view, pool), _waited(view, waited)
    if waited >= patience:
        ended = reason if stalled else Reason.POOL_EXHAUSTED
        return follow.give_up(view, ended, f"no sandbox within {patience} s (waitSeconds): {message}")
    refresh = max(_REFRESH_SECONDS, _REFRESH_SECONDS_PER_PLACE * view.claim.ahead)
    return Step(
        "waits", status=phase.pending(view.facts(), reason, message, stalled=stalled),
        requeue_after=min(patience - waited, refresh),
    )  # fmt: skip


def _reject(view: SandboxView, message: str) -> Step:
    return follow.give_up(view, Reason.POOL_EXHAUSTED, f"{message}, and whenEmpty.action is Reject")


def _patience(view: SandboxView, pool: PoolFacts) -> int:
    return view.spec.wait_seconds or pool.spec.when_empty.wait_seconds


def _waited(view: SandboxView, seconds: float) -> float:
    """How much of its patience is used up after *seconds*: that of a pool begins with the pool."""
    return seconds if view.spec.wait_seconds else _with_pool(view, seconds)


def _with_pool(view: SandboxView, seconds: float) -> float:
    """How much of *seconds* its pool was there; all of it for one that needs none."""
    return seconds if view.pool is None else min(seconds, view.now - view.pool.created_at)


def _with_network(template: Template, own: Network | None) -> Template:
    return template if own is None else template.model_copy(update={"network": own})
