"""Deletes a Sandbox's pod, waits until it is *gone*, and only then lets the object go."""

from __future__ import annotations

import asyncio
import datetime
import logging

from sandyard.api import names
from sandyard.engine.cluster import workspaces
from sandyard.engine.cluster.workspaces import Workspaces
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queue
from sandyard.engine.loops.turns import Turns
from sandyard.engine.sandboxes.pods import OwnPods
from sandyard.engine.sandboxes.reporting import Reporting
from sandyard.engine.sandboxes.reuse import Reuse
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.sandboxes.write import SandboxWriter
from sandyard.engine.state.records import AnySandbox, SandboxRecord
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.sandbox import phase, teardown

__all__ = ["Teardown"]

_log = logging.getLogger(__name__)

_DEFAULT_GRACE_SECONDS = 10.0
# What is over in a moment is not told: whoever looks sees the deletion timestamp.
_UNTOLD_SECONDS = 1.0
# Under load everything takes longer, and one more write for each would make it longer still.
_UNTOLD_BUSY_SECONDS = 10.0
_LOOK_SECONDS = 0.5
# There is no watch on workspaces: few Sandboxes have one.
_WORKSPACE_SECONDS = 0.5
_LATE_WORKSPACE_SECONDS = 5.0
# The cluster has a pod that the watch does not show.
_UNSEEN_SECONDS = 0.5
# Others have changed the object meanwhile: the next attempt goes by what they made of it.
_CONFLICT_SECONDS = 0.05
# The watch shows that an object is gone long before this.
_GONE_SECONDS = 5.0


class Teardown:
    """Carries out `sandyard.sandbox.teardown`."""

    def __init__(
        self, store: Store, queue: Queue, clock: Clock, writer: SandboxWriter, reporting: Reporting, reuse: Reuse,
        own_pods: OwnPods, workspaces: Workspaces, turns: Turns,
    ) -> None:  # fmt: skip
        self._store = store
        self._queue = queue
        self._clock = clock
        self._writer = writer
        self._reporting = reporting
        self._reuse = reuse
        self._own_pods = own_pods
        self._workspaces = workspaces
        self._turns = turns

    async def reconcile(self, run: Run) -> None:
        """One step of the teardown."""
        sandbox = run.sandbox
        if names.FINALIZER not in sandbox.finalizers:
            return
        restarting = await self._restart(run)
        pods = [pod for pod in self._reuse.left_of(sandbox) if pod.metadata.uid not in restarting]
        if restarting and not pods:
            return
        step = teardown.next_step(pods, self._asked_seconds_ago(sandbox), self._grace_seconds(sandbox))
        if step.release:
            await self._release(run)
            return
        asked = await asyncio.gather(*(
            self._own_pods.delete(pod, reusable=self._reuse.may_come_back(sandbox, pod)) for pod in step.delete
        ))  # fmt: skip
        if not all(asked):
            self._queue.add_after(sandbox.uid, _UNSEEN_SECONDS)
        await self._report(run, step.stuck)
        if step.requeue_after is not None:
            self._queue.add_after(sandbox.uid, step.requeue_after)

    async def _restart(self, run: Run) -> set[str]:
        """UIDs of its pods that are being restarted for the next one."""
        found: set[str] = set()
        for pod in self._reuse.left_of(run.sandbox):
            pool = self._reuse.wanted(run.sandbox, pod)
            if pool is None:
                continue
            await self._report(run, "", "restarting its pod for the next one")
            wait = await self._reuse.step(run.sandbox, pod, pool)
            if wait is not None:
                self._queue.add_after(run.sandbox.uid, wait)
                found.add(pod.metadata.uid)
        return found

    async def _release(self, run: Run) -> None:
        sandbox = run.sandbox
        if await self._own_pods.delete_unseen(sandbox):
            self._queue.add_after(sandbox.uid, _UNSEEN_SECONDS)
            return
        if not await self._workspace_gone(run):
            return
        written = await self._writer.remove_finalizer(run.sandbox)
        if written is not None and names.FINALIZER in written.finalizers:
            self._queue.add_after(sandbox.uid, _CONFLICT_SECONDS)
            return
        if written is None:
            # Whoever has answered may have been wrong; what is gone is not looked at again.
            self._queue.add_after(sandbox.uid, _GONE_SECONDS)
        self._reporting.cleaned(run.entry, self._asked_seconds_ago(sandbox))

    async def _workspace_gone(self, run: Run) -> bool:
        """Whether nothing is left of its persistent workspace; what is, is deleted."""
        sandbox = run.sandbox
        name = sandbox.status.workspace_claim
        workspace = await self._workspaces.read(sandbox.namespace, name) if name else None
        if workspace is None or not workspaces.belongs(workspace, sandbox):
            return True
        late = self._asked_seconds_ago(sandbox) > self._grace_seconds(sandbox) + teardown.STUCK_AFTER_SECONDS
        if "deletionTimestamp" not in workspace["metadata"]:
            await self._workspaces.delete(workspace)
        elif late:
            await self._report(run, f"PersistentVolumeClaim {name} is still terminating")
        wait = _WORKSPACE_SECONDS if not late else _LATE_WORKSPACE_SECONDS
        self._queue.add_after(sandbox.uid, wait)
        return False

    async def _report(self, run: Run, stuck: str, doing: str = "deleting its pod") -> None:
        sandbox = run.sandbox
        self._reporting.stuck(run.entry, stuck)
        now = self._clock.monotonic()
        leaving_since = run.entry.leaving_since = run.entry.leaving_since or now
        lasts = now - leaving_since
        if not stuck and lasts < (_UNTOLD_BUSY_SECONDS if self._turns.busy else _UNTOLD_SECONDS):
            self._queue.add_after(sandbox.uid, max(_UNTOLD_SECONDS - lasts, _LOOK_SECONDS))
            return
        pool_name = sandbox.pool_name if isinstance(sandbox, SandboxRecord) else None
        facts = phase.Facts(sandbox.generation, sandbox.status, self._clock.now(), pool_name)
        try:
            await self._writer.status(sandbox, phase.terminating(facts, stuck, doing))
        except errors.NotConnected:
            raise
        except (errors.ApiError, errors.TransportError) as error:
            # What is told holds up nothing that is done.
            _log.info("not told", extra={"sandbox": sandbox.name, "error": str(error)})

    def _asked_seconds_ago(self, sandbox: AnySandbox) -> float:
        assert sandbox.deletion_timestamp is not None
        return self._clock.now() - datetime.datetime.fromisoformat(sandbox.deletion_timestamp).timestamp()

    def _grace_seconds(self, sandbox: AnySandbox) -> float:
        template = self._store.template_of(sandbox)
        return template.termination_grace_period_seconds if template is not None else _DEFAULT_GRACE_SECONDS
