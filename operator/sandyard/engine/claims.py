"""The claim: choose a warm pod from memory, take it out of the set, write twice.

A claim that finds no warm pod joins its pool's queue, oldest first, and is served by the next
pod that turns warm, whichever start that came from.  Nobody overtakes a waiting claim.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.engine.parts import Parts
from sandyard.engine.records import PoolRecord, SandboxRecord
from sandyard.kube import errors

__all__ = ["Claims", "Waiter"]

_log = logging.getLogger(__name__)


@dataclass
class Waiter:
    """A claim in a pool's queue.

    Attributes
    ----------
    since
        When it joined; seconds of the monotonic clock.
    cold
        Whether the pool should start a pod for it (``whenEmpty.action: ColdStart``).
    """

    sandbox_uid: str
    pool_uid: str
    cold: bool
    since: float


class Claims:
    """Gives warm pods to Sandboxes, each to one."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._gateway = parts.gateway
        self._metrics = parts.metrics
        self._memories = parts.memories
        self._queues = parts.queues
        self._clock = parts.clock
        # Python's dicts keep their order: oldest first.
        self._waiting: dict[str, dict[str, Waiter]] = {}
        self._pool_of: dict[str, str] = {}
        self._granted: dict[str, str] = {}
        # Sandboxes whose claim was cut off: whether it took place has to be looked up.
        self._uncertain: dict[str, tuple[str, str, str]] = {}

    def waiting(self, pool_uid: str) -> int:
        """Claims in the queue of a pool."""
        return len(self._waiting.get(pool_uid, ()))

    def waiting_cold(self, pool_uid: str) -> int:
        """Those among them that asked for a start and have no pod set aside yet."""
        waiting = self._waiting.get(pool_uid, {}).values()
        served = self._granted.keys() | self._uncertain.keys()
        return sum(waiter.cold and waiter.sandbox_uid not in served for waiter in waiting)

    def waiters(self, pool_uid: str) -> list[Waiter]:
        """The queue of a pool, oldest first."""
        return list(self._waiting.get(pool_uid, {}).values())

    def waiter(self, sandbox_uid: str) -> Waiter | None:
        """The Sandbox's place in a queue, if it has one."""
        pool_uid = self._pool_of.get(sandbox_uid)
        return self._waiting[pool_uid].get(sandbox_uid) if pool_uid else None

    def forget(self, sandbox_uid: str) -> None:
        """The Sandbox no longer wants a pod: give back what it may have been granted."""
        pool_uid = self._pool_of.get(sandbox_uid)
        self._leave(sandbox_uid)
        if pool_uid is not None:
            self._queues.pools.add(pool_uid)
        pod_uid = self._granted.pop(sandbox_uid, None)
        if pod_uid is not None:
            self._store.release(pod_uid)
        uncertain = self._uncertain.pop(sandbox_uid, None)
        if uncertain is not None:
            self._store.release(uncertain[2])

    def place(self, sandbox_uid: str) -> int:
        """Claims that stand before this one in its queue."""
        pool_uid = self._pool_of.get(sandbox_uid)
        line = self._waiting.get(pool_uid, {}) if pool_uid else {}
        return next((place for place, uid in enumerate(line) if uid == sandbox_uid), 0)

    async def claim(
        self, sandbox: SandboxRecord, pool: PoolRecord, *,
        labels: Mapping[str, str] = MappingProxyType({}), terms: str = "", cold: bool = False, wait: bool = True,
    ) -> Pod | None:  # fmt: skip
        """Give *sandbox* a warm pod of *pool* if there is one; else it waits in the queue.

        Parameters
        ----------
        labels
            Further labels of the pod: the wider network that the Sandbox asks for.
        terms
            What the pool says about lifetimes, kept with the pod.
        cold
            Whether the pool should start a pod for it if it has to wait.
        wait
            False: do not join the queue.

        Who calls this tells the pool, once the Sandbox is Ready: the substitute's start must
        not get in the way of the claim.

        Returns
        -------
        Pod
            The pod, claimed in the cluster; None when the Sandbox has to wait.
        """
        settled = await self.settle(sandbox)
        if settled is not None:
            return settled
        while (pod := self._next(sandbox, pool)) is not None:
            if await self._write(sandbox, pod, labels, terms):
                self._leave(sandbox.uid)
                return pod
        if wait and sandbox.uid not in self._pool_of:
            self._waiting.setdefault(pool.uid, {})[sandbox.uid] = Waiter(
                sandbox.uid, pool.uid, cold, self._clock.monotonic()
            )
            self._pool_of[sandbox.uid] = pool.uid
            self._queues.pools.add(pool.uid)
        return None

    def serve(self, pool: PoolRecord) -> None:
        """Grant warm pods to the oldest waiting claims of *pool*."""
        for waiter in self.waiters(pool.uid):
            # One that is writing its claim at this moment still stands in the queue.
            if waiter.sandbox_uid in self._granted or waiter.sandbox_uid in self._uncertain:
                continue
            pod = self._store.take_warm(pool, self._memories.deleting_uids(pool.uid))
            if pod is None:
                return
            self._store.reserve(pod.metadata.uid, waiter.sandbox_uid)
            self._granted[waiter.sandbox_uid] = pod.metadata.uid
            self._queues.sandboxes.add(waiter.sandbox_uid)

    def _next(self, sandbox: SandboxRecord, pool: PoolRecord) -> Pod | None:
        granted = self._granted.get(sandbox.uid)
        if granted is not None:
            pod = self._store.pods.get(granted)
            # It may have fallen sick, or been deleted, since it was set aside.
            if pod is not None and self._store.reserved_for(granted) == sandbox.uid and self._store.fit(pod, pool):
                return pod
            del self._granted[sandbox.uid]
            self._store.release(granted)
        waiting = self._waiting.get(pool.uid)
        if waiting and next(iter(waiting)) != sandbox.uid:
            return None
        pod = self._store.take_warm(pool, self._memories.deleting_uids(pool.uid))
        if pod is not None:
            self._store.reserve(pod.metadata.uid, sandbox.uid)
            self._granted[sandbox.uid] = pod.metadata.uid
        return pod

    async def _write(self, sandbox: SandboxRecord, pod: Pod, labels: Mapping[str, str], terms: str) -> bool:
        try:
            await self._gateway.claim_pod(pod, sandbox, labels, terms)
        except errors.ApiError as error:
            if error.conflict or error.not_found:
                self._metrics.claim_conflicts.inc()
                self._store.refused(pod)
                return False
            self._store.release(pod.metadata.uid)
            raise
        except errors.NotConnected:
            self._store.release(pod.metadata.uid)
            raise
        except errors.TransportError:
            # No reply: the claim may or may not have taken place. The pod stays set aside.
            self._uncertain[sandbox.uid] = (pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
            raise
        except BaseException:
            self._store.release(pod.metadata.uid)
            raise
        finally:
            # Until here nobody may grant this Sandbox another pod.
            self._granted.pop(sandbox.uid, None)
        self._store.commit(pod.metadata.uid)
        return True

    async def settle(self, sandbox: SandboxRecord) -> Pod | None:
        """Find out what became of a claim that was cut off; its pod, if it took place."""
        if sandbox.uid not in self._uncertain:
            return None
        namespace, name, uid = self._uncertain[sandbox.uid]
        found = await self._gateway.get_pod(namespace, name)
        del self._uncertain[sandbox.uid]
        ours = (
            found is not None
            and found["metadata"]["uid"] == uid
            and found["metadata"].get("labels", {}).get(names.LABEL_SANDBOX_UID) == sandbox.uid
        )
        pod = self._store.pods.get(uid)
        _log.info("settled a claim that was cut off", extra={"sandbox": sandbox.name, "pod": name, "claimed": ours})
        if ours and pod is not None:
            self._store.commit(uid)
            self._leave(sandbox.uid)
            return pod
        self._store.release(uid)
        return None

    def _leave(self, sandbox_uid: str) -> None:
        pool_uid = self._pool_of.pop(sandbox_uid, None)
        if pool_uid is None:
            return
        queue = self._waiting[pool_uid]
        queue.pop(sandbox_uid, None)
        if not queue:
            del self._waiting[pool_uid]
