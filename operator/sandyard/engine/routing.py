"""What a change wakes: whom a pod, a pool or a Sandbox concerns, as keys on queues."""

from __future__ import annotations

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.engine.claims.claims import Claims
from sandyard.engine.loops.queues import Queues
from sandyard.engine.state.records import AnyPool, PoolRecord, spec_of
from sandyard.engine.state.store import Store
from sandyard.sandbox import expiry

__all__ = ["Routing"]

# What has gone may have been the last in its namespace that needed a policy.
_POLICIES_SECONDS = 1.0


class Routing:
    """One function for each kind of change."""

    def __init__(self, store: Store, queues: Queues, claims: Claims) -> None:
        self._store = store
        self._queues = queues
        self._claims = claims

    def pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        """A pod concerns its Sandbox and its pool; once it is gone, the policies of its namespace."""
        pod = after or before
        assert pod is not None
        sandbox_uid = pod.metadata.labels.get(names.LABEL_SANDBOX_UID)
        if sandbox_uid is not None:
            self._queues.sandboxes.add(sandbox_uid)
        # The echo of a claim may come before the claim is Ready, and the substitute's start must
        # not get in its way: the claim itself tells the pool, in time.
        just_claimed = (
            before is not None and sandbox_uid is not None and (names.LABEL_SANDBOX_UID not in before.metadata.labels)
        )
        if not just_claimed:
            self.pool_of_pod(pod)
        if after is None:
            self._queues.policies.add_after(pod.metadata.namespace, _POLICIES_SECONDS)

    def pool_of_pod(self, pod: Pod) -> None:
        """Something about *pod* concerns its pool."""
        pool_uid = pod.metadata.labels.get(names.LABEL_POOL_UID, "")
        if pool_uid in self._store.pools:
            self._queues.pools.add(pool_uid)

    def sandbox_gone(self, namespace: str, uid: str) -> None:
        """A Sandbox that is gone concerns the pools of its pods, and the policies of its namespace."""
        self._queues.policies.add_after(namespace, _POLICIES_SECONDS)
        for pod in self._store.pods_of_sandbox(uid):
            self.pool_of_pod(pod)

    def pool_changed(self, known: AnyPool | None, record: AnyPool) -> None:
        """A pool concerns itself, who lives by its terms, and who waits for it; *known* None: anything may be new."""
        self._queues.pools.add(record.uid)
        spec = spec_of(record)
        if known is None or expiry.terms_of(spec_of(known)) != expiry.terms_of(spec):
            for sandbox in self._store.sandboxes_of_pool(record):
                self._queues.sandboxes.add(sandbox.uid)
        for uid in self._store.sandboxes.take_waiting_for_pool(record.namespace, record.name):
            self._queues.sandboxes.add(uid)
        stopped = isinstance(record, PoolRecord) and (record.spec.paused or record.beyond)
        if record.deleting or stopped:
            self.waiting_claims(record.uid)

    def pool_gone(self, namespace: str, uid: str) -> None:
        """A pool that is gone concerns who waits in its queue, and the policies of its namespace."""
        self.waiting_claims(uid)
        self._claims.forget_pool(uid)
        self._queues.policies.add_after(namespace, _POLICIES_SECONDS)

    def waiting_claims(self, pool_uid: str) -> None:
        """What there is to say to the claims in a pool's queue has changed."""
        for waiter in self._claims.waiters(pool_uid):
            self._queues.sandboxes.add(waiter.sandbox_uid)

    def exposure_changed(self, namespace: str) -> None:
        """What opens the sandboxes of a namespace concerns all of it."""
        if self._store.exposures.withheld(namespace):
            self._store.namespace_opened(namespace)
        for pool in self._store.pools.values():
            if pool.record.namespace == namespace:
                pool.memory.forgive_network()
        self._all_of(namespace)

    def namespace_seen(self, namespace: str) -> None:
        """What is in *namespace* is known now."""
        self._queues.policies.add(namespace)
        self._all_of(namespace)

    def _all_of(self, namespace: str) -> None:
        for pool in self._store.pools.values():
            if pool.record.namespace == namespace:
                self._queues.pools.add(pool.uid)
        for sandbox in self._store.sandboxes.values():
            if sandbox.record.namespace == namespace:
                self._queues.sandboxes.add(sandbox.record.uid)
