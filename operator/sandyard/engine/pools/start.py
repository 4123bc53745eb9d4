"""Starts the pods of a pool, and counts the starts that fail."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any

from sandyard.api.events import Event
from sandyard.api.reasons import Reason
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.starts import Starts, refusal
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queue
from sandyard.engine.loops.turns import Urgency
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.routing import Routing
from sandyard.engine.state.pods import PodEntry
from sandyard.engine.state.pools import PoolEntry
from sandyard.engine.state.records import PoolRecord
from sandyard.kube import errors
from sandyard.pod import observe
from sandyard.podspec import pod as podspec
from sandyard.pool.hindrances import TELL_AFTER_SECONDS

__all__ = ["CREATE", "PoolStarts"]

_log = logging.getLogger(__name__)
_RECONNECT_SECONDS = 1.0
_LOOK_SECONDS = 1.0
_LEAST_SECONDS = 0.1
CREATE = "create pods"


class PoolStarts:
    """The starts of all pools."""

    def __init__(
        self, starts: Starts, routing: Routing, queue: Queue, pool_status: Queue, recorder: Recorder, metrics: Metrics,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._starts = starts
        self._routing = routing
        self._queue = queue
        self._pool_status = pool_status
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock

    async def create(self, pool: PoolRecord, entry: PoolEntry, count: int, *, awaited: bool) -> None:
        """Start *count* pods, for claims that wait if they are *awaited*; what is refused makes the pool wait."""
        bodies = [self._build(pool) for _ in range(count)]
        entry.memory.refused = pool.beyond or "; ".join(self._starts.violations(bodies[0]))
        if entry.memory.refused:
            self.fail(entry, Reason.INVALID_TEMPLATE, entry.memory.refused)
            return
        expectations = entry.memory.expectations
        # Before anything is awaited: from now on these count against maxSandboxes.
        for body in bodies:
            expectations.expect_create(body["metadata"]["name"], self._clock.monotonic())
        try:
            await self._starts.ensure_policies(pool.namespace, pool.spec.template)
        except (errors.ApiError, errors.TransportError) as error:
            for body in bodies:
                expectations.create_failed(body["metadata"]["name"])
            if isinstance(error, errors.TransportError):
                raise
            self._take([error], entry)
            self.hinder(entry, CREATE, _first([error]))
            return
        urgency = Urgency.START if awaited else Urgency.REFILL
        results = await asyncio.gather(*(self._create_one(entry, body, urgency) for body in bodies))
        self._take([error for error in results if isinstance(error, errors.ApiError)], entry)
        self.hinder(entry, CREATE, _first(results))

    def hinder(self, entry: PoolEntry, what: str, error: Exception | None) -> None:
        """A request for *what* has failed with *error*, or (None) none has: what lasts is told."""
        hindrances = entry.memory.hindrances
        if error is None:
            hindrances.went_well(what)
        elif not isinstance(error, errors.NotConnected):
            refused = isinstance(error, errors.ApiError) and error.refused
            hindrances.failed(what, str(error), self._clock.monotonic(), refused=refused)
            self._pool_status.add_after(entry.uid, TELL_AFTER_SECONDS + _LEAST_SECONDS)

    def _take(self, found: Sequence[errors.ApiError], entry: PoolEntry) -> None:
        """What the API server has said to creates: about the template, or about itself."""
        refused = next((error for error in found if _is_about_the_template(error)), None)
        if refused is not None:
            self.fail(entry, *refusal(refused))
        elif found:
            after = max((error.retry_after_seconds or 0.0 for error in found), default=0.0)
            self._queue.add_after(entry.uid, entry.memory.hold(self._clock.now(), after))
        else:
            entry.memory.busy = 0

    # Creates of which nobody knows what became

    def next_look(self, entry: PoolEntry) -> float | None:
        """Seconds until somebody has to look; None: all is known."""
        due = entry.memory.unsure
        return max(0.0, min(due.values()) - self._clock.monotonic()) if due else None

    async def settle(self, entry: PoolEntry) -> None:
        """Look for pods that may have been made: one that is not there is made anew, under another name."""
        memory, now = entry.memory, self._clock.monotonic()
        for name in [name for name, at in memory.unsure.items() if at <= now]:
            del memory.unsure[name]
            if memory.expectations.creating(name, now) and not await self._starts.is_there(entry.record, name):
                memory.expectations.create_failed(name)

    def fail(self, entry: PoolEntry, reason: Reason, message: str, pod: PodEntry | None = None) -> None:
        """A start has failed, that of *pod* if it came so far."""
        if pod is not None:
            pod.failure_counted = True
        now = self._clock.now()
        entry.memory.fail(reason, message, now)
        self._metrics.pod_starts.labels("failed").inc()
        self._recorder.record(entry.record, Event.START_FAILED, f"{reason.value}: {message}")
        self._queue.add_after(entry.uid, max(0.05, entry.memory.backoff.until - now))
        self._routing.waiting_claims(entry.uid)

    def fail_late(self, pool: PoolRecord, entry: PoolEntry, pod: PodEntry | None) -> None:
        """A pod has taken too long to start."""
        why = observe.trouble(pod.pod) if pod is not None else None
        text = f"a pod was not ready within startup.timeoutSeconds ({pool.spec.startup.timeout_seconds} s)"
        message = f"{text}: {why.reason.value}: {why.message}" if why else text
        self.fail(entry, Reason.START_TIMEOUT, message, pod)

    def _build(self, pool: PoolRecord) -> dict[str, Any]:
        return podspec.build(
            pool.spec.template,
            name=podspec.pod_name(pool.name, secrets.token_hex(4)),
            namespace=pool.namespace,
            owner=pool.owner,
            probe=self._starts.probe(),
            pool=pool.owner,
            health=pool.spec.warm.probe,
            restart=pool.restarts,
        )

    async def _create_one(self, entry: PoolEntry, body: dict[str, Any], urgency: Urgency) -> Exception | None:
        name = body["metadata"]["name"]
        try:
            await self._starts.create(body, urgency)
        except errors.ApiError as error:
            if error.unsure or error.already_exists:
                # It may be ours, or be made a moment later.
                entry.memory.unsure[name] = self._clock.monotonic() + _LOOK_SECONDS
            else:
                entry.memory.expectations.create_failed(name)
            return error
        except errors.NotConnected as error:
            entry.memory.expectations.create_failed(name)
            _log.warning("not created", extra={"pod": name, "error": str(error)})
            self._queue.add_after(entry.uid, _RECONNECT_SECONDS)
        except errors.TransportError as error:
            # It may exist: the expectation stays until the watch shows it or it times out.
            _log.warning("create cut off", extra={"pod": name, "error": str(error)})
            return error
        return None


def _first(found: Sequence[Exception | None]) -> Exception | None:
    """The first error that says nothing about the template; what does is told as a failed start."""
    failed = [error for error in found if error is not None]
    return next((error for error in failed if not _is_about_the_template(error)), None)


def _is_about_the_template(error: Exception) -> bool:
    return isinstance(error, errors.ApiError) and (error.refused or error.not_found)
