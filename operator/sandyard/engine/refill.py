"""Keeps each pool as it should be: observe, decide (pure), carry out, report.

It runs whenever something about the pool has changed (a claim, a pod, the spec) and at the
times that the decision itself asks for; there is no polling.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sandyard.api import conditions, model, names
from sandyard.api.conditions import Finding
from sandyard.api.objects import Pod
from sandyard.api.reasons import Condition, Reason
from sandyard.engine.claims import Claims
from sandyard.engine.events import Recorder
from sandyard.engine.gateway import Gateway
from sandyard.engine.metrics import Metrics
from sandyard.engine.policies import Policies
from sandyard.engine.records import PoolRecord
from sandyard.engine.settings import Settings
from sandyard.engine.store import Store
from sandyard.kube import errors
from sandyard.podspec import pod as podspec
from sandyard.podspec import rules
from sandyard.pool import arithmetic, observe, report
from sandyard.pool.arithmetic import PoolPod, PoolView
from sandyard.pool.backoff import Backoff
from sandyard.pool.expectations import Expectations
from sandyard.pool.observe import PodState

__all__ = ["Refill", "refusal"]

_log = logging.getLogger(__name__)
# A pod must stay warm this long before the failures before it are forgiven; else a pool whose
# pods start well and die at once would never back off.
_FORGIVE_AFTER_SECONDS = 5.0
_STATUS_INTERVAL_SECONDS = 1.0


@dataclass
class _Memory:
    """What is known of a pool beyond its objects; all of it can be lost and built anew."""

    template_hash: str
    expectations: Expectations = field(default_factory=Expectations)
    backoff: Backoff = Backoff()
    failed_at: float = 0.0
    failed_pods: set[str] = field(default_factory=set)
    proven: bool = False
    warm_hits: int = 0
    cold_starts: int = 0
    at_maximum: bool = False
    refused: str = ""
    runtime: Finding | None = None
    network: Finding | None = None
    opening: set[str] = field(default_factory=set)
    written_at: float = float("-inf")


class Refill:
    """All pools of this operator."""

    def __init__(
        self,
        store: Store,
        gateway: Gateway,
        claims: Claims,
        policies: Policies,
        recorder: Recorder,
        metrics: Metrics,
        settings: Settings,
        probe: Callable[[], podspec.Probe],
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._claims = claims
        self._policies = policies
        self._recorder = recorder
        self._metrics = metrics
        self._settings = settings
        self._probe = probe
        self._memories: dict[str, _Memory] = {}
        self.again: Callable[[str, float], None] = lambda _uid, _seconds: None
        self.report_in: Callable[[str, float], None] = lambda _uid, _seconds: None
        self.trouble_changed: Callable[[str], None] = lambda _uid: None

    # Told by others

    def pod_seen(self, before: Pod | None, after: Pod | None) -> None:
        """Settle the expectations that this change fulfils."""
        pod = after or before
        assert pod is not None
        pool_uid = pod.metadata.labels.get(names.LABEL_POOL_UID)
        memory = self._memories.get(pool_uid) if pool_uid else None
        if memory is None:
            return
        memory.expectations.seen(pod.metadata.name)
        if after is None or after.metadata.deletion_timestamp is not None:
            memory.expectations.gone(pod.metadata.uid)
        if after is None:
            memory.failed_pods.discard(pod.metadata.uid)
            memory.opening.discard(pod.metadata.uid)

    def count_claim(self, pool: PoolRecord, *, warm: bool) -> None:
        """One more claim served."""
        memory = self._memory(pool)
        if warm:
            memory.warm_hits += 1
        else:
            memory.cold_starts += 1
        self.report_in(pool.uid, self._until_report(memory))

    def going(self, pool_uid: str) -> frozenset[str]:
        """Pods of the pool that are being deleted, seen or not."""
        memory = self._memories.get(pool_uid)
        if memory is None:
            return frozenset()
        now = time.monotonic()
        pods = self._store.pods_of_pool(pool_uid)
        return frozenset(
            pod.metadata.uid for pod in pods if memory.expectations.deleting(pod.metadata.uid, now)
        )

    def forget(self, pool_uid: str) -> None:
        """The pool is gone."""
        self._memories.pop(pool_uid, None)

    def failure(self, pool: PoolRecord) -> observe.Trouble | None:
        """Why the pool's starts fail or hang, if they do."""
        memory = self._memory(pool)
        if memory.refused:
            return observe.Trouble(Reason.INVALID_TEMPLATE, memory.refused)
        trouble = self._trouble(pool)
        if trouble is None and memory.backoff.failures and memory.backoff.reason is not None:
            trouble = observe.Trouble(memory.backoff.reason, memory.backoff.message)
        return trouble

    def room(self, pool: PoolRecord) -> bool:
        """Whether ``maxSandboxes`` leaves room for one more pod."""
        assert pool.spec is not None
        maximum = pool.spec.max_sandboxes
        pending = self._memory(pool).expectations.pending_creates(time.monotonic())
        return maximum is None or len(self._store.pods_of_pool(pool.uid)) + pending < maximum

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
        if pool.spec is None:
            self.report_in(pool_uid, 0)
            return
        self._learn(pool, memory)
        if not pool.deleting and not pool.spec.paused:
            self._claims.serve(pool)
        pods = self._observe(pool, memory)
        now = time.time()
        decision = arithmetic.decide(self._view(pool, memory, pods), now)
        memory.at_maximum = decision.at_maximum
        for uid in decision.timed_out:
            self._fail(pool, memory, Reason.START_TIMEOUT, self._late(pool, uid), uid)
        steps = [self._delete(memory, uid) for uid in decision.delete]
        if decision.create:
            steps.append(self._create(pool, memory, decision.create))
        await asyncio.gather(*steps, self._open_networks(pool, memory))
        if decision.again_at is not None:
            self.again(pool_uid, max(0.05, decision.again_at - now))
        deadline = memory.expectations.next_deadline()
        if deadline is not None:
            self.again(pool_uid, max(0.05, deadline - time.monotonic()))
        if pool.deleting:
            await self._finish_deletion(pool)
        self.report_in(pool_uid, self._until_report(memory))

    async def report(self, pool_uid: str) -> None:
        """Write the pool's status if it has changed."""
        pool = self._store.pools.get(pool_uid)
        if pool is None:
            return
        memory = self._memory(pool)
        status = self._status(pool, memory)
        if conditions.same(status, pool.status):
            return
        memory.written_at = time.monotonic()
        self._tell(pool, status)
        await self._gateway.write_pool_status(pool, status)

    # Observing

    def _memory(self, pool: PoolRecord) -> _Memory:
        memory = self._memories.get(pool.uid)
        if memory is None:
            memory = self._memories[pool.uid] = _Memory(pool.template_hash)
            memory.warm_hits = int(pool.status.get("warmHits") or 0)
            memory.cold_starts = int(pool.status.get("coldStarts") or 0)
            if pool.status.get("templateHash") == pool.template_hash:
                memory.runtime = _remembered(pool, Condition.RUNTIME_ISOLATED)
                memory.network = _remembered(pool, Condition.NETWORK_ENFORCED)
        if memory.template_hash != pool.template_hash:
            # A new template is a new chance: what was learnt of the old one does not hold.
            memory.template_hash = pool.template_hash
            memory.backoff = Backoff()
            memory.proven = False
            memory.refused = ""
            memory.runtime = memory.network = None
            self._store.rebuild_warm(pool)
        return memory

    def _learn(self, pool: PoolRecord, memory: _Memory) -> None:
        """Draw conclusions from the pods: failures, proofs, forgiveness."""
        assert pool.spec is not None
        now = time.time()
        for pod in self._store.pods_of_pool(pool.uid):
            if pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) != pool.template_hash:
                continue
            state = observe.classify(pod, pool.spec.template.network.egress)
            if state is PodState.FAILED and pod.metadata.uid not in memory.failed_pods:
                trouble = observe.trouble(pod)
                assert trouble is not None
                self._fail(pool, memory, trouble.reason, trouble.message, pod.metadata.uid)
                self._judge(memory, trouble)
            if state not in (PodState.WARM, PodState.PROVEN, PodState.CLAIMED) or not observe.is_ready(pod):
                continue
            ready_at = observe.ready_at(pod)
            if not memory.proven or ready_at > memory.failed_at:
                self._believe(memory, pod)
            memory.proven = True
            if memory.backoff.failures and ready_at >= memory.failed_at - 1:
                if now - ready_at >= _FORGIVE_AFTER_SECONDS:
                    memory.backoff = memory.backoff.succeed()
                else:
                    self.again(pool.uid, _FORGIVE_AFTER_SECONDS)

    def _believe(self, memory: _Memory, pod: Pod) -> None:
        seen = observe.proof_of(pod)
        if seen is None:
            return
        name = f"proven by pod {pod.metadata.name}"
        if memory.runtime is None or memory.runtime.status is not seen.isolated:
            memory.runtime = (
                Finding(Condition.RUNTIME_ISOLATED, True, Reason.PROVEN, name)
                if seen.isolated
                else Finding(Condition.RUNTIME_ISOLATED, False, Reason.RUNTIME_NOT_ISOLATED, f"not {name}")
            )
        if memory.network is None or memory.network.status is not seen.enforced:
            memory.network = (
                Finding(Condition.NETWORK_ENFORCED, True, Reason.PROVEN, name)
                if seen.enforced
                else Finding(Condition.NETWORK_ENFORCED, False, Reason.NETWORK_NOT_ENFORCED, f"not {name}")
            )

    def _judge(self, memory: _Memory, trouble: observe.Trouble) -> None:
        if trouble.reason is Reason.RUNTIME_NOT_ISOLATED:
            memory.runtime = Finding(Condition.RUNTIME_ISOLATED, False, trouble.reason, trouble.message)
        elif trouble.reason is Reason.NETWORK_NOT_ENFORCED:
            memory.network = Finding(Condition.NETWORK_ENFORCED, False, trouble.reason, trouble.message)

    def _fail(self, pool: PoolRecord, memory: _Memory, reason: Reason, message: str, pod_uid: str = "") -> None:
        if pod_uid:
            memory.failed_pods.add(pod_uid)
        memory.failed_at = time.time()
        memory.backoff = memory.backoff.fail(reason, message, memory.failed_at, random.random())
        self._metrics.pod_starts.labels("failed").inc()
        self._recorder.warning(pool, "StartFailed", f"{reason.value}: {message}")
        self.again(pool.uid, max(0.05, memory.backoff.until - memory.failed_at))
        self.trouble_changed(pool.uid)

    def _late(self, pool: PoolRecord, uid: str) -> str:
        assert pool.spec is not None
        pod = self._store.pods.get(uid)
        why = observe.trouble(pod) if pod is not None else None
        text = f"a pod was not ready within startup.timeoutSeconds ({pool.spec.startup.timeout_seconds} s)"
        return f"{text}: {why.reason.value}: {why.message}" if why else text

    def _trouble(self, pool: PoolRecord) -> observe.Trouble | None:
        """What holds a starting pod of the present template back."""
        assert pool.spec is not None
        for pod in self._store.pods_of_pool(pool.uid):
            if pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) == pool.template_hash:
                if observe.classify(pod, pool.spec.template.network.egress) is PodState.STARTING:
                    found = observe.trouble(pod)
                    if found is not None:
                        return found
        return None

    def _observe(self, pool: PoolRecord, memory: _Memory) -> list[PoolPod]:
        assert pool.spec is not None
        now = time.monotonic()
        egress = pool.spec.template.network.egress
        pods = []
        for pod in self._store.pods_of_pool(pool.uid):
            uid = pod.metadata.uid
            state = observe.classify(pod, egress)
            if self._store.reserved_for(uid) is not None and state is not PodState.TERMINATING:
                state = PodState.CLAIMED
            elif memory.expectations.deleting(uid, now):
                state = PodState.TERMINATING
            pods.append(
                PoolPod(
                    uid=uid,
                    state=state,
                    created_at=model.seconds(pod.metadata.creation_timestamp),
                    since=observe.ready_at(pod),
                    current=pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) == pool.template_hash,
                    stuck=state is PodState.STARTING and observe.trouble(pod) is not None,
                )
            )
        return pods

    def _view(self, pool: PoolRecord, memory: _Memory, pods: list[PoolPod]) -> PoolView:
        assert pool.spec is not None
        spec = pool.spec
        return PoolView(
            replicas=spec.replicas,
            pods=pods,
            max_sandboxes=spec.max_sandboxes,
            parallelism=spec.startup.parallelism,
            start_timeout_seconds=spec.startup.timeout_seconds,
            paused=spec.paused,
            deleting=pool.deleting,
            pending_creates=memory.expectations.pending_creates(time.monotonic()),
            waiting=self._claims.waiting_cold(pool.uid),
            proven=memory.proven,
            failures=memory.backoff.failures,
            held_until=memory.backoff.until,
        )

    # Carrying out

    async def _create(self, pool: PoolRecord, memory: _Memory, count: int) -> None:
        assert pool.spec is not None
        try:
            await self._policies.ensure(pool.namespace, pool.spec.template)
        except errors.ApiError as error:
            self._fail(pool, memory, *refusal(error))
            return
        bodies = [
            podspec.build(
                pool.spec.template,
                name=podspec.pod_name(pool.name, secrets.token_hex(4)),
                namespace=pool.namespace,
                owner=pool.owner,
                probe=self._probe(),
                pool=pool.owner,
            )
            for _ in range(count)
        ]
        memory.refused = "; ".join(rules.violations(bodies[0], allow_root=self._settings.allow_root))
        if memory.refused:
            self._fail(pool, memory, Reason.INVALID_TEMPLATE, memory.refused)
            return
        for body in bodies:
            memory.expectations.expect_create(body["metadata"]["name"], time.monotonic())
        results = await asyncio.gather(*(self._create_one(memory, body) for body in bodies))
        refused = next((error for error in results if error is not None), None)
        if refused is not None:
            self._fail(pool, memory, *refusal(refused))

    async def _create_one(self, memory: _Memory, body: dict[str, object]) -> errors.ApiError | None:
        name = body["metadata"]["name"]  # type: ignore[index]
        try:
            await self._gateway.create_pod(body)
        except errors.ApiError as error:
            if error.already_exists:
                return None
            memory.expectations.create_failed(name)
            return error
        except errors.TransportError as error:
            # It may exist: the expectation stays until the watch shows it or it times out.
            _log.warning("create cut off", extra={"pod": name, "error": str(error)})
            return None
        self._metrics.pod_starts.labels("created").inc()
        return None

    async def _delete(self, memory: _Memory, uid: str) -> None:
        pod = self._store.pods.get(uid)
        if pod is None or self._store.reserved_for(uid) is not None:
            return
        memory.expectations.expect_delete(uid, time.monotonic())
        try:
            await self._gateway.delete_pod(pod.metadata.namespace, pod.metadata.name, uid)
        except (errors.ApiError, errors.TransportError) as error:
            memory.expectations.delete_failed(uid)
            _log.warning("delete failed", extra={"pod": pod.metadata.name, "error": str(error)})
            pool_uid = pod.metadata.labels.get(names.LABEL_POOL_UID, "")
            self.again(pool_uid, 1.0)

    async def _open_networks(self, pool: PoolRecord, memory: _Memory) -> None:
        """Give proven pods the network of their template, before anybody claims them."""
        assert pool.spec is not None
        egress = pool.spec.template.network.egress
        for pod in self._store.pods_of_pool(pool.uid):
            uid = pod.metadata.uid
            if uid in memory.opening or self._store.reserved_for(uid):
                continue
            if pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) != pool.template_hash:
                continue
            if observe.classify(pod, egress) is PodState.PROVEN:
                memory.opening.add(uid)
                try:
                    await self._gateway.open_network(pod, egress)
                except BaseException:
                    memory.opening.discard(uid)
                    raise

    async def _finish_deletion(self, pool: PoolRecord) -> None:
        """Take the finalizer off once every pod is gone that belongs to no Sandbox."""
        memory = self._memory(pool)
        left = [
            pod
            for pod in self._store.pods_of_pool(pool.uid)
            if names.LABEL_SANDBOX_UID not in pod.metadata.labels
            and self._store.reserved_for(pod.metadata.uid) is None
        ]
        if not left and not memory.expectations.pending_creates(time.monotonic()) and (
            names.FINALIZER in pool.finalizers
        ):
            await self._gateway.remove_finalizer(pool)

    # Reporting

    def _until_report(self, memory: _Memory) -> float:
        return max(0.05, memory.written_at + _STATUS_INTERVAL_SECONDS - time.monotonic())

    def _status(self, pool: PoolRecord, memory: _Memory) -> dict[str, object]:
        if pool.spec is None:
            findings = [
                Finding(Condition.READY, False, Reason.INVALID_SPEC, pool.invalid),
                Finding(Condition.STALLED, True, Reason.INVALID_SPEC, pool.invalid),
            ]
            merged = conditions.merge(pool.status.get("conditions") or (), findings, pool.generation, time.time())
            return {"observedGeneration": pool.generation, "conditions": merged}
        pods = self._observe(pool, memory)
        now = time.time()
        facts = report.PoolFacts(
            uid=pool.uid,
            generation=pool.generation,
            replicas=pool.spec.replicas,
            template_hash=pool.template_hash,
            pods=pods,
            pending_creates=memory.expectations.pending_creates(time.monotonic()),
            waiting=self._claims.waiting(pool.uid),
            warm_hits=memory.warm_hits,
            cold_starts=memory.cold_starts,
            paused=pool.spec.paused,
            at_maximum=memory.at_maximum,
            trouble=self._trouble(pool),
            backoff=memory.backoff,
            backoff_now=now,
            runtime=memory.runtime,
            network=memory.network,
            refused=memory.refused,
        )
        status = report.status(facts, pool.status, now)
        for state in ("replicas", "starting", "claimed", "terminating", "unhealthy", "outdated"):
            label = "warm" if state == "replicas" else state
            self._metrics.pool_pods.labels(pool.namespace, pool.name, label).set(status[state])
        self._metrics.pool_waiting.labels(pool.namespace, pool.name).set(facts.waiting)
        return status

    def _tell(self, pool: PoolRecord, status: dict[str, object]) -> None:
        before = conditions.find(pool.status.get("conditions"), Condition.READY)
        after = conditions.find(status["conditions"], Condition.READY)  # type: ignore[arg-type]
        if after is not None and after["status"] == "True" and (before is None or before["status"] != "True"):
            self._recorder.normal(pool, Reason.READY.value, str(after["message"]))


def refusal(error: errors.ApiError) -> tuple[Reason, str]:
    """Why the API server did not take a pod."""
    message = error.message
    lowered = message.lower()
    if "exceeded quota" in lowered or "failed quota" in lowered:
        return Reason.QUOTA_EXCEEDED, message
    if "runtimeclass" in lowered:
        return Reason.RUNTIME_CLASS_MISSING, f"{message}; create it, or name another in template.runtimeClassName"
    return Reason.POD_REFUSED, message


def _remembered(pool: PoolRecord, kind: Condition) -> Finding | None:
    known = conditions.find(pool.status.get("conditions"), kind)
    if known is None or known.get("status") == "Unknown":
        return None
    return Finding(kind, known["status"] == "True", Reason(known["reason"]), str(known.get("message", "")))
