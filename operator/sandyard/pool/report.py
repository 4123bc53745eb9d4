"""The status of a pool: numbers as ``kubectl get pods`` would count them, and conditions."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from sandyard.api import conditions, model, names
from sandyard.api.conditions import Finding
from sandyard.api.reasons import Condition, Reason
from sandyard.pod.observe import PodState, Trouble
from sandyard.podspec.foreign import Exposure
from sandyard.pool.backoff import Backoff
from sandyard.pool.census import Census
from sandyard.pool.schedule import Window
from sandyard.pool.status import AutoscaleFigures, LastFailure, PoolStatus, ScheduleFigures

__all__ = ["PoolFacts", "status", "unreadable"]


@dataclass(frozen=True)
class PoolFacts:
    """Everything that a pool's status is made from.

    Attributes
    ----------
    trouble
        What keeps its starting pods from getting on, if anything.
    proven
        Whether a pod of this template has proven runtime and network; None: not tried yet.
    backoff_now
        Time by the same clock as the backoff's.
    no_restart
        Why its pods are not restarted although it asks for that.
    autoscale
        The figures behind `replicas`, where the demand decides.
    schedule
        The size that holds by ``spec.schedule``, if it has one.
    exposure
        What opens its sandboxes, if anything of others does.
    filled
        Whether all desired sandboxes were warm at some time since its spec was last changed.
    empty_too_long
        Whether none has been warm for longer than a start takes.
    hindered, hindered_for_long
        Which requests fail again and again, and whether somebody has to do something about it.
    """

    uid: str
    generation: int
    replicas: int
    template_hash: str
    pods: Census
    pending_creates: int
    waiting: int
    warm_hits: int
    cold_starts: int
    paused: bool = False
    at_maximum: bool = False
    trouble: Trouble | None = None
    backoff: Backoff = Backoff()
    backoff_now: float = 0.0
    runtime: Finding | None = None
    network: Finding | None = None
    refused: str = ""
    no_restart: str = ""
    autoscale: AutoscaleFigures | None = None
    schedule: Window | None = None
    reused: int = 0
    exposure: Exposure | None = None
    filled: bool = False
    empty_too_long: bool = False
    hindered: str = ""
    hindered_for_long: bool = False


def status(facts: PoolFacts, before: PoolStatus, now: float) -> PoolStatus:
    """The status as it should be written; *before* is the last one, *now* seconds since the epoch."""
    pods = facts.pods
    warm = pods.count(PodState.WARM, current=True)
    starting = pods.count(PodState.STARTING, PodState.PROVEN, current=True)
    merged = conditions.merge(before.conditions, _findings(facts, warm), facts.generation, now)
    return PoolStatus(
        observed_generation=facts.generation,
        replicas=warm,
        starting=starting + facts.pending_creates,
        claimed=pods.count(PodState.CLAIMED),
        terminating=pods.count(PodState.TERMINATING),
        unhealthy=pods.count(PodState.FAILED, PodState.UNHEALTHY),
        outdated=pods.count(PodState.WARM, PodState.PROVEN, PodState.STARTING, current=False),
        warm_hits=facts.warm_hits,
        cold_starts=facts.cold_starts,
        reused=facts.reused or None,
        selector=f"{names.LABEL_POOL_UID}={facts.uid},{names.LABEL_STATE}={names.STATE_WARM}",
        template_hash=facts.template_hash,
        autoscale=facts.autoscale,
        schedule=_schedule(facts.schedule),
        last_failure=_last_failure(facts.backoff) or before.last_failure,
        conditions=tuple(merged),
    )


def unreadable(before: PoolStatus, invalid: str, generation: int, now: float) -> PoolStatus:
    """The status of a pool that cannot be read: what it was, and why it stands still."""
    findings = [
        Finding(Condition.READY, False, Reason.INVALID_SPEC, invalid),
        # The column of kubectl get.
        Finding(Condition.RECONCILING, False, Reason.INVALID_SPEC, invalid),
        Finding(Condition.STALLED, True, Reason.INVALID_SPEC, invalid),
    ]
    merged = conditions.merge(before.conditions, findings, generation, now)
    return msgspec.structs.replace(before, observed_generation=generation, conditions=tuple(merged))


def _schedule(window: Window | None) -> ScheduleFigures | None:
    if window is None:
        return None
    return ScheduleFigures(replicas=window.replicas, until=model.timestamp(window.until))


def _last_failure(backoff: Backoff) -> LastFailure | None:
    if backoff.reason is None:
        return None
    message, moment = conditions.printable(backoff.message), model.timestamp(backoff.at)
    return LastFailure(reason=backoff.reason.value, message=message, time=moment)


def _findings(facts: PoolFacts, warm: int) -> list[Finding]:
    """What a pool says of itself.

    A pool that was filled once is Ready, though each claim takes a pod out of it: that is its work,
    and `Full` tells how far it has got. It is reconciling while it is filled for the first time as it is
    now, and while pods of an earlier template are replaced.
    """
    full = _full(facts, warm)
    withheld = facts.exposure is not None and facts.exposure.withholds
    stalled = _stalled(facts) if not full.status or facts.waiting or withheld else None
    held = facts.backoff.active(facts.backoff_now)
    ready = _ready(facts, full, held)
    at_rest = facts.paused or facts.at_maximum or stalled is not None
    moving = _hindered(facts, stalled) or (None if at_rest else _reconciling(facts, full))
    return [
        # What is paused is as it was asked to be; Ready would have to be False, which says "not yet".
        *([] if facts.paused else [ready]),
        full,
        moving or Finding(Condition.RECONCILING, False, ready.reason, ready.message),
        stalled or _unable(facts) or Finding(Condition.STALLED, False, Reason.RECONCILED),
        Finding(
            Condition.BACKING_OFF,
            held,
            facts.backoff.reason if held and facts.backoff.reason else Reason.RECONCILED,
            f"{facts.backoff.failures} failed starts in a row: {facts.backoff.message}" if held else "",
        ),
        facts.runtime or Finding(Condition.RUNTIME_ISOLATED, None, Reason.NOT_PROVEN, "no sandbox has started yet"),
        _network(facts),
    ]  # fmt: skip


def _full(facts: PoolFacts, warm: int) -> Finding:
    """Whether all desired sandboxes are warm, and may be handed out."""
    counts = f"{warm} of {facts.replicas} warm"
    stalled = _stalled(facts)
    withheld = facts.exposure is not None and facts.exposure.withholds
    if facts.paused:
        return Finding(Condition.FULL, False, Reason.PAUSED, "spec.paused is true: no new pods, no claims")
    if warm >= facts.replicas and not withheld and not facts.refused:
        return Finding(Condition.FULL, True, Reason.ALL_WARM, counts)
    if stalled is not None:
        return Finding(Condition.FULL, False, stalled.reason, f"{counts}: {stalled.message}")
    if facts.at_maximum:
        return Finding(Condition.FULL, False, Reason.MAX_SANDBOXES, f"{counts}: maxSandboxes is reached")
    return Finding(Condition.FULL, False, Reason.SCALING, counts)


def _ready(facts: PoolFacts, full: Finding, held: bool) -> Finding:
    if full.status:
        return Finding(Condition.READY, True, Reason.READY, full.message)
    if facts.paused or _stalled(facts) is not None or held or not facts.filled:
        return Finding(Condition.READY, False, full.reason, full.message)
    if facts.empty_too_long:
        reason = full.reason if facts.at_maximum else Reason.EMPTY
        text = f"{full.message}; it has been empty for longer than a start takes"
        return Finding(Condition.READY, False, reason, text)
    return Finding(Condition.READY, True, Reason.READY, full.message)


def _reconciling(facts: PoolFacts, full: Finding) -> Finding | None:
    """What it is doing, beyond a pool's work; None: nothing."""
    outdated = facts.pods.count(PodState.WARM, PodState.PROVEN, PodState.STARTING, current=False)
    if outdated:
        text = f"{full.message}, {outdated} of an earlier template"
        return Finding(Condition.RECONCILING, True, Reason.ROLLING_OUT, text)
    if not full.status and not facts.filled:
        return Finding(Condition.RECONCILING, True, Reason.SCALING, full.message)
    return None


