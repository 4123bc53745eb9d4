"""Deletes a Sandbox's pod, waits until it is *gone*, and only then lets the object go."""

from __future__ import annotations

import asyncio
import datetime
import logging

from sandyard.api import conditions, names
from sandyard.api.events import Event
from sandyard.engine.parts import Parts
from sandyard.engine.provide import Provider
from sandyard.engine.records import SandboxRecord
from sandyard.engine.scrubbing import Scrubbing
from sandyard.kube import errors
from sandyard.sandbox import phase, teardown

__all__ = ["Teardown"]

_log = logging.getLogger(__name__)
_DEFAULT_GRACE_SECONDS = 10.0
# There is no watch on claims: few Sandboxes have one.
_CLAIM_SECONDS = 0.5
# Others have changed the object meanwhile: the next attempt goes by what they made of it.
_CONFLICT_SECONDS = 0.05


class Teardown:
    """Carries out `sandyard.sandbox.teardown`."""

    def __init__(self, parts: Parts, provider: Provider, scrubbing: Scrubbing) -> None:
        self._provider = provider
        self._scrubbing = scrubbing
        self._store = parts.store
        self._gateway = parts.gateway
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._stuck: set[str] = set()
        self._queues = parts.queues
        self._clock = parts.clock

    def forget(self, sandbox_uid: str) -> None:
        """The Sandbox is gone."""
        self._stuck.discard(sandbox_uid)
        self._metrics.teardown_stuck.set(len(self._stuck))

    async def reconcile(self, sandbox: SandboxRecord) -> None:
        """One step of the teardown of *sandbox*."""
        if names.FINALIZER not in sandbox.finalizers:
            return
        pods = self._scrubbing.left_of(sandbox)
        for pod in pods:
            pool = self._scrubbing.wanted(sandbox, pod)
            if pool is not None:
                await self._tell(sandbox, "", "cleaning its pod for the next one")
                await self._scrubbing.give_back(sandbox, pod, pool)
        pods = self._scrubbing.left_of(sandbox)
        step = teardown.next_step(pods, self._asked_seconds_ago(sandbox), self._grace_seconds(sandbox))
        if step.release:
            await self._release(sandbox)
            return
        going = [pod.metadata for pod in step.delete]
        await asyncio.gather(*(self._gateway.delete_pod(pod.namespace, pod.name, pod.uid) for pod in going))
        await self._tell(sandbox, step.stuck)
        if step.again_in_seconds is not None:
            self._queues.sandboxes.add_after(sandbox.uid, step.again_in_seconds)

    async def _release(self, sandbox: SandboxRecord) -> None:
        if await self._provider.unseen_pod(sandbox):
            self._queues.sandboxes.add_after(sandbox.uid, 0.2)
            return
        if not await self._claim_gone(sandbox):
            return
        written = await self._gateway.remove_finalizer(sandbox)
        if written is not None:
            self._store.merge_sandbox(sandbox, written)
            if names.FINALIZER in written.finalizers:
                self._queues.sandboxes.add_after(sandbox.uid, _CONFLICT_SECONDS)
                return
        self._recorder.tell(sandbox, Event.CLEANED, "nothing of it is left")
        self._metrics.teardowns.labels("done").inc()
        self._metrics.teardown_seconds.observe(max(0.0, self._asked_seconds_ago(sandbox)))
        self.forget(sandbox.uid)

    async def _claim_gone(self, sandbox: SandboxRecord) -> bool:
        """Whether nothing is left of its persistent workspace; what is, is deleted."""
        name = sandbox.status.get("workspaceClaim")
        claim = await self._gateway.get_claim(sandbox.namespace, name) if name else None
        if claim is None:
            return True
        late = self._asked_seconds_ago(sandbox) > self._grace_seconds(sandbox) + teardown.STUCK_AFTER_SECONDS
        if "deletionTimestamp" not in claim["metadata"]:
            await self._gateway.delete_claim(claim)
        elif late:
            await self._tell(sandbox, f"PersistentVolumeClaim {name} is still terminating")
        self._queues.sandboxes.add_after(sandbox.uid, _CLAIM_SECONDS if not late else teardown.STUCK_AFTER_SECONDS)
        return False

    async def _tell(self, sandbox: SandboxRecord, stuck: str, doing: str = "deleting its pod") -> None:
        if stuck and sandbox.uid not in self._stuck:
            self._stuck.add(sandbox.uid)
            self._recorder.tell(sandbox, Event.TEARDOWN_STUCK, stuck)
            self._metrics.teardowns.labels("stuck").inc()
            _log.warning("teardown stuck", extra={"sandbox": sandbox.name, "why": stuck})
        elif not stuck:
            self._stuck.discard(sandbox.uid)
        self._metrics.teardown_stuck.set(len(self._stuck))
        facts = phase.Facts(sandbox.generation, sandbox.status, self._clock.now(), sandbox.pool_name)
        status = phase.terminating(facts, stuck, doing)
        if conditions.same(status, sandbox.status):
            return
        try:
            written = await self._gateway.write_sandbox_status(sandbox, status)
        except errors.ApiError as error:
            if not error.not_found:
                raise
            return
        if self._store.merge_sandbox(sandbox, written):
            self._queues.sandboxes.add(sandbox.uid)

    def _asked_seconds_ago(self, sandbox: SandboxRecord) -> float:
        assert sandbox.deletion_timestamp is not None
        return self._clock.now() - datetime.datetime.fromisoformat(sandbox.deletion_timestamp).timestamp()

    def _grace_seconds(self, sandbox: SandboxRecord) -> float:
        template = self._store.template_of(sandbox)
        return template.termination_grace_period_seconds if template is not None else _DEFAULT_GRACE_SECONDS
