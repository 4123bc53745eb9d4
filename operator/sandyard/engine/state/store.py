"""The engine's picture of the cluster, and what it has itself set aside.

Pods come from the informer alone; Sandboxes and pools from events and lists, newer versions
only.  Reservations are the engine's own: a pod is taken out of the warm set *before* the
claim is written, so that no other claim of this process can choose it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.api.template import Template
from sandyard.engine.loops.clock import Clock
from sandyard.engine.state.namespaces import Namespaces
from sandyard.engine.state.pool_pods import PoolPods
from sandyard.engine.state.records import (
    AnyPool,
    AnySandbox,
    PoolRecord,
    SandboxRecord,
    changed_by_others,
    spec_of,
)
from sandyard.engine.state.sandboxes import SandboxEntry
from sandyard.pod import observe
from sandyard.podspec import containers
from sandyard.podspec.network import Reach

__all__ = ["Store"]

K = TypeVar("K")


class Store:
    """Everything by UID, with the look-ups that the engine needs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sandboxes: dict[str, SandboxEntry] = {}
        self.pools: dict[str, AnyPool] = {}
        self.pods: dict[str, Pod] = {}
        self._sandbox_uids: dict[tuple[str, str], str] = {}
        self._pool_uids: dict[tuple[str, str], str] = {}
        # Sets in the order of arrival: who came first is woken first, in every process alike.
        self._by_pool: dict[str, dict[str, None]] = defaultdict(dict)
        self._by_sandbox: dict[str, dict[str, None]] = defaultdict(dict)
        self._reserved: dict[str, str] = {}
        self._committed: set[str] = set()
        self._pool_pods: dict[str, PoolPods] = {}
        self.namespaces = Namespaces()
        # Sandboxes of each pool, by its namespace and name.
        self._by_pool_name: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        # Sandboxes that wait for a pool to appear or be continued, by its namespace and name.
        self._waiting_for_pool: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)

    # Sandboxes and pools

    def put_sandbox(self, record: AnySandbox) -> bool:
        """Take in *record* unless a newer version is known; says whether it was taken."""
        entry = self.sandboxes.get(record.uid)
        if entry is None:
            self.sandboxes[record.uid] = SandboxEntry(record, self._clock.monotonic())
        elif entry.record.version >= record.version:
            return False
        else:
            entry.record = record
        self._sandbox_uids[record.namespace, record.name] = record.uid
        self._count_sandbox(record)
        return True

    def merge_sandbox(self, record: AnySandbox, reply: AnySandbox) -> bool:
        """Take in the reply to our own write of *record*; says whether others have changed it too."""
        entry = self.sandboxes.get(record.uid)
        if entry is None or reply.uid != record.uid or reply.version <= entry.record.version:
            return False
        entry.record = reply
        changed = changed_by_others(record, reply)
        if changed:
            self._count_sandbox(reply)
        return changed

    def merge_pool(self, record: AnyPool, reply: AnyPool) -> bool:
        """Take in the reply to our own write of *record*; says whether others have changed it too."""
        known = self.pools.get(record.uid)
        if known is None or reply.uid != record.uid or reply.version <= known.version:
            return False
        self.pools[record.uid] = reply
        changed = changed_by_others(record, reply)
        if changed:
            self._count_pool(reply)
        return changed

    def remove_sandbox(self, uid: str) -> AnySandbox | None:
        """Forget a Sandbox that is gone."""
        entry = self.sandboxes.pop(uid, None)
        if entry is None:
            return None
        record = entry.record
        if self._sandbox_uids.get((record.namespace, record.name)) == uid:
            del self._sandbox_uids[record.namespace, record.name]
        self.stop_waiting_for_pool(record)
        self.namespaces.drop(uid)
        if isinstance(record, SandboxRecord) and record.pool_name:
            self._discard(self._by_pool_name, (record.namespace, record.pool_name), uid)
        return record

    def namespace_of(self, sandbox_uid: str) -> str:
        """Namespace of a Sandbox; empty when it is not known."""
        entry = self.sandboxes.get(sandbox_uid)
        return entry.record.namespace if entry is not None else ""

    def put_pool(self, record: AnyPool) -> bool:
        """Take in *record* unless a newer version is known; says whether it was taken."""
        known = self.pools.get(record.uid)
        if known is not None and known.version >= record.version:
            return False
        self.pools[record.uid] = record
        self._pool_uids[record.namespace, record.name] = record.uid
        if known is None or _template_of(known) != _template_of(record):
            self._count_pool(record)
        return True

    def remove_pool(self, uid: str) -> AnyPool | None:
        """Forget a pool that is gone."""
        record = self.pools.pop(uid, None)
        if record is not None and self._pool_uids.get((record.namespace, record.name)) == uid:
            del self._pool_uids[record.namespace, record.name]
        self._pool_pods.pop(uid, None)
        self.namespaces.drop(uid)
        if record is not None:
            self._count_own_networks(record)
        return record

    def sandboxes_of_pool(self, pool: AnyPool) -> list[AnySandbox]:
        """Sandboxes that name *pool*."""
        uids = self._by_pool_name.get((pool.namespace, pool.name), ())
        return [self.sandboxes[uid].record for uid in uids if uid in self.sandboxes]

    def _count_sandbox(self, record: AnySandbox) -> None:
        """Keep the networks that its namespace needs, and the Sandboxes of its pool."""
        if isinstance(record, SandboxRecord) and record.pool_name:
            self._by_pool_name[record.namespace, record.pool_name][record.uid] = None
        reach = self.own_reach(record)
        own = record.spec.template if isinstance(record, SandboxRecord) else None
        reaches = [*([reach] if reach is not None else []), *(containers.reaches(own) if own is not None else [])]
        self.namespaces.put(record.namespace, record.uid, reaches)

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

    def pool_named(self, namespace: str, name: str) -> AnyPool | None:
        """The pool of that name, if it is there."""
        uid = self._pool_uids.get((namespace, name))
        return self.pools.get(uid) if uid else None

    def pool_of(self, sandbox: AnySandbox) -> PoolRecord | None:
        """The pool that *sandbox* names, if it is there and can be read."""
        name = sandbox.pool_name if isinstance(sandbox, SandboxRecord) else None
        pool = self.pool_named(sandbox.namespace, name) if name else None
        return pool if isinstance(pool, PoolRecord) else None

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

    def wait_for_pool(self, sandbox: AnySandbox) -> None:
        """Remember that *sandbox* waits for its pool to appear or be continued."""
        if not isinstance(sandbox, SandboxRecord) or sandbox.pool_name is None:
            return
        self._waiting_for_pool[sandbox.namespace, sandbox.pool_name][sandbox.uid] = None
        if (entry := self.sandboxes.get(sandbox.uid)) is not None:
            entry.waits_for_pool = True

    def stop_waiting_for_pool(self, sandbox: AnySandbox) -> None:
        """*sandbox* no longer waits."""
        if isinstance(sandbox, SandboxRecord) and sandbox.pool_name:
            waiting = self._waiting_for_pool.get((sandbox.namespace, sandbox.pool_name))
            if waiting is not None:
                waiting.pop(sandbox.uid, None)
        if (entry := self.sandboxes.get(sandbox.uid)) is not None:
            entry.waits_for_pool = False

    def take_waiting_for_pool(self, namespace: str, pool_name: str) -> list[str]:
        """Sandboxes that wait for that pool; they are taken off the list."""
        taken = list(self._waiting_for_pool.pop((namespace, pool_name), ()))
        for uid in taken:
            if (entry := self.sandboxes.get(uid)) is not None:
                entry.waits_for_pool = False
        return taken

    # Pods

    def pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        """Follow the informer."""
        if before is not None:
            self._unindex(before)
        pool_pods = self._pool_pods_of(after or before)
        if after is None:
            assert before is not None
            uid = before.metadata.uid
            self.pods.pop(uid, None)
            self.namespaces.drop(uid)
            self._forget_reservation(uid)
            if pool_pods is not None:
                pool_pods.drop(uid)
            return
        uid = after.metadata.uid
        self.pods[uid] = after
        labels = after.metadata.labels
        self.namespaces.put(after.metadata.namespace, uid, labels=labels)
        if pool_uid := labels.get(names.LABEL_POOL_UID):
            self._by_pool[pool_uid][uid] = None
        if pool_pods is not None:
            pool_pods.put(after)
        if sandbox_uid := labels.get(names.LABEL_SANDBOX_UID):
            self._by_sandbox[sandbox_uid][uid] = None
            if self._reserved.get(uid) == sandbox_uid:
                del self._reserved[uid]
                self._committed.discard(uid)
                if pool_pods is not None:
                    pool_pods.echoed(uid)

    def pods_of_pool(self, pool_uid: str) -> list[Pod]:
        """All pods that carry the pool's UID, claimed ones too."""
        return [self.pods[uid] for uid in self._by_pool.get(pool_uid, ())]

    def pods_of_sandbox(self, sandbox_uid: str) -> list[Pod]:
        """Pods that carry the Sandbox's UID or have been claimed for it a moment ago."""
        return [self.pods[uid] for uid in self._by_sandbox.get(sandbox_uid, ()) if uid in self.pods]

    def sort_pods(self, pool: PoolRecord) -> PoolPods:
        """The pods of *pool*, as they are for its present template."""
        known = self._pool_pods.get(pool.uid)
        if known is not None and known.template_hash == pool.template_hash:
            return known
        made = PoolPods(pool.template_hash, pool.spec.template.network.egress)
        for pod in self.pods_of_pool(pool.uid):
            made.put(pod)
            if pod.metadata.uid in self._reserved:
                made.set_aside(pod.metadata.uid)
            if known is not None and known.is_leaving(pod.metadata.uid):
                made.leaving(pod.metadata.uid)
        self._pool_pods[pool.uid] = made
        return made

    def leaving(self, pod_uid: str) -> None:
        """A delete of a pool's pod is about to be sent."""
        pool_pods = self._pool_pods_of(self.pods.get(pod_uid))
        if pool_pods is not None:
            pool_pods.leaving(pod_uid)

    def staying(self, pod_uid: str) -> None:
        """The delete was refused, or nothing has come of it."""
        pool_pods = self._pool_pods_of(self.pods.get(pod_uid))
        if pool_pods is not None:
            pool_pods.staying(pod_uid)

    def unowned_pods(self, pool_uid: str) -> int:
        """How many of a pool's pods belong to no Sandbox, on their way out or not."""
        known = self._pool_pods.get(pool_uid)
        if known is not None:
            return known.unowned
        # It could never be read: nothing keeps count.
        pods = self.pods_of_pool(pool_uid)
        return sum(names.LABEL_SANDBOX_UID not in pod.metadata.labels for pod in pods)

    # Claims

    def reserve(self, pod_uid: str, sandbox_uid: str) -> None:
        """Set a pod aside for a Sandbox: from now on it is nobody else's."""
        self._reserved[pod_uid] = sandbox_uid
        self._by_sandbox[sandbox_uid][pod_uid] = None
        pool_pods = self._pool_pods_of(self.pods.get(pod_uid))
        if pool_pods is not None:
            pool_pods.set_aside(pod_uid)

    def commit(self, pod_uid: str) -> None:
        """The reservation has been written: the pod is the Sandbox's, though the watch has yet to show it."""
        if pod_uid in self._reserved:
            self._committed.add(pod_uid)

    def under_way(self, pod_uid: str) -> bool:
        """Whether the pod is set aside for a claim that has not been written yet."""
        return pod_uid in self._reserved and pod_uid not in self._committed

    def release(self, pod_uid: str, sandbox_uid: str, *, refused_version: str = "") -> None:
        """Undo a reservation whose write did not take place.

        A write on *refused_version* of the pod was refused: that one is left alone until it is seen anew.
        """
        if self._reserved.get(pod_uid) != sandbox_uid:
            return
        self._forget_reservation(pod_uid)
        pod = self.pods.get(pod_uid)
        pool_pods = self._pool_pods_of(pod)
        if pod is not None and pool_pods is not None:
            pool_pods.put_back(pod_uid, refused=pod.metadata.resource_version == refused_version)

    def reserved_for(self, pod_uid: str) -> str | None:
        """Sandbox that the pod is set aside for, until the watch shows the claim."""
        return self._reserved.get(pod_uid)

    def warm(self, pool: PoolRecord) -> Iterable[str]:
        """Pods of *pool* that may be handed out, the one first that has been warm the longest."""
        return self.sort_pods(pool).warm

    def fit(self, pod: Pod, pool: PoolRecord) -> bool:
        """Whether *pod*, as last seen, may be handed out: warm, and of the pool's present template."""
        if pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) != pool.template_hash:
            return False
        return observe.classify(pod, pool.spec.template.network.egress) is observe.PodState.WARM

    def _pool_pods_of(self, pod: Pod | None) -> PoolPods | None:
        return self._pool_pods.get(pod.metadata.labels.get(names.LABEL_POOL_UID, "")) if pod is not None else None

    def _forget_reservation(self, pod_uid: str) -> None:
        sandbox_uid = self._reserved.pop(pod_uid, None)
        self._committed.discard(pod_uid)
        if sandbox_uid is not None:
            self._discard(self._by_sandbox, sandbox_uid, pod_uid)

    def _unindex(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        labels = pod.metadata.labels
        if pool_uid := labels.get(names.LABEL_POOL_UID):
            self._discard(self._by_pool, pool_uid, uid)
        sandbox_uid = labels.get(names.LABEL_SANDBOX_UID)
        if sandbox_uid and self._reserved.get(uid) != sandbox_uid:
            self._discard(self._by_sandbox, sandbox_uid, uid)

    @staticmethod
    def _discard(index: dict[K, dict[str, None]], key: K, uid: str) -> None:
        members = index.get(key)
        if members is not None:
            members.pop(uid, None)
            if not members:
                del index[key]


def _template_of(pool: AnyPool) -> str:
    return pool.template_hash if isinstance(pool, PoolRecord) else ""
