"""Leader election by a coordination.k8s.io Lease.

The rules are those of client-go's leaderelection: a holder renews, others wait until the
lease has not changed for its duration *by their own clock*, and a holder that could not
renew in time must stop at once.  `valid` tells a holder whether it may still write.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import Any

from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.paths import Resource

__all__ = ["Lease"]

_log = logging.getLogger(__name__)
# Share of the usual time between two attempts.
_SOON = 0.1
_LEASES = Resource("coordination.k8s.io/v1", "leases")


@dataclass
class Lease:
    """One candidate for the lease *namespace*/*name*.

    Attributes
    ----------
    duration_seconds
        How long others wait after the last renewal that they saw. A holder that has not renewed
        for seven tenths of it gives up.
    lineage
        How the identities of earlier processes in the same pod begin; empty: none is known. They are
        gone, or this one would not run: what they hold may be taken at once.
    """

    client: Client
    namespace: str
    name: str
    identity: str
    duration_seconds: int = 10
    lineage: str = ""

    def __post_init__(self) -> None:
        self.renew_deadline_seconds = 0.7 * self.duration_seconds
        self.retry_seconds = 0.2 * self.duration_seconds
        self._renewed_at = float("-inf")
        self._current: dict[str, Any] | None = None
        self._seen: tuple[str, int] | None = None
        self._seen_at = float("-inf")
        self.held = False

    @property
    def valid(self) -> bool:
        """Whether this process may still act as leader, by its own clock.

        A process that was stopped and continued finds this False before it can write.
        """
        return self.held and time.monotonic() - self._renewed_at < self.renew_deadline_seconds

    async def acquire(self) -> None:
        """Return once the lease is ours."""
        while not await self._attempt():
            await asyncio.sleep(self.retry_seconds * random.uniform(0.8, 1.2))

    async def keep(self) -> None:
        """Renew until the lease is lost; then return.

        After an attempt that failed the next one comes soon: an API server that is back is found in time.
        """
        pause = self.retry_seconds
        while True:
            await asyncio.sleep(pause)
            if not self.valid:
                # Stopped, starved or cut off for too long: another may hold it by now.
                break
            renewed = await self._attempt()
            if not self.held or not (renewed or self.valid):
                break
            pause = self.retry_seconds if renewed else self.retry_seconds * _SOON
        self.held = False

    async def release(self) -> None:
        """Give the lease back, so that a standby need not wait."""
        if not self.held:
            return
        self.held = False
        try:
            current = await self.client.get(_LEASES.path(self.namespace, self.name))
            if (current.get("spec") or {}).get("holderIdentity") == self.identity:
                current["spec"]["holderIdentity"] = ""
                current["spec"]["leaseDurationSeconds"] = 1
                await self.client.replace(_LEASES.path(self.namespace, self.name), current)
        except (errors.ApiError, errors.TransportError) as error:
            _log.warning("could not release the lease", extra={"error": str(error)})

    async def _attempt(self) -> bool:
        """Take or renew the lease; whether it is ours now."""
        sent_at = time.monotonic()
        path = _LEASES.path(self.namespace, self.name)
        try:
            # A holder knows the object from its last renewal: one write, no read.
            current = self._current if self.held and self._current else await self.client.get(path)
            self._current = None
            # One that somebody has made by hand may have none.
            spec = current.get("spec") or {}
            if not self._may_take(spec, sent_at):
                self.held = False
                return False
            mine = spec.get("holderIdentity") == self.identity
            transitions = int(spec.get("leaseTransitions") or 0) + (0 if mine else 1)
            current["spec"] = self._spec(transitions, spec.get("acquireTime") if mine else None)
            self._current = await self.client.replace(path, current)
        except errors.ApiError as error:
            if not error.not_found:
                _log.info("lease not renewed", extra={"error": str(error)})
                return False
            if not await self._create():
                return False
        except errors.TransportError as error:
            _log.warning("lease not renewed", extra={"error": str(error)})
            return False
        self._renewed_at = sent_at
        self.held = True
        return True

    def _may_take(self, spec: dict[str, Any], now: float) -> bool:
        """Whether the lease is ours, free, or has not changed for its duration by our clock."""
        mark = (str(spec.get("renewTime")), int(spec.get("leaseTransitions") or 0))
        if mark != self._seen:
            self._seen, self._seen_at = mark, now
        holder = spec.get("holderIdentity")
        lapsed = now - self._seen_at > int(spec.get("leaseDurationSeconds") or self.duration_seconds)
        inherited = bool(self.lineage) and str(holder).startswith(self.lineage)
        return holder == self.identity or not holder or lapsed or inherited

    async def _create(self) -> bool:
        try:
            body = {"metadata": {"name": self.name}, "spec": self._spec(0, None)}
            self._current = await self.client.create(_LEASES.path(self.namespace), body)
        except (errors.ApiError, errors.TransportError) as error:
            _log.info("lease not created", extra={"error": str(error)})
            return False
        return True

    def _spec(self, transitions: int, acquired: str | None) -> dict[str, Any]:
        now = _micro_time(time.time())
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.duration_seconds,
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }


def _micro_time(moment: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment % 1 * 1e6):06d}Z"
