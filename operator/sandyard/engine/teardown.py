"""Deletes a Sandbox's pod, waits until it is *gone*, and only then lets the object go."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable

from sandyard.api import conditions, names
from sandyard.engine.parts import Parts
from sandyard.engine.records import SandboxRecord
from sandyard.kube import errors
from sandyard.podspec import pod as podspec
from sandyard.sandbox import phase, teardown

__all__ = ["Teardown"]

_log = logging.getLogger(__name__)
_DEFAULT_GRACE_SECONDS = 10.0


class Teardown:
    """Carries out `sandyard.sandbox.teardown`."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._gateway = parts.gateway
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._stuck: set[str] = set()
        self.again: Callable[[str, float], None] = lambda _uid, _seconds: None

    def forget(self, sandbox_uid: str) -> None:
        """The Sandbox is gone."""
        self._stuck.discard(sandbox_uid)
        self._metrics.teardown_stuck.set(len(self._stuck))

    async def reconcile(self, sandbox: SandboxRecord) -> None:
        """One step of the teardown of *sandbox*."""
        if names.FINALIZER not in sandbox.finalizers:
            return
        pods = self._store.pods_of_sandbox(sandbox.uid)
        step = teardown.next_step(pods, self._asked_seconds_ago(sandbox), self._grace_seconds(sandbox))
        if step.release:
            await self._release(sandbox)
            return
        going = [pod.metadata for pod in step.delete]
        await asyncio.gather(*(self._gateway.delete_pod(pod.namespace, pod.name, pod.uid) for pod in going))
        await self._tell(sandbox, step.stuck)
        if step.again_in_seconds is not None:
            self.again(sandbox.uid, step.again_in_seconds)

    async def _release(self, sandbox: SandboxRecord) -> None:
        if await self._unseen_pod(sandbox):
            self.again(sandbox.uid, 0.2)
            return
        await self._gateway.remove_finalizer(sandbox)
        self._metrics.teardowns.labels("done").inc()
        self._metrics.teardown_seconds.observe(max(0.0, self._asked_seconds_ago(sandbox)))
        self.forget(sandbox.uid)

    async def _unseen_pod(self, sandbox: SandboxRecord) -> bool:
        """Whether a pod of its own exists that the watch has not shown yet.

        A Sandbox that is deleted right after its cold start was sent would otherwise be let
        go with a pod on the way. Claimed pods are always seen first: they were warm before.
        """
        if sandbox.status.get("podUID"):
            return False
        spec = sandbox.spec
        if spec is not None and spec.template is None and not spec.env and spec.network is None:
            return False
        name = podspec.cold_pod_name(sandbox.owner)
        found = await self._gateway.get_pod(sandbox.namespace, name)
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        if found is None or labels.get(names.LABEL_SANDBOX_UID) != sandbox.uid:
            return False
        await self._gateway.delete_pod(sandbox.namespace, name, found["metadata"]["uid"])
        return True

    async def _tell(self, sandbox: SandboxRecord, stuck: str) -> None:
        if stuck and sandbox.uid not in self._stuck:
            self._stuck.add(sandbox.uid)
            self._recorder.warning(sandbox, "TeardownStuck", stuck)
            self._metrics.teardowns.labels("stuck").inc()
            _log.warning("teardown stuck", extra={"sandbox": sandbox.name, "why": stuck})
        elif not stuck:
            self._stuck.discard(sandbox.uid)
        self._metrics.teardown_stuck.set(len(self._stuck))
        facts = phase.Facts(sandbox.generation, sandbox.status, time.time(), sandbox.pool_name)
        status = phase.terminating(facts, stuck)
        if conditions.same(status, sandbox.status):
            return
        try:
            await self._gateway.write_sandbox_status(sandbox, status)
        except errors.ApiError as error:
            if not error.not_found:
                raise

    def _asked_seconds_ago(self, sandbox: SandboxRecord) -> float:
        assert sandbox.deletion_timestamp is not None
        return time.time() - datetime.datetime.fromisoformat(sandbox.deletion_timestamp).timestamp()

    def _grace_seconds(self, sandbox: SandboxRecord) -> float:
        template = self._store.template_of(sandbox)
        return template.termination_grace_period_seconds if template is not None else _DEFAULT_GRACE_SECONDS
