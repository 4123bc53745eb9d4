"""Keeps the workspace of a Sandbox beyond its pod.

It is a PersistentVolumeClaim that Kubernetes has made with the first pod and would collect with
it.  So the Sandbox becomes an owner of it as soon as it is Ready, and no pod is deleted before
that has been written.
"""

from __future__ import annotations

import logging

import msgspec

from sandyard.engine.cluster.gateway import Gateway
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.sandboxes.status import StatusWriter
from sandyard.sandbox.steps import AdoptWorkspace

__all__ = ["Workspaces"]

_log = logging.getLogger(__name__)


class Workspaces:
    """The persistent workspaces of Sandboxes."""

    def __init__(self, gateway: Gateway, statuses: StatusWriter) -> None:
        self._gateway = gateway
        self._statuses = statuses

    async def adopt(self, run: Run, action: AdoptWorkspace) -> None:
        """Make the workspace the Sandbox's own."""
        sandbox, name = run.sandbox, action.name
        claim = await self._gateway.get_claim(sandbox.namespace, name)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            _log.warning("the workspace is gone", extra={"sandbox": sandbox.name, "claim": name})
            run.learn(workspace_gone=True)
            return
        await self._gateway.adopt_claim(claim, sandbox)
        sandbox = run.sandbox
        await self._statuses.write(sandbox, msgspec.structs.replace(sandbox.status, workspace_claim=name))
