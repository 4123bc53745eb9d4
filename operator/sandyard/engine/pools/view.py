"""How a pool looks at this moment: its pods with reservations and expectations laid over them."""

from __future__ import annotations

from sandyard.engine.loops.clock import Clock
from sandyard.engine.state.pool_memory import PoolMemory
from sandyard.engine.state.pools import PoolEntry
from sandyard.engine.state.records import PoolRecord, UnreadablePool
from sandyard.podspec.foreign import Exposure
from sandyard.pool import arithmetic, report, schedule
from sandyard.pool.arithmetic import PoolView
from sandyard.pool.schedule import Window
from sandyard.pool.status import AutoscaleFigures, PoolStatus

__all__ = ["replicas", "scheduled", "status", "view"]


def view(pool: PoolRecord, entry: PoolEntry, waiting_cold: int, clock: Clock, *, withheld: bool) -> PoolView:
    """Everything that `sandyard.pool.arithmetic.decide` needs; *waiting_cold* claims have asked for a start."""
    spec, memory = pool.spec, entry.memory
    wanted = replicas(pool, memory, clock.now())
    return PoolView(
        replicas=wanted,
        pods=entry.pods.census,
        max_sandboxes=spec.max_sandboxes,
        parallelism=spec.startup.parallelism,
        start_timeout_seconds=spec.startup.timeout_seconds,
        paused=spec.paused,
        deleting=pool.deleting,
        pending_creates=memory.expectations.pending_creates(clock.monotonic()),
        waiting=waiting_cold,
        reserved=len(entry.waiting_for_room),
        proven=memory.proven,
        failures=memory.backoff.failures,
        held_until=max(memory.backoff.until, memory.held_until),
        max_unavailable=arithmetic.amount(spec.rollout.max_unavailable, wanted),
        max_age_seconds=spec.warm.max_age_seconds,
        withheld=withheld,
    )


def replicas(pool: PoolRecord, memory: PoolMemory, now: float) -> int:
    """Warm sandboxes that *pool* is to keep now: as written, by the time of day, or as the demand asks for."""
    scale, window = pool.spec.autoscale, scheduled(pool, now)
    if scale is None:
        return pool.spec.replicas if window is None else window.replicas
    least = scale.min_replicas if window is None else min(window.replicas, scale.max_replicas)
    return memory.demand.replicas(now, least, scale.max_replicas)


def scheduled(pool: PoolRecord, now: float) -> Window | None:
    """What ``spec.schedule`` asks for at *now*; None without one."""
    return schedule.at(pool.spec.schedule or (), now)


def status(entry: PoolEntry, waiting: int, exposure: Exposure | None, clock: Clock) -> PoolStatus:
    """The status that a pool should have; *waiting* claims are in its queue."""
    pool, memory, now = entry.record, entry.memory, clock.now()
    if isinstance(pool, UnreadablePool):
        return report.unreadable(pool.status, pool.invalid, pool.generation, now)
    empty_at = memory.empty_too_long_at(pool.spec.startup.timeout_seconds)
    hindered, hindered_for_long = memory.hindrances.told(clock.monotonic())
    facts = report.PoolFacts(
        uid=pool.uid,
        generation=pool.generation,
        replicas=replicas(pool, memory, now),
        autoscale=_autoscale(pool, memory, now),
        schedule=scheduled(pool, now),
        template_hash=pool.template_hash,
        pods=entry.pods.census,
        pending_creates=memory.expectations.pending_creates(clock.monotonic()),
        waiting=waiting,
        warm_hits=memory.warm_hits,
        reused=memory.reused,
        cold_starts=memory.cold_starts,
        paused=pool.spec.paused,
        at_maximum=memory.at_maximum,
        trouble=entry.pods.trouble(),
        backoff=memory.backoff,
        backoff_now=now,
        runtime=memory.runtime,
        network=memory.network,
        refused=pool.beyond or memory.refused,
        exposure=exposure,
        no_restart=pool.no_restart,
        filled=memory.filled_generation == pool.generation,
        empty_too_long=empty_at is not None and now >= empty_at,
        hindered=hindered,
        hindered_for_long=hindered_for_long,
    )
    return report.status(facts, pool.status, now)


def _autoscale(pool: PoolRecord, memory: PoolMemory, now: float) -> AutoscaleFigures | None:
    """The figures behind the pool's size; those written before while they are still about right."""
    if pool.spec.autoscale is None:
        return None
    demand = memory.demand.at_time(now)
    rate = 0.0 if demand.idle(now) else demand.peak
    warm_up = demand.warm_up_seconds or 0.0
    written = pool.status.autoscale
    return AutoscaleFigures(
        claims_per_second=_about(rate, written.claims_per_second if written is not None else None),
        warm_up_seconds=_about(warm_up, written.warm_up_seconds if written is not None else None),
        replicas=replicas(pool, memory, now),
    )


def _about(value: float, written: str | None) -> str:
    """*value* with two digits; what is *written* where that is within a fifth of it, to save writes."""
    try:
        before = float(written) if written is not None else None
    except ValueError:
        before = None
    if written is None or before is None or abs(before - value) > 0.2 * before or (value > 0) != (before > 0):
        return f"{value:.2g}"
    return written
