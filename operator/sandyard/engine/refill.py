"""Keeps each pool as it should be: observe, decide (pure), carry out, report.

It runs whenever something about the pool has changed (a claim, a pod, the spec) and at the
times that the decision itself asks for; there is no polling.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any

from sandyard.api import conditions, names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.api.reasons import Condition, Reason
from sandyard.engine import pool_memory, pool_view, setups
from sandyard.engine.claims import Claims
from sandyard.engine.parts import Parts
from sandyard.engine.pool_memory import PoolMemory
from sandyard.engine.records import PoolRecord
from sandyard.kube import errors
from sandyard.podspec import containers, rules
from sandyard.podspec import pod as podspec
from sandyard.pool import arithmetic, observe
from sandyard.pool.observe import PodState, Trouble

__all__ = ["Refill", "refusal"]

_log = logging.getLogger(__name__)
_STATUS_INTERVAL_SECONDS = 1.0
_DEMAND_INTERVAL_SECONDS = 5.0
_RECONNECT_SECONDS = 1.0
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

    def __init__(self, parts: Parts, claims: Claims) -> None:
        self._parts = parts
        self._store = parts.store
        self._gateway = parts.gateway
        self._claims = claims
        self._memories: dict[str, PoolMemory] = {}
        self.again: Callable[[str, float], None] = lambda _uid, _seconds: None
        self.report_in: Callable[[str, float], None] = lambda _uid, _seconds: None
        self.room_found: Callable[[str], None] = lambda _sandbox_uid: None
        self.trouble_changed: Callable[[str], None] = lambda _uid: None

    # Told and asked by others

    def pod_seen(self, before: Pod | None, after: Pod | None) -> None:
        """Settle the expectations that this change fulfils."""
        pod = after or before
        assert pod is not None
        memory = self._memories.get(pod.metadata.labels.get(names.LABEL_POOL_UID, ""))
        if memory is None:
            return
        memory.expectations.seen(pod.metadata.name)
        if after is None or after.metadata.deletion_timestamp is not None:
            memory.expectations.gone(pod.metadata.uid)
        if after is None:
            memory.pod_gone(pod.metadata.uid)

    def arrived(self, pool: PoolRecord) -> None:
        """One more claim has come in, whether it is served at once or not."""
        memory = self._memory(pool)
        memory.demand = memory.demand.claimed(time.time())

    def claimed(self, pool: PoolRecord, *, warm: bool) -> None:
        """One more claim served: count it, and start a substitute."""
        memory = self._memory(pool)
        if warm:
            memory.warm_hits += 1
        else:
            memory.cold_starts += 1
        self.again(pool.uid, 0)

    def scrubbed(self, pool: PoolRecord) -> None:
        """One more used pod is clean and warm again."""
        self._memory(pool).scrubbed += 1
        self.again(pool.uid, 0)

    def going(self, pool_uid: str) -> frozenset[str]:
        """Pods of the pool whose delete is under way and not yet seen."""
        memory = self._memories.get(pool_uid)
        return memory.expectations.deletes(time.monotonic()) if memory is not None else frozenset()

    def forget(self, pool: PoolRecord) -> None:
        """The pool is gone."""
        self._memories.pop(pool.uid, None)
        for label in _NUMBERS.values():
            self._parts.metrics.forget_pool(pool.namespace, pool.name, label)

    def failure(self, pool: PoolRecord) -> Trouble | None:
        """Why the pool's starts fail or hang, if they do."""
        memory = self._memory(pool)
        if memory.refused:
            return Trouble(Reason.INVALID_TEMPLATE, memory.refused)
        found = pool_view.trouble(self._store, pool)
        if found is None and memory.backoff.failures and memory.backoff.reason is not None:
            found = Trouble(memory.backoff.reason, memory.backoff.message)
        return found

    def take_room(self, pool: PoolRecord, sandbox_uid: str, pod_name: str) -> bool:
        """Whether ``maxSandboxes`` leaves room for the pod that the Sandbox starts itself; if so, it is taken.

        If not, the Sandbox waits in a line of its own, and a warm pod is given up for it.
        """
        memory = self._memory(pool)
        now = time.monotonic()
        if memory.expectations.creating(pod_name, now):
            return True
        line = list(memory.own_starts)
        place = line.index(sandbox_uid) if sandbox_uid in memory.own_starts else len(line)
        if place < self._room(pool, memory):
            memory.own_starts.pop(sandbox_uid, None)
            memory.expectations.expect_create(pod_name, now)
            return True
        memory.own_starts[sandbox_uid] = None
        self.again(pool.uid, 0)
        return False

    def leave(self, sandbox_uid: str) -> None:
        """The Sandbox no longer waits for room."""
        for memory in self._memories.values():
            memory.own_starts.pop(sandbox_uid, None)

    def own_start_failed(self, pool: PoolRecord, pod_name: str) -> None:
        """The pod of its own does not come: the room is free again."""
        self._memory(pool).expectations.create_failed(pod_name)

    def _room(self, pool: PoolRecord, memory: PoolMemory) -> float:
        assert pool.spec is not None
        if pool.spec.max_sandboxes is None:
            return float("inf")
        pending = memory.expectations.pending_creates(time.monotonic())
        return pool.spec.max_sandboxes - len(self._store.pods_of_pool(pool.uid)) - pending

    def at_maximum(self, pool: PoolRecord) -> bool:
        """Whether ``maxSandboxes`` keeps the pool from starting what it wants."""
        return self._memory(pool).at_maximum

    # The loop body

    async def reconcile(self, pool_uid: str) -> None:
        """Bring one pool a step closer to what it should be."""
        pool = self._store.pools.get(pool_uid)
        if pool is None:
            return
        if not pool.deleting and names.FINALIZER not in pool.finalizers:
            await self._gateway.add_finalizer(pool)
        memory = self._memory(pool)
        try:
            if pool.spec is not None:
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
        memory = self._memory(pool)
        status = pool_view.status(self._store, self._claims, pool, memory)
        for field, label in _NUMBERS.items():
            self._parts.metrics.pool_pods.labels(pool.namespace, pool.name, label).set(status.get(field, 0))
        self._parts.metrics.pool_waiting.labels(pool.namespace, pool.name).set(self._claims.waiting(pool_uid))
        if conditions.same(status, pool.status):
            return
        memory.written_at = time.monotonic()
        self._tell(pool, status)
        await self._gateway.write_pool_status(pool, status)

    async def _step(self, pool: PoolRecord, memory: PoolMemory) -> None:
        assert pool.spec is not None
        self._learn(pool, memory)
        if not pool.deleting and not pool.spec.paused:
            self._claims.serve(pool)
        if memory.own_starts and (room := self._room(pool, memory)) > 0:
            for uid in list(memory.own_starts)[: int(min(room, len(memory.own_starts)))]:
                self.room_found(uid)
        now = time.time()
        decision = arithmetic.decide(pool_view.view(self._store, self._claims, pool, memory), now)
        memory.at_maximum = decision.at_maximum
        for uid in decision.timed_out:
            self._fail(pool, memory, Reason.START_TIMEOUT, self._late(pool, uid), uid)
        steps = [self._delete(memory, uid) for uid in decision.delete]
        if decision.create:
            steps.append(self._create(pool, memory, decision.create))
        steps += self._overdue_setups(pool, memory, now)
        await asyncio.gather(*steps, self._open_networks(pool, memory), self._nudge(pool))
        if pool.spec.autoscale is not None and not memory.demand.idle(now):
            # The load of the past is forgotten with time, without an event.
            self.again(pool.uid, _DEMAND_INTERVAL_SECONDS)
        if decision.again_at is not None:
            self.again(pool.uid, max(0.05, decision.again_at - now))
        deadline = memory.expectations.next_deadline()
        if deadline is not None:
            self.again(pool.uid, max(0.05, deadline - time.monotonic()))

    # Learning

    def _memory(self, pool: PoolRecord) -> PoolMemory:
        memory = self._memories.get(pool.uid)
        if memory is None:
            memory = self._memories[pool.uid] = pool_memory.remember(pool)
        if memory.turn_to(pool.template_hash):
            self._store.rebuild_warm(pool)
        return memory

    def _learn(self, pool: PoolRecord, memory: PoolMemory) -> None:
        assert pool.spec is not None
        egress = pool.spec.template.network.egress
        pods = self._store.pods_of_pool(pool.uid)
        for pod, trouble in memory.failures(pods, egress):
            self._fail(pool, memory, trouble.reason, trouble.message, pod.metadata.uid)
        again = memory.learn(pods, egress, time.time())
        if again is not None:
            self.again(pool.uid, again)

    def _fail(self, pool: PoolRecord, memory: PoolMemory, reason: Reason, message: str, pod_uid: str = "") -> None:
        now = time.time()
        memory.fail(reason, message, now, pod_uid)
        self._parts.metrics.pod_starts.labels("failed").inc()
        self._parts.recorder.tell(pool, Event.START_FAILED, f"{reason.value}: {message}")
        self.again(pool.uid, max(0.05, memory.backoff.until - now))
        self.trouble_changed(pool.uid)

    def _late(self, pool: PoolRecord, uid: str) -> str:
        assert pool.spec is not None
        pod = self._store.pods.get(uid)
        why = observe.trouble(pod) if pod is not None else None
        text = f"a pod was not ready within startup.timeoutSeconds ({pool.spec.startup.timeout_seconds} s)"
        return f"{text}: {why.reason.value}: {why.message}" if why else text

    # Carrying out

    async def _create(self, pool: PoolRecord, memory: PoolMemory, count: int) -> None:
        assert pool.spec is not None
        template = pool.spec.template
        bodies = [
            podspec.build(
                template,
                name=podspec.pod_name(pool.name, secrets.token_hex(4)),
                namespace=pool.namespace,
                owner=pool.owner,
                probe=self._parts.probe(),
                pool=pool.owner,
                health=pool.spec.warm.probe,
            )
            for _ in range(count)
        ]
        memory.refused = "; ".join(rules.violations(bodies[0], allow_root=self._parts.settings.allow_root))
        if memory.refused:
            self._fail(pool, memory, Reason.INVALID_TEMPLATE, memory.refused)
            return
        # Before anything is awaited: from now on these count against maxSandboxes.
        for body in bodies:
            memory.expectations.expect_create(body["metadata"]["name"], time.monotonic())
        try:
            await self._parts.policies.ensure(pool.namespace, *containers.reaches(template))
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
            await self._gateway.create_pod(body)
        except errors.ApiError as error:
            if error.already_exists:
                return None
            memory.expectations.create_failed(name)
            return error
        except errors.NotConnected as error:
            memory.expectations.create_failed(name)
            _log.warning("not created", extra={"pod": name, "error": str(error)})
            self.again(pool.uid, _RECONNECT_SECONDS)
            return None
        except errors.TransportError as error:
            # It may exist: the expectation stays until the watch shows it or it times out.
            _log.warning("create cut off", extra={"pod": name, "error": str(error)})
            return None
        self._parts.metrics.pod_starts.labels("created").inc()
        return None

    async def _delete(self, memory: PoolMemory, uid: str) -> None:
        pod = self._store.pods.get(uid)
        if pod is None or self._store.reserved_for(uid) is not None:
            return
        memory.expectations.expect_delete(uid, time.monotonic())
        try:
            await self._gateway.delete_pod(pod.metadata.namespace, pod.metadata.name, uid)
        except (errors.ApiError, errors.TransportError) as error:
            memory.expectations.delete_failed(uid)
            _log.warning("delete failed", extra={"pod": pod.metadata.name, "error": str(error)})
            self.again(pod.metadata.labels.get(names.LABEL_POOL_UID, ""), 1.0)

    def _overdue_setups(self, pool: PoolRecord, memory: PoolMemory, now: float) -> list[Coroutine[Any, Any, None]]:
        """Deletes of pods whose setup takes longer than it may."""
        assert pool.spec is not None
        setup = pool.spec.template.setup
        steps: list[Coroutine[Any, Any, None]] = []
        if setup is None:
            return steps
        going = self.going(pool.uid)
        for pod in self._store.pods_of_pool(pool.uid):
            left = setups.seconds_left(pod, setup, now)
            if left is None or names.LABEL_SANDBOX_UID in pod.metadata.labels or pod.metadata.uid in going:
                continue
            if left > 0:
                self.again(pool.uid, left)
            else:
                self._fail(pool, memory, Reason.SETUP_FAILED, setups.overdue(setup), pod.metadata.uid)
                steps.append(self._delete(memory, pod.metadata.uid))
        return steps

    async def _open_networks(self, pool: PoolRecord, memory: PoolMemory) -> None:
        """Give proven pods the network of their template, before anybody claims them."""
        assert pool.spec is not None
        egress = pool.spec.template.network.egress
        for pod in self._store.pods_of_pool(pool.uid):
            uid = pod.metadata.uid
            if uid in memory.opening or self._store.reserved_for(uid):
                continue
            if pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) != pool.template_hash:
                continue
            if observe.setup_open(pod) and names.LABEL_SANDBOX_UID not in pod.metadata.labels:
                await self._parts.setups.close(pod, pool.spec.template)
            elif observe.classify(pod, egress) is PodState.PROVEN:
                memory.opening.add(uid)
                try:
                    await self._gateway.relabel_network(pod, {names.LABEL_EGRESS: egress})
                except BaseException:
                    memory.opening.discard(uid)
                    raise

    async def _nudge(self, pool: PoolRecord) -> None:
        for pod in self._store.pods_of_pool(pool.uid):
            wait = await self._parts.nudges.consider(pod)
            if wait is not None:
                self.again(pool.uid, wait)

    async def _finish_deletion(self, pool: PoolRecord, memory: PoolMemory) -> None:
        """Take the finalizer off once every pod is gone that belongs to no Sandbox."""
        if names.FINALIZER not in pool.finalizers or memory.expectations.pending_creates(time.monotonic()):
            return
        left = [
            pod
            for pod in self._store.pods_of_pool(pool.uid)
            if names.LABEL_SANDBOX_UID not in pod.metadata.labels and self._store.reserved_for(pod.metadata.uid) is None
        ]
        if not left:
            await self._gateway.remove_finalizer(pool)

    # Reporting

    def _report_soon(self, pool_uid: str, memory: PoolMemory) -> None:
        """At most one status write a second and pool."""
        self.report_in(pool_uid, max(0.05, memory.written_at + _STATUS_INTERVAL_SECONDS - time.monotonic()))

    def _tell(self, pool: PoolRecord, status: dict[str, Any]) -> None:
        before = conditions.find(pool.status.get("conditions"), Condition.READY)
        after = conditions.find(status["conditions"], Condition.READY)
        if after is not None and after["status"] == "True" and (before is None or before["status"] != "True"):
            self._parts.recorder.tell(pool, Event.READY, str(after["message"]))


def refusal(error: errors.ApiError) -> tuple[Reason, str]:
    """Why the API server did not take what was sent, as a reason and a message."""
    message = error.message
    lowered = message.lower()
    if "exceeded quota" in lowered or "failed quota" in lowered:
        return Reason.QUOTA_EXCEEDED, message
    if "runtimeclass" in lowered:
        return Reason.RUNTIME_CLASS_MISSING, f"{message}; create it, or name another in template.runtimeClassName"
    return Reason.POD_REFUSED, message
