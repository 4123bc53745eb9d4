"""Carries out one step of a Sandbox: the status, what is reported, then the actions."""

from __future__ import annotations

from functools import partial

from sandyard.engine.loops.queues import Queue
from sandyard.engine.sandboxes.acquire import Acquire
from sandyard.engine.sandboxes.adopt import Adoption
from sandyard.engine.sandboxes.errands import Errands
from sandyard.engine.sandboxes.freeze import Freezing
from sandyard.engine.sandboxes.network import Networks
from sandyard.engine.sandboxes.pods import OwnPods
from sandyard.engine.sandboxes.reporting import Reporting
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.sandboxes.teardown import Teardown
from sandyard.engine.sandboxes.write import SandboxWriter
from sandyard.sandbox import steps
from sandyard.sandbox.steps import Action, Step

__all__ = ["Execute"]

_CONFLICT_SECONDS = 0.5


class Execute:
    """Everything that a decision can ask for, each by the part that does it."""

    def __init__(
        self, queue: Queue, writer: SandboxWriter, reporting: Reporting, own_pods: OwnPods, acquire: Acquire,
        networks: Networks, freezing: Freezing, errands: Errands, adoption: Adoption, teardown: Teardown,
    ) -> None:  # fmt: skip
        self._queue = queue
        self._writer = writer
        self._reporting = reporting
        self._own_pods = own_pods
        self._acquire = acquire
        self._networks = networks
        self._freezing = freezing
        self._errands = errands
        self._adoption = adoption
        self._teardown = teardown

    async def step(self, run: Run, step: Step) -> None:
        """Carry out *step*; what its actions find out is kept in *run*."""
        if step.status is None or await self._writer.status(run.sandbox, step.status):
            self._reporting.step(run.sandbox, step)
        for action in step.actions:
            await self._act(run, action)
        if step.requeue_after is not None:
            self._queue.add_after(run.sandbox.uid, step.requeue_after)

    def _look_again(self, run: Run, *, done: bool) -> None:
        """Come back soon where a delete was not *done*: the object has changed, or is gone."""
        if not done:
            self._queue.add_after(run.sandbox.uid, _CONFLICT_SECONDS)

    async def _act(self, run: Run, action: Action) -> None:  # noqa: PLR0912 - one branch for each word
        match action:
            case steps.ClaimWarmPod():
                await self._acquire.claim(run, action)
            case steps.StartPod():
                await self._acquire.start(run, action)
            case steps.StopWaiting():
                await self._acquire.stop_waiting(run)
            case steps.WaitForPool():
                self._acquire.wait_for_pool(run)
            case steps.LookForUnseenPod():
                run.learn(unseen_pod=await self._own_pods.delete_unseen(run.sandbox))
            case steps.LookUpPod():
                await self._own_pods.look_up(run, action)
            case steps.DeletePod():
                self._look_again(run, done=await self._own_pods.delete(action.pod))
            case steps.DeleteSandbox():
                self._look_again(run, done=await self._writer.delete(run.sandbox))
            case steps.AddFinalizer():
                await self._writer.add_finalizer(run.sandbox)
            case steps.TearDown():
                await self._teardown.reconcile(run)
            case steps.AdoptWorkspace():
                await self._adoption.adopt(run, action)
            case steps.Freeze():
                self._errands.go(
                    run, ("freeze", action.pod.metadata.uid, action.stopped), partial(self._freezing.freeze, action)
                )  # fmt: skip
            case steps.SwitchNetwork():
                await self._networks.switch(run, action)
            case steps.PutLabelsRight():
                await self._networks.put_right(run, action)
            case steps.CloseSetupNetwork():
                await self._networks.close_setup(run, action)
            case steps.ResyncKubelet():
                await self._own_pods.resync_kubelet(run, action)
            case steps.AskCpuUse():
                self._errands.go(run, ("cpu use", action.pod.metadata.uid), partial(self._own_pods.cpu_use, action))
            case steps.NoteStamp():
                run.entry.noted_stamp = action.stamp
            case steps.RestartClock():
                self._reporting.restart_clock(run.entry)
            case steps.ObserveStart():
                self._reporting.started(run, action)
