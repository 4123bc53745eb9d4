"""The engine of one process: caches, leadership, and the loops that run while it leads.

A standby keeps its caches as warm as the leader's and writes nothing; becoming leader is
adding every key to the queues.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from aiohttp import web

from sandyard.api import names
from sandyard.api.objects import EndpointSlice, Generic, Pod
from sandyard.api.reasons import Phase
from sandyard.engine.cluster.resources import ENDPOINT_SLICES, NETWORK_POLICIES, PODS
from sandyard.engine.intake import Intake
from sandyard.engine.loops.queues import Handler, Queue
from sandyard.engine.loops.timers import Timers
from sandyard.engine.parts import Parts
from sandyard.engine.process import http
from sandyard.engine.process.leadership import Leadership
from sandyard.engine.sweep import Sweep
from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.informer import Informer

__all__ = ["Engine"]

_log = logging.getLogger(__name__)


class Engine:
    """Made by `sandyard.engine.compose`. Feed it what kopf sees through `intake`, and run `run`.

    Attributes
    ----------
    work
        Each queue with what handles its keys.
    """

    def __init__(
        self, parts: Parts, client: Client, connections: Sequence[AbstractAsyncContextManager[Any]],
        leadership: Leadership, intake: Intake, sweep: Sweep, timers: Timers,
        work: Sequence[tuple[Queue, Handler]], lease_lost: Callable[[], None],
    ) -> None:  # fmt: skip
        self.settings = parts.settings
        self.store = parts.store
        self.policies = parts.policies
        self.intake = intake
        self.sweep = sweep
        self.timers = timers
        self.work = work
        self._metrics = parts.metrics
        self.queues = parts.queues
        self._recorder = parts.recorder
        self._clock = parts.clock
        self._client = client
        self._connections = connections
        self.leadership = leadership
        self._lease_lost = lease_lost
        self._informers: list[Informer[Any]] = []
        self._listed = asyncio.Event()
        self._beat = self._clock.monotonic()

    # The process

    async def run(self, ready: asyncio.Event) -> None:
        """Work until cancelled, or until the lease is lost.

        Parameters
        ----------
        ready
            Set when the caches are filled, whether leader or not.
        """
        runner: web.AppRunner | None = None
        async with AsyncExitStack() as connections:
            for connection in self._connections:
                await connections.enter_async_context(connection)
            try:
                runner = await http.serve(
                    self.settings.http_port, self._metrics, alive=self._alive, ready=self._not_ready,
                    collect=self._collect,
                )  # fmt: skip
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._heartbeat())
                    for informer in self._make_informers():
                        self._informers.append(informer)
                        group.create_task(informer.run())
                    for informer in self._informers:
                        await informer.synced.wait()
                    await self.sweep.first()
                    self._listed.set()
                    ready.set()
                    _log.info("caches filled", extra={"pods": len(self.store.pods)})
                    await self._client.warm_up()
                    await self._lead(group)
            finally:
                await self.leadership.release()
                if runner is not None:
                    await runner.cleanup()

    async def _lead(self, group: asyncio.TaskGroup) -> None:
        """Wait for the lease, then work until it is lost."""
        await self.leadership.begin()
        self._metrics.leader.set(1)
        _log.info("leading", extra={"identity": self.settings.identity})
        for queue, handler in self.work:
            queue.active = True
            group.create_task(queue.run(handler), name=queue.name)
        group.create_task(self.timers.run())
        group.create_task(self._recorder.run())
        group.create_task(self._sweep_forever())
        for uid in self.store.pools:
            self.queues.pools.add(uid)
        for uid in self.store.sandboxes:
            self.queues.sandboxes.add(uid)
        for namespace in self.policies.namespaces():
            self.queues.policies.add(namespace)
        if self.leadership.elected:
            await self.leadership.keep()
            _log.error("the lease is lost: another operator takes over")
            self._lease_lost()
        await asyncio.Event().wait()

    def _make_informers(self) -> list[Informer[Any]]:
        made: list[Informer[Any]] = []
        ours = {"labelSelector": names.LABEL_STATE}
        policies = {"labelSelector": names.LABEL_POLICY}
        for namespace in self.settings.namespaces or (None,):
            pods = PODS.path(namespace)
            made.append(Informer(self._client, pods, Pod, self.intake.pod_changed, params=ours))
            standing = NETWORK_POLICIES.path(namespace)
            made.append(Informer(self._client, standing, Generic, self.policies.policy_changed, params=policies))
        service = {"labelSelector": "kubernetes.io/service-name=kubernetes"}
        slices = ENDPOINT_SLICES.path("default")
        made.append(Informer(self._client, slices, EndpointSlice, self.policies.endpoints_changed, params=service))
        return made

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self.sweep.run_once()
            except (errors.ApiError, errors.TransportError) as error:
                _log.warning("sweep not finished", extra={"error": str(error)})
            await self._clock.sleep(self.settings.sweep_seconds)

    async def _heartbeat(self) -> None:
        while True:
            self._beat = self._clock.monotonic()
            await self._clock.sleep(1)

    # Health

    def _alive(self) -> str:
        if self._clock.monotonic() - self._beat > 20:
            return "the event loop has stopped"
        silent = [informer for informer in self._informers if self._clock.monotonic() - informer.last_event_at > 600]
        return f"{len(silent)} watches are silent" if silent else ""

    def _not_ready(self) -> str:
        return "" if self._listed.is_set() else "caches are not filled yet"

    def _collect(self) -> None:
        for queue in self.queues.all:
            self._metrics.queue_length.labels(queue.name).set(len(queue))
            self._metrics.queue_failures.labels(queue.name).set(queue.failures_total)
        self._metrics.queue_length.labels("events").set(len(self._recorder))
        self._metrics.teardown_stuck.set(sum(entry.stuck for entry in self.store.sandboxes.values()))
        phases = Counter(entry.record.status.phase or Phase.PENDING for entry in self.store.sandboxes.values())
        self._metrics.sandboxes.clear()
        for phase, count in phases.items():
            self._metrics.sandboxes.labels(phase).set(count)
