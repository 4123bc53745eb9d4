"""What a pool must do now: ``decide(view, now) -> Decision``, a pure function.

Rules, in this order:

1. A failed or unhealthy pod is deleted, whoever's hash it has.  A claimed one never is: it is its
   Sandbox's.
2. Wanted: ``replicas`` plus the claims that wait for a cold start, bounded by ``maxSandboxes``
   over everything alive (starting, warm, claimed, terminating).
3. Pods of an earlier template are never handed out.  They are replaced so that no more than
   ``rollout.maxUnavailable`` of the replicas are missing at once; starting ones go at once.
   Warm pods older than ``warm.maxAgeSeconds`` go after their substitutes are ready.
4. Too many: starting pods go first, then those that are over their age, then the newest warm ones.
5. Too few: create, within ``startup.parallelism``, not while backing off; and only `CANARIES`
   at once until one pod of this template has proven itself, one at a time after a failure, so
   that a broken image costs a handful of pods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sandyard.pod.observe import PodState

__all__ = ["CANARIES", "Decision", "PoolPod", "PoolView", "amount", "decide"]

CANARIES: Final = 2


@dataclass(frozen=True)
class PoolPod:
    """One pod as the arithmetic sees it.

    Attributes
    ----------
    created_at, since
        When it was made, and since when it is ready; seconds.
    current
        Whether it is of the pool's present template.
    stuck
        Whether something keeps it from starting (image, scheduling).
    """

    uid: str
    state: PodState
    created_at: float = 0.0
    since: float = 0.0
    current: bool = True
    stuck: bool = False


@dataclass(frozen=True)
class PoolView:
    """A pool and its pods at one moment, expectations included.

    Attributes
    ----------
    pending_creates
        Creates sent and not yet seen; they count as starting.
    waiting
        Claims in the queue that asked for a cold start.
    reserved
        Places to keep free for Sandboxes that must start a pod of their own.
    proven
        Whether a pod of the present template has ever turned ready.
    failures
        Failed starts in a row.
    held_until
        No creates before this time (backoff).
    max_unavailable
        Warm pods that may be missing while they are replaced.
    max_age_seconds
        Age, from Ready, at which a warm pod is replaced.
    """

    replicas: int
    pods: Sequence[PoolPod]
    max_sandboxes: int | None = None
    parallelism: int = 10
    start_timeout_seconds: float = 300.0
    paused: bool = False
    deleting: bool = False
    pending_creates: int = 0
    waiting: int = 0
    reserved: int = 0
    proven: bool = True
    failures: int = 0
    held_until: float = float("-inf")
    max_unavailable: int = 1
    max_age_seconds: float | None = None


@dataclass(frozen=True)
class Decision:
    """What to do.

    Attributes
    ----------
    create
        Number of pods to start.
    delete
        UIDs of pods to delete.
    timed_out
        Those among them that took too long to start: failures.
    again_at
        When to decide again even if nothing happens; None: only on events.
    at_maximum
        Whether ``maxSandboxes`` keeps the pool from what it wants.
    """

    create: int = 0
    delete: tuple[str, ...] = ()
    timed_out: tuple[str, ...] = ()
    again_at: float | None = None
    at_maximum: bool = False


def decide(view: PoolView, now: float) -> Decision:
    """The next step of the pool *view* at time *now*."""
    if view.deleting:
        unclaimed = [pod for pod in view.pods if pod.state not in (PodState.CLAIMED, PodState.TERMINATING)]
        return Decision(delete=tuple(pod.uid for pod in unclaimed))
    failed = [pod for pod in view.pods if pod.state in (PodState.FAILED, PodState.UNHEALTHY)]
    starting = [pod for pod in view.pods if pod.state is PodState.STARTING]
    late = [pod for pod in starting if now - pod.created_at >= view.start_timeout_seconds]
    gone = {pod.uid for pod in [*failed, *late]}
    if view.paused:
        return Decision(again_at=_next_timeout(starting, gone, view))

    ready = [pod for pod in view.pods if pod.state in (PodState.WARM, PodState.PROVEN)]
    outdated_starting = [pod for pod in starting if not pod.current and pod.uid not in gone]
    starting = [pod for pod in starting if pod.current and pod.uid not in gone]
    gone |= {pod.uid for pod in outdated_starting}
    current = [pod for pod in ready if pod.current]
    outdated = [pod for pod in ready if not pod.current]

    alive = len(view.pods) + view.pending_creates
    # A warm pod makes room for a Sandbox that cannot use it.
    others = alive - len(current) - len(outdated) - len(starting) - view.pending_creates + view.reserved
    want, capped = _bounded(view.replicas + view.waiting, others, view.max_sandboxes)
    under_way = len(starting) + view.pending_creates
    # Pods over their age get substitutes on top, a few at a time.
    aged = _aged(current, view, now)
    substitutes = min(len(aged), max(1, view.max_unavailable))
    target, no_room = _bounded(want + substitutes, others + len(outdated), view.max_sandboxes)
    target = max(want, target)

    gone |= {pod.uid for pod in _surplus(starting, aged, current, len(current) + under_way - target)}
    gone |= {pod.uid for pod in aged[: max(0, len(current) - want)]}
    full = view.max_sandboxes is not None and alive >= view.max_sandboxes
    if aged and no_room and not under_way and full:
        # There is no room for a substitute: the oldest goes first.
        gone.add(aged[0].uid)
    gone |= {pod.uid for pod in _rollout(view, current, outdated, want, blocked=full and not under_way)}

    room = max(0, target - len(current) - under_way)
    if view.max_sandboxes is not None:
        # Replacing is not an excuse to go beyond the maximum: what goes must be gone first.
        room = max(0, min(room, view.max_sandboxes - alive - view.reserved))
    create = _startable(view, room, starting, now)
    held = room > 0 and now < view.held_until
    times = [_next_timeout(starting, gone, view), view.held_until if held else None, _next_aged(current, view, now)]
    return Decision(
        create=create,
        delete=tuple(sorted(gone)),
        timed_out=tuple(sorted(pod.uid for pod in late)),
        again_at=min((time for time in times if time is not None), default=None),
        at_maximum=capped,
    )


def _bounded(want: int, others: int, maximum: int | None) -> tuple[int, bool]:
    if maximum is None or want + others <= maximum:
        return want, False
    return max(0, maximum - others), True


def amount(text: str, replicas: int) -> int:
    """The number that *text* means: a number, or a percentage of *replicas*, rounded up."""
    if text.endswith("%"):
        return math.ceil(int(text[:-1]) * replicas / 100)
    return int(text)


def _aged(ready: Sequence[PoolPod], view: PoolView, now: float) -> list[PoolPod]:
    """Pods over their age, the oldest first."""
    if view.max_age_seconds is None:
        return []
    old = [pod for pod in ready if now - pod.since >= view.max_age_seconds]
    return sorted(old, key=lambda pod: (pod.since, pod.uid))


def _next_aged(ready: Sequence[PoolPod], view: PoolView, now: float) -> float | None:
    if view.max_age_seconds is None:
        return None
    times = [pod.since + view.max_age_seconds for pod in ready]
    return min((time for time in times if time > now), default=None)


def _surplus(
    starting: Sequence[PoolPod], aged: Sequence[PoolPod], ready: Sequence[PoolPod], surplus: int
) -> list[PoolPod]:
    if surplus <= 0:
        return []
    youngest_start = sorted(starting, key=lambda pod: (not pod.stuck, -pod.created_at, pod.uid))
    newest_ready = sorted((pod for pod in ready if pod not in aged), key=lambda pod: (-pod.since, pod.uid))
    return [*youngest_start, *aged, *newest_ready][:surplus]


def _rollout(
    view: PoolView, current: Sequence[PoolPod], outdated: Sequence[PoolPod], want: int, *, blocked: bool
) -> list[PoolPod]:
    """Warm pods of an earlier template that may go now.

    *blocked*: ``maxSandboxes`` leaves no room for a substitute and none is under way; then one
    goes even where none may be missing, or nothing would ever move.
    """
    may_miss = max(view.max_unavailable, 1 if blocked else 0)
    keep = max(0, min(want, view.replicas) - may_miss - len(current))
    oldest_last = sorted(outdated, key=lambda pod: (-pod.since, pod.uid))
    return oldest_last[keep:]


def _startable(view: PoolView, room: int, starting: Sequence[PoolPod], now: float) -> int:
    if room == 0 or now < view.held_until:
        return 0
    under_way = len(starting) + view.pending_creates
    limit = view.parallelism
    if view.failures:
        limit = 1
    elif not view.proven:
        limit = min(CANARIES, limit)
    if any(pod.stuck for pod in starting):
        # More of the same would be stuck the same way.
        return 0
    return max(0, min(room, limit - under_way))


def _next_timeout(starting: Sequence[PoolPod], gone: set[str], view: PoolView) -> float | None:
    waiting = [pod.created_at for pod in starting if pod.uid not in gone]
    return min(waiting) + view.start_timeout_seconds if waiting else None
