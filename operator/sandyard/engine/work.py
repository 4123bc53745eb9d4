"""What a process does while it leads: its queues are handled, and its loops run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.loops.queues import Handler, Queue, Queues
from sandyard.engine.loops.timers import Timers
from sandyard.engine.state.store import Store
from sandyard.engine.sweep import Sweep

__all__ = ["Work"]


class Work:
    """Everything that begins with leading; a simulation calls the parts by itself.

    Attributes
    ----------
    handlers
        Each queue with what handles its keys.
    """

    def __init__(
        self, store: Store, queues: Queues, handlers: Sequence[tuple[Queue, Handler]], timers: Timers,
        recorder: Recorder, policies: Policies, sweep: Sweep,
    ) -> None:  # fmt: skip
        self.store = store
        self.queues = queues
        self.handlers = handlers
        self.timers = timers
        self.policies = policies
        self.sweep = sweep
        self._recorder = recorder

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Work in *group* from now on, beginning with everything that is there."""
        for queue, handler in self.handlers:
            queue.active = True
            group.create_task(queue.run(handler), name=queue.name)
        for loop in (self.timers, self._recorder, self.sweep):
            group.create_task(loop.run())
        self.wake_all()

    def wake_all(self) -> None:
        """Have a look at everything that is there: nobody knows what has happened before."""
        for uid in self.store.pools:
            self.queues.pools.add(uid)
        for uid in self.store.sandboxes:
            self.queues.sandboxes.add(uid)
        for namespace in self.policies.namespaces():
            self.queues.policies.add(namespace)
