"""The writes of a Sandbox, and what their replies show."""

from __future__ import annotations

from sandyard.engine.cluster.objects import Objects
from sandyard.engine.loops.queues import Queue
from sandyard.engine.loops.turns import Urgency
from sandyard.engine.state.records import AnySandbox
from sandyard.engine.state.store import Store
from sandyard.sandbox.status import Status

__all__ = ["SandboxWriter"]


class SandboxWriter:
    """Writes Sandboxes, and keeps the store up to date with the replies.

    What others have changed is no news any more when the watch shows it: the reply wakes the Sandbox.
    """

    def __init__(self, store: Store, objects: Objects, queue: Queue) -> None:
        self._store = store
        self._objects = objects
        self._queue = queue

    async def status(self, sandbox: AnySandbox, status: Status) -> bool:
        """Write *status* if it says something new; says whether it did."""
        if status.same(sandbox.status):
            return False
        urgency = Urgency.CLAIM if status.running and not sandbox.status.running else Urgency.START
        content = status.dump(sandbox.status)
        self._merge(sandbox, await self._objects.write_sandbox_status(sandbox, content, urgency))
        return True

    async def add_finalizer(self, sandbox: AnySandbox) -> None:
        """Put our finalizer on, where admission has not done so."""
        self._merge(sandbox, await self._objects.add_finalizer(sandbox))

    async def remove_finalizer(self, sandbox: AnySandbox) -> AnySandbox | None:
        """Take our finalizer off, as `Objects.remove_finalizer` does: nothing is left of the Sandbox."""
        written = await self._objects.remove_finalizer(sandbox)
        if written is not None:
            self._store.merge_sandbox(sandbox, written)
        return written

    async def delete(self, sandbox: AnySandbox) -> bool:
        """Delete that very Sandbox (it has expired); False: it is gone, or the API server sees a conflict."""
        return await self._objects.delete_sandbox(sandbox)

    def _merge(self, sandbox: AnySandbox, written: AnySandbox) -> None:
        if self._store.merge_sandbox(sandbox, written):
            self._queue.add(sandbox.uid)
