"""Ends Sandboxes whose time is over, and deletes those that have ended.

Everything is worked out from the objects, so the timers of all Sandboxes are rebuilt after a
restart by looking at each once.
"""

from __future__ import annotations

from sandyard.api import model
from sandyard.api.events import Event
from sandyard.api.reasons import Phase, Reason
from sandyard.engine.loops.timers import Timers
from sandyard.engine.parts import Parts
from sandyard.engine.records import SandboxRecord
from sandyard.engine.telling import Telling, active_at
from sandyard.kube import errors
from sandyard.sandbox import expiry, phase, usage

__all__ = ["Lifetimes"]

# Activity is written into the status at most so often; clients stamp more rarely still.
_ACTIVITY_INTERVAL_SECONDS = 5.0
# A metrics API that fails for a moment lets nobody expire.
_METRICS_PATIENCE_SECONDS = 60.0


class Lifetimes:
    """Expiry of all Sandboxes."""

    def __init__(self, parts: Parts, telling: Telling, timers: Timers) -> None:
        self._store = parts.store
        self._gateway = parts.gateway
        self._busy_cores = parts.settings.idle_cpu_cores
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._telling = telling
        # The latest stamp of each Sandbox that was taken in, as it was written.
        self._stamps: dict[str, str] = {}
        self._timers = timers
        self._clock = parts.clock
        self._queues = parts.queues

    def forget(self, uid: str) -> None:
        """The Sandbox is gone, or going."""
        self._stamps.pop(uid, None)
        self._timers.set(uid, None)

    async def enforce(self, sandbox: SandboxRecord) -> bool:
        """End the Sandbox if its time is over; else remember when it will be.

        Returns
        -------
        bool
            Whether nothing else is to be done for it now.
        """
        assert sandbox.spec is not None
        now = self._clock.now()
        terms = self._telling.terms(sandbox)
        gone_at = expiry.deleted_at(sandbox.spec.lifetime, terms, sandbox.status)
        if gone_at is not None and gone_at <= now:
            self._recorder.tell(sandbox, Event.DELETED, "it ended, and secondsAfterFinished is over")
            await self._gateway.delete_sandbox(sandbox)
            return True
        await self._take_in_activity(sandbox, now)
        due = self._telling.expiry(sandbox)
        if due.reason is Reason.IDLE and due.at is not None and due.at <= now:
            try:
                await self._look_for_work(sandbox, now)
            except (errors.ApiError, errors.TransportError):
                if now < due.at + _METRICS_PATIENCE_SECONDS:
                    self._queues.sandboxes.add_after(sandbox.uid, _ACTIVITY_INTERVAL_SECONDS)
                    return True
            due = self._telling.expiry(sandbox)
        lifetime = terms.effective(sandbox.spec.lifetime)
        ending = lifetime.on_expiry if lifetime is not None else "Delete"
        if ending == "Suspend" and self._telling.may_suspend(sandbox) and not phase.ended(sandbox.status):
            waits = due.at is not None and due.at > now
            self._timers.set(sandbox.uid, due.at if waits else None)
            return False
        stops = ending in ("Stop", "Suspend")
        if stops and phase.ended(sandbox.status):
            # It stays as it is; its pod goes when its time is over.
            self._timers.set(sandbox.uid, gone_at)
            return False
        if due.at is not None and due.at <= now:
            if stops:
                return await self._stop(sandbox, due)
            self._recorder.tell(sandbox, Event.EXPIRED, f"{due.message}: deleting it")
            self._metrics.expired.labels(due.reason.value, "Delete").inc()
            await self._gateway.delete_sandbox(sandbox)
            return True
        times = [at for at in (due.at, gone_at) if at is not None]
        self._timers.set(sandbox.uid, min(times, default=None))
        return False

    async def _stop(self, sandbox: SandboxRecord, due: expiry.Expiry) -> bool:
        status = phase.expired(self._telling.facts(sandbox), due.reason, due.message)
        if await self._telling.write(sandbox, status):
            self._recorder.tell(sandbox, Event.EXPIRED, f"{due.message}: its pod goes, the Sandbox stays")
            self._metrics.expired.labels(due.reason.value, "Stop").inc()
        return True

    async def _take_in_activity(self, sandbox: SandboxRecord, now: float) -> None:
        """Write a client's stamp into the status, where idleSeconds asks for it."""
        assert sandbox.spec is not None
        lifetime = self._telling.terms(sandbox).effective(sandbox.spec.lifetime)
        if lifetime is None or lifetime.idle_seconds is None or phase.ended(sandbox.status):
            return
        if not sandbox.stamp or sandbox.stamp == self._stamps.get(sandbox.uid):
            return
        known = active_at(sandbox)
        moment = expiry.activity(sandbox.stamp, known, now)
        if moment is None or (known is not None and moment <= known):
            self._stamps[sandbox.uid] = sandbox.stamp
            return
        wait = 0.0 if known is None else known + _ACTIVITY_INTERVAL_SECONDS - now
        near = lifetime.idle_seconds <= 2 * _ACTIVITY_INTERVAL_SECONDS
        if wait > 0 and not near:
            self._queues.sandboxes.add_after(sandbox.uid, wait)
            return
        self._stamps[sandbox.uid] = sandbox.stamp
        await self._note_activity(sandbox, moment, "Client")

    async def _look_for_work(self, sandbox: SandboxRecord, now: float) -> None:
        """Ask the metrics API, where there is one, whether a Sandbox without stamps uses its CPU."""
        pods = self._store.pods_of_sandbox(sandbox.uid)
        if not pods or not phase.running(sandbox.status) or sandbox.status.get("phase") != Phase.READY:
            return
        used = usage.read(await self._gateway.pod_metrics(pods[0]))
        known = active_at(sandbox)
        if used is None or used.cores < self._busy_cores:
            return
        moment = min(used.at, now)
        if known is None or moment > known:
            await self._note_activity(sandbox, moment, "CPU")

    async def _note_activity(self, sandbox: SandboxRecord, moment: float, source: str) -> None:
        assert sandbox.spec is not None
        status = {**sandbox.status, "lastActivityAt": model.timestamp(moment), "activitySource": source}
        ready_at = sandbox.status.get("readyAt")
        due = expiry.expiry(
            sandbox.spec.lifetime, self._telling.terms(sandbox), model.seconds(ready_at) if ready_at else None, moment
        )
        if due.at is not None:
            status["expiresAt"] = model.timestamp(due.at)
        await self._telling.write(sandbox, status)
