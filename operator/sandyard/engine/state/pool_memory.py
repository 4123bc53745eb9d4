"""What the engine learns of a pool beyond its objects; all of it can be lost and learnt anew."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from sandyard.api import model, names
from sandyard.api.conditions import Finding
from sandyard.api.objects import Pod
from sandyard.api.reasons import Condition, Reason
from sandyard.engine.loops.clock import Clock
from sandyard.engine.state.records import AnyPool, PoolRecord
from sandyard.pod import observe
from sandyard.pod.observe import PodState, Trouble
from sandyard.pool.backoff import Backoff
from sandyard.pool.demand import Demand
from sandyard.pool.expectations import Expectations
from sandyard.pool.ordered import Ordered
from sandyard.pool.status import PoolStatus

__all__ = ["Memories", "PoolMemory", "remember"]

# A pod must stay warm this long before the failures before it are forgiven; else a pool whose
# pods start well and die at once would never back off.
FORGIVE_AFTER_SECONDS = 5.0


@dataclass
class PoolMemory:
    """Failures, proofs and counters of one pool.

    Attributes
    ----------
    proven
        Whether a pod of the present template has ever turned ready.
    refused
        What is wrong with the template, by the operator's own rules.
    demand
        What ``spec.autoscale`` goes by.
    opening
        Pods whose network is being opened.
    waiting_for_room
        Sandboxes that wait for room to start a pod of their own, the oldest first.
    """

    template_hash: str
    expectations: Expectations = field(default_factory=Expectations)
    backoff: Backoff = Backoff()
    failed_at: float = 0.0
    proven: bool = False
    warm_hits: int = 0
    cold_starts: int = 0
    scrubbed: int = 0
    at_maximum: bool = False
    refused: str = ""
    runtime: Finding | None = None
    network: Finding | None = None
    demand: Demand = Demand()
    opening: set[str] = field(default_factory=set)
    waiting_for_room: dict[str, None] = field(default_factory=dict)
    written_at: float = float("-inf")
    _failed_pods: set[str] = field(default_factory=set)
    _timed_pods: set[str] = field(default_factory=set)

    def turn_to(self, template_hash: str) -> None:
        """A new template is a new chance: forget what was learnt of the old one."""
        if self.template_hash == template_hash:
            return
        self.template_hash = template_hash
        self.backoff = Backoff()
        self.proven = False
        self.refused = ""
        self.runtime = self.network = None

    def pod_gone(self, uid: str) -> None:
        """The pod is no longer on the watch."""
        self._failed_pods.discard(uid)
        self._timed_pods.discard(uid)
        self.opening.discard(uid)

    def fail(self, reason: Reason, message: str, now: float, pod_uid: str = "") -> None:
        """A start has failed."""
        if pod_uid:
            self._failed_pods.add(pod_uid)
        self.failed_at = now
        self.backoff = self.backoff.fail(reason, message, now, random.random())
        if reason is Reason.RUNTIME_NOT_ISOLATED:
            self.runtime = Finding(Condition.RUNTIME_ISOLATED, False, reason, message)
        elif reason is Reason.NETWORK_NOT_ENFORCED:
            self.network = Finding(Condition.NETWORK_ENFORCED, False, reason, message)

    def failures(self, pods: Iterable[Pod], egress: str) -> list[tuple[Pod, Trouble]]:
        """Pods of the present template that have failed and were not counted yet."""
        found = []
        for pod in self._current(pods):
            if pod.metadata.uid in self._failed_pods:
                continue
            state = observe.classify(pod, egress)
            if state is PodState.FAILED:
                trouble = observe.trouble(pod)
                assert trouble is not None
                found.append((pod, trouble))
            elif state is PodState.UNHEALTHY and observe.sickness(pod).reason is Reason.POD_NOT_READY:
                # A lost node says nothing about the template.
                found.append((pod, observe.sickness(pod)))
        return found

    def learn(self, pods: Iterable[Pod], ready: Ordered, egress: str, now: float) -> float | None:
        """Draw conclusions from pods that turned ready.

        Parameters
        ----------
        pods
            Those that have changed since the last time.
        ready
            All that are ready now, by the time since when.

        Returns
        -------
        float or None
            Seconds after which another look is worth it.
        """
        for pod in self._current(pods):
            state = observe.classify(pod, egress)
            if state not in (PodState.WARM, PodState.PROVEN, PodState.CLAIMED) or not observe.is_ready(pod):
                continue
            ready_at = observe.ready_at(pod)
            if state is not PodState.CLAIMED and pod.metadata.uid not in self._timed_pods:
                self._timed_pods.add(pod.metadata.uid)
                born = model.seconds(pod.metadata.creation_timestamp)
                self.demand = self.demand.started(max(0.0, ready_at - born))
            if not self.proven or ready_at > self.failed_at:
                self._believe(pod)
            self.proven = True
        return self._forgive(ready, now) if self.backoff.failures else None

    def _forgive(self, ready: Ordered, now: float) -> float | None:
        """End the backoff once a pod that turned ready after the last failure has stayed so."""
        # Times in objects have whole seconds.
        failed_before = math.nextafter(self.failed_at - 1, -math.inf)
        since = ready.above(failed_before)
        if since is None:
            return None
        if now - since >= FORGIVE_AFTER_SECONDS:
            self.backoff = self.backoff.succeed()
            return None
        return FORGIVE_AFTER_SECONDS

    def _current(self, pods: Iterable[Pod]) -> list[Pod]:
        return [pod for pod in pods if pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) == self.template_hash]

    def _believe(self, pod: Pod) -> None:
        seen = observe.proof_of(pod)
        if seen is None:
            return
        told = f"proven by pod {pod.metadata.name}"
        if self.runtime is None or self.runtime.status is not seen.isolated:
            reason = Reason.PROVEN if seen.isolated else Reason.RUNTIME_NOT_ISOLATED
            text = told if seen.isolated else f"not {told}"
            self.runtime = Finding(Condition.RUNTIME_ISOLATED, seen.isolated, reason, text)
        if self.network is None or self.network.status is not seen.enforced:
            reason = Reason.PROVEN if seen.enforced else Reason.NETWORK_NOT_ENFORCED
            text = told if seen.enforced else f"not {told}"
            self.network = Finding(Condition.NETWORK_ENFORCED, seen.enforced, reason, text)


class Memories:
    """What is remembered of each pool."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_pool: dict[str, PoolMemory] = {}
        # Pools in which Sandboxes wait for room, by Sandbox.
        self._room_wanted: dict[str, str] = {}

    def of(self, pool: AnyPool) -> PoolMemory:
        """What is remembered of *pool*, as far as it holds for its present template."""
        memory = self._by_pool.get(pool.uid)
        if memory is None:
            memory = self._by_pool[pool.uid] = remember(pool, self._clock.now())
        if isinstance(pool, PoolRecord):
            memory.turn_to(pool.template_hash)
        return memory

    def known(self, pool_uid: str) -> PoolMemory | None:
        """What is remembered of a pool, if anything is."""
        return self._by_pool.get(pool_uid)

    def wait_for_room(self, pool: PoolRecord, sandbox_uid: str) -> None:
        """The Sandbox waits for room to start a pod of its own, behind those that do already."""
        if self._room_wanted.get(sandbox_uid) != pool.uid:
            self.stop_waiting_for_room(sandbox_uid)
            self._room_wanted[sandbox_uid] = pool.uid
        self.of(pool).waiting_for_room[sandbox_uid] = None

    def stop_waiting_for_room(self, sandbox_uid: str) -> str | None:
        """The Sandbox no longer waits for room; the pool in which it did, if it did."""
        pool_uid = self._room_wanted.pop(sandbox_uid, None)
        memory = self._by_pool.get(pool_uid) if pool_uid is not None else None
        if memory is None:
            return None
        memory.waiting_for_room.pop(sandbox_uid, None)
        return pool_uid

    def forget(self, pool_uid: str) -> None:
        """The pool is gone."""
        self._by_pool.pop(pool_uid, None)


def remember(pool: AnyPool, now: float) -> PoolMemory:
    """The memory of a pool that this process meets for the first time, from its status."""
    status = pool.status
    memory = PoolMemory(status.template_hash or "")
    memory.warm_hits = status.warm_hits or 0
    memory.cold_starts = status.cold_starts or 0
    memory.scrubbed = status.scrubbed or 0
    memory.demand = _measured(status, now)
    memory.runtime = _known(status, Condition.RUNTIME_ISOLATED)
    memory.network = _known(status, Condition.NETWORK_ENFORCED)
    return memory


def _measured(status: PoolStatus, now: float) -> Demand:
    """What the status says of the load before this process: close enough to go on from."""
    figures = status.autoscale
    if figures is None:
        return Demand()
    try:
        return Demand(now, 0.0, float(figures.claims_per_second), float(figures.warm_up_seconds))
    except ValueError:
        return Demand()


def _known(status: PoolStatus, kind: Condition) -> Finding | None:
    known = status.condition(kind)
    if known is None or known.get("status") == "Unknown":
        return None
    return Finding(kind, known["status"] == "True", Reason(known["reason"]), str(known.get("message", "")))
