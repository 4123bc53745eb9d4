"""Finds what belongs to nobody: pods, workspaces and policies whose Sandbox or pool is gone, by UID.

Everything else in the engine is driven by events; this is the net below it, for deletions
that happened while no operator ran and for events that were never delivered.  Before each
delete it takes a fresh look, at the owner too, and it never goes by a name.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import msgspec

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.engine.cluster.objects import Objects
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.cluster.workspaces import Workspaces
from sandyard.engine.listing import Listing
from sandyard.engine.loops.clock import Clock
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.process.settings import Settings
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.pod import labels as pod_labels

__all__ = ["Sweep"]

_log = logging.getLogger(__name__)
# Younger pods may belong to an object that the list below was too early to show.
_MINIMUM_AGE_SECONDS = 5.0
# Each may take as long as a request may: the rest of such a namespace has to wait for the next pass.
_MOST_FAILURES = 3
_BELONGS = (names.LABEL_SANDBOX_UID, names.LABEL_POOL_UID)


class Sweep:
    """One pass compares everything that carries our labels with what lives."""

    def __init__(
        self, listing: Listing, store: Store, objects: Objects, pods: Pods, workspaces: Workspaces, policies: Policies,
        settings: Settings, metrics: Metrics, clock: Clock,
    ) -> None:  # fmt: skip
        self.listing = listing
        self._store = store
        self._objects = objects
        self._pods = pods
        self._workspaces = workspaces
        self._policies = policies
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        # Of the checks of this pass, by namespace.
        self._failures: Counter[str] = Counter()

    async def run(self) -> None:
        """Sweep now and every ``sweep_seconds`` of the settings, until cancelled."""
        while True:
            try:
                await self.run_once()
            except (errors.ApiError, errors.TransportError) as error:
                _log.warning("sweep not finished", extra={"error": str(error)})
            except Exception:  # noqa: BLE001 - the net below all else is not torn by one odd object
                _log.exception("sweep not finished")
            await self._clock.sleep(self._settings.sweep_seconds)

    async def run_once(self) -> None:
        """List Sandboxes and pools anew, put the store right, and delete what is left over."""
        self._failures.clear()
        pods_before = [entry.pod for entry in self._store.pods.values()]
        living = await self.listing.take_in()
        for pod in pods_before:
            if pod.metadata.namespace not in living.unread:
                await self._within(pod.metadata.namespace, self._check(pod, living.sandboxes, living.pools))
        for workspace in await self._workspaces.adopted(self._settings.namespaces):
            if workspace["metadata"]["namespace"] not in living.unread:
                where = workspace["metadata"]["namespace"]
                await self._within(where, self._check_workspace(workspace, living.sandboxes))
        for namespace in self._policies.namespaces():
            if namespace not in living.unread:
                await self._within(namespace, self._check_policies(namespace))

    async def _within(self, namespace: str, check: Coroutine[Any, Any, None]) -> None:
        """One check; what is refused or gets no answer in its namespace (a webhook) keeps nobody from the others."""
        if self._failures[namespace] >= _MOST_FAILURES:
            check.close()
            return
        try:
            await check
        except errors.NotConnected:
            raise
        except (errors.ApiError, errors.TransportError) as error:
            self._failures[namespace] += 1
            _log.warning("not swept", extra={"namespace": namespace, "error": str(error)})

    async def _check_policies(self, namespace: str) -> None:
        if not self._policies.needed(namespace):
            await self._policies.reconcile(namespace)
            self._metrics.sweep_removed.labels("policies").inc()

    async def _check_workspace(self, workspace: dict[str, Any], sandboxes: set[str]) -> None:
        """Workspaces whose Sandbox is gone, and no pod of theirs left either."""
        metadata = workspace["metadata"]
        owner = metadata["labels"][names.LABEL_SANDBOX_UID]
        young = self._clock.now() - model.seconds(metadata["creationTimestamp"]) < _MINIMUM_AGE_SECONDS
        if young or "deletionTimestamp" in metadata or owner in sandboxes or owner in self._store.sandboxes:
            return
        current = await self._workspaces.read(metadata["namespace"], metadata["name"])
        if current is None or current["metadata"].get("labels", {}).get(names.LABEL_SANDBOX_UID) != owner:
            return
        if await self._lists_lag(current):
            return
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
        read = msgspec.convert(current, Pod)
        now_labels = pod_labels.corrected(read, pod_labels.astray(read, None)).metadata.labels
        keys = (names.LABEL_SANDBOX_UID,) if names.LABEL_SANDBOX_UID in labels else _BELONGS
        if any(now_labels.get(key) != labels.get(key) for key in keys) or await self._lists_lag(current):
            return
        _log.warning("removing a pod that belongs to nobody", extra={"pod": pod.metadata.name})
        await self._pods.delete(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
        self._metrics.sweep_removed.labels("pods").inc()

    async def _lists_lag(self, body: dict[str, Any]) -> bool:
        """Whether *body* has an owner all the same: the lists came from an API server that is behind the others."""
        if not await self._objects.have_an_owner(body):
            return False
        _log.warning("lists are behind what there is", extra={"object": body["metadata"]["name"]})
        return True
