"""Finds what belongs to nobody: pods, workspaces and policies whose Sandbox or pool is gone, by UID.

Everything else in the engine is driven by events; this is the net below it, for deletions
that happened while no operator ran and for events that were never delivered.  Before each
delete it takes a fresh look, and it never goes by a name.
"""

from __future__ import annotations

import logging

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.engine.intake import Intake
from sandyard.engine.parts import Parts
from sandyard.kube import errors

__all__ = ["Sweep"]

_log = logging.getLogger(__name__)
# Younger pods may belong to an object that the list below was too early to show.
_MINIMUM_AGE_SECONDS = 5.0


class Sweep:
    """One pass compares everything that carries our labels with what lives."""

    def __init__(self, parts: Parts, intake: Intake) -> None:
        self._store = parts.store
        self._pods = parts.pods
        self._objects = parts.objects
        self._workspaces = parts.workspaces
        self._policies = parts.policies
        self._metrics = parts.metrics
        self._settings = parts.settings
        self._clock = parts.clock
        self._intake = intake

    async def run_once(self) -> None:
        """List Sandboxes and pools anew, put the store right, and delete what is left over."""
        pods_before = list(self._store.pods.values())
        sandboxes, pools = await self.resync()
        for pod in pods_before:
            await self._check(pod, sandboxes, pools)
        await self._check_workspaces(sandboxes)
        for namespace in self._policies.namespaces():
            if not self._policies.needed(namespace):
                await self._policies.reconcile(namespace)
                self._metrics.sweep_removed.labels("policies").inc()

    async def first(self) -> None:
        """Take in what is there at the start, as soon as both kinds are served.

        They may be younger than this process, when one command installs everything.
        """
        delay = 0.2
        while True:
            try:
                if await self._objects.discoverable():
                    await self.resync()
                    return
                problem = "discovery does not name them yet"
            except (errors.ApiError, errors.TransportError) as error:
                problem = str(error)
            _log.warning("cannot list Sandboxes and pools", extra={"error": problem})
            await self._clock.sleep(delay)
            delay = min(delay * 2, 5.0)

    async def resync(self) -> tuple[set[str], set[str]]:
        """Take in all Sandboxes and pools as they are; returns the UIDs of both."""
        known_sandboxes = list(self._store.sandboxes)
        known_pools = list(self._store.pools)
        namespaces = self._settings.namespaces
        pools = await self._objects.pools(namespaces)
        sandboxes = await self._objects.sandboxes(namespaces)
        for pool in pools:
            self._intake.pool_found(pool)
        for sandbox in sandboxes:
            self._intake.sandbox_found(sandbox)
        living_sandboxes = {record.uid for record in sandboxes}
        living_pools = {record.uid for record in pools}
        # Only what was known before the list was asked for can be missing from it.
        for uid in known_sandboxes:
            if uid not in living_sandboxes:
                self._intake.sandbox_gone(uid)
        for uid in known_pools:
            if uid not in living_pools:
                self._intake.pool_gone(uid)
        return living_sandboxes, living_pools

    async def _check_workspaces(self, sandboxes: set[str]) -> None:
        """Workspaces whose Sandbox is gone, and no pod of theirs left either."""
        for workspace in await self._workspaces.adopted(self._settings.namespaces):
            metadata = workspace["metadata"]
            owner = metadata["labels"][names.LABEL_SANDBOX_UID]
            young = self._clock.now() - model.seconds(metadata["creationTimestamp"]) < _MINIMUM_AGE_SECONDS
            if young or "deletionTimestamp" in metadata or owner in sandboxes or owner in self._store.sandboxes:
                continue
            current = await self._workspaces.read(metadata["namespace"], metadata["name"])
            if current is None or current["metadata"].get("labels", {}).get(names.LABEL_SANDBOX_UID) != owner:
                continue
            _log.warning("removing a workspace that belongs to nobody", extra={"workspace": metadata["name"]})
            await self._workspaces.delete(current)
            self._metrics.sweep_removed.labels("workspaces").inc()

    async def _check(self, pod: Pod, sandboxes: set[str], pools: set[str]) -> None:
        labels = pod.metadata.labels
        if pod.metadata.deletion_timestamp is not None:
            return
        if self._clock.now() - model.seconds(pod.metadata.creation_timestamp) < _MINIMUM_AGE_SECONDS:
            return
        sandbox_uid = labels.get(names.LABEL_SANDBOX_UID) or self._store.reserved_for(pod.metadata.uid)
        if sandbox_uid is not None:
            orphan = sandbox_uid not in sandboxes and sandbox_uid not in self._store.sandboxes
        else:
            pool_uid = labels.get(names.LABEL_POOL_UID, "")
            orphan = pool_uid not in pools and pool_uid not in self._store.pools
        if not orphan:
            return
        current = await self._pods.read(pod.metadata.namespace, pod.metadata.name)
        if current is None or current["metadata"]["uid"] != pod.metadata.uid:
            return
        now_labels = current["metadata"].get("labels") or {}
        if any(now_labels.get(key) != labels.get(key) for key in (names.LABEL_SANDBOX_UID, names.LABEL_POOL_UID)):
            return
        _log.warning("removing a pod that belongs to nobody", extra={"pod": pod.metadata.name})
        await self._pods.delete(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
        self._metrics.sweep_removed.labels("pods").inc()
