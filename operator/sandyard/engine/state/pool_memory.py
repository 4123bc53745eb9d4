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
from sandyard.engine.state.pods import PodEntry
from sandyard.kube.backoff import pause_seconds
from sandyard.pod import observe
from sandyard.pod.observe import PodState, Trouble
from sandyard.pool.backoff import Backoff
from sandyard.pool.demand import Demand
from sandyard.pool.expectations import Expectations
from sandyard.pool.hindrances import Hindrances
from sandyard.pool.ordered import Ordered
from sandyard.pool.status import PoolStatus

__all__ = ["PoolMemory", "remember"]

# A pod must stay warm this long before the failures before it are forgiven; else a pool whose
# pods start well and die at once would never back off.
FORGIVE_AFTER_SECONDS = 5.0
_LEAST_PATIENCE_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


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
    at_maximum
        Whether ``maxSandboxes`` keeps it from starting what it wants.
    written_at
        When its status was last written; seconds of the monotonic clock.
    filled_generation
        Of its spec when all desired sandboxes were last warm; None: never yet.
    empty_since
        Since when none is warm; seconds since the epoch. None: one is.
    busy, held_until
        How often in a row the API server was too busy for a create, and until when none is sent
        because of that; seconds since the epoch.
    unsure
        Names of pods of which nobody knows whether they were made, each with the time at which
        somebody looks; seconds of the monotonic clock.
    hindrances
        Requests of this pool that fail again and again.
    """

    template_hash: str
    expectations: Expectations = field(default_factory=Expectations)
    backoff: Backoff = Backoff()
    failed_at: float = 0.0
    proven: bool = False
    warm_hits: int = 0
    cold_starts: int = 0
    reused: int = 0
    at_maximum: bool = False
    refused: str = ""
    runtime: Finding | None = None
    network: Finding | None = None
    demand: Demand = Demand()
    written_at: float = float("-inf")
    filled_generation: int | None = None
    empty_since: float | None = None
    busy: int = 0
    held_until: float = float("-inf")
    unsure: dict[str, float] = field(default_factory=dict)
    hindrances: Hindrances = field(default_factory=Hindrances)

    def turn_to(self, template_hash: str) -> None:
        """A new template is a new chance: forget what was learnt of the old one."""
        if self.template_hash == template_hash:
            return
        self.template_hash = template_hash
        self.backoff = Backoff()
        self.proven = False
        self.refused = ""
        self.runtime = self.network = None

    def counted(self, warm: int, now: float) -> None:
        """So many are warm."""
        if warm:
            self.empty_since = None
        elif self.empty_since is None:
            self.empty_since = now

    def empty_too_long_at(self, start_timeout_seconds: float) -> float | None:
        """When a pool that stays empty has been so for longer than a start takes; None while one is warm."""
        if self.empty_since is None:
            return None
        measured = self.demand.warm_up_seconds
        patience = start_timeout_seconds if measured is None else max(_LEAST_PATIENCE_SECONDS, 2 * measured)
        return self.empty_since + patience

    def hold(self, now: float, retry_after_seconds: float | None) -> float:
        """The API server is too busy: send no creates for a while, which says nothing about the template.

        Returns
        -------
        float
            Seconds to wait.
        """
        pause = max(pause_seconds(self.busy, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS), retry_after_seconds or 0.0)
        self.busy += 1
        self.held_until = max(self.held_until, now + pause)
        return pause

    def fail(self, reason: Reason, message: str, now: float) -> None:
        """A start has failed."""
        self.failed_at = now
        self.backoff = self.backoff.fail(reason, message, now, random.random())
        if reason is Reason.RUNTIME_NOT_ISOLATED:
            self.runtime = Finding(Condition.RUNTIME_ISOLATED, False, reason, message)
        elif reason is Reason.NETWORK_NOT_ENFORCED:
            self.network = Finding(Condition.NETWORK_ENFORCED, False, reason, message)

    def forgive_network(self) -> None:
        """What else opened its pods has changed: starts that failed by that say nothing about the next one."""
        if self.backoff.reason is Reason.NETWORK_NOT_ENFORCED:
            self.backoff = Backoff()

    def failures(self, pods: Iterable[PodEntry], egress: str) -> list[tuple[PodEntry, Trouble]]:
        """Pods of the present template that have failed and were not counted yet."""
        found = []
        for entry in self._current(pods):
            if entry.failure_counted:
                continue
            state = observe.classify(entry.pod, egress)
            if state is PodState.FAILED:
                trouble = observe.trouble(entry.pod)
                assert trouble is not None
                found.append((entry, trouble))
            elif state is PodState.UNHEALTHY and observe.sickness(entry.pod).reason is Reason.POD_NOT_READY:
                # A lost node says nothing about the template.
                found.append((entry, observe.sickness(entry.pod)))
        return found

    def learn(self, pods: Iterable[PodEntry], ready: Ordered, egress: str, now: float) -> float | None:
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
        for entry in self._current(pods):
            pod = entry.pod
            state = observe.classify(pod, egress)
            if state not in (PodState.WARM, PodState.PROVEN, PodState.CLAIMED) or not observe.is_ready(pod):
                continue
            ready_at = observe.ready_at(pod)
            if state is not PodState.CLAIMED and not entry.start_measured:
                entry.start_measured = True
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

    def _current(self, pods: Iterable[PodEntry]) -> list[PodEntry]:
        wanted = self.template_hash
        return [entry for entry in pods if entry.pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) == wanted]

    def _believe(self, pod: Pod) -> None:
        seen = observe.proof_of(pod)
        if seen is None:
            return
        by = f"proven by pod {pod.metadata.name}"
        if self.runtime is None or self.runtime.status is not seen.isolated:
            reason = Reason.PROVEN if seen.isolated else Reason.RUNTIME_NOT_ISOLATED
            text = by if seen.isolated else f"not {by}"
            self.runtime = Finding(Condition.RUNTIME_ISOLATED, seen.isolated, reason, text)
        if self.network is None or self.network.status is not seen.enforced:
            reason = Reason.PROVEN if seen.enforced else Reason.NETWORK_NOT_ENFORCED
            text = by if seen.enforced else f"not {by}"
            self.network = Finding(Condition.NETWORK_ENFORCED, seen.enforced, reason, text)


def remember(status: PoolStatus, now: float) -> PoolMemory:
    """The memory of a pool that this process meets for the first time, from its status."""
    memory = PoolMemory(status.template_hash or "")
    memory.warm_hits = status.warm_hits or 0
    memory.cold_starts = status.cold_starts or 0
    memory.reused = status.reused or 0
    memory.demand = _measured(status, now)
    ready = status.condition(Condition.READY)
    if ready is not None and ready["status"] == "True":
        memory.filled_generation = ready.get("observedGeneration")
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
    if known is None or known.get("status") == "Unknown" or known["reason"] == Reason.FOREIGN_POLICY:
        return None
    return Finding(kind, known["status"] == "True", Reason(known["reason"]), str(known.get("message", "")))
