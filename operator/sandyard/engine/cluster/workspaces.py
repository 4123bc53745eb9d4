"""The operator's requests about persistent workspaces: PersistentVolumeClaims, to Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandyard.api import names
from sandyard.engine.cluster.resources import WORKSPACES
from sandyard.engine.cluster.writer import Writer
from sandyard.engine.state.records import AnySandbox

__all__ = ["Workspaces", "belongs", "made_with"]


def belongs(workspace: Mapping[str, Any], sandbox: AnySandbox) -> bool:
    """Whether *workspace* is that Sandbox's, by the UID in its label: a status may name any."""
    labels = workspace["metadata"].get("labels") or {}
    return bool(labels.get(names.LABEL_SANDBOX_UID) == sandbox.uid)


def made_with(workspace: Mapping[str, Any], pod_uid: str | None) -> bool:
    """Whether Kubernetes has made *workspace* with that very pod.

    By its owner alone anybody can have made it. The labels of the pod's own template are there too then, which
    admission lets nobody else write.
    """
    metadata = workspace["metadata"]
    owners = metadata.get("ownerReferences") or ()
    labels = metadata.get("labels") or {}
    labelled = names.LABEL_POOL_UID in labels or names.LABEL_SANDBOX_UID in labels
    return pod_uid is not None and labelled and any(owner["uid"] == pod_uid for owner in owners)


class Workspaces:
    """Workspaces, as the API server has them; each write names the very object."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def read(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Read a workspace from the API server itself; None if it is not there."""
        return await self._writer.read(WORKSPACES.path(namespace, name))

    async def adopted(self, namespaces: Sequence[str]) -> list[dict[str, Any]]:
        """Workspaces that some Sandbox has adopted, in *namespaces*, or everywhere when that is empty."""
        return (await self._writer.items(WORKSPACES, namespaces, {"labelSelector": names.LABEL_SANDBOX_UID})).items

    async def adopt(self, workspace: Mapping[str, Any], sandbox: AnySandbox) -> None:
        """Make *workspace* the Sandbox's beside its pod's: Kubernetes collects it when both are gone.

        Raises
        ------
        ApiError
            409: it has changed since it was read.
        """
        metadata = workspace["metadata"]
        owners = [item for item in metadata.get("ownerReferences", ()) if item["uid"] != sandbox.uid]
        own = {**sandbox.owner.reference(), "controller": False}
        await self._writer.patch(
            WORKSPACES.path(sandbox.namespace, metadata["name"]),
            {
                "metadata": {
                    "uid": metadata["uid"],
                    "resourceVersion": metadata["resourceVersion"],
                    "labels": {names.LABEL_SANDBOX_UID: sandbox.uid, names.LABEL_MANAGED_BY: names.MANAGED_BY},
                    "ownerReferences": [*owners, own],
                }
            },
        )

    async def delete(self, workspace: Mapping[str, Any]) -> None:
        """Delete that very workspace."""
        metadata = workspace["metadata"]
        await self._writer.delete(WORKSPACES.path(metadata["namespace"], metadata["name"]), metadata["uid"])
