"""Pods as last seen, and what this process remembers of each: one entry a pod, dropped whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sandyard.api import names
from sandyard.api.objects import OwnerReference, Pod

__all__ = ["PodEntry", "PodTable", "owned_by"]


@dataclass(slots=True, eq=False)
class PodEntry:
    """One pod. All but the pod itself is the engine's own, and can be lost and learnt anew.

    Attributes
    ----------
    pod
        The newest version.
    reserved_for
        UID of the Sandbox that it is set aside for, until the watch shows the claim.
    committed
        The claim has been written, though the watch has yet to show it.
    refused
        A claim on this version was refused: it is left alone until it is seen anew.
    leaving
        A delete is under way.
    astray
        Labels that others have changed, with what they should be; `pod` has them right.
    tampered
        Others had a hand in its labels while it was nobody's: it is never handed out, and replaced.
    given_back_by
        UID of the Sandbox that has given it back to its pool.
    restart_asked, restart_sent, restart_failed, restart_told
        The restart that this process has asked for, whether it was triggered, what has become of it if
        nothing good, and whether that was told.
    failure_counted, start_measured
        What its pool has learnt from it already.
    opening, closing
        Its network is being opened, or closed after its setup.
    overdue_since, touched
        Since when its kubelet has been waited for (seconds of the monotonic clock), and whether it was woken.
    """

    pod: Pod
    uid: str = field(init=False)
    reserved_for: str | None = None
    committed: bool = False
    refused: bool = False
    leaving: bool = False
    astray: Mapping[str, str | None] = field(default_factory=dict)
    tampered: bool = False
    given_back_by: str | None = None
    restart_asked: str = ""
    restart_sent: bool = False
    restart_failed: str = ""
    restart_told: bool = False
    failure_counted: bool = False
    start_measured: bool = False
    opening: bool = False
    closing: bool = False
    overdue_since: float | None = None
    touched: bool = False

    def __post_init__(self) -> None:
        self.uid = self.pod.metadata.uid

    @property
    def pool_uid(self) -> str:
        """The pool that it was made for; empty if there is none."""
        return self.pod.metadata.labels.get(names.LABEL_POOL_UID, "")

    @property
    def labelled(self) -> bool:
        """Whether it is a Sandbox's, as its labels have it."""
        return names.LABEL_SANDBOX_UID in self.pod.metadata.labels

    @property
    def owned(self) -> bool:
        """Whether it is a Sandbox's, or about to be."""
        return self.reserved_for is not None or self.labelled

    @property
    def claim_under_way(self) -> bool:
        """Whether it is set aside for a claim that has not been written yet."""
        return self.reserved_for is not None and not self.committed

    def free(self) -> None:
        """It is set aside for nobody any more."""
        self.reserved_for = None
        self.committed = False

    def owners(self) -> Iterator[str]:
        """UIDs of the Sandboxes that its label names and that it is set aside for."""
        labelled = self.pod.metadata.labels.get(names.LABEL_SANDBOX_UID)
        if labelled and owned_by(self.pod, labelled):
            yield labelled
        if self.reserved_for is not None and self.reserved_for != labelled:
            yield self.reserved_for


def owned_by(pod: Pod, uid: str) -> bool:
    """Whether *pod* belongs to the object with that UID, and not only says so in a label."""
    return any(owner.uid == uid for owner in pod.metadata.owner_references)


class PodTable(dict[str, PodEntry]):
    """All pods by UID; its own methods alone change it, and keep them by pool and by Sandbox."""

    def __init__(self) -> None:
        super().__init__()
        self._by_pool: dict[str, dict[str, PodEntry]] = {}
        self._by_sandbox: dict[str, dict[str, PodEntry]] = {}

    def put(self, pod: Pod) -> PodEntry:
        """*pod* is there, as the watch shows it."""
        entry = self.get(pod.metadata.uid)
        if entry is None:
            entry = self[pod.metadata.uid] = PodEntry(pod)
        else:
            moved = _belongs(pod) != _belongs(entry.pod)
            if moved:
                self._unindex(entry)
            entry.pod = pod
            entry.refused = False
            if not moved:
                return entry
        if entry.reserved_for == pod.metadata.labels.get(names.LABEL_SANDBOX_UID):
            # From now on its label says whose it is.
            entry.free()
        self._index(entry)
        return entry

    def drop(self, uid: str) -> PodEntry | None:
        """A pod is gone."""
        entry = self.pop(uid, None)
        if entry is not None:
            self._unindex(entry)
        return entry

    def namespace_of(self, uid: str) -> str:
        """Namespace of a pod; empty when it is not known."""
        entry = self.get(uid)
        return entry.pod.metadata.namespace if entry is not None else ""

    def reserve(self, entry: PodEntry, sandbox_uid: str) -> None:
        """Set a pod aside for a Sandbox."""
        entry.reserved_for = sandbox_uid
        self._by_sandbox.setdefault(sandbox_uid, {})[entry.uid] = entry

    def release(self, entry: PodEntry) -> None:
        """A pod is set aside for nobody any more."""
        self._unindex(entry)
        entry.free()
        self._index(entry)

    def of_pool(self, pool_uid: str) -> list[PodEntry]:
        """All pods that carry the pool's UID, claimed ones too."""
        return list(self._by_pool.get(pool_uid, {}).values())

    def of_sandbox(self, sandbox_uid: str) -> list[PodEntry]:
        """Pods that carry the Sandbox's UID or are set aside for it."""
        return list(self._by_sandbox.get(sandbox_uid, {}).values())

    def _index(self, entry: PodEntry) -> None:
        if entry.pool_uid:
            self._by_pool.setdefault(entry.pool_uid, {})[entry.uid] = entry
        for owner in entry.owners():
            self._by_sandbox.setdefault(owner, {})[entry.uid] = entry

    def _unindex(self, entry: PodEntry) -> None:
        _discard(self._by_pool, entry.pool_uid, entry.uid)
        for owner in entry.owners():
            _discard(self._by_sandbox, owner, entry.uid)


def _belongs(pod: Pod) -> tuple[str | None, str | None, list[OwnerReference]]:
    """UIDs of its pool and its Sandbox, as its labels have them, and its owners."""
    labels, owners = pod.metadata.labels, pod.metadata.owner_references
    return labels.get(names.LABEL_POOL_UID), labels.get(names.LABEL_SANDBOX_UID), owners


def _discard(index: dict[str, dict[str, PodEntry]], key: str, uid: str) -> None:
    members = index.get(key)
    if members is not None:
        members.pop(uid, None)
        if not members:
            del index[key]
