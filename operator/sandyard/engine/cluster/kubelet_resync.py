"""Makes the kubelet report a failed image pull at once.

A kubelet that could not pull an image says so only when it syncs the pod again, ten seconds
later (its backOffPeriod).  A change of the pod's metadata makes it sync at once; if it is in
the middle of a pull, right after that.  So a pod whose main container is overdue after the
probe has ended is touched, once.
"""

from __future__ import annotations

from sandyard.api.objects import Pod
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.loops.clock import Clock
from sandyard.pod import observe

__all__ = ["KubeletResync"]

_OVERDUE_SECONDS = 1.0


class KubeletResync:
    """Which pods have been waited for, and which have been touched."""

    def __init__(self, pods: Pods, clock: Clock) -> None:
        self._pods = pods
        self._clock = clock
        self._since: dict[str, float] = {}
        self._touched: set[str] = set()

    async def consider(self, pod: Pod) -> float | None:
        """Touch *pod* if it is overdue; returns the seconds after which to ask again."""
        uid = pod.metadata.uid
        settled = observe.proof_of(pod) is None or observe.is_ready(pod) or observe.trouble(pod) is not None
        if settled or uid in self._touched or pod.metadata.deletion_timestamp is not None:
            return None
        now = self._clock.monotonic()
        wait = self._since.setdefault(uid, now) + _OVERDUE_SECONDS - now
        if wait > 0:
            return wait
        self._touched.add(uid)
        await self._pods.touch(pod)
        return None

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._since.pop(uid, None)
        self._touched.discard(uid)
