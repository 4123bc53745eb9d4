"""Cleans the pod of a Sandbox that is deleted, and gives it back to its pool: ``recycle: Scrub``.

Everything that is not plainly well (late, left, refused, cut off) means that the pod is
deleted, as without Scrub.
"""

from __future__ import annotations

import logging

import msgspec

from sandyard.api import names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.loops.queues import Queue
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.state.records import AnySandbox, PoolRecord, SandboxRecord
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.pool import recycle
from sandyard.pool.recycle import Report

__all__ = ["Reuse"]

_log = logging.getLogger(__name__)


class Reuse:
    """The way back of pods to their pools."""

    def __init__(
        self, store: Store, pods: Pods, pools: Queue, recorder: Recorder, metrics: Metrics, *, enabled: bool
    ) -> None:
        self._store = store
        self._pods = pods
        self._pools = pools
        self._recorder = recorder
        self._metrics = metrics
        self._enabled = enabled

    def left_of(self, sandbox: AnySandbox) -> list[Pod]:
        """Pods that are still the Sandbox's, also by what the watch has yet to show."""
        entries = self._store.pods.of_sandbox(sandbox.uid)
        return [entry.pod for entry in entries if entry.given_back_by != sandbox.uid]

    def wanted(self, sandbox: AnySandbox, pod: Pod) -> PoolRecord | None:
        """The pool that *pod* may go back to, once it is clean."""
        entry = self._store.pools.get(pod.metadata.labels.get(names.LABEL_POOL_UID, ""))
        pool = entry.record if entry is not None else None
        if not self._enabled or not isinstance(pool, PoolRecord) or pool.deleting or pool.spec.paused:
            return None
        if not isinstance(sandbox, SandboxRecord) or sandbox.spec.network is not None:
            # Its network was another once, though it may be the pool's again: that is not proven.
            return None
        return None if recycle.obstacle(pod, bool(sandbox.status.ready_at), pool.spec, pool.template_hash) else pool

    async def give_back(self, sandbox: AnySandbox, pod: Pod, pool: PoolRecord) -> bool:
        """Clean *pod* and make it warm again; False: it has to be deleted."""
        report = await self._clean(pod, pool.spec.scrub.timeout_seconds)
        if report.clean:
            report = await self._return(sandbox, pod, pool)
        if not report.clean:
            self._metrics.scrubs.labels("failed").inc()
            self._metrics.scrub_leftovers.inc(report.leftovers)
            self._recorder.record(pool, Event.SCRUB_FAILED, f"pod {pod.metadata.name} is deleted: {report.why}")
            _log.info("scrub failed", extra={"pod": pod.metadata.name, "why": report.why})
            return False
        if (entry := self._store.pods.get(pod.metadata.uid)) is not None:
            entry.given_back_by = sandbox.uid
        self._metrics.scrubs.labels("clean").inc()
        self._recorder.record(pool, Event.SCRUBBED, f"pod {pod.metadata.name} is warm again")
        if (kept := self._store.pools.get(pool.uid)) is not None:
            kept.memory.scrubbed += 1
            self._pools.add(pool.uid)
        return True

    async def _clean(self, pod: Pod, timeout_seconds: float) -> Report:
        report = Report(False)
        for command in recycle.COMMANDS:
            try:
                done = await self._pods.exec(pod, command, recycle.script(pod), timeout_seconds)
            except (errors.ApiError, errors.TransportError) as error:
                return Report(False, f"cleaning was cut off: {error}")
            report = recycle.read(
                done.exit.code, done.stdout, done.exit.message or done.stderr.decode(errors="replace")
            )
            if done.stdout:
                return report
        return Report(False, f"the image has no Python to clean with ({report.why})")

    async def _return(self, sandbox: AnySandbox, pod: Pod, pool: PoolRecord) -> Report:
        """Look at the pod once more, as it is now, and change exactly that."""
        found = await self._pods.read(pod.metadata.namespace, pod.metadata.name)
        if found is None or found["metadata"]["uid"] != pod.metadata.uid:
            return Report(False, "it is gone")
        now = msgspec.convert(found, Pod)
        if now.metadata.labels.get(names.LABEL_SANDBOX_UID) != sandbox.uid:
            return Report(False, "it is no longer its Sandbox's")
        why = recycle.obstacle(now, bool(sandbox.status.ready_at), pool.spec, pool.template_hash)
        if why:
            return Report(False, why)
        try:
            await self._pods.give_back(now, pool, recycle.uses(now))
        except errors.ApiError as error:
            if not (error.conflict or error.not_found):
                raise
            return Report(False, "it has changed while it was cleaned")
        return Report(True)
