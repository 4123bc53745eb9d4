"""What is reported of a Sandbox: Events, counts, and how long its start took."""

from __future__ import annotations

import logging

from sandyard.api.events import Event
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.loops.clock import Clock
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.process.traces import Traces
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.state.records import AnySandbox
from sandyard.engine.state.sandboxes import SandboxEntry, SandboxTable
from sandyard.sandbox.steps import Count, ObserveStart, Step

__all__ = ["Reporting"]

_log = logging.getLogger(__name__)


class Reporting:
    """Events and metrics of all Sandboxes."""

    def __init__(
        self, sandboxes: SandboxTable, recorder: Recorder, metrics: Metrics, traces: Traces, clock: Clock
    ) -> None:  # fmt: skip
        self._sandboxes = sandboxes
        self._traces = traces
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock

    def step(self, sandbox: AnySandbox, step: Step) -> None:
        """The status of *step* has been written."""
        if step.event is not None:
            self._recorder.record(sandbox, *step.event)
        for count in step.counts:
            self._count(count)

    def restart_clock(self, entry: SandboxEntry) -> None:
        """Its present start begins now."""
        entry.seen_at = entry.waits_since = self._clock.monotonic()

    def started(self, run: Run, action: ObserveStart) -> None:
        """It is Ready."""
        now, seen_at = self._clock.monotonic(), run.entry.seen_at
        stages: list[tuple[str, float]] = []
        if run.claim_seconds is not None:
            began, written = run.claim_seconds
            ends = {"queue": began - seen_at, "pod": written - began, "status": now - written}
            stages = [(stage, max(0.0, seconds)) for stage, seconds in ends.items()]
        sandbox = run.sandbox
        about = {"k8s.namespace.name": sandbox.namespace, "sandyard.sandbox": sandbox.name,
                 "sandyard.pool": sandbox.status.pool_name or "", "sandyard.start": action.kind}  # fmt: skip
        exemplar = self._traces.claim(self._clock.now(), about, stages or [("start", now - seen_at)])
        self._metrics.observe_claim(action.kind, now - seen_at, stages, exemplar)

    def stuck(self, entry: SandboxEntry, why: str) -> None:
        """Its teardown makes no progress because of *why*; empty: it does."""
        if why and not entry.stuck:
            self._recorder.record(entry.record, Event.TEARDOWN_STUCK, why)
            self._metrics.teardowns.labels("stuck").inc()
            _log.warning("teardown stuck", extra={"sandbox": entry.record.name, "why": why})
        self._sandboxes.mark_stuck(entry, bool(why))

    def hindered(self, entry: SandboxEntry, why: str) -> None:
        """Requests about it fail again and again, the last one because of *why*."""
        if entry.record.deleting:
            self.stuck(entry, why)
        else:
            self._recorder.record(entry.record, Event.REQUEST_FAILED, why)

    def cleaned(self, entry: SandboxEntry, seconds: float) -> None:
        """Its teardown has ended, after so many seconds."""
        self._sandboxes.mark_stuck(entry, False)
        self._recorder.record(entry.record, Event.CLEANED, "nothing of it is left")
        self._metrics.teardowns.labels("done").inc()
        self._metrics.teardown_seconds.observe(max(0.0, seconds))

    def _count(self, count: Count) -> None:
        counters = {"claims": self._metrics.claims, "ended": self._metrics.ended, "expired": self._metrics.expired}
        counters[count.counter].labels(*count.labels).inc()
