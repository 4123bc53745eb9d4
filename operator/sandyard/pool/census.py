"""All pods of a pool: counted by what they are, and in the order in which they may have to go.

Each change of a pod changes one entry, so that a decision about ten thousand pods looks at
the few that it is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sandyard.pod.observe import PodState
from sandyard.pool.ordered import Ordered

__all__ = ["Census", "PoolPod"]

_BAD = (PodState.FAILED, PodState.UNHEALTHY)
_READY = (PodState.WARM, PodState.PROVEN)


@dataclass(frozen=True)
class PoolPod:
    """One pod as the arithmetic sees it.

    Attributes
    ----------
    created_at, since
        When it was made, and since when it is ready; seconds.
    current
        Whether it is of the pool's present template.
    stuck
        Whether something keeps it from starting (image, scheduling).
    """

    uid: str
    state: PodState
    created_at: float = 0.0
    since: float = 0.0
    current: bool = True
    stuck: bool = False


class Census:
    """The pods of one pool at one moment.

    Attributes
    ----------
    bad
        Pods that have failed or are unhealthy.
    starting, starting_outdated
        By their creation; the second are of an earlier template.
    stuck
        Those of `starting` that are stuck.
    ready, ready_outdated
        Warm and proven ones, by the time since when they are ready.
    """

    def __init__(self, pods: Iterable[PoolPod] = ()) -> None:
        self._pods: dict[str, PoolPod] = {}
        self._counts: Counter[tuple[PodState, bool]] = Counter()
        self.bad: dict[str, None] = {}
        self.starting = Ordered()
        self.starting_outdated = Ordered()
        self.stuck = Ordered()
        self.ready = Ordered()
        self.ready_outdated = Ordered()
        for pod in pods:
            self.put(pod)

    def __len__(self) -> int:
        return len(self._pods)

    def get(self, uid: str) -> PoolPod | None:
        """The pod as it was last put."""
        return self._pods.get(uid)

    def put(self, pod: PoolPod) -> None:
        """Add *pod*, or take it as it is now."""
        if self._pods.get(pod.uid) == pod:
            return
        self.drop(pod.uid)
        self._pods[pod.uid] = pod
        self._counts[pod.state, pod.current] += 1
        if pod.state in _BAD:
            self.bad[pod.uid] = None
        elif pod.state is PodState.STARTING:
            (self.starting if pod.current else self.starting_outdated).put(pod.uid, pod.created_at)
            if pod.current and pod.stuck:
                self.stuck.put(pod.uid, pod.created_at)
        elif pod.state in _READY:
            (self.ready if pod.current else self.ready_outdated).put(pod.uid, pod.since)

    def drop(self, uid: str) -> None:
        """Forget a pod that is gone."""
        pod = self._pods.pop(uid, None)
        if pod is None:
            return
        self._counts[pod.state, pod.current] -= 1
        if pod.state in _BAD:
            del self.bad[uid]
        elif pod.state is PodState.STARTING:
            (self.starting if pod.current else self.starting_outdated).drop(uid)
            self.stuck.drop(uid)
        elif pod.state in _READY:
            (self.ready if pod.current else self.ready_outdated).drop(uid)

    def count(self, *states: PodState, current: bool | None = None) -> int:
        """How many pods are in one of *states*; *current*: of which template (None: of any)."""
        templates = (True, False) if current is None else (current,)
        return sum(self._counts[state, template] for state in states for template in templates)

    def unclaimed(self) -> list[str]:
        """Pods that are nobody's and not on their way out."""
        return [
            *self.bad, *self.starting, *self.starting_outdated, *self.ready, *self.ready_outdated,
        ]  # fmt: skip
