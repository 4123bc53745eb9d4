"""Writes what a Sandbox's status should say, when it says something new."""

from __future__ import annotations

from typing import Any

from sandyard.api import conditions, model, names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.api.reasons import Reason
from sandyard.engine.parts import Parts
from sandyard.engine.records import SandboxRecord
from sandyard.sandbox import expiry, phase
from sandyard.sandbox.expiry import Expiry, Terms

__all__ = ["Telling"]


class Telling:
    """The facts that every status starts from, and the write."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._gateway = parts.gateway
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._clock = parts.clock
        self._queues = parts.queues

    def terms(self, sandbox: SandboxRecord) -> Terms:
        """What its pool says about lifetimes; of the time of the claim when the pool is gone."""
        pool = self._store.pool_of(sandbox)
        if pool is not None:
            return expiry.terms_of(pool.spec)
        pods = self._store.pods_of_sandbox(sandbox.uid)
        annotation = pods[0].metadata.annotations.get(names.ANNOTATION_TERMS, "") if pods else ""
        return expiry.terms_of(None, annotation)

    def expiry(self, sandbox: SandboxRecord, ready_at: float | None = None) -> Expiry:
        """When it expires; *ready_at* in place of the status's, seconds since the epoch."""
        assert sandbox.spec is not None
        told = sandbox.status.get("readyAt")
        ready_at = model.seconds(told) if told else ready_at
        resting = sandbox.spec.desired_state == "Suspended" or phase.suspended_on_request(sandbox.status)
        return expiry.expiry(
            sandbox.spec.lifetime, self.terms(sandbox), ready_at, active_at(sandbox), idle_counts=not resting
        )

    def facts(self, sandbox: SandboxRecord, *, now: float | None = None, ready_at: float | None = None) -> phase.Facts:
        """Facts for `sandyard.sandbox.phase`."""
        fields: dict[str, Any] = {}
        if sandbox.spec is not None and not phase.ended(sandbox.status):
            at = self.expiry(sandbox, ready_at).at
            fields["expiresAt"] = model.timestamp(at) if at is not None else None
        return phase.Facts(
            generation=sandbox.generation,
            before=sandbox.status,
            now=self._clock.now() if now is None else now,
            pool_name=sandbox.pool_name,
            fields=fields,
        )

    def may_suspend(self, sandbox: SandboxRecord) -> bool:
        """Whether there is, or will be, a workspace to keep."""
        if sandbox.status.get("workspaceClaim"):
            return True
        template = self._store.template_of(sandbox)
        return template is not None and template.workspace.persistent is not None

    async def write(self, sandbox: SandboxRecord, status: dict[str, Any]) -> bool:
        """Write the status if it says something new."""
        if conditions.same(status, sandbox.status):
            return False
        written = await self._gateway.write_sandbox_status(sandbox, status)
        if self._store.merge_sandbox(sandbox, written):
            self._queues.sandboxes.add(sandbox.uid)
        return True

    async def give_up(self, sandbox: SandboxRecord, reason: Reason, message: str) -> None:
        """It could not be started: it ends as Failed; one that has a workspace to lose is suspended."""
        if sandbox.status.get("workspaceClaim"):
            if await self.write(sandbox, phase.suspended(self.facts(sandbox), reason, message, stalled=True)):
                self._recorder.tell(sandbox, Event.RESUME_FAILED, f"{reason.value}: {message}")
            return
        await self.write(sandbox, phase.failed(self.facts(sandbox), reason, message))
        self._metrics.claims.labels(reason.value, "none").inc()
        self._recorder.tell(sandbox, Event.FAILED, f"{reason.value}: {message}")

    async def delete_pod(self, pod: Pod) -> None:
        """Ask *pod* to go, unless it is on its way."""
        if pod.metadata.deletion_timestamp is None:
            await self._gateway.delete_pod(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)


def active_at(sandbox: SandboxRecord) -> float | None:
    """When it was last used, as the status says."""
    told = sandbox.status.get("lastActivityAt")
    return model.seconds(told) if told else None
