"""Kubernetes Events, posted when there is time: never on a claim's way, dropped when too many."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict
from typing import Any

from sandyard.api import conditions, model, names
from sandyard.api.events import Event
from sandyard.engine.cluster.resources import EVENTS
from sandyard.engine.cluster.writer import Writer
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.turns import Turns, Urgency
from sandyard.engine.state.records import AnyPool, AnySandbox, PoolRecord, UnreadablePool
from sandyard.kube import errors

__all__ = ["Recorder"]

_log = logging.getLogger(__name__)
_QUEUE_LIMIT = 1000
_NORMAL_LIMIT = 200
# What went well is told so often a second, and so often at once; the metrics count all of it.
_NORMAL_PER_SECOND = 2.0
_NORMAL_BURST = 20.0
_FIRST_OF_A_KIND_SECONDS = 1.0
_SAME_AGAIN_SECONDS = 60.0
_POSTERS = 4


class Recorder:
    """Queues Events and posts them, a few at a time."""

    def __init__(self, writer: Writer, identity: str, turns: Turns, clock: Clock) -> None:
        self._writer = writer
        self._turns = turns
        self._clock = clock
        self._identity = identity
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_QUEUE_LIMIT)
        # The oldest first; a plain dict would search for it longer each time.
        self._posted: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._allowance = _NORMAL_BURST
        # When what went well was told last, by reason: one of a kind is told whatever else is going on.
        self._told: dict[str, float] = {}
        self._counted_at = clock.monotonic()

    def __len__(self) -> int:
        return self._queue.qsize()

    def record(self, about: AnySandbox | AnyPool, event: Event, message: str) -> None:
        """Say what has happened to *about*; never waits, and under load leaves out most of what went well."""
        if event.type == "Warning" or (len(self) < _NORMAL_LIMIT and self._may_tell(event)):
            self._put(about, event, message)

    async def run(self) -> None:
        """Post until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(_POSTERS):
                group.create_task(self._post(), name=f"events-{number}")

    def _may_tell(self, event: Event) -> bool:
        """Whether one more Event about what went well is within what API server and readers are to bear."""
        now = self._clock.monotonic()
        self._allowance = min(_NORMAL_BURST, self._allowance + _NORMAL_PER_SECOND * (now - self._counted_at))
        self._counted_at = now
        first = now - self._told.get(event.reason, float("-inf")) >= _FIRST_OF_A_KIND_SECONDS
        if not first and (self._turns.busy or self._allowance < 1.0):
            return False
        self._told[event.reason] = now
        # What is told in any case leaves no debt behind.
        self._allowance = max(0.0, self._allowance - 1.0)
        return True

    async def _post(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await self._writer.create(EVENTS.path(event["metadata"]["namespace"]), event, Urgency.TELLING)
            except (errors.ApiError, errors.TransportError) as error:
                _log.debug("event dropped", extra={"error": str(error)})

    def _forget(self, now: float) -> None:
        """Drop what was posted long ago, or too much of it, the oldest first."""
        while len(self._posted) > 4 * _QUEUE_LIMIT or now - next(iter(self._posted.values())) >= _SAME_AGAIN_SECONDS:
            self._posted.popitem(last=False)

    def _put(self, record: AnySandbox | AnyPool, event: Event, message: str) -> None:
        now = self._clock.monotonic()
        key = (record.uid, event.reason, message)
        if now - self._posted.get(key, float("-inf")) < _SAME_AGAIN_SECONDS:
            return
        self._posted.pop(key, None)
        self._posted[key] = now
        self._forget(now)
        moment = model.timestamp(self._clock.now())
        body = {
            "metadata": {"name": f"{record.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": record.namespace},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.POOL_KIND if isinstance(record, PoolRecord | UnreadablePool) else names.SANDBOX_KIND,
                "namespace": record.namespace,
                "name": record.name,
                "uid": record.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": conditions.printable(message),
            "eventTime": moment,
            "action": event.reason,
            "reportingComponent": names.FINALIZER.partition("/")[0],
            "reportingInstance": self._identity[:128],
        }
        try:
            self._queue.put_nowait(body)
        except asyncio.QueueFull:
            _log.debug("event dropped: the queue is full")
