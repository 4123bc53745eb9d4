"""The life of one Sandbox: get a pod, follow it, expire, hand over to teardown.

``reconcile`` is level-triggered: it looks at what is there and does what is missing, so it
makes no difference whether it is called by an event, after a crash, or twice.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from sandyard.api import conditions, model, names
from sandyard.api.objects import Pod
from sandyard.api.reasons import Reason, Start
from sandyard.api.template import Template
from sandyard.engine.claims import Claims
from sandyard.engine.parts import Parts
from sandyard.engine.records import PoolRecord, SandboxRecord
from sandyard.engine.refill import Refill, refusal
from sandyard.engine.teardown import Teardown
from sandyard.kube import errors
from sandyard.podspec import pod as podspec
from sandyard.podspec import rules
from sandyard.pool import observe
from sandyard.sandbox import expiry, phase, termination

__all__ = ["Sandboxes"]

_log = logging.getLogger(__name__)
# A claim that waits says so, but not before it has had a chance to be served at once.
_TELL_AFTER_SECONDS = 0.5
_REFRESH_SECONDS = 5.0
_COLD_START_SECONDS = 300


class Sandboxes:
    """All Sandboxes of this operator."""

    def __init__(self, parts: Parts, claims: Claims, refill: Refill, teardown: Teardown) -> None:
        self._parts = parts
        self._store = parts.store
        self._gateway = parts.gateway
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._claims = claims
        self._refill = refill
        self._teardown = teardown
        # Sandboxes that wait for a pool to appear or be continued, by its name.
        self._parked: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._refused: dict[str, tuple[Reason, str]] = {}
        self.again: Callable[[str, float], None] = lambda _uid, _seconds: None
        self.expires: Callable[[str, float | None], None] = lambda _uid, _at: None

    def parked(self, namespace: str, pool_name: str) -> list[str]:
        """Sandboxes that wait for that pool; they are taken off the list."""
        return list(self._parked.pop((namespace, pool_name), ()))

    def forget(self, sandbox: SandboxRecord) -> None:
        """The Sandbox is gone."""
        self._claims.forget(sandbox.uid)
        self._teardown.forget(sandbox.uid)
        self._refused.pop(sandbox.uid, None)
        self.expires(sandbox.uid, None)
        if sandbox.pool_name:
            waiting = self._parked.get((sandbox.namespace, sandbox.pool_name))
            if waiting is not None:
                waiting.discard(sandbox.uid)

    async def reconcile(self, uid: str) -> None:
        """Do what is to be done for one Sandbox."""
        sandbox = self._store.sandboxes.get(uid)
        if sandbox is None:
            return
        if sandbox.deleting:
            await self._claims.settle(sandbox)
            self._claims.forget(uid)
            self.expires(uid, None)
            await self._teardown.reconcile(sandbox)
            return
        if names.FINALIZER not in sandbox.finalizers:
            await self._gateway.add_finalizer(sandbox)
        if sandbox.spec is None:
            await self._write(sandbox, phase.failed(self._facts(sandbox), Reason.INVALID_SPEC, sandbox.invalid))
            return
        if await self._expired(sandbox):
            return
        pod = await self._own_pod(sandbox)
        if pod is not None:
            await self._follow(sandbox, pod)
        elif phase.ended(sandbox.status):
            await self._keep_ended(sandbox)
        elif sandbox.status.get("podUID"):
            await self._lost(sandbox)
        else:
            await self._provide(sandbox)

    # Getting a pod

    async def _provide(self, sandbox: SandboxRecord) -> None:
        assert sandbox.spec is not None
        if sandbox.spec.template is not None:
            await self._start_own(sandbox, sandbox.spec.template, None)
            return
        pool_name = sandbox.pool_name
        assert pool_name is not None
        pool = self._store.pool_named(sandbox.namespace, pool_name)
        if pool is None or pool.deleting or pool.spec is None:
            self._claims.forget(sandbox.uid)
            reason = Reason.POOL_NOT_FOUND
            message = f"there is no SandboxPool {pool_name!r} in namespace {sandbox.namespace!r} (yet)"
            await self._park(sandbox, pool_name, reason, message, deadline=sandbox.spec.wait_seconds)
        elif pool.spec.paused:
            self._claims.forget(sandbox.uid)
            message = f"SandboxPool {pool_name!r} is paused (spec.paused)"
            await self._park(sandbox, pool_name, Reason.PAUSED, message, deadline=self._patience(sandbox, pool))
        elif sandbox.spec.env:
            if self._refill.room(pool):
                await self._start_own(sandbox, pool.spec.template, pool)
            else:
                message = f"SandboxPool {pool_name!r} has reached maxSandboxes"
                await self._wait(sandbox, pool, Reason.MAX_SANDBOXES, message, time.monotonic() - sandbox.seen_at)
        else:
            await self._claim(sandbox, pool)

    async def _claim(self, sandbox: SandboxRecord, pool: PoolRecord) -> None:
        assert pool.spec is not None
        waited = self._claims.waiter(sandbox.uid) is not None
        pod = await self._claims.claim(sandbox, pool, cold=pool.spec.when_empty.action == "ColdStart")
        if pod is None:
            await self._still_waiting(sandbox, pool)
            return
        start = Start.COLD if waited else Start.WARM
        try:
            await self._hand_out(sandbox, pod, start)
        finally:
            self._refill.claimed(pool, warm=start is Start.WARM)

    async def _hand_out(self, sandbox: SandboxRecord, pod: Pod, start: Start) -> None:
        """The second write of a claim: Ready."""
        assert sandbox.spec is not None
        now = time.time()
        proof = observe.proof_of(pod)
        assert proof is not None
        first = not sandbox.status.get("readyAt")
        ready_at = now if first else model.seconds(sandbox.status["readyAt"])
        expires_at = expiry.expires_at(sandbox.spec.lifetime, ready_at)
        status = phase.ready(self._facts(sandbox, now), pod, start, proof, expires_at)
        await self._write(sandbox, status)
        self.expires(sandbox.uid, expires_at)
        if first:
            kind = sandbox.status.get("start") or start.value
            self._metrics.claims.labels("ready", kind).inc()
            self._metrics.claim_seconds.labels(kind).observe(time.monotonic() - sandbox.seen_at)
            self._recorder.normal(sandbox, Reason.READY.value, f"{kind} start: pod {pod.metadata.name}")

    async def _still_waiting(self, sandbox: SandboxRecord, pool: PoolRecord) -> None:
        waiter = self._claims.waiter(sandbox.uid)
        if waiter is None:
            # Taken off the queue meanwhile: try again.
            self.again(sandbox.uid, 0.01)
            return
        waited = time.monotonic() - waiter.since
        if waited < _TELL_AFTER_SECONDS and not sandbox.status.get("conditions"):
            self.again(sandbox.uid, _TELL_AFTER_SECONDS - waited)
            return
        failure = self._refill.failure(pool)
        if failure is not None:
            await self._wait(sandbox, pool, failure.reason, failure.message, waited, stalled=True)
        elif self._refill.at_maximum(pool):
            message = f"SandboxPool {pool.name!r} has reached maxSandboxes; waiting for one to be deleted"
            await self._wait(sandbox, pool, Reason.MAX_SANDBOXES, message, waited)
        else:
            message = f"no warm sandbox in SandboxPool {pool.name!r}; waiting for one to turn ready"
            await self._wait(sandbox, pool, Reason.WAITING, message, waited)

    async def _wait(
        self, sandbox: SandboxRecord, pool: PoolRecord, reason: Reason, message: str, waited: float,
        *, stalled: bool = False,
    ) -> None:  # fmt: skip
        """Say why it waits, or give up when its time is over."""
        patience = self._patience(sandbox, pool)
        if waited >= patience:
            self._claims.forget(sandbox.uid)
            ended = reason if stalled else Reason.POOL_EXHAUSTED
            text = f"no sandbox within {patience} s (waitSeconds): {message}"
            await self._give_up(sandbox, ended, text)
            return
        status = phase.pending(self._facts(sandbox), reason, message, stalled=stalled)
        await self._write(sandbox, status)
        self.again(sandbox.uid, min(patience - waited, _REFRESH_SECONDS))

    async def _park(
        self, sandbox: SandboxRecord, pool_name: str, reason: Reason, message: str, deadline: int | None
    ) -> None:
        self._parked[sandbox.namespace, pool_name].add(sandbox.uid)
        waited = time.monotonic() - sandbox.seen_at
        if deadline is not None and waited >= deadline:
            await self._give_up(sandbox, reason, f"no sandbox within {deadline} s (waitSeconds): {message}")
            return
        if await self._write(sandbox, phase.pending(self._facts(sandbox), reason, message, stalled=True)):
            self._recorder.warning(sandbox, reason.value, message)
        if deadline is not None:
            self.again(sandbox.uid, deadline - waited)

    async def _give_up(self, sandbox: SandboxRecord, reason: Reason, message: str) -> None:
        await self._write(sandbox, phase.failed(self._facts(sandbox), reason, message))
        self._metrics.claims.labels(reason.value, "none").inc()
        self._recorder.warning(sandbox, "Failed", f"{reason.value}: {message}")

    def _patience(self, sandbox: SandboxRecord, pool: PoolRecord) -> int:
        assert sandbox.spec is not None and pool.spec is not None
        return sandbox.spec.wait_seconds or pool.spec.when_empty.wait_seconds

    async def _start_own(self, sandbox: SandboxRecord, template: Template, pool: PoolRecord | None) -> None:
        """Start a pod for this Sandbox alone."""
        assert sandbox.spec is not None
        waited = time.monotonic() - sandbox.seen_at
        patience = self._start_patience(sandbox, pool)
        if waited >= patience:
            reason, why = self._refused.get(sandbox.uid, (Reason.START_TIMEOUT, "no pod could be made"))
            await self._give_up(sandbox, reason, f"not started within {patience} s: {why}")
            return
        await self._parts.policies.ensure(sandbox.namespace, template)
        body = podspec.build(
            template,
            name=podspec.cold_pod_name(sandbox.owner),
            namespace=sandbox.namespace,
            owner=sandbox.owner,
            probe=self._parts.probe(),
            pool=pool.owner if pool else None,
            sandbox=sandbox.owner,
            env=sandbox.spec.env or (),
        )
        wrong = rules.violations(body, allow_root=self._parts.settings.allow_root)
        if wrong:
            await self._give_up(sandbox, Reason.INVALID_TEMPLATE, "; ".join(wrong))
            return
        try:
            await self._gateway.create_pod(body)
        except errors.ApiError as error:
            if error.already_exists and await self._is_ours(sandbox, body):
                return
            if error.status not in (403, 409, 422, 400):
                raise
            reason, message = refusal(error)
            self._refused[sandbox.uid] = (reason, message)
            await self._write(sandbox, phase.pending(self._facts(sandbox), reason, message, stalled=True))
            self._recorder.warning(sandbox, reason.value, message)
            self.again(sandbox.uid, min(_REFRESH_SECONDS, max(0.1, patience - waited)))
            return
        self._refused.pop(sandbox.uid, None)
        self._metrics.pod_starts.labels("created").inc()

    async def _is_ours(self, sandbox: SandboxRecord, body: dict[str, Any]) -> bool:
        found = await self._gateway.get_pod(sandbox.namespace, body["metadata"]["name"])
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        return bool(labels.get(names.LABEL_SANDBOX_UID) == sandbox.uid)

    def _start_patience(self, sandbox: SandboxRecord, pool: PoolRecord | None) -> int:
        assert sandbox.spec is not None
        if sandbox.spec.wait_seconds is not None:
            return sandbox.spec.wait_seconds
        return pool.spec.startup.timeout_seconds if pool and pool.spec else _COLD_START_SECONDS

    # Following a pod

    async def _own_pod(self, sandbox: SandboxRecord) -> Pod | None:
        """The Sandbox's pod; should it have two (a claim cut off and repeated), only one is kept."""
        # A pod that is set aside for a claim under way is not the Sandbox's yet.
        pods = [pod for pod in self._store.pods_of_sandbox(sandbox.uid) if not self._store.under_way(pod.metadata.uid)]
        if not pods:
            return None
        named = sandbox.status.get("podUID")
        pods.sort(key=lambda pod: (pod.metadata.uid != named, pod.metadata.creation_timestamp, pod.metadata.uid))
        for surplus in pods[1:]:
            if surplus.metadata.deletion_timestamp is None:
                await self._gateway.delete_pod(surplus.metadata.namespace, surplus.metadata.name, surplus.metadata.uid)
        return pods[0]

    async def _follow(self, sandbox: SandboxRecord, pod: Pod) -> None:
        facts = self._facts(sandbox)
        if phase.ended(sandbox.status):
            await self._keep_ended(sandbox)
            never_ran = not sandbox.status.get("readyAt") and not sandbox.status.get("lastTermination")
            if never_ran and pod.metadata.deletion_timestamp is None:
                # It failed to start: nobody can use the pod.
                await self._gateway.delete_pod(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
            return
        was_ready = bool(sandbox.status.get("readyAt"))
        ended = termination.of(pod) if was_ready or _main_ended(pod) else None
        if ended is not None:
            status = phase.finished(facts, pod, ended)
            if await self._write(sandbox, status):
                self._recorder.normal(sandbox, "Finished", f"{ended['reason']}, exit code {ended.get('exitCode')}")
            return
        if pod.metadata.deletion_timestamp is not None:
            message = f"pod {pod.metadata.name} is being deleted, not by Sandyard"
            await self._write(sandbox, phase.failed(facts, Reason.POD_LOST, message))
            self._recorder.warning(sandbox, Reason.POD_LOST.value, message)
            return
        if was_ready or (observe.is_ready(pod) and observe.proof_of(pod) is not None):
            await self._ready(sandbox, pod)
            return
        await self._starting(sandbox, pod, facts)

    async def _ready(self, sandbox: SandboxRecord, pod: Pod) -> None:
        assert sandbox.spec is not None
        if observe.proof_of(pod) is None:
            return
        template = sandbox.spec.template
        if pod.metadata.labels.get(names.LABEL_STATE) == names.STATE_COLD:
            pool = self._store.pools.get(pod.metadata.labels.get(names.LABEL_POOL_UID, ""))
            template = template or (pool.spec.template if pool and pool.spec else None)
            egress = template.network.egress if template else names.EGRESS_NONE
            if pod.metadata.labels.get(names.LABEL_EGRESS) != egress:
                await self._gateway.open_network(pod, egress)
        born_before = model.seconds(pod.metadata.creation_timestamp) < sandbox.created_at
        first = not sandbox.status.get("readyAt")
        await self._hand_out(sandbox, pod, Start.WARM if born_before else Start.COLD)
        if first:
            took = time.time() - model.seconds(pod.metadata.creation_timestamp)
            self._metrics.start_seconds.observe(max(0.0, took))

    async def _starting(self, sandbox: SandboxRecord, pod: Pod, facts: phase.Facts) -> None:
        pool = self._store.pools.get(pod.metadata.labels.get(names.LABEL_POOL_UID, ""))
        patience = self._start_patience(sandbox, pool)
        age = time.time() - model.seconds(pod.metadata.creation_timestamp)
        trouble = observe.trouble(pod)
        if trouble is not None and pod.status.phase == "Failed":
            await self._give_up(sandbox, trouble.reason, trouble.message)
            self.again(sandbox.uid, 0.01)
            return
        if age >= patience:
            reason = trouble.reason if trouble else Reason.START_TIMEOUT
            why = f": {trouble.message}" if trouble else ""
            await self._give_up(sandbox, reason, f"not ready within {patience} s{why}")
            self.again(sandbox.uid, 0.01)
            return
        if trouble is not None:
            status = phase.starting(facts, pod, trouble.reason, trouble.message, stalled=True)
        else:
            status = phase.starting(facts, pod, Reason.STARTING, f"starting pod {pod.metadata.name}", stalled=False)
        await self._write(sandbox, status)
        wait = await self._parts.nudges.consider(pod)
        self.again(sandbox.uid, max(0.1, min(patience - age, wait if wait is not None else patience)))

    async def _lost(self, sandbox: SandboxRecord) -> None:
        """It had a pod, and the pod is not in sight: look at the cluster itself before giving up."""
        found = await self._gateway.get_pod(sandbox.namespace, sandbox.status["podName"])
        if found is not None and found["metadata"]["uid"] == sandbox.status["podUID"]:
            self.again(sandbox.uid, 0.2)
            return
        message = f"pod {sandbox.status['podName']} is gone"
        if await self._write(sandbox, phase.failed(self._facts(sandbox), Reason.POD_LOST, message)):
            self._recorder.warning(sandbox, Reason.POD_LOST.value, message)

    # Ends

    async def _expired(self, sandbox: SandboxRecord) -> bool:
        """Delete the Sandbox if its time is over; else remember when it will be."""
        assert sandbox.spec is not None
        ready_at = sandbox.status.get("readyAt")
        at = expiry.expires_at(sandbox.spec.lifetime, model.seconds(ready_at) if ready_at else None)
        if at is not None and at <= time.time():
            self._recorder.normal(sandbox, Reason.EXPIRED.value, "its lifetime is over: deleting it")
            await self._gateway.delete_sandbox(sandbox)
            return True
        self.expires(sandbox.uid, at)
        return False

    async def _keep_ended(self, sandbox: SandboxRecord) -> None:
        """An ended Sandbox stays as it is; only a changed spec is acknowledged."""
        if sandbox.status.get("observedGeneration") != sandbox.generation:
            await self._write(sandbox, {**sandbox.status, "observedGeneration": sandbox.generation})

    def _facts(self, sandbox: SandboxRecord, now: float | None = None) -> phase.Facts:
        return phase.Facts(
            generation=sandbox.generation,
            before=sandbox.status,
            now=time.time() if now is None else now,
            pool_name=sandbox.pool_name,
        )

    async def _write(self, sandbox: SandboxRecord, status: dict[str, Any]) -> bool:
        """Write the status if it says something new."""
        if conditions.same(status, sandbox.status):
            return False
        await self._gateway.write_sandbox_status(sandbox, status)
        return True


def _main_ended(pod: Pod) -> bool:
    return any(
        status.name == names.CONTAINER and status.state.terminated is not None and observe.proof_of(pod) is not None
        for status in pod.status.container_statuses
    ) and pod.status.phase in ("Succeeded", "Failed")
