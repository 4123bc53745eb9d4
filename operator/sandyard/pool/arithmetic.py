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
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from sandyard.pool.census import Census
from sandyard.pool.ordered import Ordered

__all__ = ["CANARIES", "Decision", "PoolView", "amount", "decide"]

CANARIES: Final = 2


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
    withheld
        Something opens the pool's pods: none would prove itself, so none is started.
    """

    replicas: int
    pods: Census
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
    withheld: bool = False


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
    """The next step of the pool *view* at time *now*.

    It costs as much as there is to be done, however many pods there are.
    """
    pods = view.pods
    if view.deleting:
        return Decision(delete=tuple(pods.unclaimed()))
    late = [*_late(pods.starting, view, now), *_late(pods.starting_outdated, view, now)]
    gone = {*pods.bad, *late}
    if view.paused:
        times = [_next_timeout(starting, gone, view) for starting in (pods.starting, pods.starting_outdated)]
        return Decision(again_at=_earliest(times))

    gone.update(pods.starting_outdated)
    starting = len(pods.starting) - sum(uid in pods.starting for uid in late)
    current, outdated = len(pods.ready), len(pods.ready_outdated)
    alive = len(pods) + view.pending_creates
    # A warm pod makes room for a Sandbox that cannot use it.
    others = alive - current - outdated - starting - view.pending_creates + view.reserved
    want, capped = _bounded(view.replicas + view.waiting, others, view.max_sandboxes)
    under_way = starting + view.pending_creates
    # Pods over their age get substitutes on top, a few at a time.
    aged = 0 if view.max_age_seconds is None else pods.ready.up_to(now - view.max_age_seconds)
    substitutes = min(aged, max(1, view.max_unavailable))
    target, no_room = _bounded(want + substitutes, others + outdated, view.max_sandboxes)
    target = max(want, target)
    startable = _startable(view, late, under_way, now)

    gone.update(islice(_dispensable(pods, gone, aged), max(0, current + under_way - target)))
    gone.update(islice(pods.ready, min(aged, max(0, current - want))))
    full = view.max_sandboxes is not None and alive >= view.max_sandboxes
    if aged and no_room and not under_way and full:
        # There is no room for a substitute: the oldest goes first.
        gone.update(islice(pods.ready, 1))
    gone.update(islice(pods.ready_outdated, _replaceable(view, want, blocked=full and not under_way)))

    room = max(0, target - current - under_way)
    if view.max_sandboxes is not None:
        # Replacing is not an excuse to go beyond the maximum: what goes must be gone first.
        room = max(0, min(room, view.max_sandboxes - alive - view.reserved))
    held = room > 0 and now < view.held_until
    times = [_next_timeout(pods.starting, gone, view), view.held_until if held else None, _next_aged(view, now)]
    return Decision(
        create=min(room, startable),
        delete=tuple(sorted(gone)),
        timed_out=tuple(sorted(late)),
        again_at=_earliest(times),
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


def _earliest(times: list[float | None]) -> float | None:
    return min((time for time in times if time is not None), default=None)


def _late(starting: Ordered, view: PoolView, now: float) -> list[str]:
    """Pods that have taken too long to start."""
    return list(islice(starting, starting.up_to(now - view.start_timeout_seconds)))


def _next_timeout(starting: Ordered, gone: set[str], view: PoolView) -> float | None:
    first = next((uid for uid in starting if uid not in gone), None)
    return None if first is None else starting.weight(first) + view.start_timeout_seconds


def _next_aged(view: PoolView, now: float) -> float | None:
    """When the next pod comes of age."""
    if view.max_age_seconds is None:
        return None
    since = view.pods.ready.above(now - view.max_age_seconds)
    return None if since is None else since + view.max_age_seconds


def _dispensable(pods: Census, gone: set[str], aged: int) -> Iterator[str]:
    """Pods of the present template in the order in which they go when there are too many.

    *gone* go anyway; *aged* is the number of those over their age.
    """
    starts = chain(reversed(pods.stuck), (uid for uid in reversed(pods.starting) if uid not in pods.stuck))
    going = frozenset(gone)
    yield from (uid for uid in starts if uid not in going)
    yield from islice(pods.ready, aged)
    yield from islice(reversed(pods.ready), len(pods.ready) - aged)


def _replaceable(view: PoolView, want: int, *, blocked: bool) -> int:
    """How many warm pods of an earlier template may go now, the oldest first.

    *blocked*: ``maxSandboxes`` leaves no room for a substitute and none is under way; then one
    goes even where none may be missing, or nothing would ever move.
    """
    may_miss = max(view.max_unavailable, 1 if blocked else 0)
    keep = max(0, min(want, view.replicas) - may_miss - len(view.pods.ready))
    return max(0, len(view.pods.ready_outdated) - keep)


def _startable(view: PoolView, late: list[str], under_way: int, now: float) -> int:
    """How many pods may be started at once."""
    if any(uid not in late for uid in view.pods.stuck):
        # More of the same would be stuck the same way.
        return 0
    if view.withheld or now < view.held_until:
        return 0
    limit = view.parallelism
    if view.failures:
        limit = 1
    elif not view.proven:
        limit = min(CANARIES, limit)
    return max(0, limit - under_way)
