"""Carries out one step of a Sandbox: the status, what is told and counted, then the actions."""

from __future__ import annotations

from sandyard.engine.parts import Parts
from sandyard.engine.sandboxes.acquire import Acquire
from sandyard.engine.sandboxes.adopt import Adoption
from sandyard.engine.sandboxes.freeze import Freezing
from sandyard.engine.sandboxes.network import Networks
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.sandboxes.status import StatusWriter
from sandyard.engine.sandboxes.teardown import Teardown
from sandyard.kube import errors
from sandyard.sandbox import steps, usage
from sandyard.sandbox.steps import Action, Count, Step

__all__ = ["Execute"]


class Execute:
    """Everything that a decision can ask for."""

    def __init__(
        self, parts: Parts, statuses: StatusWriter, acquire: Acquire, networks: Networks, freezing: Freezing,
        adoption: Adoption, teardown: Teardown,
    ) -> None:  # fmt: skip
        self._store = parts.store
        self._clock = parts.clock
        self._pods = parts.pods
        self._objects = parts.objects
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._kubelet_resync = parts.kubelet_resync
        self._queue = parts.queues.sandboxes
        self._statuses = statuses
        self._acquire = acquire
        self._networks = networks
        self._freezing = freezing
        self._adoption = adoption
        self._teardown = teardown

    async def step(self, run: Run, step: Step) -> None:
        """Carry out *step*; what its actions find out is kept in *run*."""
        written = step.status is None or await self._statuses.write(run.sandbox, step.status)
        if written and step.event is not None:
            self._recorder.record(run.sandbox, *step.event)
        for count in step.counts if written else ():
            self._count(count)
        for action in step.actions:
            await self._act(run, action)
        if step.requeue_after is not None:
            self._queue.add_after(run.sandbox.uid, step.requeue_after)

    async def _act(self, run: Run, action: Action) -> None:  # noqa: PLR0912 - one branch for each word
        match action:
            case steps.ClaimWarmPod():
                await self._acquire.claim(run, action)
            case steps.StartPod():
                await self._acquire.start(run, action)
            case steps.StopWaiting():
                await self._acquire.stop_waiting(run)
            case steps.WaitForPool():
                self._store.wait_for_pool(run.sandbox)
            case steps.LookForUnseenPod():
                run.learn(unseen_pod=await self._acquire.unseen_pod(run.sandbox))
            case steps.LookUpPod():
                found = await self._pods.read(run.sandbox.namespace, action.name)
                run.learn(pod_seen=found is not None and found["metadata"]["uid"] == action.uid)
            case steps.DeletePod():
                await self._delete_pod(action)
            case steps.DeleteSandbox():
                await self._objects.delete_sandbox(run.sandbox)
            case steps.AddFinalizer():
                self._statuses.merge(run.sandbox, await self._objects.add_finalizer(run.sandbox))
            case steps.TearDown():
                await self._teardown.reconcile(run)
            case steps.AdoptWorkspace():
                await self._adoption.adopt(run, action)
            case steps.Freeze():
                await self._freezing.freeze(run, action)
            case steps.SwitchNetwork():
                await self._networks.switch(run, action)
            case steps.CloseSetupNetwork():
                await self._networks.close_setup(run, action)
            case steps.ResyncKubelet():
                wait = await self._kubelet_resync.consider(action.pod)
                if wait is not None:
                    self._queue.add_after(run.sandbox.uid, max(0.1, wait))
            case steps.AskCpuUse():
                await self._ask_cpu_use(run, action)
            case steps.NoteStamp():
                run.entry.noted_stamp = action.stamp
            case steps.RestartClock():
                run.entry.seen_at = self._clock.monotonic()
            case steps.ObserveStart():
                self._observe_start(run, action)

    async def _delete_pod(self, action: steps.DeletePod) -> None:
        metadata = action.pod.metadata
        if metadata.deletion_timestamp is None:
            await self._pods.delete(metadata.namespace, metadata.name, metadata.uid)

    async def _ask_cpu_use(self, run: Run, action: steps.AskCpuUse) -> None:
        try:
            used = usage.read(await self._pods.metrics(action.pod))
        except (errors.ApiError, errors.TransportError):
            run.learn(cpu_asked=True, cpu_unknown=True)
            return
        run.learn(cpu_asked=True, cpu=used)

    def _observe_start(self, run: Run, action: steps.ObserveStart) -> None:
        waited = self._clock.monotonic() - run.entry.seen_at
        self._metrics.claim_seconds.labels(action.kind).observe(waited)
        if action.pod_seconds is not None:
            self._metrics.start_seconds.observe(action.pod_seconds)

    def _count(self, count: Count) -> None:
        counters = {"claims": self._metrics.claims, "ended": self._metrics.ended, "expired": self._metrics.expired}
        counters[count.counter].labels(*count.labels).inc()
