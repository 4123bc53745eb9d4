"""Stops every process of a sandbox and lets it go on: by exec, as the sandbox's own user.

What is being done stands in the status before it is done, so that an operator that dies in
between leaves no sandbox stopped that nobody knows of.
"""

from __future__ import annotations

import logging

from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.api.reasons import Phase, Reason
from sandyard.engine.parts import Parts
from sandyard.engine.records import SandboxRecord
from sandyard.engine.telling import Telling
from sandyard.kube import errors
from sandyard.sandbox import freeze, phase
from sandyard.sandbox.freeze import Report

__all__ = ["Pausing"]

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 20.0
_RETRY_SECONDS = 5.0


class Pausing:
    """The desired states Paused and Running of Sandboxes that have a pod."""

    def __init__(self, parts: Parts, telling: Telling) -> None:
        self._gateway = parts.gateway
        self._recorder = parts.recorder
        self._enabled = parts.settings.pausing
        self._telling = telling
        self._queues = parts.queues

    async def enforce(self, sandbox: SandboxRecord, pod: Pod) -> bool:
        """Bring the processes into the state that is asked for.

        Returns
        -------
        bool
            Whether the Sandbox is, or is to be, other than Ready.
        """
        assert sandbox.spec is not None
        if sandbox.spec.desired_state == "Paused" and sandbox.status.get("readyAt"):
            if not self._enabled:
                return False
            if sandbox.status.get("phase") != Phase.PAUSED:
                await self._pause(sandbox, pod)
            elif sandbox.status.get("observedGeneration") != sandbox.generation:
                await self._telling.write(sandbox, {**sandbox.status, "observedGeneration": sandbox.generation})
            return True
        if phase.held(sandbox.status):
            return not await self._resume(sandbox, pod)
        return False

    def refused(self, sandbox: SandboxRecord) -> bool:
        """Whether it asks to be paused where this operator may not do so."""
        return sandbox.spec is not None and sandbox.spec.desired_state == "Paused" and not self._enabled

    async def _pause(self, sandbox: SandboxRecord, pod: Pod) -> None:
        facts = self._telling.facts(sandbox)
        await self._telling.write(sandbox, phase.pausing(facts, pod, Reason.PAUSING, "stopping its processes"))
        report = await self._run(pod, stopped=True)
        facts = self._telling.facts(sandbox)
        if report.done:
            if await self._telling.write(sandbox, phase.paused(facts, pod, report.count)):
                self._recorder.tell(sandbox, Event.PAUSED, f"{report.count} processes are stopped")
            return
        await self._failed(sandbox, pod, report)

    async def _resume(self, sandbox: SandboxRecord, pod: Pod) -> bool:
        facts = self._telling.facts(sandbox)
        await self._telling.write(sandbox, phase.pausing(facts, pod, Reason.RESUMING, "continuing its processes"))
        report = await self._run(pod, stopped=False)
        if report.done:
            self._recorder.tell(sandbox, Event.RESUMED, f"{report.count} processes go on")
            return True
        await self._failed(sandbox, pod, report)
        return False

    async def _failed(self, sandbox: SandboxRecord, pod: Pod, report: Report) -> None:
        facts = self._telling.facts(sandbox)
        status = phase.pausing(facts, pod, Reason.PAUSE_FAILED, report.why, stalled=True)
        if await self._telling.write(sandbox, status):
            self._recorder.tell(sandbox, Event.PAUSE_FAILED, report.why)
        self._queues.sandboxes.add_after(sandbox.uid, _RETRY_SECONDS)

    async def _run(self, pod: Pod, *, stopped: bool) -> Report:
        try:
            done = await self._gateway.exec(pod, freeze.COMMAND, freeze.script(stopped=stopped), _TIMEOUT_SECONDS)
        except (errors.ApiError, errors.TransportError) as error:
            _log.info("pausing or resuming was cut off", extra={"pod": pod.metadata.name, "error": str(error)})
            return Report(False, why=f"exec: {error}")
        return freeze.read(done.exit.code, done.stdout, done.exit.message)
