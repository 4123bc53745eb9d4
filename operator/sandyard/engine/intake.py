"""Where the cluster's news come in: the store follows, what is gone is forgotten, and who is concerned is woken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandyard.api.objects import NetworkPolicy, Pod
from sandyard.engine.claims.claims import Claims
from sandyard.engine.cluster.isolation import Isolation
from sandyard.engine.cluster.starts import Starts
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queue
from sandyard.engine.pools.status import PoolWriter
from sandyard.engine.routing import Routing
from sandyard.engine.sandboxes.reconcile import Sandboxes
from sandyard.engine.state import records
from sandyard.engine.state.departed import Departed
from sandyard.engine.state.store import Store

__all__ = ["Intake"]


class Intake:
    """Events of the watches, and what lists have found.

    Attributes
    ----------
    departed
        Sandboxes and pools that are gone: what was read before brings none of them back.
    """

    def __init__(
        self, store: Store, isolation: Isolation, starts: Starts, claims: Claims, routing: Routing,
        sandboxes: Sandboxes, pools: PoolWriter, queue: Queue, clock: Clock,
    ) -> None:  # fmt: skip
        self.departed = Departed()
        self._clock = clock
        self._store = store
        self._isolation = isolation
        self._starts = starts
        self._claims = claims
        self._routing = routing
        self._sandboxes = sandboxes
        self._pools = pools
        self._queue = queue

    def known(self, uid: str, version: int) -> bool:
        """Whether a Sandbox or pool is known in that version, or in a newer one."""
        known = self._store.sandboxes.get(uid) or self._store.pools.get(uid)
        return known is not None and known.record.version >= version

    def sandbox_event(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """A Sandbox was added, modified or deleted. Only puts it on a queue."""
        if kind == "DELETED":
            self.sandbox_gone(body["metadata"]["uid"])
        else:
            self.sandbox_shown(body)

    def pool_event(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """A pool was added, modified or deleted. Only puts it on a queue."""
        if kind == "DELETED":
            self.pool_gone(body["metadata"]["uid"])
        else:
            self.pool_shown(body)

    def sandbox_shown(self, body: Mapping[str, Any]) -> None:
        """A Sandbox is there, as an event or a list shows it; only what is news is read."""
        known = self._store.sandboxes.get(body["metadata"]["uid"])
        if known is None or known.record.version < int(body["metadata"]["resourceVersion"]):
            self.sandbox_found(records.sandbox(body))

    def pool_shown(self, body: Mapping[str, Any]) -> None:
        """A pool is there, as an event or a list shows it; only what is news is read."""
        known = self._store.pools.get(body["metadata"]["uid"])
        if known is None or known.record.version < int(body["metadata"]["resourceVersion"]):
            self.pool_found(
                records.pool(body, self._isolation.probe(), self._isolation.policy, self._isolation.no_restart)
            )

    def sandbox_found(self, record: records.AnySandbox) -> None:
        """A Sandbox is there, in this version or a newer one."""
        if record.uid not in self.departed and self._store.put_sandbox(record):
            self._queue.add(record.uid)

    def sandbox_gone(self, uid: str) -> None:
        """A Sandbox is no longer there."""
        self.departed.add(uid, self._clock.monotonic())
        entry = self._store.remove_sandbox(uid)
        if entry is None:
            return
        self._sandboxes.forget(entry)
        self._routing.sandbox_gone(entry.record.namespace, uid)

    def pool_found(self, record: records.AnyPool) -> None:
        """A pool is there, in this version or a newer one."""
        if record.uid in self.departed:
            return
        entry = self._store.pools.get(record.uid)
        known = entry.record if entry is not None else None
        if self._store.put_pool(record):
            self._routing.pool_changed(known, record)

    def pool_gone(self, uid: str) -> None:
        """A pool is no longer there."""
        self.departed.add(uid, self._clock.monotonic())
        entry = self._store.remove_pool(uid)
        if entry is None:
            return
        self._routing.pool_gone(entry.record.namespace, uid)
        self._pools.forget(entry.record)

    def namespace_seen(self, namespace: str) -> None:
        """The watches have shown all that is in *namespace*."""
        self._store.unseen.discard(namespace)
        self._routing.namespace_seen(namespace)

    def pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        """Follow the informer of pods."""
        before, after = self._store.pod_seen(before, after)
        self._starts.pod_changed(before, after)
        self._claims.pod_changed(before, after)
        self._routing.pod_changed(before, after)

    def foreign_policy_changed(self, before: NetworkPolicy | None, after: NetworkPolicy | None) -> None:
        """Follow the informer of network policies that are not ours."""
        if self._store.exposures.policy_changed(before, after):
            policy = after or before
            assert policy is not None
            self._routing.exposure_changed(policy.metadata.namespace)
