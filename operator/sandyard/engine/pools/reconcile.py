"""Keeps each pool as it should be: observe, decide (pure), carry out, report.

It runs whenever something about the pool has changed (a claim, a pod, the spec) and at the
times that the decision itself asks for; there is no polling.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from itertools import islice
from typing import Any

from sandyard.api import names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.api.reasons import Condition, Reason
from sandyard.engine.claims.claims import Claims
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.kubelet_resync import KubeletResync
from sandyard.engine.cluster.objects import Objects
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.setup_network import SetupNetwork
from sandyard.engine.cluster.starts import Starts
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.pools import view as pool_view
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.routing import Routing
from sandyard.engine.state.pool_memory import Memories, PoolMemory
from sandyard.engine.state.pool_pods import PoolPods
from sandyard.engine.state.records import AnyPool, PoolRecord
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.pod import observe
from sandyard.pod.observe import Trouble
from sandyard.podspec import pod as podspec
from sandyard.pool import arithmetic
from sandyard.pool.status import PoolStatus

__all__ = ["Refill", "refusal"]

_log = logging.getLogger(__name__)
_STATUS_INTERVAL_SECONDS = 1.0
_DEMAND_INTERVAL_SECONDS = 5.0
_RECONNECT_SECONDS = 1.0
_CONFLICT_SECONDS = 0.05
_NUMBERS = {
    "replicas": "warm",
    "starting": "starting",
    "claimed": "claimed",
    "terminating": "terminating",
    "unhealthy": "unhealthy",
    "outdated": "outdated",
}


class Refill:
    """All pools of this operator."""

    def __init__(
        self, *, store: Store, memories: Memories, claims: Claims, routing: Routing, queues: Queues, clock: Clock,
        objects: Objects, pods: Pods, starts: Starts, setup_network: SetupNetwork, kubelet_resync: KubeletResync,
        recorder: Recorder, metrics: Metrics,
    ) -> None:  # fmt: skip
        self._store = store
        self._memories = memories
        self._claims = claims
        self._routing = routing
        self._queues = queues
        self._clock = clock
        self._objects = objects
        self._pods = pods
        self._starts = starts
        self._setup_network = setup_network
        self._kubelet_resync = kubelet_resync
        self._recorder = recorder
        self._metrics = metrics

    # Told and asked by others

    def pod_seen(self, before: Pod | None, after: Pod | None) -> None:
        """Settle the expectations that this change fulfils."""
        pod = after or before
        assert pod is not None
        memory = self._memories.known(pod.metadata.labels.get(names.LABEL_POOL_UID, ""))
        if memory is None:
            return
        memory.expectations.seen(pod.metadata.name)
        if after is None or after.metadata.deletion_timestamp is not None:
            memory.expectations.gone(pod.metadata.uid)
        if after is None:
            memory.pod_gone(pod.metadata.uid)

    def arrived(self, pool: PoolRecord) -> None:
        """One more claim has come in, whether it is served at once or not."""
        memory = self._memories.of(pool)
        memory.demand = memory.demand.claimed(self._clock.now())

    def claimed(self, pool: PoolRecord, *, warm: bool) -> None:
        """One more claim served: count it, and start a substitute."""
        memory = self._memories.of(pool)
        if warm:
            memory.warm_hits += 1
        else:
            memory.cold_starts += 1
        self._queues.pools.add_after(pool.uid, 0)

    def scrubbed(self, pool: PoolRecord) -> None:
        """One more used pod is clean and warm again."""
        self._memories.of(pool).scrubbed += 1
        self._queues.pools.add_after(pool.uid, 0)

    def forget(self, pool: AnyPool) -> None:
        """The pool is gone."""
        self._memories.forget(pool.uid)
        for label in _NUMBERS.values():
            self._metrics.forget_pool(pool.namespace, pool.name, label)

    def failure(self, pool: PoolRecord) -> Trouble | None:
        """Why the pool's starts fail or hang, if they do."""
        memory = self._memories.of(pool)
        if memory.refused:
            return Trouble(Reason.INVALID_TEMPLATE, memory.refused)
        found = pool_view.trouble(self._store, pool)
        if found is None and memory.backoff.failures and memory.backoff.reason is not None:
            found = Trouble(memory.backoff.reason, memory.backoff.message)
        return found

    def reserve_room(self, pool: PoolRecord, sandbox_uid: str, pod_name: str) -> bool:
        """Whether ``maxSandboxes`` leaves room for the pod that the Sandbox starts itself; if so, it is taken.

        If not, the Sandbox waits in a line of its own, and a warm pod is given up for it.
        """
        memory = self._memories.of(pool)
        now = self._clock.monotonic()
        if memory.expectations.creating(pod_name, now):
            return True
        room, line = self._room(pool, memory), memory.waiting_for_room
        if len(line) < room or (room > 0 and sandbox_uid in islice(line, int(room))):
            self._memories.stop_waiting_for_room(sandbox_uid)
            memory.expectations.expect_create(pod_name, now)
            return True
        self._memories.wait_for_room(pool, sandbox_uid)
        self._queues.pools.add_after(pool.uid, 0)
        return False

    def own_start_failed(self, pool: PoolRecord, pod_name: str) -> None:
        """The pod of its own does not come: the room is free again."""
        self._memories.of(pool).expectations.create_failed(pod_name)
        self._queues.pools.add(pool.uid)

    def _room(self, pool: PoolRecord, memory: PoolMemory) -> float:
        if pool.spec.max_sandboxes is None:
            return float("inf")
        pending = memory.expectations.pending_creates(self._clock.monotonic())
        return pool.spec.max_sandboxes - len(self._store.sort_pods(pool).census) - pending

    def at_maximum(self, pool: PoolRecord) -> bool:
        """Whether ``maxSandboxes`` keeps the pool from starting what it wants."""
        return self._memories.of(pool).at_maximum

    # The loop body

    async def reconcile(self, pool_uid: str) -> None:
        """Bring one pool a step closer to what it should be."""
        pool = self._store.pools.get(pool_uid)
        if pool is None:
            return
        if not pool.deleting and names.FINALIZER not in pool.finalizers:
            self._merge(pool, await self._objects.add_finalizer(pool))
            pool = self._store.pools.get(pool_uid, pool)
        memory = self._memories.of(pool)
        try:
            if isinstance(pool, PoolRecord):
                await self._step(pool, memory)
            if pool.deleting:
                await self._finish_deletion(pool, memory)
        finally:
            self._report_soon(pool_uid, memory)

    async def report(self, pool_uid: str) -> None:
        """Write the pool's status if it has changed."""
        pool = self._store.pools.get(pool_uid)
        if pool is None:
            return
        memory = self._memories.of(pool)
        status = pool_view.status(self._store, self._claims, pool, memory, self._clock)
        for field, label in _NUMBERS.items():
            number = getattr(status, field) or 0
            self._metrics.pool_pods.labels(pool.namespace, pool.name, label).set(number)
        self._metrics.pool_waiting.labels(pool.namespace, pool.name).set(self._claims.waiting(pool_uid))
        if status.same(pool.status):
            return
        memory.written_at = self._clock.monotonic()
        self._record(pool, status)
        self._merge(pool, await self._objects.write_pool_status(pool, status.dump(pool.status)))

    async def _step(self, pool: PoolRecord, memory: PoolMemory) -> None:
        pods = self._store.sort_pods(pool)
        for uid in memory.expectations.take_overdue_deletes(self._clock.monotonic()):
            self._store.staying(uid)
        self._learn(pool, memory, pods)
        if not pool.deleting and not pool.spec.paused:
            self._claims.serve(pool)
        if memory.waiting_for_room and (room := self._room(pool, memory)) > 0:
            for uid in islice(memory.waiting_for_room, int(min(room, len(memory.waiting_for_room)))):
                self._queues.sandboxes.add(uid)
        now = self._clock.now()
        decision = arithmetic.decide(pool_view.view(self._store, self._claims, pool, memory, self._clock), now)
        memory.at_maximum = decision.at_maximum
        for uid in decision.timed_out:
            self._fail(pool, memory, Reason.START_TIMEOUT, self._late(pool, uid), uid)
        steps = [self._delete(memory, uid) for uid in decision.delete]
        if decision.create:
            steps.append(self._create(pool, memory, decision.create))
        steps += self._overdue_setups(pool, memory, pods, now)
        await asyncio.gather(*steps, self._open_networks(pool, memory, pods), self._resync_kubelets(pool, pods))
        if pool.spec.autoscale is not None and not memory.demand.idle(now):
            # The load of the past is forgotten with time, without an event.
            self._queues.pools.add_after(pool.uid, _DEMAND_INTERVAL_SECONDS)
        if decision.again_at is not None:
            self._queues.pools.add_after(pool.uid, max(0.05, decision.again_at - now))
        deadline = memory.expectations.next_deadline()
        if deadline is not None:
            self._queues.pools.add_after(pool.uid, max(0.05, deadline - self._clock.monotonic()))

    # Learning

    def _learn(self, pool: PoolRecord, memory: PoolMemory, pods: PoolPods) -> None:
        egress = pool.spec.template.network.egress
        news = [self._store.pods[uid] for uid in pods.take_news()]
        for pod, trouble in memory.failures(news, egress):
            self._fail(pool, memory, trouble.reason, trouble.message, pod.metadata.uid)
        again = memory.learn(news, pods.ready, egress, self._clock.now())
        if again is not None:
            self._queues.pools.add_after(pool.uid, again)

    def _fail(self, pool: PoolRecord, memory: PoolMemory, reason: Reason, message: str, pod_uid: str = "") -> None:
        now = self._clock.now()
        memory.fail(reason, message, now, pod_uid)
        self._metrics.pod_starts.labels("failed").inc()
        self._recorder.record(pool, Event.START_FAILED, f"{reason.value}: {message}")
        self._queues.pools.add_after(pool.uid, max(0.05, memory.backoff.until - now))
        self._routing.waiting_claims(pool.uid)

    def _late(self, pool: PoolRecord, uid: str) -> str:
        pod = self._store.pods.get(uid)
        why = observe.trouble(pod) if pod is not None else None
        text = f"a pod was not ready within startup.timeoutSeconds ({pool.spec.startup.timeout_seconds} s)"
        return f"{text}: {why.reason.value}: {why.message}" if why else text

    # Carrying out

    async def _create(self, pool: PoolRecord, memory: PoolMemory, count: int) -> None:
        template = pool.spec.template
        bodies = [
            podspec.build(
                template,
                name=podspec.pod_name(pool.name, secrets.token_hex(4)),
                namespace=pool.namespace,
                owner=pool.owner,
                probe=self._starts.probe(),
                pool=pool.owner,
                health=pool.spec.warm.probe,
            )
            for _ in range(count)
        ]
        memory.refused = "; ".join(self._starts.violations(bodies[0]))
        if memory.refused:
            self._fail(pool, memory, Reason.INVALID_TEMPLATE, memory.refused)
            return
        # Before anything is awaited: from now on these count against maxSandboxes.
        for body in bodies:
            memory.expectations.expect_create(body["metadata"]["name"], self._clock.monotonic())
        try:
            await self._starts.ensure_policies(pool.namespace, template)
        except (errors.ApiError, errors.TransportError) as error:
            for body in bodies:
                memory.expectations.create_failed(body["metadata"]["name"])
            if isinstance(error, errors.TransportError):
                raise
            self._fail(pool, memory, *refusal(error))
            return
        results = await asyncio.gather(*(self._create_one(pool, memory, body) for body in bodies))
        refused = next((error for error in results if error is not None), None)
        if refused is not None:
            self._fail(pool, memory, *refusal(refused))

    async def _create_one(self, pool: PoolRecord, memory: PoolMemory, body: dict[str, Any]) -> errors.ApiError | None:
        name = body["metadata"]["name"]
        try:
            await self._starts.create(body)
        except errors.ApiError as error:
            if error.already_exists:
                return None
            memory.expectations.create_failed(name)
            return error
        except errors.NotConnected as error:
            memory.expectations.create_failed(name)
            _log.warning("not created", extra={"pod": name, "error": str(error)})
            self._queues.pools.add_after(pool.uid, _RECONNECT_SECONDS)
            return None
        except errors.TransportError as error:
            # It may exist: the expectation stays until the watch shows it or it times out.
            _log.warning("create cut off", extra={"pod": name, "error": str(error)})
            return None
        return None

    async def _delete(self, memory: PoolMemory, uid: str) -> None:
        pod = self._store.pods.get(uid)
        if pod is None or self._store.reserved_for(uid) is not None:
            return
        memory.expectations.expect_delete(uid, self._clock.monotonic())
        self._store.leaving(uid)
        try:
            if not await self._pods.delete_free(pod):
                # Gone, or changed: the watch shows which, and then it is decided anew.
                memory.expectations.delete_failed(uid)
                self._store.staying(uid)
        except (errors.ApiError, errors.TransportError) as error:
            memory.expectations.delete_failed(uid)
            self._store.staying(uid)
            _log.warning("delete failed", extra={"pod": pod.metadata.name, "error": str(error)})
            self._queues.pools.add_after(pod.metadata.labels.get(names.LABEL_POOL_UID, ""), 1.0)

    def _overdue_setups(
        self, pool: PoolRecord, memory: PoolMemory, pods: PoolPods, now: float
    ) -> list[Coroutine[Any, Any, None]]:
        """Deletes of pods whose setup takes longer than it may."""
        setup = pool.spec.template.setup
        steps: list[Coroutine[Any, Any, None]] = []
        if setup is None:
            return steps
        overdue = pods.setups.up_to(now - setup.timeout_seconds)
        for uid in [uid for uid in islice(pods.setups, overdue) if not pods.is_leaving(uid)]:
            self._fail(pool, memory, Reason.SETUP_FAILED, observe.setup_overdue(setup.timeout_seconds), uid)
            steps.append(self._delete(memory, uid))
        since = pods.setups.above(now - setup.timeout_seconds)
        if since is not None:
            self._queues.pools.add_after(pool.uid, since + setup.timeout_seconds - now)
        return steps

    async def _open_networks(self, pool: PoolRecord, memory: PoolMemory, pods: PoolPods) -> None:
        """Give proven pods the network of their template, before anybody claims them."""
        egress = pool.spec.template.network.egress
        for pod in [self._store.pods[uid] for uid in pods.setups_ended]:
            await self._setup_network.close(pod, pool.spec.template)
        for pod in [self._store.pods[uid] for uid in pods.closed if uid not in memory.opening]:
            uid = pod.metadata.uid
            if uid in memory.opening:
                continue
            memory.opening.add(uid)
            try:
                await self._pods.relabel_network(pod, {names.LABEL_EGRESS: egress})
            except BaseException:
                memory.opening.discard(uid)
                raise

    async def _resync_kubelets(self, pool: PoolRecord, pods: PoolPods) -> None:
        for pod in [self._store.pods[uid] for uid in pods.unready]:
            wait = await self._kubelet_resync.consider(pod)
            if wait is not None:
                self._queues.pools.add_after(pool.uid, wait)

    async def _finish_deletion(self, pool: AnyPool, memory: PoolMemory) -> None:
        """Take the finalizer off once every pod is gone that belongs to no Sandbox."""
        if names.FINALIZER not in pool.finalizers or memory.expectations.pending_creates(self._clock.monotonic()):
            return
        if not self._store.unowned_pods(pool.uid):
            written = await self._objects.remove_finalizer(pool)
            if written is not None:
                self._merge(pool, written)
                if names.FINALIZER in written.finalizers:
                    self._queues.pools.add_after(pool.uid, _CONFLICT_SECONDS)

    def _merge(self, pool: AnyPool, written: AnyPool) -> None:
        """Take in the reply to our own write, and act on what others have changed."""
        if self._store.merge_pool(pool, written):
            self._routing.pool_changed(None, written)

    # Reporting

    def _report_soon(self, pool_uid: str, memory: PoolMemory) -> None:
        """At most one status write a second and pool."""
        self._queues.pool_status.add_after(
            pool_uid, max(0.05, memory.written_at + _STATUS_INTERVAL_SECONDS - self._clock.monotonic())
        )

    def _record(self, pool: AnyPool, status: PoolStatus) -> None:
        before, after = pool.status.condition(Condition.READY), status.condition(Condition.READY)
        if after is not None and after["status"] == "True" and (before is None or before["status"] != "True"):
            self._recorder.record(pool, Event.READY, str(after["message"]))


def refusal(error: errors.ApiError) -> tuple[Reason, str]:
    """Why the API server did not take what was sent, as a reason and a message."""
    message = error.message
    lowered = message.lower()
    if "exceeded quota" in lowered or "failed quota" in lowered:
        return Reason.QUOTA_EXCEEDED, message
    if "runtimeclass" in lowered:
        return Reason.RUNTIME_CLASS_MISSING, f"{message}; create it, or name another in template.runtimeClassName"
    return Reason.POD_REFUSED, message
