"""What has been sent and not yet been seen on the watch.

Between a write and its echo the local copy of the world is stale.  Decisions are made on the
copy *plus* these expectations, so a stale view creates nothing twice and deletes nothing
twice.  Each has a time-out: a write whose reply was lost must not block a pool for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Expectations"]


@dataclass
class Expectations:
    """Pending creates (by pod name) and deletes (by pod UID) of one pool.

    Times are seconds of any clock that does not go back; the same for all calls.
    """

    timeout_seconds: float = 30.0
    # Both in the order of their deadlines: each has the same time.
    _creates: dict[str, float] = field(default_factory=dict)
    _deletes: dict[str, float] = field(default_factory=dict)
    _overdue: list[str] = field(default_factory=list)

    def expect_create(self, name: str, now: float) -> None:
        """A create of *name* is about to be sent."""
        self._creates.pop(name, None)
        self._creates[name] = now + self.timeout_seconds

    def expect_delete(self, uid: str, now: float) -> None:
        """A delete of *uid* is about to be sent."""
        self._deletes.pop(uid, None)
        self._deletes[uid] = now + self.timeout_seconds

    def create_failed(self, name: str) -> None:
        """The API server refused: *name* will not appear."""
        self._creates.pop(name, None)

    def delete_failed(self, uid: str) -> None:
        """The API server refused: *uid* will not go by this request."""
        self._deletes.pop(uid, None)

    def seen(self, name: str) -> None:
        """A pod called *name* is on the watch."""
        self._creates.pop(name, None)

    def gone(self, uid: str) -> None:
        """Pod *uid* is terminating or gone on the watch."""
        self._deletes.pop(uid, None)

    def pending_creates(self, now: float) -> int:
        """Creates that are under way and not yet seen."""
        self._drop_expired(now)
        return len(self._creates)

    def creating(self, name: str, now: float) -> bool:
        """Whether a create of *name* is under way and not yet seen."""
        return self._creates.get(name, float("-inf")) > now

    def deleting(self, uid: str, now: float) -> bool:
        """Whether a delete of *uid* is under way and not yet seen."""
        return self._deletes.get(uid, float("-inf")) > now

    def next_deadline(self) -> float | None:
        """When the earliest expectation runs out."""
        first = [next(iter(table.values())) for table in (self._creates, self._deletes) if table]
        return min(first, default=None)

    def take_overdue_deletes(self, now: float) -> list[str]:
        """UIDs of deletes that have run out since this was last asked: nothing has come of them."""
        self._drop_expired(now)
        overdue, self._overdue = self._overdue, []
        return overdue

    def _drop_expired(self, now: float) -> None:
        for table, overdue in ((self._creates, []), (self._deletes, self._overdue)):
            while table and next(iter(table.values())) <= now:
                key = next(iter(table))
                del table[key]
                overdue.append(key)
