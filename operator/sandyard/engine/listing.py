"""Takes in all Sandboxes and pools as a list shows them: at the start, and whenever news may have been missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sandyard.engine.cluster.objects import Objects
from sandyard.engine.cluster.writer import Take
from sandyard.engine.intake import Intake
from sandyard.engine.loops.clock import Clock
from sandyard.engine.state.records import AnyPool, AnySandbox
from sandyard.engine.state.store import Store
from sandyard.kube import backoff, errors

__all__ = ["Listing", "Living"]

_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
# Objects that are read before others have their turn: a few milliseconds.
_AT_ONCE = 100


@dataclass(frozen=True)
class Living:
    """What a list has found.

    Attributes
    ----------
    sandboxes, pools
        UIDs of all that live.
    unread
        Namespaces of which that is not known: they may not be read, or are on their way out.
    """

    sandboxes: set[str]
    pools: set[str]
    unread: set[str]


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
                    # What a pool means depends on it.
                    await self._objects.learn_server_version()
                    await self.take_in()
                    return
                problem = "discovery does not name them yet"
            except (errors.ApiError, errors.TransportError) as error:
                problem = str(error)
            _log.warning("cannot list Sandboxes and pools", extra={"error": problem})
            await self._clock.sleep(backoff.pause_seconds(failures, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS))
            failures += 1

    async def take_in(self) -> Living:
        """Take in all Sandboxes and pools as they are.

        What was known in a namespace that may not be read at present stays as it was.
        """
        known_sandboxes = [entry.record for entry in self._store.sandboxes.values()]
        known_pools = [entry.record for entry in self._store.pools.values()]
        living_pools, living_sandboxes = set[str](), set[str]()
        unread_pools = await self._objects.pools(self._namespaces, self._reader(self._intake.pool_shown, living_pools))
        unread_sandboxes = await self._objects.sandboxes(
            self._namespaces, self._reader(self._intake.sandbox_shown, living_sandboxes)
        )
        if (server := self._objects.server_time()) is not None:
            self._clock.compare(server)
        # Only what was known before the list was asked for can be missing from it.
        for sandbox in known_sandboxes:
            known = sandbox.uid in living_sandboxes or sandbox.namespace in unread_sandboxes
            if not known and await self._is_gone(sandbox):
                self._intake.sandbox_gone(sandbox.uid)
        for pool in known_pools:
            known = pool.uid in living_pools or pool.namespace in unread_pools
            if not known and await self._is_gone(pool):
                self._intake.pool_gone(pool.uid)
        return Living(living_sandboxes, living_pools, unread_sandboxes | unread_pools)

    def _reader(self, shown: Callable[[dict[str, Any]], None], living: set[str]) -> Take:
        """Hands on each object of a page, lets others go first now and then, and adds UIDs to *living*."""

        async def read(bodies: Sequence[dict[str, Any]]) -> None:
            for number, body in enumerate(bodies):
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
                uid = body["metadata"]["uid"]
                living.add(uid)
                try:
                    shown(body)
                except Exception:  # noqa: BLE001 - one odd object keeps nobody from the others
                    _log.exception("object left out", extra={"uid": uid})

        return read

    async def _is_gone(self, record: AnySandbox | AnyPool) -> bool:
        """Whether an object that a list does not show is gone: that may come from a server that lags behind."""
        return record.uid not in self._intake.departed and not await self._objects.is_there(record)
