"""The engine's picture of the cluster, and what it has itself set aside.

Pods come from the informer alone; Sandboxes and pools from events and lists, newer versions
only.  Reservations are the engine's own: a pod is taken out of the warm set *before* the
claim is written, so that no other claim of this process can choose it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.api.template import Template
from sandyard.engine.loops.clock import Clock
from sandyard.engine.state import records
from sandyard.engine.state.exposures import Exposures
from sandyard.engine.state.namespaces import Namespaces
from sandyard.engine.state.pods import PodEntry, PodTable
from sandyard.engine.state.pools import PoolEntry, PoolTable
from sandyard.engine.state.records import (
    AnyPool,
    AnySandbox,
    PoolRecord,
    SandboxRecord,
    changed_by_others,
    spec_of,
)
from sandyard.engine.state.sandboxes import SandboxEntry, SandboxTable
from sandyard.pod import labels, observe
from sandyard.podspec import containers
from sandyard.podspec.network import Reach

__all__ = ["Store"]

_NOTHING: Mapping[str, str | None] = MappingProxyType({})


class Store:
    """One entry for each object, and what the three kinds have to do with each other.

    Attributes
    ----------
    unseen
        Namespaces whose pods and policies no watch has shown yet: nothing is decided there.
    """

    def __init__(self, clock: Clock, exposures: Exposures | None = None, unseen: Iterable[str] = ()) -> None:
        self._clock = clock
        self.unseen = set(unseen)
        self.exposures = exposures or Exposures()
        self.sandboxes = SandboxTable()
        self.pools = PoolTable()
        self.pods = PodTable()
        self.namespaces = Namespaces()
        # Pods that are gone and may run on, by UID: their namespace, and until when (monotonic clock).
        self._lingering: dict[str, tuple[str, float]] = {}

    # Sandboxes

    def put_sandbox(self, record: AnySandbox) -> bool:
        """Take in *record* unless a newer version is known; says whether it was taken."""
        waited = records.waited_seconds(record, self._clock.now())
        taken = self.sandboxes.put(record, self._clock.monotonic(), waited)
        if taken:
            self._count_sandbox(record)
        return taken

    def merge_sandbox(self, record: AnySandbox, reply: AnySandbox) -> bool:
        """Take in the reply to our own write of *record*; says whether others have changed it too."""
        changed = self.sandboxes.merge(record, reply)
        if changed:
            self._count_sandbox(reply)
        return changed

    def remove_sandbox(self, uid: str) -> SandboxEntry | None:
        """Forget a Sandbox that is gone."""
        self.namespaces.drop(uid)
        return self.sandboxes.drop(uid)

    def pods_of_sandbox(self, sandbox_uid: str) -> list[Pod]:
        """Pods that carry the Sandbox's UID or are set aside for it."""
        return [entry.pod for entry in self.pods.of_sandbox(sandbox_uid)]

    def pool_of(self, sandbox: AnySandbox) -> PoolRecord | None:
        """The pool that *sandbox* names, if it is there and can be read."""
        name = sandbox.pool_name if isinstance(sandbox, SandboxRecord) else None
        entry = self.pools.named(sandbox.namespace, name) if name else None
        return entry.record if entry is not None and isinstance(entry.record, PoolRecord) else None

    def template_of(self, sandbox: AnySandbox) -> Template | None:
        """The Sandbox's own template, or that of its pool."""
        if isinstance(sandbox, SandboxRecord) and sandbox.spec.template is not None:
            return sandbox.spec.template
        pool = self.pool_of(sandbox)
        return pool.spec.template if pool is not None else None

    def own_reach(self, sandbox: AnySandbox) -> Reach | None:
        """The network that *sandbox* asks for itself; None when it takes its pool's."""
        if not isinstance(sandbox, SandboxRecord):
            return None
        template = self.template_of(sandbox)
        dns = template.dns if template is not None else None
        if sandbox.spec.network is not None:
            return Reach(sandbox.spec.network, dns)
        own = sandbox.spec.template
        return Reach(own.network, own.dns) if own is not None else None

    def _count_sandbox(self, record: AnySandbox) -> None:
        """Keep the networks that its namespace needs."""
        reach = self.own_reach(record)
        own = record.spec.template if isinstance(record, SandboxRecord) else None
        reaches = [*([reach] if reach is not None else []), *(containers.reaches(own) if own is not None else [])]
        self.namespaces.put(record.namespace, record.uid, reaches)

    # Pools

    def put_pool(self, record: AnyPool) -> bool:
        """Take in *record* unless a newer version is known; says whether it was taken."""
        known = self.pools.get(record.uid)
        if known is not None and known.record.version >= record.version:
            return False
        before = known.record if known is not None else None
        self.pools.put(record, self.pods, self._clock.now())
        if before is None or _hash_of(before) != _hash_of(record):
            self._count_pool(record)
        return True

    def merge_pool(self, record: AnyPool, reply: AnyPool) -> bool:
        """Take in the reply to our own write of *record*; says whether others have changed it too."""
        known = self.pools.get(record.uid)
        if known is None or reply.uid != record.uid or reply.version <= known.record.version:
            return False
        known.renew(reply, self.pods)
        changed = changed_by_others(record, reply)
        if changed:
            self._count_pool(reply)
        return changed

    def remove_pool(self, uid: str) -> PoolEntry | None:
        """Forget a pool that is gone."""
        self.namespaces.drop(uid)
        entry = self.pools.drop(uid)
        if entry is not None:
            self._count_own_networks(entry.record)
        return entry

    def sandboxes_of_pool(self, pool: AnyPool) -> list[AnySandbox]:
        """Sandboxes that name *pool*."""
        return [entry.record for entry in self.sandboxes.naming(pool.namespace, pool.name)]

    def _count_pool(self, record: AnyPool) -> None:
        """Keep the networks that its namespace needs; a Sandbox's own has the name servers of its pool."""
        spec = spec_of(record)
        reaches = containers.reaches(spec.template) if spec is not None else []
        self.namespaces.put(record.namespace, record.uid, reaches)
        self._count_own_networks(record)

    def _count_own_networks(self, pool: AnyPool) -> None:
        for sandbox in self.sandboxes_of_pool(pool):
            if isinstance(sandbox, SandboxRecord) and sandbox.spec.network is not None:
                self._count_sandbox(sandbox)

    # Pods

    def pod_seen(self, before: Pod | None, after: Pod | None) -> tuple[Pod | None, Pod | None]:
        """Follow the informer; returns the pod before and after with the labels that it should have."""
        pod = after or before
        assert pod is not None
        known = self.pods.get(pod.metadata.uid)
        before = known.pod if known is not None else before
        if after is None:
            self.pod_changed(before, None)
            return before, None
        astray = labels.astray(after, before)
        after = labels.corrected(after, astray) if astray else after
        self.pod_changed(before, after, astray)
        return before, after

    def pod_changed(self, before: Pod | None, after: Pod | None, astray: Mapping[str, str | None] = _NOTHING) -> None:
        """A pod is there, changed or gone; *astray*: labels that it should have and has not."""
        pod = after or before
        assert pod is not None
        uid = pod.metadata.uid
        pool = self.pools.get(pod.metadata.labels.get(names.LABEL_POOL_UID, ""))
        if pool is not None:
            pool.pod_seen(before, after)
        if after is None:
            self.pods.drop(uid)
            self._let_go(pod)
            if pool is not None:
                pool.pods.drop(uid)
            return
        self._lingering.pop(uid, None)
        entry = self.pods.put(after)
        entry.astray = astray
        if not entry.labelled and (astray or self.exposures.withheld(after.metadata.namespace)):
            entry.tampered = True
        self.namespaces.put(after.metadata.namespace, uid, labels=after.metadata.labels)
        if pool is not None:
            pool.pods.put(entry)

    def _let_go(self, pod: Pod) -> None:
        """A pod is gone: its namespace keeps its policies for as long as its process may live on."""
        seconds = observe.outlives(pod)
        if seconds:
            self._lingering[pod.metadata.uid] = (pod.metadata.namespace, self._clock.monotonic() + seconds)
        else:
            self.namespaces.drop(pod.metadata.uid)

    def lingers_for(self, namespace: str) -> float | None:
        """Seconds after which the next process may be over in *namespace* whose pod is gone; None if there is none."""
        now = self._clock.monotonic()
        for uid, (_, until) in list(self._lingering.items()):
            if until <= now:
                del self._lingering[uid]
                self.namespaces.drop(uid)
        return min((until - now for where, until in self._lingering.values() if where == namespace), default=None)

    def namespace_opened(self, namespace: str) -> None:
        """Something of others opens *namespace*: who has been in a pod that is nobody's, nobody knows."""
        for entry in self.pods.values():
            if entry.pod.metadata.namespace == namespace and not entry.labelled:
                entry.tampered = True
                self._place(entry)

    def reserve(self, pod_uid: str, sandbox_uid: str) -> None:
        """Set a pod aside for a Sandbox: from now on it is nobody else's."""
        entry = self.pods[pod_uid]
        self.pods.reserve(entry, sandbox_uid)
        self._place(entry)

    def commit(self, pod_uid: str) -> None:
        """The reservation has been written: the pod is the Sandbox's, though the watch has yet to show it."""
        entry = self.pods.get(pod_uid)
        if entry is not None and entry.reserved_for is not None:
            entry.committed = True

    def release(self, pod_uid: str, sandbox_uid: str, *, refused_version: str = "") -> None:
        """Undo a reservation whose write did not take place.

        A write on *refused_version* of the pod was refused: that one is left alone until it is seen anew.
        """
        entry = self.pods.get(pod_uid)
        if entry is None or entry.reserved_for != sandbox_uid:
            return
        self.pods.release(entry)
        entry.refused = entry.pod.metadata.resource_version == refused_version
        self._place(entry)

    def forgive(self, pod_uid: str) -> None:
        """A pod that was left alone may be claimed again."""
        entry = self.pods.get(pod_uid)
        if entry is not None and entry.refused:
            entry.refused = False
            self._place(entry)

    def reserved_for(self, pod_uid: str) -> str | None:
        """Sandbox that the pod is set aside for, until the watch shows the claim."""
        entry = self.pods.get(pod_uid)
        return entry.reserved_for if entry is not None else None

    def mark_leaving(self, entry: PodEntry, leaving: bool) -> None:
        """A delete of a pool's pod is about to be sent; False: it was refused, or nothing has come of it."""
        entry.leaving = leaving
        self._place(entry)

    def _place(self, entry: PodEntry) -> None:
        pool = self.pools.get(entry.pool_uid)
        if pool is not None:
            pool.pods.place(entry)


def _hash_of(pool: AnyPool) -> str:
    return pool.template_hash if isinstance(pool, PoolRecord) else ""
