"""Prometheus metrics: every name has its home here."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from sandyard import __version__

__all__ = ["Metrics"]

# Each would be one more series beside every counter and histogram, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]
_FAST = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """All metrics of one operator."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.claims = Counter(
            "sandyard_claims", "Claims by result and kind of start.", ["result", "start"], registry=self.registry
        )
        self.claim_seconds = Histogram(
            "sandyard_claim_duration_seconds", "From the Sandbox's event to Ready written.", ["start"],
            buckets=_FAST, registry=self.registry,
        )  # fmt: skip
        self.claim_stage_seconds = Histogram(
            "sandyard_claim_stage_duration_seconds",
            "Where a claim of a warm pod spends its time: until its turn (queue), the pod's write, the status' write.",
            ["stage"], buckets=_FAST, registry=self.registry,
        )  # fmt: skip
        self.claim_conflicts = Counter(
            "sandyard_claim_conflicts", "Warm pods that could not be claimed and were passed over.",
            registry=self.registry,
        )  # fmt: skip
        self.expired = Counter(
            "sandyard_expired", "Sandboxes whose time was over, by reason and what was done.", ["reason", "action"],
            registry=self.registry,
        )  # fmt: skip
        self.ended = Counter(
            "sandyard_ended", "Sandboxes whose main process or pod ended, by reason.", ["reason"],
            registry=self.registry,
        )  # fmt: skip
        self.pool_pods = Gauge(
            "sandyard_pool_pods", "Pods of a pool by state.", ["namespace", "pool", "state"], registry=self.registry
        )
        self.pool_waiting = Gauge(
            "sandyard_pool_waiting_claims", "Claims that wait for a pod.", ["namespace", "pool"],
            registry=self.registry,
        )  # fmt: skip
        self.pool_backing_off = Gauge(
            "sandyard_pool_backing_off", "1 while a pool starts nothing, since its last starts have failed.",
            ["namespace", "pool"], registry=self.registry,
        )  # fmt: skip
        self.oldest_claim = Gauge(
            "sandyard_pool_oldest_claim_age_seconds", "For how long the oldest claim of a pool has waited for a pod.",
            ["namespace", "pool"], registry=self.registry,
        )  # fmt: skip
        self.pod_starts = Counter(
            "sandyard_pod_starts", "Pods that were created, by result.", ["result"], registry=self.registry
        )
        self.start_seconds = Histogram(
            "sandyard_pod_start_duration_seconds", "From a pod's creation to ready and proven.",
            buckets=(0.5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120, 300), registry=self.registry,
        )  # fmt: skip
        self.network_open_seconds = Histogram(
            "sandyard_network_open_seconds", "How long a new pod's network stood open before its policy took effect.",
            buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20), registry=self.registry,
        )  # fmt: skip
        self.teardowns = Counter(
            "sandyard_teardowns", "Sandboxes torn down, by result.", ["result"], registry=self.registry
        )
        self.teardown_seconds = Histogram(
            "sandyard_teardown_duration_seconds", "From the delete to nothing left.",
            buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 40, 80, 160), registry=self.registry,
        )  # fmt: skip
        self.teardown_stuck = Gauge(
            "sandyard_teardown_stuck", "Sandboxes whose teardown makes no progress.", registry=self.registry
        )
        self.restarts = Counter(
            "sandyard_pod_restarts", "Used pods that were restarted for the next Sandbox, by result.", ["result"],
            registry=self.registry,
        )  # fmt: skip
        self.sweep_removed = Counter(
            "sandyard_sweep_removed", "Leftovers that the sweep removed, by kind.", ["kind"], registry=self.registry
        )
        self.requests = Counter(
            "sandyard_api_requests", "Requests to the API server.", ["verb", "resource", "code"],
            registry=self.registry,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "sandyard_api_request_duration_seconds", "Time of requests to the API server.", ["verb"], buckets=_FAST,
            registry=self.registry,
        )  # fmt: skip
        self.queue_length = Gauge(
            "sandyard_queue_length", "Keys that wait in a queue.", ["queue"], registry=self.registry
        )
        self.write_limit = Gauge(
            "sandyard_write_limit", "Writes that may be under way at once, as the API server's times allow.",
            registry=self.registry,
        )  # fmt: skip
        self.queue_failures = Counter(
            "sandyard_queue_failures", "Failed runs of a queue's handler.", ["queue"], registry=self.registry
        )
        self.sandboxes = Gauge("sandyard_sandboxes", "Sandboxes by phase.", ["phase"], registry=self.registry)
        self.leader = Gauge("sandyard_leader", "1 while this operator is the active one.", registry=self.registry)
        self.build = Info("sandyard_build", "Always 1: the versions that run.", registry=self.registry)
        self.build.info({"version": __version__, "python_version": platform.python_version()})
        # process_*: memory, processor time, open files and start of this process.
        ProcessCollector(registry=self.registry)
        self._failures: dict[str, int] = {}

    def observe_request(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Observer for `sandyard.kube.client.Client`."""
        self.requests.labels(verb, resource, code).inc()
        self.request_seconds.labels(verb).observe(seconds)

    def observe_claim(
        self, start: str, seconds: float, stages: Iterable[tuple[str, float]], exemplar: dict[str, str] | None
    ) -> None:
        """A Sandbox is Ready after *seconds*, of which its *stages* took their part; *exemplar* leads to its trace."""
        self.claim_seconds.labels(start).observe(seconds, exemplar)
        for stage, took in stages:
            self.claim_stage_seconds.labels(stage).observe(took, exemplar)

    def count_failures(self, queue: str, total: int) -> None:
        """So many runs of the queue's handler have failed since the process began."""
        self.queue_failures.labels(queue).inc(total - self._failures.get(queue, 0))
        self._failures[queue] = total

    def forget_pool(self, namespace: str, pool: str, states: Iterable[str]) -> None:
        """Drop the gauges of a pool that is gone."""
        for state in states:
            with contextlib.suppress(KeyError):
                self.pool_pods.remove(namespace, pool, state)
        for gauge in (self.pool_waiting, self.pool_backing_off):
            with contextlib.suppress(KeyError):
                gauge.remove(namespace, pool)
