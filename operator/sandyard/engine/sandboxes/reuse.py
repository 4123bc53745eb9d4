"""Restarts the pod of a Sandbox that is deleted, and gives it back to its pool: ``recycle: Restart``.

What is asked for is written on the pod before it is done, with the containers as they are then: a
process that takes over judges by the same words. What comes of it is read from the pod's status,
which the kubelet writes, and from nothing that runs in the pod. Everything that is not plainly
well (late, odd, refused) means that the pod is deleted, as without Restart.
"""

from __future__ import annotations

import logging

import msgspec

from sandyard.api import model, names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.state.pods import PodEntry
from sandyard.engine.state.pools import PoolEntry
from sandyard.engine.state.records import AnySandbox, PoolRecord, SandboxRecord
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.pod import restart
from sandyard.pool import recycle

__all__ = ["Reuse"]

_log = logging.getLogger(__name__)
# The watch shows what has changed meanwhile.
_CONFLICT_SECONDS = 0.2
_REFUSALS = (400, 403, 413, 422)


class Reuse:
    """The way back of pods to their pools."""

    def __init__(
        self, store: Store, pods: Pods, queues: Queues, recorder: Recorder, metrics: Metrics, clock: Clock
    ) -> None:
        self._store = store
        self._pods = pods
        self._queues = queues
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock

    def left_of(self, sandbox: AnySandbox) -> list[Pod]:
        """Pods that are still the Sandbox's, also by what the watch has yet to show."""
        entries = self._store.pods.of_sandbox(sandbox.uid)
        return [entry.pod for entry in entries if entry.given_back_by != sandbox.uid]

    def wanted(self, sandbox: AnySandbox, pod: Pod) -> PoolRecord | None:
        """The pool that *pod* may go back to, once it is restarted."""
        own, kept = self._store.pods.get(pod.metadata.uid), self._pool_of(pod)
        pool = kept.record if kept is not None else None
        if own is None or own.restart_told or not isinstance(pool, PoolRecord):
            return None
        if not pool.restarts or pool.deleting or pool.spec.paused:
            return None
        if not isinstance(sandbox, SandboxRecord) or sandbox.spec.network is not None:
            # Its network was another once, though it may be the pool's again: that is not proven.
            return None
        if restart.asked(pod) is None:
            why = recycle.obstacle(pod, bool(sandbox.status.ready_at), pool.spec, pool.template_hash)
        else:
            why = recycle.changed(pod, pool.spec, pool.template_hash)
        return None if why else pool

    def may_come_back(self, sandbox: AnySandbox, pod: Pod) -> bool:
        """Whether somebody else may have *pod* one day, as far as another process can tell."""
        return restart.asked(pod) is not None or self.wanted(sandbox, pod) is not None

    async def step(self, sandbox: AnySandbox, pod: Pod, pool: PoolRecord) -> float | None:
        """One step further; returns the seconds to wait for the next, or None when *pod* is back or to be deleted."""
        try:
            return await self._step(sandbox, pod, pool)
        except errors.NotConnected:
            raise
        except (errors.ApiError, errors.TransportError) as error:
            if self._clock.now() - _deleted_at(sandbox) < pool.spec.restarting.timeout_seconds:
                raise
            # A pod must not run on for as long as nobody may change it.
            if (entry := self._store.pods.get(pod.metadata.uid)) is not None:
                self._fail(entry, pool, f"it could not be asked for, or ended, in time: {error}")
            return None

    async def _step(self, sandbox: AnySandbox, pod: Pod, pool: PoolRecord) -> float | None:
        entry, request = self._store.pods[pod.metadata.uid], restart.asked(pod)
        if request is None:
            progress = await self._ask(entry, pool)
        else:
            self._trigger_once(entry, pod.metadata.annotations[names.ANNOTATION_RESTART])
            progress = self._progress(entry, pod, request, pool)
        if progress.wait_seconds is not None:
            return progress.wait_seconds
        why = progress.why or await self._return(sandbox, entry, pool)
        if why:
            self._fail(entry, pool, why)
            return None
        entry.given_back_by = sandbox.uid
        self._metrics.restarts.labels("warm").inc()
        self._recorder.record(pool, Event.RESTARTED, f"pod {pod.metadata.name} is warm again")
        if (kept := self._pool_of(pod)) is not None:
            kept.memory.reused += 1
            self._queues.pools.add(pool.uid)
        return None

    async def trigger(self, pod_uid: str) -> None:
        """Have the kubelet restart a pod: once, whatever comes of it.

        Its own queue: nobody else waits for a node that does not answer.
        """
        entry = self._store.pods.get(pod_uid)
        if entry is None:
            return
        try:
            await self._pods.restart(entry.pod)
        except errors.ApiError as error:
            entry.restart_failed = f"it could not be triggered: {error}"
            self._queues.sandboxes.add(entry.pod.metadata.labels.get(names.LABEL_SANDBOX_UID, ""))
        except errors.TransportError as error:
            # It ends with the container that it runs in: what came of it is for the kubelet to say.
            _log.debug("the trigger was cut off", extra={"pod": entry.pod.metadata.name, "error": str(error)})

    def _trigger_once(self, entry: PodEntry, asked: str) -> None:
        """Trigger what this process has asked for. Who finds another's request waits for what comes of it."""
        if asked == entry.restart_asked and not entry.restart_sent:
            entry.restart_sent = True
            self._queues.restarts.add(entry.uid)

    async def _ask(self, entry: PodEntry, pool: PoolRecord) -> recycle.Progress:
        pod = entry.pod
        entry.restart_asked, entry.restart_sent = restart.ask(pod, self._clock.now()), False
        try:
            await self._pods.ask_restart(pod, entry.restart_asked)
        except errors.ApiError as error:
            if error.conflict or error.not_found:
                return recycle.Progress(wait_seconds=_CONFLICT_SECONDS)
            if error.status in _REFUSALS:
                return recycle.Progress(why=f"it could not be asked for: {error}")
            raise
        self._trigger_once(entry, entry.restart_asked)
        return recycle.Progress(wait_seconds=pool.spec.restarting.timeout_seconds)

    def _progress(self, entry: PodEntry, pod: Pod, request: restart.Request, pool: PoolRecord) -> recycle.Progress:
        if entry.restart_failed:
            return recycle.Progress(why=entry.restart_failed)
        return recycle.progress(pod, request, pool.spec.restarting.timeout_seconds, self._clock.now())

    def _fail(self, entry: PodEntry, pool: PoolRecord, why: str) -> None:
        """It is deleted; a delete that is refused at first is not told again."""
        entry.restart_failed, entry.restart_told = why, True
        self._metrics.restarts.labels("failed").inc()
        self._recorder.record(pool, Event.RESTART_FAILED, f"pod {entry.pod.metadata.name} is deleted: {why}")
        _log.info("restart failed", extra={"pod": entry.pod.metadata.name, "why": why})

    def _pool_of(self, pod: Pod) -> PoolEntry | None:
        return self._store.pools.get(pod.metadata.labels.get(names.LABEL_POOL_UID, ""))

    async def _return(self, sandbox: AnySandbox, entry: PodEntry, pool: PoolRecord) -> str:
        """Look at the pod once more, as it is now, and change exactly that; says why not."""
        pod = entry.pod
        found = await self._pods.read(pod.metadata.namespace, pod.metadata.name)
        if found is None or found["metadata"]["uid"] != pod.metadata.uid:
            return "it is gone"
        now = msgspec.convert(found, Pod)
        if now.metadata.labels.get(names.LABEL_SANDBOX_UID) != sandbox.uid:
            # Given back already, though the reply was lost and the watch has yet to show it.
            return "" if _is_back(now, pool, recycle.uses(pod)) else "it is no longer its Sandbox's"
        request = restart.asked(now)
        if request is None:
            return "its restart was never asked for"
        progress = self._progress(entry, now, request, pool)
        why = recycle.changed(now, pool.spec, pool.template_hash) or progress.why
        if why or progress.wait_seconds is not None:
            return why or "it has changed since its restart"
        try:
            await self._pods.give_back(now, pool, recycle.uses(now), restart.count(now))
        except errors.ApiError as error:
            if error.conflict or error.not_found:
                return "it has changed while it was looked at"
            if error.status in _REFUSALS:
                return f"it could not be given back: {error}"
            raise
        return ""


def _deleted_at(sandbox: AnySandbox) -> float:
    """When it was asked to go, in seconds since the epoch."""
    return model.moment(sandbox.deletion_timestamp) or 0.0


def _is_back(pod: Pod, pool: PoolRecord, uses: int) -> bool:
    """Whether *pod* is its pool's again, after so many uses."""
    labels, used = pod.metadata.labels, pod.metadata.annotations.get(names.ANNOTATION_USES)
    owned = any(owner.uid == pool.uid for owner in pod.metadata.owner_references)
    return owned and names.LABEL_SANDBOX_UID not in labels and used == str(uses)
