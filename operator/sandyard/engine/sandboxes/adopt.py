"""Keeps the workspace of a Sandbox beyond its pod.

It is a PersistentVolumeClaim that Kubernetes has made with the first pod and would collect with
it.  So the Sandbox becomes an owner of it as soon as it is Ready, and no pod is deleted before
that has been written.
"""

from __future__ import annotations

import logging

import msgspec

from sandyard.engine.cluster import workspaces
from sandyard.engine.cluster.workspaces import Workspaces
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.sandboxes.write import SandboxWriter
from sandyard.sandbox.steps import AdoptWorkspace

__all__ = ["Adoption"]

_log = logging.getLogger(__name__)


class Adoption:
    """Makes workspaces the Sandboxes' own."""

    def __init__(self, requests: Workspaces, writer: SandboxWriter) -> None:
        self._workspaces = requests
        self._writer = writer

    async def adopt(self, run: Run, action: AdoptWorkspace) -> None:
        """Make the workspace the Sandbox's own."""
        sandbox, name = run.sandbox, action.name
        workspace = await self._workspaces.read(sandbox.namespace, name)
        if workspace is None or "deletionTimestamp" in workspace["metadata"]:
            _log.warning("the workspace is gone", extra={"sandbox": sandbox.name, "workspace": name})
            run.learn(workspace_gone=True)
            return
        if not workspaces.belongs(workspace, sandbox) and not workspaces.made_with(workspace, sandbox.status.pod_uid):
            _log.warning("not its pod's workspace", extra={"sandbox": sandbox.name, "workspace": name})
            run.learn(workspace_gone=True)
            return
        await self._workspaces.adopt(workspace, sandbox)
        sandbox = run.sandbox
        await self._writer.status(sandbox, msgspec.structs.replace(sandbox.status, workspace_claim=name))