def _hindered(facts: PoolFacts, stalled: Finding | None) -> Finding | None:
    """Which of its requests fail again and again, while it is not known that somebody has to do something."""
    if not facts.hindered or facts.hindered_for_long or stalled is not None:
        return None
    return Finding(Condition.RECONCILING, True, Reason.REQUEST_FAILED, facts.hindered)


def _network(facts: PoolFacts) -> Finding:
    if facts.exposure is not None:
        return Finding(Condition.NETWORK_ENFORCED, False, Reason.FOREIGN_POLICY, facts.exposure.message)
    unknown = Finding(Condition.NETWORK_ENFORCED, None, Reason.NOT_PROVEN, "no sandbox has started yet")
    return facts.network or unknown


def _unable(facts: PoolFacts) -> Finding | None:
    """What it asks for and cannot have, though its sandboxes can be used."""
    if facts.hindered_for_long:
        return Finding(Condition.STALLED, True, Reason.REQUEST_FAILED, facts.hindered)
    return Finding(Condition.STALLED, True, Reason.RESTART_UNAVAILABLE, facts.no_restart) if facts.no_restart else None


def _stalled(facts: PoolFacts) -> Finding | None:
    if facts.paused:
        return None
    if facts.exposure is not None and facts.exposure.withholds:
        return Finding(Condition.STALLED, True, Reason.FOREIGN_POLICY, facts.exposure.message)
    if facts.refused:
        return Finding(Condition.STALLED, True, Reason.INVALID_TEMPLATE, facts.refused)
    if facts.trouble is not None:
        return Finding(Condition.STALLED, True, facts.trouble.reason, facts.trouble.message)
    if facts.backoff.failures and facts.backoff.reason is not None:
        return Finding(Condition.STALLED, True, facts.backoff.reason, facts.backoff.message)
    return None
