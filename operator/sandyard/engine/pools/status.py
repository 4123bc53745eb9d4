"""The writes of a pool: its status, when it says something new, and what the replies show."""

from __future__ import annotations

from sandyard.api.events import Event
from sandyard.api.reasons import Condition
from sandyard.engine.claims.claims import Claims
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.objects import Objects
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queue
from sandyard.engine.pools import view
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.routing import Routing
from sandyard.engine.state.pools import PoolEntry
from sandyard.engine.state.records import AnyPool, PoolRecord
from sandyard.engine.state.store import Store
from sandyard.pod.observe import PodState
from sandyard.pool.status import PoolStatus

__all__ = ["PoolWriter"]

_INTERVAL_SECONDS = 1.0


class PoolWriter:
    """Writes pools, and keeps the store and the gauges up to date.

    What others have changed is no news any more when the watch shows it: the reply wakes whom it concerns.
    """

    def __init__(
        self, store: Store, claims: Claims, routing: Routing, objects: Objects, queue: Queue, recorder: Recorder,
        metrics: Metrics, clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._claims = claims
        self._routing = routing
        self._objects = objects
        self._queue = queue
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock

    def report_soon(self, entry: PoolEntry) -> None:
        """Have the status written, at most once a second and pool."""
        due = entry.memory.written_at + _INTERVAL_SECONDS - self._clock.monotonic()
        self._queue.add_after(entry.uid, max(0.05, due))

    async def report(self, pool_uid: str) -> None:
        """Write the pool's status if it has changed."""
        entry = self._store.pools.get(pool_uid)
        if entry is None or entry.record.namespace in self._store.unseen:
            return
        pool = entry.record
        self._count(entry)
        exposure = self._store.exposures.of(pool.namespace)
        status = view.status(entry, self._claims.waiting(pool_uid), exposure, self._clock)
        full = status.condition(Condition.FULL)
        if full is not None and full["status"] == "True":
            entry.memory.filled_generation = pool.generation
        self._show(pool, status)
        if status.same(pool.status):
            return
        entry.memory.written_at = self._clock.monotonic()
        self._record(pool, status)
        self._merge(pool, await self._objects.write_pool_status(pool, status.dump(pool.status)))

    def _count(self, entry: PoolEntry) -> None:
        """Note how long it has been empty, and come back when that is too long."""
        pool, memory, now = entry.record, entry.memory, self._clock.now()
        memory.counted(entry.pods.census.count(PodState.WARM, current=True), now)
        if isinstance(pool, PoolRecord):
            late_at = memory.empty_too_long_at(pool.spec.startup.timeout_seconds)
            if late_at is not None and late_at > now and not pool.spec.paused:
                self._queue.add_after(entry.uid, late_at - now)

    async def add_finalizer(self, pool: AnyPool) -> None:
        """Put our finalizer on, where admission has not done so."""
        self._merge(pool, await self._objects.add_finalizer(pool))

    async def remove_finalizer(self, pool: AnyPool) -> AnyPool | None:
        """Take our finalizer off, as `Objects.remove_finalizer` does: nothing is left of the pool."""
        written = await self._objects.remove_finalizer(pool)
        if written is not None:
            self._merge(pool, written)
        return written

    def forget(self, pool: AnyPool) -> None:
        """The pool is gone, and its gauges with it."""
        self._metrics.forget_pool(pool.namespace, pool.name, _numbers(pool.status))

    def _show(self, pool: AnyPool, status: PoolStatus) -> None:
        for state, number in _numbers(status).items():
            self._metrics.pool_pods.labels(pool.namespace, pool.name, state).set(number or 0)
        self._metrics.pool_waiting.labels(pool.namespace, pool.name).set(self._claims.waiting(pool.uid))
        held = status.condition(Condition.BACKING_OFF)
        held_now = held is not None and held["status"] == "True"
        self._metrics.pool_backing_off.labels(pool.namespace, pool.name).set(held_now)

    def _record(self, pool: AnyPool, status: PoolStatus) -> None:
        before, after = pool.status.condition(Condition.READY), status.condition(Condition.READY)
        if after is not None and after["status"] == "True" and (before is None or before["status"] != "True"):
            self._recorder.record(pool, Event.READY, str(after["message"]))

    def _merge(self, pool: AnyPool, written: AnyPool) -> None:
        if self._store.merge_pool(pool, written):
            self._routing.pool_changed(None, written)


def _numbers(status: PoolStatus) -> dict[str, int | None]:
    """Pods by state, as the gauge names it."""
    return {
        "warm": status.replicas,
        "starting": status.starting,
        "claimed": status.claimed,
        "terminating": status.terminating,
        "unhealthy": status.unhealthy,
        "outdated": status.outdated,
    }
