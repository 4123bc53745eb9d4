"""Tells the operator that a sandbox with an idle time is in use."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from sandyard.api import names, rfc3339
from sandyard.client.errors import SandboxError
from sandyard.client.info import SandboxInfo
from sandyard.client.session.cluster import SANDBOXES, Cluster

__all__ = ["Activity"]

# A client stamps what it uses so often at most.
_STAMP_SECONDS = 20.0


class Activity:
    """Stamps the Sandbox that *info* returns while a command runs in it."""

    def __init__(self, cluster: Cluster, info: Callable[[], SandboxInfo]) -> None:
        self._cluster = cluster
        self._info = info
        self._stamped = 0.0

    async def run(self) -> None:
        """Stamp the Sandbox until cancelled."""
        while True:
            with contextlib.suppress(SandboxError):
                await self._stamp()
            await asyncio.sleep(self._interval_seconds() or _STAMP_SECONDS)

    async def _stamp(self) -> None:
        """Stamp the Sandbox, unless that was done a moment ago."""
        seconds = self._interval_seconds()
        if seconds is None or time.monotonic() - self._stamped < seconds:
            return
        info = self._info()
        stamp = {names.ANNOTATION_ACTIVITY: rfc3339.timestamp(time.time())}
        namespace = str(info["metadata"]["namespace"])
        await self._cluster.patch(SANDBOXES, namespace, info.name, {"metadata": {"annotations": stamp}})
        self._stamped = time.monotonic()

    def _interval_seconds(self) -> float | None:
        """How often to stamp; None where no idle time asks for it."""
        info = self._info()
        lifetime, status = info.get("spec", {}).get("lifetime") or {}, info.get("status", {})
        idle = lifetime.get("idleSeconds")
        if idle is None and "lastActivityAt" in status and "expiresAt" in status:
            # Of its pool: what is left from the last use to the end is the idle time, or less.
            idle = rfc3339.seconds(status["expiresAt"]) - rfc3339.seconds(status["lastActivityAt"])
        return None if idle is None else max(0.5, min(_STAMP_SECONDS, idle / 4))
