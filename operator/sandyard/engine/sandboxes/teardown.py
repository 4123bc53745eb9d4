"""Deletes a Sandbox's pod, waits until it is *gone*, and only then lets the object go."""

from __future__ import annotations

import asyncio
import datetime
import logging

from sandyard.api import names
from sandyard.api.events import Event
from sandyard.engine.parts import Parts
from sandyard.engine.sandboxes.acquire import Acquire
from sandyard.engine.sandboxes.reuse import Reuse
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.sandboxes.status import StatusWriter
from sandyard.engine.state.records import AnySandbox, SandboxRecord
from sandyard.kube import errors
from sandyard.sandbox import phase, teardown

__all__ = ["Teardown"]

_log = logging.getLogger(__name__)
_DEFAULT_GRACE_SECONDS = 10.0
# There is no watch on workspaces: few Sandboxes have one.
_WORKSPACE_SECONDS = 0.5
# Others have changed the object meanwhile: the next attempt goes by what they made of it.
_CONFLICT_SECONDS = 0.05


class Teardown:
    """Carries out `sandyard.sandbox.teardown`."""

    def __init__(self, parts: Parts, statuses: StatusWriter, acquire: Acquire, reuse: Reuse) -> None:
        self._statuses = statuses
        self._acquire = acquire
        self._reuse = reuse
        self._store = parts.store
        self._pods = parts.pods
        self._objects = parts.objects
        self._workspaces = parts.workspaces
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._queues = parts.queues
        self._clock = parts.clock

    async def reconcile(self, run: Run) -> None:
        """One step of the teardown."""
        sandbox = run.sandbox
        if names.FINALIZER not in sandbox.finalizers:
            return
        for pod in self._reuse.left_of(sandbox):
            pool = self._reuse.wanted(sandbox, pod)
            if pool is not None:
                await self._tell(run, "", "cleaning its pod for the next one")
                await self._reuse.give_back(run.sandbox, pod, pool)
        pods = self._reuse.left_of(sandbox)
        step = teardown.next_step(pods, self._asked_seconds_ago(sandbox), self._grace_seconds(sandbox))
        if step.release:
            await self._release(run)
            return
        going = [pod.metadata for pod in step.delete]
        await asyncio.gather(*(self._pods.delete(pod.namespace, pod.name, pod.uid) for pod in going))
        await self._tell(run, step.stuck)
        if step.again_in_seconds is not None:
            self._queues.sandboxes.add_after(sandbox.uid, step.again_in_seconds)

    async def _release(self, run: Run) -> None:
        sandbox = run.sandbox
        if await self._acquire.unseen_pod(sandbox):
            self._queues.sandboxes.add_after(sandbox.uid, 0.2)
            return
        if not await self._workspace_gone(run):
            return
        written = await self._objects.remove_finalizer(run.sandbox)
        if written is not None:
            self._store.merge_sandbox(run.sandbox, written)
            if names.FINALIZER in written.finalizers:
                self._queues.sandboxes.add_after(sandbox.uid, _CONFLICT_SECONDS)
                return
        self._recorder.record(sandbox, Event.CLEANED, "nothing of it is left")
        self._metrics.teardowns.labels("done").inc()
        self._metrics.teardown_seconds.observe(max(0.0, self._asked_seconds_ago(sandbox)))
        run.entry.stuck = False

    async def _workspace_gone(self, run: Run) -> bool:
        """Whether nothing is left of its persistent workspace; what is, is deleted."""
        sandbox = run.sandbox
        name = sandbox.status.workspace_claim
        workspace = await self._workspaces.read(sandbox.namespace, name) if name else None
        if workspace is None:
            return True
        late = self._asked_seconds_ago(sandbox) > self._grace_seconds(sandbox) + teardown.STUCK_AFTER_SECONDS
        if "deletionTimestamp" not in workspace["metadata"]:
            await self._workspaces.delete(workspace)
        elif late:
            await self._tell(run, f"PersistentVolumeClaim {name} is still terminating")
        wait = _WORKSPACE_SECONDS if not late else teardown.STUCK_AFTER_SECONDS
        self._queues.sandboxes.add_after(sandbox.uid, wait)
        return False

    async def _tell(self, run: Run, stuck: str, doing: str = "deleting its pod") -> None:
        sandbox = run.sandbox
        if stuck and not run.entry.stuck:
            self._recorder.record(sandbox, Event.TEARDOWN_STUCK, stuck)
            self._metrics.teardowns.labels("stuck").inc()
            _log.warning("teardown stuck", extra={"sandbox": sandbox.name, "why": stuck})
        run.entry.stuck = bool(stuck)
        pool_name = sandbox.pool_name if isinstance(sandbox, SandboxRecord) else None
        facts = phase.Facts(sandbox.generation, sandbox.status, self._clock.now(), pool_name)
        try:
            await self._statuses.write(sandbox, phase.terminating(facts, stuck, doing))
        except errors.ApiError as error:
            if not error.not_found:
                raise

    def _asked_seconds_ago(self, sandbox: AnySandbox) -> float:
        assert sandbox.deletion_timestamp is not None
        return self._clock.now() - datetime.datetime.fromisoformat(sandbox.deletion_timestamp).timestamp()

    def _grace_seconds(self, sandbox: AnySandbox) -> float:
        template = self._store.template_of(sandbox)
        return template.termination_grace_period_seconds if template is not None else _DEFAULT_GRACE_SECONDS
