"""Claims: take a warm pod from memory, set it aside, write it.

A claim that finds no warm pod waits in its pool's queue, and is served by the next pod that
turns warm, whichever start that came from.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.engine.claims.choose import choose
from sandyard.engine.claims.claim import Claim, Event, State
from sandyard.engine.claims.queue import ClaimQueue
from sandyard.engine.claims.write import Outcome, write
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.state.records import AnySandbox, PoolRecord, SandboxRecord
from sandyard.engine.state.store import Store
from sandyard.kube import errors

__all__ = ["Claims"]

_log = logging.getLogger(__name__)
# So many pods are tried before a Sandbox is told that it gets none.
_MOST_DENIALS = 3
# A pod that was refused with a conflict shows its change on the watch long before this.
_LOOK_SECONDS = 0.5


class Claims:
    """Gives warm pods to Sandboxes, each to one."""

    def __init__(self, store: Store, pods: Pods, queues: Queues, metrics: Metrics, clock: Clock) -> None:
        self._store = store
        self._pods = pods
        self._queues = queues
        self._metrics = metrics
        self._clock = clock
        self._claims: dict[str, Claim] = {}
        self._by_pod: dict[str, Claim] = {}
        self._waiting: dict[str, ClaimQueue] = {}
        self._numbers = itertools.count()
        # Pods left alone after a conflict, by pool, each with the time at which it is looked at.
        self._left_alone: dict[str, dict[str, float]] = {}

    # Asked by others

    def waiting(self, pool_uid: str) -> int:
        """Claims that wait for a pod of that pool."""
        return len(self._queue(pool_uid))

    def oldest(self) -> dict[str, float]:
        """Pools with claims that wait, each with the time since when the first of them does (monotonic)."""
        return {uid: queue.oldest for uid, queue in self._waiting.items() if queue.oldest is not None}

    def waiting_cold(self, pool_uid: str) -> int:
        """Those among them that asked for a start."""
        return self._queue(pool_uid).cold

    def waiters(self, pool_uid: str) -> list[Claim]:
        """The queue of a pool, oldest first."""
        return list(self._queue(pool_uid))

    def of(self, sandbox_uid: str) -> Claim | None:
        """The Sandbox's claim, if it has one that is not written yet."""
        return self._claims.get(sandbox_uid)

    def place(self, sandbox_uid: str) -> int:
        """Claims that stand before this one in its queue."""
        claim = self._claims.get(sandbox_uid)
        return self._queue(claim.pool_uid).place(sandbox_uid) if claim is not None else 0

    # What happens

    def forget(self, sandbox_uid: str) -> None:
        """The Sandbox no longer wants a pod: give back what it may have been granted."""
        claim = self._claims.pop(sandbox_uid, None)
        if claim is None:
            return
        self._take(claim, Event.WITHDRAW)
        self._queues.pools.add(claim.pool_uid)

    def forget_pool(self, pool_uid: str) -> None:
        """The pool is gone."""
        self._left_alone.pop(pool_uid, None)

    def pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        """The watch shows a change of a pod that may be set aside for a claim."""
        pod = after or before
        assert pod is not None
        claim = self._by_pod.get(pod.metadata.uid)
        if claim is None or claim.state not in (State.GRANTED, State.UNSURE):
            # The reply to a write that is under way says what there is to say.
            return
        if after is not None and after.metadata.labels.get(names.LABEL_SANDBOX_UID) == claim.sandbox_uid:
            if claim.state is State.UNSURE:
                self._take(claim, Event.CONFIRM)
            return
        lost = after is None if claim.state is State.UNSURE else not self._fits(after, claim.pool_uid)
        if lost:
            self._take(claim, Event.REVOKE)
            self._queues.sandboxes.add(claim.sandbox_uid)

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
            False: do not wait.

        Who calls this tells the pool, once the Sandbox is Ready: the substitute's start must
        not get in the way of the claim.

        Returns
        -------
        Pod
            The pod, claimed in the cluster; None when the Sandbox has to wait.

        Raises
        ------
        ApiError
            The API server fails, or refuses the claim: on this pod, if the claim is still open, and
            on any otherwise. Who is refused everywhere waits in no queue.
        """
        before = self._claims.get(sandbox.uid)
        settled = await self.settle(sandbox)
        if settled is not None:
            return settled
        if before is not None and before.state in (State.OVER, State.WRITTEN):
            # While we looked it was withdrawn, or its pod has come and gone: that is not for a claim to say.
            return None
        claim = self._join(sandbox.uid, pool.uid, cold=cold)
        while (pod := self._next(claim)) is not None:
            if await self._write(claim, sandbox, pod, labels, terms):
                return pod
        if claim.denied and self._claims.get(sandbox.uid) is claim:
            self._give_up(claim)
        if self._claims.get(sandbox.uid) is not claim:
            return None
        if not wait:
            del self._claims[sandbox.uid]
            self._take(claim, Event.WITHDRAW)
        elif not claim.waited:
            claim.waited = True
            self._queues.pools.add(pool.uid)
        return None

    def serve(self, pool_uid: str) -> None:
        """Grant warm pods to the oldest waiting claims of a pool."""
        for claim in self._grant(pool_uid):
            self._queues.sandboxes.add(claim.sandbox_uid)

    async def settle(self, sandbox: AnySandbox) -> Pod | None:
        """Find out what became of a claim that was cut off; its pod, if it took place."""
        claim = self._claims.get(sandbox.uid)
        if claim is None or claim.state is not State.UNSURE:
            return None
        pod_uid = claim.pod_uid
        assert pod_uid is not None
        pod = self._pod(pod_uid)
        ours = await self._took_place(pod, sandbox.uid) if pod is not None else False
        if claim.state is not State.UNSURE:
            # The watch was faster than the answer.
            return self._pod(pod_uid) if claim.state is State.WRITTEN else None
        seen = self._pod(pod_uid)
        _log.info("settled a claim that was cut off", extra={"sandbox": sandbox.name, "claimed": ours})
        if ours and seen is not None:
            self._take(claim, Event.CONFIRM)
            return seen
        # Its version has changed: nobody claims it before the watch shows that.
        self._take(claim, Event.REVOKE, refused_version=pod.metadata.resource_version if pod is not None else "")
        return None

    async def _took_place(self, pod: Pod, sandbox_uid: str) -> bool:
        """Whether the claim of *pod* that was cut off has taken place; if not, it never will.

        The write may still be on its way, and the Sandbox gone when it arrives.
        """
        while True:
            found = await self._pods.read(pod.metadata.namespace, pod.metadata.name)
            if found is None or found["metadata"]["uid"] != pod.metadata.uid:
                return False
            if found["metadata"].get("labels", {}).get(names.LABEL_SANDBOX_UID) == sandbox_uid:
                return True
            if found["metadata"]["resourceVersion"] != pod.metadata.resource_version:
                # It was sent for a version that is no more.
                return False
            try:
                await self._pods.outdate(found)
            except errors.ApiError as error:
                if not (error.conflict or error.not_found):
                    raise
                continue
            return False

    def _join(self, sandbox_uid: str, pool_uid: str, *, cold: bool) -> Claim:
        """The Sandbox's claim on that pool, at the end of the queue if it is new."""
        claim = self._claims.get(sandbox_uid)
        if claim is not None and claim.pool_uid != pool_uid:
            # Its pool has been made anew, under the same name.
            self.forget(sandbox_uid)
            claim = None
        if claim is None:
            claim = Claim(sandbox_uid, pool_uid, next(self._numbers), self._clock.monotonic(), cold)
            self._claims[sandbox_uid] = claim
            self._follow(claim)
        return claim

    def _next(self, claim: Claim) -> Pod | None:
        """The pod that *claim* may write now, if there is one."""
        if self._claims.get(claim.sandbox_uid) is not claim:
            return None
        if claim.state is State.GRANTED:
            assert claim.pod_uid is not None
            pod = self._pod(claim.pod_uid)
            # Its pool's template may have changed since it was set aside.
            if self._fits(pod, claim.pool_uid):
                return pod
            self._take(claim, Event.REVOKE)
        for other in self._grant(claim.pool_uid):
            if other is not claim:
                self._queues.sandboxes.add(other.sandbox_uid)
        return self._pod(claim.pod_uid) if claim.pod_uid is not None else None

    def _pod(self, uid: str) -> Pod | None:
        entry = self._store.pods.get(uid)
        return entry.pod if entry is not None else None

    def _fits(self, pod: Pod | None, pool_uid: str) -> bool:
        pool = self._store.pools.get(pool_uid)
        entry = self._store.pods.get(pod.metadata.uid) if pod is not None else None
        return pool is not None and entry is not None and not entry.tampered and pool.fits(entry.pod)

    def _grant(self, pool_uid: str) -> list[Claim]:
        """Set warm pods aside for the oldest waiting claims."""
        queue, pool = self._waiting.get(pool_uid), self._store.pools.get(pool_uid)
        if queue is None or pool is None:
            return []
        chosen = list(choose(queue, pool.warm()))
        for claim, pod_uid in chosen:
            claim.grant(pod_uid)
            self._by_pod[pod_uid] = claim
            self._store.reserve(pod_uid, claim.sandbox_uid)
            self._follow(claim)
        return [claim for claim, _ in chosen]

    async def _write(
        self, claim: Claim, sandbox: SandboxRecord, pod: Pod, labels: Mapping[str, str], terms: str
    ) -> bool:
        """Send the claim; says whether the Sandbox has the pod now. Raises what keeps it from trying another."""
        self._take(claim, Event.SEND)
        try:
            written = await write(self._pods, pod, sandbox, labels, terms)
        except BaseException:
            # Cut off by our own end: nobody knows.
            self._take(claim, Event.LOSE)
            raise
        if written.outcome is Outcome.WRITTEN:
            wanted = claim.state is State.WRITING
            self._take(claim, Event.CONFIRM)
            return wanted
        if written.outcome is Outcome.CHANGED:
            self._metrics.claim_conflicts.inc()
            self._take(claim, Event.REFUSE, refused_version=pod.metadata.resource_version)
            self._leave_alone(claim.pool_uid, pod.metadata.uid)
            return False
        if written.outcome is Outcome.DENIED:
            self._deny(claim, pod, written.error)
        self._take(claim, Event.LOSE if written.outcome is Outcome.UNKNOWN else Event.REFUSE)
        assert written.error is not None
        raise written.error

    # Pods that were refused

    def _deny(self, claim: Claim, pod: Pod, error: Exception | None) -> NoReturn:
        """The API server does not take this claim on *pod*; it is tried on a few others, one at a time."""
        assert isinstance(error, errors.ApiError)
        claim.denied[pod.metadata.uid] = error
        self._take(claim, Event.REFUSE, refused_version=pod.metadata.resource_version)
        if len(claim.denied) >= _MOST_DENIALS:
            self._give_up(claim)
        raise error

    def _give_up(self, claim: Claim) -> NoReturn:
        """The API server takes this claim on no pod: it keeps nobody else waiting for them."""
        error = next(iter(claim.denied.values()))
        if self._claims.get(claim.sandbox_uid) is claim:
            self.forget(claim.sandbox_uid)
        raise error

    def next_look(self, pool_uid: str) -> float | None:
        """Seconds until a pod of the pool that was left alone is looked at; None: there is none."""
        due = self._left_alone.get(pool_uid)
        return max(0.0, min(due.values()) - self._clock.monotonic()) if due else None

    async def look(self, pool_uid: str) -> None:
        """Look at pods that were left alone: one that has not changed may be claimed again."""
        now, due = self._clock.monotonic(), self._left_alone.get(pool_uid, {})
        for pod_uid in [pod_uid for pod_uid, at in due.items() if at <= now]:
            del due[pod_uid]
            entry = self._store.pods.get(pod_uid)
            if entry is None or not entry.refused:
                continue
            metadata = entry.pod.metadata
            found = await self._pods.read(metadata.namespace, metadata.name)
            if found is not None and found["metadata"]["resourceVersion"] == metadata.resource_version:
                self._store.forgive(pod_uid)
        if not due:
            self._left_alone.pop(pool_uid, None)

    def _leave_alone(self, pool_uid: str, pod_uid: str) -> None:
        if pool_uid not in self._store.pools:
            return
        self._left_alone.setdefault(pool_uid, {})[pod_uid] = self._clock.monotonic() + _LOOK_SECONDS
        # Its next look sets the alarm.
        self._queues.pools.add(pool_uid)

    def _take(self, claim: Claim, event: Event, *, refused_version: str = "") -> None:
        """Change a claim, and its pod and queue with it."""
        pod_uid = claim.pod_uid
        claim.take(event)
        if pod_uid is not None and claim.state in (State.WAITING, State.WRITTEN, State.OVER):
            del self._by_pod[pod_uid]
        if claim.state is State.WRITTEN:
            assert pod_uid is not None
            self._store.commit(pod_uid)
            if self._claims.get(claim.sandbox_uid) is claim:
                del self._claims[claim.sandbox_uid]
        elif pod_uid is not None and claim.pod_uid is None:
            self._store.release(pod_uid, claim.sandbox_uid, refused_version=refused_version)
        if claim.state in (State.WRITTEN, State.OVER):
            for denied in claim.denied:
                self._store.forgive(denied)
        self._follow(claim)

    def _follow(self, claim: Claim) -> None:
        queue = self._waiting.setdefault(claim.pool_uid, ClaimQueue())
        queue.put(claim)
        if not queue:
            del self._waiting[claim.pool_uid]

    def _queue(self, pool_uid: str) -> ClaimQueue:
        return self._waiting.get(pool_uid) or ClaimQueue()
