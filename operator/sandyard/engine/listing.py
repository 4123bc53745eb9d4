"""Takes in all Sandboxes and pools as a list shows them: at the start, and whenever news may have been missed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sandyard.engine.cluster.objects import Objects
from sandyard.engine.intake import Intake
from sandyard.engine.loops.clock import Clock
from sandyard.engine.state.store import Store
from sandyard.kube import backoff, errors

__all__ = ["Listing"]

_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


class Listing:
    """Lists of both kinds, in *namespaces*, or everywhere when that is empty."""

    def __init__(self, store: Store, objects: Objects, intake: Intake, namespaces: Sequence[str], clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._intake = intake
        self._namespaces = namespaces
        self._clock = clock

    async def first(self) -> None:
        """Take in what is there at the start, as soon as both kinds are served.

        They may be younger than this process, when one command installs everything.
        """
        failures = 0
        while True:
            try:
                if await self._objects.discoverable():
                    await self.take_in()
                    return
                problem = "discovery does not name them yet"
            except (errors.ApiError, errors.TransportError) as error:
                problem = str(error)
            _log.warning("cannot list Sandboxes and pools", extra={"error": problem})
            await self._clock.sleep(backoff.pause_seconds(failures, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS))
            failures += 1

    async def take_in(self) -> tuple[set[str], set[str]]:
        """Take in all Sandboxes and pools as they are; returns the UIDs of both."""
        known_sandboxes = list(self._store.sandboxes)
        known_pools = list(self._store.pools)
        pools = await self._objects.pools(self._namespaces)
        sandboxes = await self._objects.sandboxes(self._namespaces)
        for pool in pools:
            self._intake.pool_found(pool)
        for sandbox in sandboxes:
            self._intake.sandbox_found(sandbox)
        living_sandboxes = {record.uid for record in sandboxes}
        living_pools = {record.uid for record in pools}
        # Only what was known before the list was asked for can be missing from it.
        for uid in known_sandboxes:
            if uid not in living_sandboxes:
                self._intake.sandbox_gone(uid)
        for uid in known_pools:
            if uid not in living_pools:
                self._intake.pool_gone(uid)
        return living_sandboxes, living_pools
