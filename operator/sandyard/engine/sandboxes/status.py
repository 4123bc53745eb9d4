"""Writes what a Sandbox's status should say, when it says something new."""

from __future__ import annotations

from sandyard.engine.cluster.objects import Objects
from sandyard.engine.loops.queues import Queue
from sandyard.engine.state.records import AnySandbox
from sandyard.engine.state.store import Store
from sandyard.sandbox.status import Status

__all__ = ["StatusWriter"]


class StatusWriter:
    """The write, and what its reply shows."""

    def __init__(self, store: Store, objects: Objects, queue: Queue) -> None:
        self._store = store
        self._objects = objects
        self._queue = queue

    async def write(self, sandbox: AnySandbox, status: Status) -> bool:
        """Write *status* if it says something new; says whether it did."""
        if status.same(sandbox.status):
            return False
        self.merge(sandbox, await self._objects.write_sandbox_status(sandbox, status.dump(sandbox.status)))
        return True

    def merge(self, sandbox: AnySandbox, written: AnySandbox) -> None:
        """Take in the reply to our own write: what others have changed is no news when the watch shows it."""
        if self._store.merge_sandbox(sandbox, written):
            self._queue.add(sandbox.uid)
