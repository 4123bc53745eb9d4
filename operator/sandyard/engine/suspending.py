"""Takes the pod from a Sandbox and keeps its workspace; gives it a new pod when it is to go on.

The workspace is a PersistentVolumeClaim that Kubernetes has made with the first pod and would
collect with it.  So the Sandbox becomes an owner of it as soon as it is Ready, and no pod is
deleted before that has been written.
"""

from __future__ import annotations

import logging

from sandyard.api import conditions, model, names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.api.reasons import Condition, Phase, Reason
from sandyard.engine.claims.claims import Claims
from sandyard.engine.parts import Parts
from sandyard.engine.provide import Provider
from sandyard.engine.records import SandboxRecord
from sandyard.engine.telling import Telling
from sandyard.sandbox import phase

__all__ = ["Suspending"]

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 60.0


class Suspending:
    """The desired state Suspended, the expiry Suspend, and the way back."""

    def __init__(self, parts: Parts, claims: Claims, provider: Provider, telling: Telling) -> None:
        self._store = parts.store
        self._gateway = parts.gateway
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._claims = claims
        self._provider = provider
        self._telling = telling
        self._queues = parts.queues
        self._clock = parts.clock

    async def enforce(self, sandbox: SandboxRecord) -> bool:
        """Suspend the Sandbox, or let it go on.

        Returns
        -------
        bool
            Whether it is to have no pod now.
        """
        if phase.ended(sandbox.status):
            return False
        wanted = self._wanted(sandbox)
        if wanted is not None:
            await self._suspend(sandbox, *wanted)
            return True
        if phase.being_suspended(sandbox.status) and self._telling.may_suspend(sandbox):
            # Its pod may have been asked to go already: it is suspended first, and resumes from there.
            await self._suspend(sandbox, Reason.SUSPENDED, "it is to resume, in a new pod")
            self._queues.sandboxes.add_after(sandbox.uid, 0.1)
            return True
        return sandbox.status.get("phase") == Phase.SUSPENDED and await self._rest_or_resume(sandbox)

    async def keep(self, sandbox: SandboxRecord, pod: Pod) -> None:
        """Make the workspace of *pod* the Sandbox's own, unless it is already."""
        name = pod.metadata.annotations.get(names.ANNOTATION_WORKSPACE, "")
        if not name or sandbox.status.get("workspaceClaim") == name:
            return
        claim = await self._gateway.get_claim(sandbox.namespace, name)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            _log.warning("the workspace is gone", extra={"sandbox": sandbox.name, "claim": name})
            return
        await self._gateway.adopt_claim(claim, sandbox)
        await self._telling.write(sandbox, {**sandbox.status, "workspaceClaim": name})

    def _wanted(self, sandbox: SandboxRecord) -> tuple[Reason, str] | None:
        assert sandbox.spec is not None
        if not self._telling.may_suspend(sandbox):
            return None
        if sandbox.spec.desired_state == "Suspended":
            return Reason.SUSPENDED, "as asked for; set desiredState to Running to go on"
        lifetime = self._telling.terms(sandbox).effective(sandbox.spec.lifetime)
        due = self._telling.expiry(sandbox)
        if (
            lifetime is not None
            and lifetime.on_expiry == "Suspend"
            and due.at is not None
            and due.at <= self._clock.now()
        ):
            return due.reason, f"{due.message}; extend its lifetime to go on"
        return None

    async def _suspend(self, sandbox: SandboxRecord, reason: Reason, message: str) -> None:
        await self._claims.settle(sandbox)
        self._claims.forget(sandbox.uid)
        self._provider.forget(sandbox)
        pods = self._store.pods_of_sandbox(sandbox.uid)
        if pods:
            if phase.running(sandbox.status):
                await self.keep(sandbox, pods[0])
            await self._telling.write(sandbox, phase.suspending(self._telling.facts(sandbox), message))
            for pod in pods:
                await self._telling.delete_pod(pod)
            return
        if await self._provider.unseen_pod(sandbox):
            self._queues.sandboxes.add_after(sandbox.uid, 0.2)
            return
        # What a stalled attempt to go on has left is overwritten: now it is as asked for.
        if await self._telling.write(sandbox, phase.suspended(self._telling.facts(sandbox), reason, message)):
            self._recorder.tell(sandbox, Event.SUSPENDED, message)
            if reason is not Reason.SUSPENDED:
                self._metrics.expired.labels(reason.value, "Suspend").inc()

    async def _rest_or_resume(self, sandbox: SandboxRecord) -> bool:
        pods = self._store.pods_of_sandbox(sandbox.uid)
        for pod in pods:
            # Of an attempt that has failed.
            await self._telling.delete_pod(pod)
        stalled = conditions.find(sandbox.status.get("conditions"), Condition.STALLED)
        if stalled is not None and stalled["status"] == "True" and (
            sandbox.status.get("observedGeneration") == sandbox.generation
        ):  # fmt: skip
            left = model.seconds(stalled["lastTransitionTime"]) + _RETRY_SECONDS - self._clock.now()
            if left > 0:
                self._queues.sandboxes.add_after(sandbox.uid, left)
                return True
        if pods:
            return True
        # The new start has all the time that a start may take.
        sandbox.seen_at = self._clock.monotonic()
        await self._telling.write(sandbox, phase.resuming(self._telling.facts(sandbox)))
        return False
