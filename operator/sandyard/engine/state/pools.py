"""Pools as last seen, and what this process knows of each: one entry a pool, dropped whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from sandyard.api.objects import Pod
from sandyard.api.reasons import Reason
from sandyard.engine.state.pods import PodTable
from sandyard.engine.state.pool_memory import PoolMemory, remember
from sandyard.engine.state.pool_pods import PoolPods
from sandyard.engine.state.records import AnyPool, PoolRecord
from sandyard.pod.observe import Trouble

__all__ = ["PoolEntry", "PoolTable"]


@dataclass(eq=False)
class PoolEntry:
    """One pool. All but the record can be lost and learnt anew.

    Who changes what a pool has to do next wakes it: its UID goes on the queue of pools.

    Attributes
    ----------
    record
        The newest version.
    memory
        Failures, proofs and counters.
    pods
        Its pods, sorted for its present template.
    waiting_for_room
        UIDs of Sandboxes that wait for room to start a pod of their own, the oldest first.
    """

    record: AnyPool
    memory: PoolMemory
    pods: PoolPods
    waiting_for_room: dict[str, None] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """Its UID."""
        return self.record.uid

    def renew(self, record: AnyPool, pods: PodTable) -> None:
        """Take in a newer version; the pods are sorted anew where its template is another one."""
        self.record = record
        if isinstance(record, PoolRecord) and record.template_hash != self.pods.template_hash:
            self.memory.turn_to(record.template_hash)
            self.pods = _sorted(record, pods)

    def warm(self) -> Iterable[str]:
        """UIDs of pods that may be handed out, the one first that has been warm the longest."""
        return self.pods.warm if isinstance(self.record, PoolRecord) else ()

    def fits(self, pod: Pod) -> bool:
        """Whether *pod*, as last seen, may be handed out: warm, and of the present template."""
        return isinstance(self.record, PoolRecord) and self.pods.fits(pod)

    def pod_seen(self, before: Pod | None, after: Pod | None) -> None:
        """Settle the expectations that this change of a pod fulfils."""
        pod = after or before
        assert pod is not None
        self.memory.expectations.seen(pod.metadata.name)
        if after is None or after.metadata.deletion_timestamp is not None:
            self.memory.expectations.gone(pod.metadata.uid)

    # Claims

    def arrived(self, now: float) -> None:
        """One more claim has come in, whether it is served at once or not."""
        self.memory.demand = self.memory.demand.claimed(now)

    def served(self, *, warm: bool) -> None:
        """One more claim has a pod."""
        if warm:
            self.memory.warm_hits += 1
        else:
            self.memory.cold_starts += 1

    def failure(self) -> Trouble | None:
        """Why its starts fail or hang, if they do."""
        memory = self.memory
        if memory.refused:
            return Trouble(Reason.INVALID_TEMPLATE, memory.refused)
        found = self.pods.trouble()
        if found is None and memory.backoff.failures and memory.backoff.reason is not None:
            found = Trouble(memory.backoff.reason, memory.backoff.message)
        return found

    # Pods that Sandboxes start themselves; *maximum* is maxSandboxes, *now* the monotonic clock

    def room(self, maximum: int | None, now: float) -> float:
        """How many more pods there may be."""
        if maximum is None:
            return float("inf")
        return maximum - len(self.pods.census) - self.memory.expectations.pending_creates(now)

    def reserve_room(self, maximum: int | None, sandbox_uid: str, pod_name: str, now: float) -> bool:
        """Whether there is room for the pod that a Sandbox starts itself; if so, it is taken.

        If not, the Sandbox waits in a queue of its own, and a warm pod is given up for it.
        """
        expectations = self.memory.expectations
        if expectations.creating(pod_name, now):
            return True
        room, queue = self.room(maximum, now), self.waiting_for_room
        if len(queue) < room or (room > 0 and sandbox_uid in islice(queue, int(room))):
            queue.pop(sandbox_uid, None)
            expectations.expect_create(pod_name, now)
            return True
        queue[sandbox_uid] = None
        return False

    def next_for_room(self, maximum: int | None, now: float) -> list[str]:
        """UIDs of the Sandboxes for whose own pods there is room now."""
        waiting = len(self.waiting_for_room)
        room = self.room(maximum, now) if waiting else 0
        return list(islice(self.waiting_for_room, int(min(room, waiting)))) if room > 0 else []

    def start_failed(self, pod_name: str) -> None:
        """A pod that a Sandbox was to start itself does not come: its room is free again."""
        self.memory.expectations.create_failed(pod_name)


class PoolTable(dict[str, PoolEntry]):
    """All pools by UID; its own methods alone change it, and keep them by name."""

    def __init__(self) -> None:
        super().__init__()
        self._uids: dict[tuple[str, str], str] = {}

    def put(self, record: AnyPool, pods: PodTable, now: float) -> None:
        """*record* is the newest version; *now* in seconds since the epoch."""
        entry = self.get(record.uid)
        if entry is not None:
            entry.renew(record, pods)
            return
        memory = remember(record.status, now)
        if isinstance(record, PoolRecord):
            memory.turn_to(record.template_hash)
        self[record.uid] = PoolEntry(record, memory, _sorted(record, pods))
        self._uids[record.namespace, record.name] = record.uid

    def drop(self, uid: str) -> PoolEntry | None:
        """A pool is gone."""
        entry = self.pop(uid, None)
        if entry is not None:
            name = (entry.record.namespace, entry.record.name)
            if self._uids.get(name) == uid:
                del self._uids[name]
        return entry

    def namespace_of(self, uid: str) -> str:
        """Namespace of a pool; empty when it is not known."""
        entry = self.get(uid)
        return entry.record.namespace if entry is not None else ""

    def named(self, namespace: str, name: str) -> PoolEntry | None:
        """The pool of that name, if it is there."""
        return self.get(self._uids.get((namespace, name), ""))


def _sorted(pool: AnyPool, pods: PodTable) -> PoolPods:
    owner = (pool.namespace, pool.uid)
    made = PoolPods(owner=owner)
    if isinstance(pool, PoolRecord):
        made = PoolPods(pool.template_hash, pool.spec.template, owner)
    for entry in pods.of_pool(pool.uid):
        made.put(entry)
    return made
