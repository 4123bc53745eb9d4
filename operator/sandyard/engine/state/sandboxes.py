"""Sandboxes as last seen, and what this process remembers of each: one entry a Sandbox, dropped whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandyard.api.reasons import Phase, Reason
from sandyard.engine.state.records import AnySandbox, SandboxRecord, changed_by_others
from sandyard.pool.ordered import Ordered

__all__ = ["Errand", "SandboxEntry", "SandboxTable"]

_PoolName = tuple[str, str]


@dataclass
class Errand:
    """What is asked of others than the API server on behalf of a Sandbox.

    Attributes
    ----------
    what
        Which errand it is.
    answers
        What came of it; None while it is under way.
    """

    what: tuple[str | bool, ...]
    answers: Mapping[str, Any] | None = field(default=None, init=False)


@dataclass
class SandboxEntry:
    """One Sandbox. All of it can be lost and learnt anew.

    Attributes
    ----------
    record
        The newest version.
    seen_at
        When this process first saw it, or its present start began; seconds of the monotonic clock.
    waits_since
        When its present wait for a pod began, whichever process saw that; seconds of the monotonic clock.
    start_refused
        Why it could not be given its last pod.
    noted_stamp
        The latest stamp of a client's that was taken in, as it was written.
    stuck
        Whether its teardown has been called stuck.
    leaving_since
        When its teardown was first seen under way; seconds of the monotonic clock, 0: not yet.
    waits_for_pool
        Whether it waits for its pool to appear or be continued.
    waits_for_room
        UID of the pool in which it waits until maxSandboxes leaves room for a pod of its own; empty if in none.
    errand
        What somebody is asked on its behalf, or has answered.
    hindered_since, hindered
        Since when each pass has ended with a request that failed (seconds of the monotonic clock, 0: the last did
        not), and what was told of it.
    """

    record: AnySandbox
    seen_at: float
    waits_since: float = 0.0
    start_refused: tuple[Reason, str] | None = None
    noted_stamp: str = ""
    stuck: bool = False
    leaving_since: float = 0.0
    waits_for_pool: bool = False
    waits_for_room: str = ""
    errand: Errand | None = None
    hindered_since: float = 0.0
    hindered: str = ""


@dataclass
class _Named:
    """The Sandboxes that name one pool, and those among them that wait for it."""

    all: dict[str, SandboxEntry] = field(default_factory=dict)
    waiting: dict[str, SandboxEntry] = field(default_factory=dict)


class SandboxTable(dict[str, SandboxEntry]):
    """All Sandboxes by UID; its own methods alone change it, and keep count.

    Attributes
    ----------
    phases
        How many there are in each phase.
    stuck
        How many teardowns are stuck.
    """

    def __init__(self) -> None:
        super().__init__()
        self.phases: Counter[Phase] = Counter()
        self.stuck = 0
        self._by_pool: dict[_PoolName, _Named] = {}
        # Of each namespace those that have not ended, by their creation.
        self._living: dict[str, Ordered] = {}

    def put(self, record: AnySandbox, now: float, waited_seconds: float = 0.0) -> bool:
        """Take in *record*, seen at *now*, unless a newer version is known; says whether it was taken.

        One that is new to this process has waited for *waited_seconds* already.
        """
        entry = self.get(record.uid)
        if entry is None:
            entry = self[record.uid] = SandboxEntry(record, now, now - waited_seconds)
            self._live(record)
            self._add(entry)
            return True
        if entry.record.version >= record.version:
            return False
        self._replace(entry, record)
        return True

    def merge(self, record: AnySandbox, reply: AnySandbox) -> bool:
        """Take in the reply to our own write of *record*; says whether others have changed it too."""
        entry = self.get(record.uid)
        # An object's end is no new version: the reply shows what it was, without the finalizer that has kept it.
        if entry is None or reply.uid != record.uid or reply.version < entry.record.version:
            return False
        self._replace(entry, reply)
        return changed_by_others(record, reply)

    def drop(self, uid: str) -> SandboxEntry | None:
        """A Sandbox is gone."""
        entry = self.pop(uid, None)
        if entry is not None:
            self._remove(entry)
            self._end(entry.record)
            self.stuck -= entry.stuck
        return entry

    def older(self, record: AnySandbox) -> int:
        """How many Sandboxes of its namespace came before it and have not ended."""
        living = self._living.get(record.namespace)
        return living.before(record.uid, record.created_at) if living is not None else 0

    def namespace_of(self, uid: str) -> str:
        """Namespace of a Sandbox; empty when it is not known."""
        entry = self.get(uid)
        return entry.record.namespace if entry is not None else ""

    def mark_stuck(self, entry: SandboxEntry, stuck: bool) -> None:
        """The teardown of a Sandbox is stuck, or no longer."""
        if self.get(entry.record.uid) is entry:
            self.stuck += stuck - entry.stuck
        entry.stuck = stuck

    # By the pool that they name

    def naming(self, namespace: str, pool_name: str) -> Iterable[SandboxEntry]:
        """Sandboxes that name that pool."""
        named = self._by_pool.get((namespace, pool_name))
        return tuple(named.all.values()) if named is not None else ()

    def wait_for_pool(self, entry: SandboxEntry) -> None:
        """It waits for its pool to appear or be continued."""
        named = self._by_pool.get(_pool_name(entry.record))
        if named is not None and self.get(entry.record.uid) is entry:
            named.waiting[entry.record.uid] = entry
            entry.waits_for_pool = True

    def stop_waiting_for_pool(self, entry: SandboxEntry) -> None:
        """It no longer waits."""
        named = self._by_pool.get(_pool_name(entry.record))
        if named is not None:
            named.waiting.pop(entry.record.uid, None)
        entry.waits_for_pool = False

    def take_waiting_for_pool(self, namespace: str, pool_name: str) -> list[str]:
        """UIDs of Sandboxes that wait for that pool; they are taken off the list."""
        named = self._by_pool.get((namespace, pool_name))
        if named is None:
            return []
        taken = list(named.waiting)
        for entry in named.waiting.values():
            entry.waits_for_pool = False
        named.waiting.clear()
        return taken

    def _end(self, record: AnySandbox) -> None:
        """It has ended, or is gone: nobody waits for its end any more."""
        living = self._living.get(record.namespace)
        if living is not None:
            living.drop(record.uid)
            if not living:
                del self._living[record.namespace]

    def _live(self, record: AnySandbox) -> None:
        """It is there; whether it has ended is for its status to say."""
        if record.status.ended:
            self._end(record)
        else:
            self._living.setdefault(record.namespace, Ordered()).put(record.uid, record.created_at)

    def _replace(self, entry: SandboxEntry, record: AnySandbox) -> None:
        self._live(record)
        if _pool_name(entry.record) != _pool_name(record):
            self._remove(entry)
            entry.record = record
            entry.waits_for_pool = False
            self._add(entry)
            return
        self._count(entry.record, -1)
        entry.record = record
        self._count(record, 1)

    def _add(self, entry: SandboxEntry) -> None:
        self._count(entry.record, 1)
        name = _pool_name(entry.record)
        if name != _NO_POOL:
            self._by_pool.setdefault(name, _Named()).all[entry.record.uid] = entry

    def _remove(self, entry: SandboxEntry) -> None:
        self._count(entry.record, -1)
        name = _pool_name(entry.record)
        named = self._by_pool.get(name)
        if named is not None:
            named.all.pop(entry.record.uid, None)
            named.waiting.pop(entry.record.uid, None)
            if not named.all:
                del self._by_pool[name]

    def _count(self, record: AnySandbox, number: int) -> None:
        phase = record.status.phase or Phase.PENDING
        self.phases[phase] += number
        if not self.phases[phase]:
            del self.phases[phase]


_NO_POOL: _PoolName = ("", "")


def _pool_name(record: AnySandbox) -> _PoolName:
    """Namespace and name of the pool that a Sandbox names."""
    name = record.pool_name if isinstance(record, SandboxRecord) else None
    return (record.namespace, name) if name else _NO_POOL
