"""Whether this process is alive and ready, and what its metrics say at a scrape."""

from __future__ import annotations

from sandyard.engine.caches import Caches
from sandyard.engine.claims.claims import Claims
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.loops.turns import Turns
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.state.store import Store

__all__ = ["Health"]

_BEAT_SECONDS = 1.0
_STOPPED_SECONDS = 20.0
_SILENT_SECONDS = 600.0


class Health:
    """What the process's HTTP server answers."""

    def __init__(
        self, caches: Caches, store: Store, claims: Claims, queues: Queues, turns: Turns, recorder: Recorder,
        metrics: Metrics, clock: Clock,
    ) -> None:  # fmt: skip
        self.metrics = metrics
        self._caches = caches
        self._store = store
        self._claims = claims
        self._queues = queues
        self._turns = turns
        self._recorder = recorder
        self._clock = clock
        self._beat = clock.monotonic()

    async def beat(self) -> None:
        """Show that the event loop turns, until cancelled."""
        while True:
            self._beat = self._clock.monotonic()
            await self._clock.sleep(_BEAT_SECONDS)

    def alive(self) -> str:
        """Why the process should be started anew; empty when it should not."""
        now = self._clock.monotonic()
        if now - self._beat > _STOPPED_SECONDS:
            return "the event loop has stopped"
        silent = self._caches.silent(now - _SILENT_SECONDS)
        return f"{silent} watches are silent" if silent else ""

    def not_ready(self) -> str:
        """Why the process is not ready; empty when it is."""
        return "" if self._caches.filled.is_set() else "caches are not filled yet"

    def collect(self) -> None:
        """Bring the gauges up to date."""
        for queue in self._queues.all:
            self.metrics.queue_length.labels(queue.name).set(len(queue))
            self.metrics.count_failures(queue.name, queue.failures_total)
        self.metrics.queue_length.labels("events").set(len(self._recorder))
        self.metrics.queue_length.labels("writes").set(len(self._turns))
        self.metrics.write_limit.set(self._turns.limit.value)
        self.metrics.teardown_stuck.set(self._store.sandboxes.stuck)
        self.metrics.sandboxes.clear()
        self._tell_waits()
        for phase, count in self._store.sandboxes.phases.items():
            self.metrics.sandboxes.labels(phase).set(count)

    def _tell_waits(self) -> None:
        now, gauge = self._clock.monotonic(), self.metrics.oldest_claim
        gauge.clear()
        for uid, since in self._claims.oldest().items():
            entry = self._store.pools.get(uid)
            if entry is not None:
                gauge.labels(entry.record.namespace, entry.record.name).set(now - since)
