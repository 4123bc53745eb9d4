"""Every write and direct read of the operator, in the operator's own words.

Each write first asks whether this process may still act (`NotLeader`): a leader that was
stopped and continued must find out before it writes, not after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.engine.cluster.isolation import Isolation
from sandyard.engine.state import records
from sandyard.engine.state.records import AnySandbox, PoolRecord
from sandyard.kube import errors, remotecommand
from sandyard.kube.client import Client, Resource

__all__ = ["CLAIMS", "NETWORK_POLICIES", "PODS", "POOLS", "SANDBOXES", "Gateway", "NotLeader"]

PODS = Resource("v1", "pods")
EVENTS = Resource("v1", "events")
NETWORK_POLICIES = Resource("networking.k8s.io/v1", "networkpolicies")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "endpointslices")
SANDBOXES = Resource(names.API_VERSION, names.SANDBOXES)
POOLS = Resource(names.API_VERSION, names.POOLS)
CLAIMS = Resource("v1", "persistentvolumeclaims")
POD_METRICS = Resource("metrics.k8s.io/v1beta1", "pods")


# What `sandyard.kube.remotecommand.run` is.
RunInPod = Callable[..., Awaitable[remotecommand.Completed]]


Record = TypeVar("Record", AnySandbox, PoolRecord)


class NotLeader(Exception):
    """This process is not, or no longer, the one that acts."""


class Gateway:
    """The cluster, as the engine uses it."""

    def __init__(
        self, client: Client, may_write: Callable[[], bool], isolation: Isolation, run_in_pod: RunInPod
    ) -> None:
        self._client = client
        self._may_write = may_write
        self._isolation = isolation
        self._run_in_pod = run_in_pod

    # The claim: these two, and nothing else, stand between a Sandbox and Ready.

    async def claim_pod(self, pod: Pod, sandbox: AnySandbox, labels: Mapping[str, str], terms: str) -> None:
        """Make a warm pod the Sandbox's: the commit point of a claim.

        *labels* open the network that the Sandbox asks for, *terms* are kept as an annotation.

        Raises
        ------
        ApiError
            409: the pod has changed since it was seen; 404: it is gone.
        """
        self._check()
        annotations = {names.ANNOTATION_SANDBOX: sandbox.name, names.ANNOTATION_SAFE_TO_EVICT: "false"}
        if terms:
            annotations[names.ANNOTATION_TERMS] = terms
        claimed = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: sandbox.uid}
        await self._client.merge_patch(
            PODS.path(pod.metadata.namespace, pod.metadata.name),
            {
                "metadata": {
                    "uid": pod.metadata.uid,
                    "resourceVersion": pod.metadata.resource_version,
                    "labels": {**labels, **claimed},
                    "annotations": annotations,
                    "ownerReferences": [sandbox.owner.reference()],
                }
            },
        )

    async def write_sandbox_status(self, sandbox: AnySandbox, status: Mapping[str, Any]) -> AnySandbox:
        """Write the whole status of *sandbox*; returns it as it is then."""
        self._check()
        reply = await self._client.merge_patch(
            SANDBOXES.path(sandbox.namespace, sandbox.name, "status"),
            {"metadata": {"uid": sandbox.uid}, "status": status},
        )
        return records.sandbox(reply)

    async def discoverable(self) -> bool:
        """Whether discovery names both of our kinds: kopf looks there once, and serves what it finds."""
        listed = await self._client.get("/apis")
        if not any(group["name"] == names.GROUP for group in listed["groups"]):
            return False
        found = await self._client.get(f"/apis/{names.GROUP}/{names.VERSION}")
        return {names.SANDBOXES, names.POOLS} <= {resource["name"] for resource in found["resources"]}

    # Pods

    async def create_pod(self, pod: Mapping[str, Any]) -> dict[str, Any]:
        """Create *pod*, whose name is ours: after a lost reply it can be looked up."""
        self._check()
        return await self._client.create(PODS.path(pod["metadata"]["namespace"]), pod)

    async def get_pod(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Read a pod from the API server itself; None if it is not there."""
        return await self._read(PODS.path(namespace, name))

    async def delete_pod(self, namespace: str, name: str, uid: str) -> bool:
        """Ask that very pod to go, within its own grace period; False if it is gone already."""
        return await self._delete(PODS.path(namespace, name), uid)

    async def delete_free_pod(self, pod: Pod) -> bool:
        """Ask a pod that is nobody's to go; False if it is gone already, or was claimed or changed otherwise.

        A request that is cut off may take place later than it seems: by then somebody may have
        the pod, and the version tells.
        """
        path = PODS.path(pod.metadata.namespace, pod.metadata.name)
        return await self._delete(path, pod.metadata.uid, pod.metadata.resource_version)

    async def relabel_network(
        self, pod: Pod, labels: Mapping[str, str | None], annotations: Mapping[str, str] = MappingProxyType({})
    ) -> Pod:
        """Give *pod* the network that *labels* choose (None removes one); returns it as it is then."""
        self._check()
        reply = await self._client.merge_patch(
            PODS.path(pod.metadata.namespace, pod.metadata.name),
            {"metadata": {"uid": pod.metadata.uid, "labels": dict(labels), "annotations": dict(annotations)}},
        )
        return msgspec.convert(reply, Pod)

    async def return_pod(self, pod: Pod, pool: PoolRecord, uses: int) -> None:
        """Make a cleaned pod its pool's again, warm.

        Raises
        ------
        ApiError
            409: the pod has changed since it was read; 404: it is gone.
        """
        self._check()
        await self._client.merge_patch(
            PODS.path(pod.metadata.namespace, pod.metadata.name),
            {
                "metadata": {
                    "uid": pod.metadata.uid,
                    "resourceVersion": pod.metadata.resource_version,
                    "labels": {names.LABEL_STATE: names.STATE_WARM, names.LABEL_SANDBOX_UID: None},
                    "annotations": {
                        names.ANNOTATION_SANDBOX: None,
                        names.ANNOTATION_TERMS: None,
                        names.ANNOTATION_SAFE_TO_EVICT: "true",
                        names.ANNOTATION_USES: str(uses),
                    },
                    "ownerReferences": [pool.owner.reference()],
                }
            },
        )

    async def touch_pod(self, pod: Pod) -> None:
        """Change nothing that matters about *pod*, so that its kubelet looks at it."""
        self._check()
        await self._client.merge_patch(
            PODS.path(pod.metadata.namespace, pod.metadata.name),
            {"metadata": {"uid": pod.metadata.uid, "annotations": {names.ANNOTATION_TOUCHED: "true"}}},
        )

    async def exec(
        self, pod: Pod, command: Sequence[str], stdin: bytes, timeout_seconds: float
    ) -> remotecommand.Completed:
        """Run *command* in the sandbox, as its own user."""
        self._check()
        path = PODS.path(pod.metadata.namespace, pod.metadata.name)
        return await self._run_in_pod(
            self._client, path, command, container=names.CONTAINER, stdin=stdin, timeout_seconds=timeout_seconds
        )

    # Sandboxes and pools

    async def write_pool_status(self, pool: PoolRecord, status: Mapping[str, Any]) -> PoolRecord:
        """Write the whole status of *pool*; returns it as it is then."""
        self._check()
        reply = await self._client.merge_patch(
            POOLS.path(pool.namespace, pool.name, "status"), {"metadata": {"uid": pool.uid}, "status": status}
        )
        return self._parse(pool, reply)

    async def add_finalizer(self, record: Record) -> Record:
        """Put our finalizer on, where admission has not done so; returns the object as it is then."""
        return await self._set_finalizers(record, [*record.finalizers, names.FINALIZER])

    async def remove_finalizer(self, record: Record) -> Record | None:
        """Take our finalizer off: nothing is left.

        Returns
        -------
        Record or None
            The object as it is then; None when it is gone. When others have changed it since it
            was read, the finalizer is still there, and the next attempt goes by what is returned.
        """
        try:
            return await self._set_finalizers(record, [name for name in record.finalizers if name != names.FINALIZER])
        except errors.ApiError as error:
            if error.not_found:
                return None
            if not error.conflict:
                raise
        current = await self._read(_path(record))
        return self._parse(record, current) if current and current["metadata"]["uid"] == record.uid else None

    async def delete_sandbox(self, sandbox: AnySandbox) -> None:
        """Delete that very Sandbox (it has expired)."""
        await self._delete(_path(sandbox), sandbox.uid)

    async def list_objects(
        self, resource: Resource, namespaces: Sequence[str], params: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """All objects of a kind in *namespaces*, or everywhere when that is empty."""
        found = []
        for namespace in namespaces or (None,):
            found += await self._client.items(resource.path(namespace), params)
        return found

    async def pod_metrics(self, pod: Pod) -> dict[str, Any] | None:
        """What the metrics API says of *pod*; None where there is no such API, or it does not know."""
        try:
            return await self._client.get(POD_METRICS.path(pod.metadata.namespace, pod.metadata.name))
        except errors.ApiError as error:
            if error.status in (403, 404):
                return None
            raise

    # Workspaces

    async def get_claim(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Read a PersistentVolumeClaim; None if it is not there."""
        return await self._read(CLAIMS.path(namespace, name))

    async def adopt_claim(self, claim: Mapping[str, Any], sandbox: AnySandbox) -> None:
        """Make *claim* the Sandbox's beside its pod's: Kubernetes collects it when both are gone.

        Raises
        ------
        ApiError
            409: it has changed since it was read.
        """
        self._check()
        metadata = claim["metadata"]
        owners = [item for item in metadata.get("ownerReferences", ()) if item["uid"] != sandbox.uid]
        own = {**sandbox.owner.reference(), "controller": False}
        await self._client.merge_patch(
            CLAIMS.path(sandbox.namespace, metadata["name"]),
            {
                "metadata": {
                    "uid": metadata["uid"],
                    "resourceVersion": metadata["resourceVersion"],
                    "labels": {names.LABEL_SANDBOX_UID: sandbox.uid, names.LABEL_MANAGED_BY: names.MANAGED_BY},
                    "ownerReferences": [*owners, own],
                }
            },
        )

    async def delete_claim(self, claim: Mapping[str, Any]) -> None:
        """Delete that very PersistentVolumeClaim."""
        metadata = claim["metadata"]
        await self._delete(CLAIMS.path(metadata["namespace"], metadata["name"]), metadata["uid"])

    # Policies and Events

    async def apply_policy(self, policy: Mapping[str, Any], exists: bool) -> None:
        """Create a NetworkPolicy, or give it the spec and labels that it should have."""
        self._check()
        namespace, name = policy["metadata"]["namespace"], policy["metadata"]["name"]
        if not exists:
            try:
                await self._client.create(NETWORK_POLICIES.path(namespace), policy)
                return
            except errors.ApiError as error:
                if not error.already_exists:
                    raise
        operations = [
            {"op": "add", "path": "/metadata/labels", "value": policy["metadata"]["labels"]},
            {"op": "replace", "path": "/spec", "value": policy["spec"]},
        ]
        await self._client.json_patch(NETWORK_POLICIES.path(namespace, name), operations)

    async def delete_policy(self, namespace: str, name: str, uid: str) -> None:
        """Delete that very NetworkPolicy."""
        await self._delete(NETWORK_POLICIES.path(namespace, name), uid)

    async def create_event(self, event: Mapping[str, Any]) -> None:
        """Post a core/v1 Event."""
        self._check()
        await self._client.create(EVENTS.path(event["metadata"]["namespace"]), event)

    async def _read(self, path: str) -> dict[str, Any] | None:
        """Read an object; None if it is not there."""
        try:
            return await self._client.get(path)
        except errors.ApiError as error:
            if error.not_found:
                return None
            raise

    async def _delete(self, path: str, uid: str, version: str | None = None) -> bool:
        """Delete that very object; False if it is gone already, or no longer of that *version*."""
        self._check()
        try:
            await self._client.delete(path, uid=uid, version=version)
        except errors.ApiError as error:
            # 409: another object has that name by now, so this one is gone; or it has changed.
            if error.not_found or error.conflict:
                return False
            raise
        return True

    def _parse(self, like: Record, body: Mapping[str, Any]) -> Record:
        """*body* as a record of the same kind as *like*."""
        if isinstance(like, PoolRecord):
            return records.pool(body, self._isolation.probe())
        return records.sandbox(body)

    def _check(self) -> None:
        if not self._may_write():
            raise NotLeader("another operator may be the active one by now")

    async def _set_finalizers(self, record: Record, wanted: list[str]) -> Record:
        self._check()
        body = {"metadata": {"uid": record.uid, "resourceVersion": str(record.version), "finalizers": wanted or None}}
        return self._parse(record, await self._client.merge_patch(_path(record), body))


def _path(record: AnySandbox | PoolRecord) -> str:
    resource = POOLS if isinstance(record, PoolRecord) else SANDBOXES
    return resource.path(record.namespace, record.name)
