"""The operator's requests about pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.engine.cluster.resources import POD_METRICS, PODS
from sandyard.engine.cluster.writer import Writer
from sandyard.engine.loops.turns import Urgency
from sandyard.engine.state.records import AnySandbox, PoolRecord
from sandyard.kube import errors, remotecommand
from sandyard.podspec.containers import RESTART_COMMAND

__all__ = ["Pods"]

_EXEC_SECONDS = 10.0


class Pods:
    """Pods, as the API server has them; each write names the very pod."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def claim(self, pod: Pod, sandbox: AnySandbox, labels: Mapping[str, str], terms: str) -> None:
        """Make a warm pod the Sandbox's: the commit point of a claim.

        This and the Sandbox's status, and nothing else, stand between a Sandbox and Ready.
        *labels* open the network that the Sandbox asks for, *terms* are kept as an annotation.

        Raises
        ------
        ApiError
            409: the pod has changed since it was seen; 404: it is gone.
        """
        annotations = {names.ANNOTATION_SANDBOX: sandbox.name, names.ANNOTATION_SAFE_TO_EVICT: "false"}
        if terms:
            annotations[names.ANNOTATION_TERMS] = terms
        claimed = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: sandbox.uid}
        await self._writer.change(
            _path(pod),
            {
                "metadata": {
                    "uid": pod.metadata.uid,
                    "resourceVersion": pod.metadata.resource_version,
                    "labels": {**labels, **claimed},
                    "annotations": annotations,
                    "ownerReferences": [sandbox.owner.reference()],
                    # Who has written which field of a pod of ours nobody asks, and it is a third of what is stored,
                    # sent to each watch and copied by each admission policy.
                    "managedFields": [{}],
                }
            },
            Urgency.CLAIM,
        )

    async def ask_restart(self, pod: Pod, request: str) -> None:
        """Write down on *pod*, as it was seen, that its containers are to be restarted.

        Raises
        ------
        ApiError
            409: the pod has changed since it was seen; 404: it is gone.
        """
        changes = {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version}
        asked = {names.ANNOTATION_RESTART: request}
        await self._writer.change(_path(pod), {"metadata": {**changes, "annotations": asked}})

    async def restart(self, pod: Pod) -> None:
        """End the container whose end has the kubelet restart all of them."""
        await self._writer.exec(
            _path(pod), RESTART_COMMAND, container=names.RESTART_CONTAINER, stdin=b"", timeout_seconds=_EXEC_SECONDS
        )

    async def give_back(self, pod: Pod, pool: PoolRecord, uses: int, restarts: int) -> None:
        """Make a restarted pod its pool's again, warm; *restarts* as its kubelet counts them.

        Raises
        ------
        ApiError
            409: the pod has changed since it was read; 404: it is gone.
        """
        await self._writer.change(
            _path(pod),
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
                        names.ANNOTATION_RESTART: None,
                        names.ANNOTATION_RESTARTS: str(restarts),
                    },
                    "ownerReferences": [pool.owner.reference()],
                }
            },
        )

    async def create(self, pod: Mapping[str, Any], urgency: Urgency) -> None:
        """Create *pod*, whose name is ours: after a lost reply it can be looked up."""
        await self._writer.create(PODS.path(pod["metadata"]["namespace"]), pod, urgency)

    async def read(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Read a pod from the API server itself; None if it is not there."""
        return await self._writer.read(PODS.path(namespace, name))

    async def delete(self, namespace: str, name: str, uid: str) -> bool:
        """Ask that very pod to go, within its own grace period; False if it is gone already."""
        return await self._writer.delete(PODS.path(namespace, name), uid)

    async def delete_free(self, pod: Pod) -> bool:
        """Ask a pod that is nobody's to go; False if it is gone already, or was claimed or changed otherwise.

        A request that is cut off may take place later than it seems: by then somebody may have
        the pod, and the version shows it.
        """
        return await self._writer.delete(_path(pod), pod.metadata.uid, pod.metadata.resource_version, Urgency.REFILL)

    async def relabel_network(
        self, pod: Pod, labels: Mapping[str, str | None], annotations: Mapping[str, str] = MappingProxyType({})
    ) -> Pod:
        """Give *pod* the network that *labels* choose (None removes one); returns it as it is then."""
        changes = {"uid": pod.metadata.uid, "labels": dict(labels), "annotations": dict(annotations)}
        return msgspec.convert(await self._writer.patch(_path(pod), {"metadata": changes}), Pod)

    async def touch(self, pod: Pod) -> None:
        """Change nothing that matters about *pod*, so that its kubelet looks at it."""
        changes = {"uid": pod.metadata.uid, "annotations": {names.ANNOTATION_TOUCHED: "true"}}
        await self._writer.change(_path(pod), {"metadata": changes})

    async def outdate(self, found: Mapping[str, Any]) -> None:
        """Change nothing but the version of the pod *found*: what was sent for that version no longer fits.

        Raises
        ------
        ApiError
            409: it has changed by itself; 404: it is gone.
        """
        metadata = found["metadata"]
        version = metadata["resourceVersion"]
        changes = {"uid": metadata["uid"], "resourceVersion": version}
        touched = {"metadata": {**changes, "annotations": {names.ANNOTATION_TOUCHED: version}}}
        await self._writer.change(PODS.path(metadata["namespace"], metadata["name"]), touched)

    async def exec(
        self, pod: Pod, command: Sequence[str], stdin: bytes, timeout_seconds: float
    ) -> remotecommand.Completed:
        """Run *command* in the sandbox, as its own user."""
        return await self._writer.exec(
            _path(pod), command, container=names.CONTAINER, stdin=stdin, timeout_seconds=timeout_seconds
        )

    async def metrics(self, pod: Pod) -> dict[str, Any] | None:
        """What the metrics API says of *pod*; None where there is no such API, or it does not know."""
        try:
            return await self._writer.read(POD_METRICS.path(pod.metadata.namespace, pod.metadata.name))
        except errors.ApiError as error:
            if error.status == 403:
                return None
            raise


def _path(pod: Pod) -> str:
    return PODS.path(pod.metadata.namespace, pod.metadata.name)
