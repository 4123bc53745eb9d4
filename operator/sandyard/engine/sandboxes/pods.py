"""What is asked and done about the pod of one Sandbox."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.engine.cluster.kubelet_resync import KubeletResync
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.loops.queues import Queue
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.state.records import AnySandbox, SandboxRecord
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.pod import labels
from sandyard.podspec import pod as podspec
from sandyard.sandbox import steps, usage

__all__ = ["OwnPods", "cold_pod_name"]

_log = logging.getLogger(__name__)


class OwnPods:
    """The pods of Sandboxes, and what the cluster knows of them beyond the watch."""

    def __init__(self, store: Store, pods: Pods, kubelet_resync: KubeletResync, queue: Queue) -> None:
        self._store = store
        self._pods = pods
        self._kubelet_resync = kubelet_resync
        self._queue = queue

    async def look_up(self, run: Run, action: steps.LookUpPod) -> None:
        """Ask the API server itself whether the pod is there; the watch shows none without its labels."""
        found = await self._pods.read(run.sandbox.namespace, action.name)
        seen = found is not None and found["metadata"]["uid"] == action.uid
        run.learn(pod_seen=seen)
        pod = msgspec.convert(found, Pod) if seen else None
        if pod is not None and names.LABEL_STATE not in pod.metadata.labels:
            _log.warning("labels of a pod were taken off", extra={"pod": action.name})
            await self._pods.relabel_network(pod, labels.astray(pod, None))

    async def delete(self, pod: Pod, *, reusable: bool = False) -> bool:
        """Ask the pod to go, once; False: it has changed, or is gone, and has to be looked at again.

        One that may be cleaned and handed out again at the next attempt is asked in this version
        alone: a request that is cut off may arrive when somebody else has it.
        """
        metadata = pod.metadata
        if metadata.deletion_timestamp is not None:
            return True
        if reusable:
            return await self._pods.delete_free(pod)
        return await self._pods.delete(metadata.namespace, metadata.name, metadata.uid)

    async def resync_kubelet(self, run: Run, action: steps.ResyncKubelet) -> None:
        """Make the kubelet look at the pod once it is overdue."""
        entry = self._store.pods.get(action.pod.metadata.uid)
        wait = await self._kubelet_resync.consider(entry) if entry is not None else None
        if wait is not None:
            self._queue.add_after(run.sandbox.uid, max(0.1, wait))

    async def cpu_use(self, action: steps.AskCpuUse) -> dict[str, Any]:
        """Ask the metrics API how much the pod works."""
        try:
            used = usage.read(await self._pods.metrics(action.pod))
        except (errors.ApiError, errors.TransportError):
            return {"cpu_asked": True, "cpu_unknown": True}
        return {"cpu_asked": True, "cpu": used}

    async def is_there(self, sandbox: SandboxRecord, pod_name: str) -> bool:
        """Whether the pod of that name is the Sandbox's."""
        return await self._find(sandbox, pod_name) is not None

    async def delete_unseen(self, sandbox: AnySandbox) -> bool:
        """Whether a pod of its own exists that the watch does not show; it is deleted.

        A Sandbox that is deleted right after its cold start was sent would otherwise be let go
        with a pod on the way, and one whose pod the watch has lost with a pod that runs. Claimed
        pods that no status names yet are always seen first: they were warm before.
        """
        name = sandbox.status.pod_name
        if not name and _only_claims(sandbox):
            return False
        name = name or cold_pod_name(sandbox)
        found = await self._find(sandbox, name)
        if found is None:
            return False
        if "deletionTimestamp" not in found["metadata"]:
            await self._pods.delete(sandbox.namespace, name, found["metadata"]["uid"])
        return True

    async def _find(self, sandbox: AnySandbox, name: str) -> dict[str, Any] | None:
        found = await self._pods.read(sandbox.namespace, name)
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        return found if labels.get(names.LABEL_SANDBOX_UID) == sandbox.uid else None


def cold_pod_name(sandbox: AnySandbox) -> str:
    """Name of the pod that is started for the Sandbox alone, the same at each attempt."""
    return podspec.cold_pod_name(sandbox.owner, sandbox.status.restarts or 0)


def _only_claims(sandbox: AnySandbox) -> bool:
    """Whether no pod was ever started for it alone."""
    if not isinstance(sandbox, SandboxRecord) or sandbox.status.workspace_claim:
        return False
    spec = sandbox.spec
    return spec.template is None and not spec.env and spec.network is None
