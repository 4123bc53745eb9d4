"""Keeps each pool as it should be: observe, decide (pure), carry out, report.

It runs whenever something about the pool has changed (a claim, a pod, the spec) and at the
times that the decision itself asks for; there is no polling.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from itertools import islice
from typing import Any

from sandyard.api import names
from sandyard.api.reasons import Reason
from sandyard.engine.claims.claims import Claims
from sandyard.engine.cluster.kubelet_resync import KubeletResync
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.setup_network import SetupNetwork
from sandyard.engine.cluster.starts import refusal
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.pools import view
from sandyard.engine.pools.start import CREATE, PoolStarts
from sandyard.engine.pools.status import PoolWriter
from sandyard.engine.state.pods import PodEntry
from sandyard.engine.state.pools import PoolEntry
from sandyard.engine.state.records import PoolRecord
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.pod import observe
from sandyard.pool import arithmetic
from sandyard.pool.arithmetic import Decision

__all__ = ["Pools"]

_log = logging.getLogger(__name__)
# Of a pool with a schedule, whatever happens to the clock meanwhile.
_SCHEDULE_LOOK_SECONDS = 300.0
_DEMAND_INTERVAL_SECONDS = 5.0
_CONFLICT_SECONDS = 0.05
_LOOK_SECONDS = 0.5
_RETRY_SECONDS = 1.0
# The watch shows that an object is gone long before this.
_GONE_SECONDS = 5.0
# What its requests are for, where they fail.
_LOOK, _DELETE, _NETWORK = "look after the pool", "delete pods", "open the network of pods"


class Pools:
    """All pools of this operator."""

    def __init__(
        self, store: Store, claims: Claims, queues: Queues, clock: Clock, writer: PoolWriter, starts: PoolStarts,
        pods: Pods, setup_network: SetupNetwork, kubelet_resync: KubeletResync,
    ) -> None:  # fmt: skip
        self._store = store
        self._claims = claims
        self._queues = queues
        self._clock = clock
        self._writer = writer
        self._starts = starts
        self._pods = pods
        self._setup_network = setup_network
        self._kubelet_resync = kubelet_resync

    async def reconcile(self, pool_uid: str) -> None:
        """Bring one pool a step closer to what it should be."""
        entry = self._store.pools.get(pool_uid)
        if entry is None or entry.record.namespace in self._store.unseen:
            return
        if not entry.record.deleting and names.FINALIZER not in entry.record.finalizers:
            await self._writer.add_finalizer(entry.record)
        pool = entry.record
        try:
            if isinstance(pool, PoolRecord):
                await self._step(pool, entry)
            elif pool.deleting:
                await self._clear(entry)
            if pool.deleting:
                await self._finish_deletion(entry)
        except (errors.ApiError, errors.TransportError) as error:
            self._starts.hinder(entry, _LOOK, error)
            raise
        else:
            self._starts.hinder(entry, _LOOK, None)
        finally:
            self._writer.report_soon(entry)

    async def _step(self, pool: PoolRecord, entry: PoolEntry) -> None:
        memory = entry.memory
        self._forgive_deletes(entry)
        self._learn(entry)
        await self._starts.settle(entry)
        await self._claims.look(pool.uid)
        if not pool.deleting and not pool.spec.paused and not pool.beyond:
            self._claims.serve(pool.uid)
        for uid in entry.next_for_room(pool.spec.max_sandboxes, self._clock.monotonic()):
            self._queues.sandboxes.add(uid)
        now = self._clock.now()
        withheld = self._store.exposures.withheld(pool.namespace)
        seen = view.view(pool, entry, self._claims.waiting_cold(pool.uid), self._clock, withheld=withheld)
        decision = arithmetic.decide(seen, now)
        memory.at_maximum = decision.at_maximum
        for uid in decision.timed_out:
            self._starts.fail_late(pool, entry, self._store.pods.get(uid))
        if not decision.delete:
            self._starts.hinder(entry, _DELETE, None)
        if not decision.create and not seen.pending_creates and now >= seen.held_until:
            self._starts.hinder(entry, CREATE, None)
        steps = [self._delete(entry, pod) for pod in self._known(decision.delete)]
        if decision.create:
            awaited = self._claims.waiting(pool.uid) > 0
            steps.append(self._starts.create(pool, entry, decision.create, awaited=awaited))
        steps += self._overdue_setups(pool, entry, now)
        await asyncio.gather(*steps, self._open_networks(pool, entry), self._resync_kubelets(entry))
        self._look_again(pool, entry, decision, now)

    async def _clear(self, entry: PoolEntry) -> None:
        """Delete what is nobody's of a pool that makes no sense and is to go."""
        self._forgive_deletes(entry)
        await asyncio.gather(*(self._delete(entry, pod) for pod in self._known(entry.pods.census.unclaimed())))
        self._queues.pools.add_after(entry.uid, _RETRY_SECONDS)

    def _forgive_deletes(self, entry: PoolEntry) -> None:
        """Deletes of which nothing has come are tried again."""
        for pod in self._known(entry.memory.expectations.take_overdue_deletes(self._clock.monotonic())):
            self._store.mark_leaving(pod, False)

    def _look_again(self, pool: PoolRecord, entry: PoolEntry, decision: Decision, now: float) -> None:
        """Come back at the times at which there is something to do without an event."""
        memory = entry.memory
        for wait in (self._claims.next_look(pool.uid), self._starts.next_look(entry)):
            if wait is not None:
                self._queues.pools.add_after(pool.uid, max(0.05, wait))
        if pool.spec.autoscale is not None and not memory.demand.idle(now):
            # The load of the past is forgotten with time.
            self._queues.pools.add_after(pool.uid, _DEMAND_INTERVAL_SECONDS)
        window = view.scheduled(pool, self._clock.now())
        if window is not None:
            wait = window.until - self._clock.now()
            self._queues.pools.add_after(pool.uid, min(max(1.0, wait), _SCHEDULE_LOOK_SECONDS))
        if decision.again_at is not None:
            self._queues.pools.add_after(pool.uid, max(0.05, decision.again_at - now))
        deadline = memory.expectations.next_deadline()
        if deadline is not None:
            self._queues.pools.add_after(pool.uid, max(0.05, deadline - self._clock.monotonic()))

    def _learn(self, entry: PoolEntry) -> None:
        egress, memory = entry.pods.egress, entry.memory
        news = self._known(entry.pods.take_news())
        for pod, trouble in memory.failures(news, egress):
            self._starts.fail(entry, trouble.reason, trouble.message, pod)
        requeue_after = memory.learn(news, entry.pods.ready, egress, self._clock.now())
        if requeue_after is not None:
            self._queues.pools.add_after(entry.uid, requeue_after)

    # Carrying out

    async def _delete(self, entry: PoolEntry, pod: PodEntry) -> None:
        if pod.reserved_for is not None:
            return
        expectations = entry.memory.expectations
        expectations.expect_delete(pod.uid, self._clock.monotonic())
        self._store.mark_leaving(pod, True)
        try:
            if not await self._pods.delete_free(pod.pod):
                # Gone, or changed: the watch shows which, and then it is decided anew; or neither.
                expectations.delete_failed(pod.uid)
                self._store.mark_leaving(pod, False)
                self._queues.pools.add_after(entry.uid, _LOOK_SECONDS)
        except (errors.ApiError, errors.TransportError) as error:
            expectations.delete_failed(pod.uid)
            self._store.mark_leaving(pod, False)
            _log.warning("delete failed", extra={"pod": pod.pod.metadata.name, "error": str(error)})
            self._starts.hinder(entry, _DELETE, error)
            self._retry(entry, error)

    def _retry(self, entry: PoolEntry, error: Exception) -> None:
        """Come back when the API server asks for it, or soon."""
        after = error.retry_after_seconds if isinstance(error, errors.ApiError) else None
        self._queues.pools.add_after(entry.uid, max(_RETRY_SECONDS, after or 0.0))

    def _overdue_setups(self, pool: PoolRecord, entry: PoolEntry, now: float) -> list[Coroutine[Any, Any, None]]:
        """Deletes of pods whose setup takes longer than it may."""
        setup, running = pool.spec.template.setup, entry.pods.setups
        if setup is None:
            return []
        steps: list[Coroutine[Any, Any, None]] = []
        for pod in self._known(list(islice(running, running.up_to(now - setup.timeout_seconds)))):
            if not pod.leaving:
                self._starts.fail(entry, Reason.SETUP_FAILED, observe.setup_overdue(setup.timeout_seconds), pod)
                steps.append(self._delete(entry, pod))
        since = running.above(now - setup.timeout_seconds)
        if since is not None:
            self._queues.pools.add_after(pool.uid, since + setup.timeout_seconds - now)
        return steps

    async def _open_networks(self, pool: PoolRecord, entry: PoolEntry) -> None:
        """Give proven pods the network of their template, before anybody claims them."""
        template = pool.spec.template
        for pod in self._known(entry.pods.setups_ended):
            await self._one(entry, self._setup_network.close(pod, template))
        for pod in self._known(entry.pods.closed):
            if not pod.opening:
                await self._one(entry, self._open(pod, template.network.egress))

    async def _open(self, pod: PodEntry, egress: str) -> None:
        pod.opening = True
        try:
            await self._pods.relabel_network(pod.pod, {names.LABEL_EGRESS: egress})
        except BaseException:
            pod.opening = False
            raise

    async def _one(self, entry: PoolEntry, change: Coroutine[Any, Any, None]) -> None:
        """Change one pod; what is refused, or does not fit any more, keeps the pool from nothing else."""
        try:
            await change
        except errors.ApiError as error:
            if error.refused:
                self._starts.fail(entry, *refusal(error))
            else:
                self._starts.hinder(entry, _NETWORK, error)
            self._retry(entry, error)
        else:
            self._starts.hinder(entry, _NETWORK, None)

    async def _resync_kubelets(self, entry: PoolEntry) -> None:
        for pod in self._known(entry.pods.unready):
            wait = await self._kubelet_resync.consider(pod)
            if wait is not None:
                self._queues.pools.add_after(entry.uid, wait)

    async def _finish_deletion(self, entry: PoolEntry) -> None:
        """Take the finalizer off once every pod is gone that belongs to no Sandbox."""
        pending = entry.memory.expectations.pending_creates(self._clock.monotonic())
        if names.FINALIZER not in entry.record.finalizers or pending or entry.pods.unowned:
            return
        written = await self._writer.remove_finalizer(entry.record)
        if written is None:
            # Whoever has answered may have been wrong; what is gone is not looked at again.
            self._queues.pools.add_after(entry.uid, _GONE_SECONDS)
        elif names.FINALIZER in written.finalizers:
            self._queues.pools.add_after(entry.uid, _CONFLICT_SECONDS)

    def _known(self, uids: Iterable[str]) -> list[PodEntry]:
        """The entries of those pods that are there."""
        found = (self._store.pods.get(uid) for uid in uids)
        return [pod for pod in found if pod is not None]
