"""Makes the kubelet report a failed image pull at once.

A kubelet that could not pull an image says so only when it syncs the pod again, ten seconds
later (its backOffPeriod).  A change of the pod's metadata makes it sync at once; if it is in
the middle of a pull, right after that.  So a pod whose main container is overdue after the
probe has ended is touched, once.
"""

from __future__ import annotations

from sandyard.engine.cluster.pods import Pods
from sandyard.engine.loops.clock import Clock
from sandyard.engine.state.pods import PodEntry
from sandyard.pod import observe

__all__ = ["KubeletResync"]

_OVERDUE_SECONDS = 1.0


class KubeletResync:
    """Wakes kubelets; what has been done about a pod stands in its entry."""

    def __init__(self, pods: Pods, clock: Clock) -> None:
        self._pods = pods
        self._clock = clock

    async def consider(self, entry: PodEntry) -> float | None:
        """Touch the pod if it is overdue; returns the seconds after which to ask again."""
        pod = entry.pod
        settled = observe.proof_of(pod) is None or observe.is_ready(pod) or observe.trouble(pod) is not None
        if settled or entry.touched or pod.metadata.deletion_timestamp is not None:
            return None
        now = self._clock.monotonic()
        if entry.overdue_since is None:
            entry.overdue_since = now
        wait = entry.overdue_since + _OVERDUE_SECONDS - now
        if wait > 0:
            return wait
        entry.touched = True
        await self._pods.touch(pod)
        return None
