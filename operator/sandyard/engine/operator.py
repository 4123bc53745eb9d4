"""Puts the engine together: informers feed the store, the store feeds queues, queues call the parts.

A standby keeps its caches as warm as the leader's and writes nothing; becoming leader is
adding every key to the queues.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from sandyard.api import names
from sandyard.api.objects import EndpointSlice, Generic, Pod
from sandyard.engine import http, records
from sandyard.engine.claims import Claims
from sandyard.engine.events import Recorder
from sandyard.engine.gateway import ENDPOINT_SLICES, NETWORK_POLICIES, PODS, Gateway
from sandyard.engine.lifetimes import Lifetimes
from sandyard.engine.metrics import Metrics
from sandyard.engine.nudges import Nudges
from sandyard.engine.parts import Parts
from sandyard.engine.pausing import Pausing
from sandyard.engine.policies import Policies
from sandyard.engine.provide import Provider
from sandyard.engine.refill import Refill
from sandyard.engine.sandboxes import Sandboxes
from sandyard.engine.scrubbing import Scrubbing
from sandyard.engine.settings import Settings
from sandyard.engine.setups import Setups
from sandyard.engine.store import Store
from sandyard.engine.suspending import Suspending
from sandyard.engine.sweep import Sweep
from sandyard.engine.teardown import Teardown
from sandyard.engine.telling import Telling
from sandyard.engine.timers import Timers
from sandyard.engine.workqueue import WorkQueue
from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.config import ClusterConfig
from sandyard.kube.informer import Informer
from sandyard.kube.lease import Lease
from sandyard.podspec.containers import Probe
from sandyard.sandbox import expiry

__all__ = ["Operator"]

_log = logging.getLogger(__name__)
_CLAIM_WORKERS = 48
_POOL_WORKERS = 16
_SLOW_PROBE_SECONDS = 5


class Operator:
    """The whole engine of one process.

    Feed it Sandbox and pool events through `sandbox_event` and `pool_event`, and run `run`.
    """

    def __init__(self, config: ClusterConfig, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.store = Store()
        self.client = Client(config, observer=self.metrics.observe_request, user_agent="sandyard-operator")
        # Renewing the lease must not wait behind a burst of claims for a connection.
        self._lease_client = Client(config, timeout_seconds=3, connections=2, user_agent="sandyard-operator-lease")
        self._lease = Lease(
            self._lease_client, settings.namespace, settings.lease_name, settings.identity,
            settings.lease_duration_seconds,
        )  # fmt: skip
        self._leading = False
        self.gateway = Gateway(self.client, self._may_write)
        self.policies = Policies(self.store, self.gateway, settings)
        self._recorder = Recorder(self.gateway, settings.identity)
        self._nudges = Nudges(self.gateway)
        self._setups = Setups(self.gateway)
        parts = Parts(
            settings,
            self.store,
            self.gateway,
            self.policies,
            self._recorder,
            self.metrics,
            self.probe,
            self._nudges,
            self._setups,
        )
        self.claims = Claims(parts)
        self.refill = Refill(parts, self.claims)
        telling = Telling(parts)
        self._lifetimes = Lifetimes(parts, telling)
        self._provider = Provider(parts, self.claims, self.refill, telling)
        self._scrubbing = Scrubbing(parts, self.refill)
        self._teardown = Teardown(parts, self._provider, self._scrubbing)
        self._pausing = Pausing(parts, telling)
        self._suspending = Suspending(parts, self.claims, self._provider, telling)
        self._sandboxes = Sandboxes(
            parts,
            self.claims,
            self._provider,
            self._lifetimes,
            self._pausing,
            self._suspending,
            self._teardown,
            telling,
        )
        self._sweep = Sweep(parts)
        self.sandbox_queue = WorkQueue("sandboxes", self._sandboxes.reconcile, _CLAIM_WORKERS, self._namespace_of)
        self.pool_queue = WorkQueue("pools", self.refill.reconcile, _POOL_WORKERS)
        self._report_queue = WorkQueue("pool-status", self.refill.report, 4)
        self._policy_queue = WorkQueue("policies", self.policies.reconcile, 4)
        self._timers = Timers(self.sandbox_queue.add)
        self._informers: list[Informer[Any]] = []
        self._listed = asyncio.Event()
        self.lease_lost: Callable[[], None] = _end_engine
        self._beat = time.monotonic()
        self._wire()

    @property
    def queues(self) -> tuple[WorkQueue, ...]:
        """All work queues."""
        return (self.sandbox_queue, self.pool_queue, self._report_queue, self._policy_queue)

    def probe(self) -> Probe:
        """How new pods prove their isolation."""
        settings = self.settings
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        service = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"] if host else []
        best_effort = settings.isolation_network == "BestEffort"
        return Probe(
            image=settings.probe_image,
            pull_policy=settings.probe_pull_policy,
            forbidden=tuple(dict.fromkeys([*service, *self.policies.api_servers(), *settings.forbidden])),
            runtime=settings.isolation_runtime,
            network=settings.isolation_network,
            # Where nothing hangs on the answer, nobody should wait long for it.
            timeout_seconds=_SLOW_PROBE_SECONDS if best_effort else settings.probe_timeout_seconds,
        )

    # What comes in

    def sandbox_event(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """A Sandbox was added, modified or deleted. Only puts it on a queue."""
        if kind == "DELETED":
            self._sandbox_gone(body["metadata"]["uid"])
            return
        self._sandbox_found(records.sandbox(body))

    def pool_event(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """A pool was added, modified or deleted. Only puts it on a queue."""
        if kind == "DELETED":
            self._pool_gone(body["metadata"]["uid"])
            return
        self._pool_found(records.pool(body, self.probe()))

    # The process

    async def run(self, ready: asyncio.Event) -> None:
        """Work until cancelled, or until the lease is lost.

        Parameters
        ----------
        ready
            Set when the caches are filled, whether leader or not.
        """
        runner: web.AppRunner | None = None
        async with self.client, self._lease_client:
            try:
                runner = await http.serve(
                    self.settings.http_port, self.metrics, alive=self._alive, ready=self._not_ready,
                    collect=self._collect,
                )  # fmt: skip
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._heartbeat())
                    for informer in self._make_informers():
                        self._informers.append(informer)
                        group.create_task(informer.run())
                    for informer in self._informers:
                        await informer.synced.wait()
                    await self._sweep.first()
                    self._listed.set()
                    ready.set()
                    _log.info("caches filled", extra={"pods": len(self.store.pods)})
                    await self.client.warm_up()
                    await self._lead(group)
            finally:
                await self._lease.release()
                if runner is not None:
                    await runner.cleanup()

    async def _lead(self, group: asyncio.TaskGroup) -> None:
        """Wait for the lease, then work until it is lost."""
        if self.settings.leader_election:
            await self._lease.acquire()
        self._leading = True
        self.metrics.leader.set(1)
        _log.info("leading", extra={"identity": self.settings.identity})
        for queue in self.queues:
            queue.active = True
            group.create_task(queue.run(), name=queue.name)
        group.create_task(self._timers.run())
        group.create_task(self._recorder.run())
        group.create_task(self._sweep_forever())
        for uid in self.store.pools:
            self.pool_queue.add(uid)
        for uid in self.store.sandboxes:
            self.sandbox_queue.add(uid)
        for namespace in self.policies.namespaces():
            self._policy_queue.add(namespace)
        if self.settings.leader_election:
            await self._lease.keep()
            self._leading = False
            _log.error("the lease is lost: another operator takes over")
            self.lease_lost()
        await asyncio.Event().wait()

    def _may_write(self) -> bool:
        return self._leading and (self._lease.valid or not self.settings.leader_election)

    def _make_informers(self) -> list[Informer[Any]]:
        made: list[Informer[Any]] = []
        ours = {"labelSelector": names.LABEL_STATE}
        policies = {"labelSelector": names.LABEL_POLICY}
        for namespace in self.settings.namespaces or (None,):
            pods = PODS.path(namespace)
            made.append(Informer(self.client, pods, Pod, self._pod_changed, params=ours))
            standing = NETWORK_POLICIES.path(namespace)
            made.append(Informer(self.client, standing, Generic, self.policies.policy_changed, params=policies))
        service = {"labelSelector": "kubernetes.io/service-name=kubernetes"}
        slices = ENDPOINT_SLICES.path("default")
        made.append(Informer(self.client, slices, EndpointSlice, self.policies.endpoints_changed, params=service))
        return made

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self._sweep.run_once()
            except (errors.ApiError, errors.TransportError) as error:
                _log.warning("sweep not finished", extra={"error": str(error)})
            await asyncio.sleep(self.settings.sweep_seconds)

    async def _heartbeat(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(1)

    # Wiring: who tells whom

    def _wire(self) -> None:
        self.gateway.probe = self.probe
        self.gateway.overtaken = self._overtaken
        self.policies.changed = self._policy_queue.add
        self.policies.again = self._policy_queue.add_after
        self.claims.going = self.refill.going
        self.claims.demand_changed = self.pool_queue.add
        self.claims.granted = self.sandbox_queue.add
        self.refill.again = self.pool_queue.add_after
        self.refill.report_in = self._report_queue.add_after
        self.refill.room_found = self.sandbox_queue.add
        self.refill.trouble_changed = self._wake_waiters
        for part in (self._sandboxes, self._provider, self._lifetimes, self._pausing, self._suspending):
            part.again = self.sandbox_queue.add_after
        self._lifetimes.expires = self._timers.set
        self._lifetimes.suspends = self._suspending.possible
        self._teardown.again = self.sandbox_queue.add_after
        self._sweep.sandbox_found = self._sandbox_found
        self._sweep.pool_found = self._pool_found
        self._sweep.sandbox_gone = self._sandbox_gone
        self._sweep.pool_gone = self._pool_gone

    def _sandbox_found(self, record: records.SandboxRecord) -> None:
        if self.store.put_sandbox(record):
            self.sandbox_queue.add(record.uid)

    def _overtaken(self, record: records.SandboxRecord | records.PoolRecord) -> None:
        """A reply to our own write showed a change of others: the watch will have no news of it."""
        if isinstance(record, records.SandboxRecord):
            self.sandbox_queue.add(record.uid)
            return
        self.store.rebuild_warm(record)
        self._pool_changed(None, record)

    def _sandbox_gone(self, uid: str) -> None:
        record = self.store.remove_sandbox(uid)
        if record is None:
            return
        self._sandboxes.forget(record)
        self._policy_queue.add_after(record.namespace, 1.0)
        for pod in self.store.pods_of_sandbox(uid):
            self._touch_pool(pod)

    def _pool_found(self, record: records.PoolRecord) -> None:
        known = self.store.pools.get(record.uid)
        if not self.store.put_pool(record):
            return
        if known is None or known.template_hash != record.template_hash:
            self.store.rebuild_warm(record)
        self._pool_changed(known, record)

    def _pool_changed(self, known: records.PoolRecord | None, record: records.PoolRecord) -> None:
        """Tell everybody whom a pool's change may concern; *known* None: it is not known what changed."""
        self.pool_queue.add(record.uid)
        if known is None or expiry.terms_of(known.spec) != expiry.terms_of(record.spec):
            for sandbox in self.store.sandboxes.values():
                if (sandbox.namespace, sandbox.pool_name) == (record.namespace, record.name):
                    self.sandbox_queue.add(sandbox.uid)
        for uid in self._provider.parked(record.namespace, record.name):
            self.sandbox_queue.add(uid)
        if record.deleting or (record.spec is not None and record.spec.paused):
            self._wake_waiters(record.uid)

    def _pool_gone(self, uid: str) -> None:
        record = self.store.remove_pool(uid)
        if record is None:
            return
        self._wake_waiters(uid)
        self.refill.forget(record)
        self._policy_queue.add_after(record.namespace, 1.0)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        self.store.pod_changed(before, after)
        self.refill.pod_seen(before, after)
        pod = after or before
        assert pod is not None
        sandbox_uid = pod.metadata.labels.get(names.LABEL_SANDBOX_UID)
        if sandbox_uid is not None:
            self.sandbox_queue.add(sandbox_uid)
        # The echo of a claim may come before the claim is Ready, and the substitute's start must
        # not get in its way: the claim itself tells the pool, in time.
        just_claimed = (
            before is not None and sandbox_uid is not None and (names.LABEL_SANDBOX_UID not in before.metadata.labels)
        )
        if not just_claimed:
            self._touch_pool(pod)
        if after is None:
            self._nudges.forget(pod.metadata.uid)
            self._setups.forget(pod.metadata.uid)
            self._scrubbing.forget(pod.metadata.uid)
            self._policy_queue.add_after(pod.metadata.namespace, 1.0)

    def _touch_pool(self, pod: Pod) -> None:
        pool_uid = pod.metadata.labels.get(names.LABEL_POOL_UID)
        if pool_uid in self.store.pools:
            self.pool_queue.add(pool_uid)

    def _wake_waiters(self, pool_uid: str) -> None:
        for waiter in self.claims.waiters(pool_uid):
            self.sandbox_queue.add(waiter.sandbox_uid)

    def _namespace_of(self, sandbox_uid: str) -> str:
        record = self.store.sandboxes.get(sandbox_uid)
        return record.namespace if record is not None else ""

    # Health

    def _alive(self) -> str:
        if time.monotonic() - self._beat > 20:
            return "the event loop has stopped"
        silent = [informer for informer in self._informers if time.monotonic() - informer.last_event_at > 600]
        return f"{len(silent)} watches are silent" if silent else ""

    def _not_ready(self) -> str:
        return "" if self._listed.is_set() else "caches are not filled yet"

    def _collect(self) -> None:
        for queue in self.queues:
            self.metrics.queue_length.labels(queue.name).set(len(queue))
            self.metrics.queue_failures.labels(queue.name).set(queue.failures_total)
        self.metrics.queue_length.labels("events").set(len(self._recorder))
        phases = Counter(str(record.status.get("phase", "Pending")) for record in self.store.sandboxes.values())
        self.metrics.sandboxes.clear()
        for phase, count in phases.items():
            self.metrics.sandboxes.labels(phase).set(count)


def _end_engine() -> None:
    raise RuntimeError("the lease is lost")
