"""Stops every process of a sandbox and lets it continue: by exec, as the sandbox's own user.

What is being done stands in the status before it is done, so that an operator that dies in
between leaves no sandbox stopped that nobody knows of.
"""

from __future__ import annotations

import logging
from typing import Any

from sandyard.engine.cluster.pods import Pods
from sandyard.kube import errors
from sandyard.sandbox import freeze
from sandyard.sandbox.steps import Freeze

__all__ = ["Freezing"]

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 20.0


class Freezing:
    """The processes of Sandboxes."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods

    async def freeze(self, action: Freeze) -> dict[str, Any]:
        """Stop or continue all processes; answers whether all are."""
        script = freeze.script(stopped=action.stopped)
        try:
            done = await self._pods.exec(action.pod, freeze.COMMAND, script, _TIMEOUT_SECONDS)
            report = freeze.read(done.exit.code, done.stdout, done.exit.message, stopped=action.stopped)
        except (errors.ApiError, errors.TransportError) as error:
            extra = {"pod": action.pod.metadata.name, "error": str(error)}
            _log.info("pausing or resuming was cut off", extra=extra)
            report = freeze.Report(False, why=f"exec: {error}")
        return {"frozen": action.stopped, "report": report}
