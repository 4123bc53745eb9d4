"""The pods of one pool, sorted by what has to be done about them as each change arrives.

A pool that is reconciled looks at the pods that are about something, not at all of them.
"""

from __future__ import annotations

from dataclasses import replace

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.pod import observe
from sandyard.pod.observe import PodState, Trouble
from sandyard.pool.census import Census, PoolPod
from sandyard.pool.ordered import Ordered

__all__ = ["PoolPods"]

_ALIVE = (PodState.WARM, PodState.PROVEN, PodState.CLAIMED)


class PoolPods:
    """What a pool knows of its pods, for one template.

    Attributes
    ----------
    census
        All pods as the arithmetic sees them: reservations and deletes under way included.
    warm
        Pods that may be handed out now, by the time since when they are ready.
    ready
        Ready pods of the present template, claimed ones too, by the same time.
    closed
        Proven pods whose network has yet to be opened.
    setups_ended
        Pods whose setup has ended and whose network has to be closed again.
    setups
        Unclaimed pods whose setup runs, by its start.
    unready
        Pods whose probe has ended and that are not ready, with nothing known against them.
    troubled
        Starting pods of the present template that make no progress, and why.
    """

    def __init__(self, template_hash: str, egress: str) -> None:
        self.template_hash = template_hash
        self.census = Census()
        self.warm = Ordered()
        self.ready = Ordered()
        self.closed: dict[str, None] = {}
        self.setups_ended: dict[str, None] = {}
        self.setups = Ordered()
        self.unready: dict[str, None] = {}
        self.troubled: dict[str, Trouble] = {}
        self._egress = egress
        # As each pod is by itself: whatever is set aside or being deleted.
        self._own: dict[str, PoolPod] = {}
        self._owned: set[str] = set()
        self._set_aside: set[str] = set()
        self._leaving: set[str] = set()
        self._refused: set[str] = set()
        self._news: dict[str, None] = {}

    @property
    def unowned(self) -> int:
        """Pods that belong to no Sandbox, on their way out or not."""
        return len(self._own) - len(self._owned)

    def put(self, pod: Pod) -> None:
        """*pod* is there, as the watch shows it."""
        uid = pod.metadata.uid
        self._forget(uid)
        self._refused.discard(uid)
        self._news[uid] = None
        state = observe.classify(pod, self._egress)
        current = pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) == self.template_hash
        trouble = observe.trouble(pod) if state is PodState.STARTING else None
        since = observe.ready_at(pod)
        self._own[uid] = PoolPod(
            uid, state, model.seconds(pod.metadata.creation_timestamp), since, current, trouble is not None
        )
        owned = names.LABEL_SANDBOX_UID in pod.metadata.labels
        if owned or uid in self._set_aside:
            self._owned.add(uid)
        if current and trouble is not None:
            self.troubled[uid] = trouble
        if current and state in _ALIVE and observe.is_ready(pod):
            self.ready.put(uid, since)
        if current and not owned and observe.setup_open(pod):
            self.setups_ended[uid] = None
        started = observe.setup_since(pod)
        if not owned and started is not None and pod.metadata.deletion_timestamp is None:
            self.setups.put(uid, started)
        if pod.metadata.deletion_timestamp is None and _unready(pod):
            self.unready[uid] = None
        self._place(uid)

    def drop(self, uid: str) -> None:
        """A pod is gone."""
        self._forget(uid)
        for known in (self._set_aside, self._leaving, self._refused):
            known.discard(uid)
        self._news.pop(uid, None)

    def set_aside(self, uid: str) -> None:
        """A pod is set aside for a claim, or has been claimed though the watch has yet to show it."""
        self._set_aside.add(uid)
        self._owned.add(uid)
        self._place(uid)

    def put_back(self, uid: str, *, refused: bool = False) -> None:
        """A pod that was set aside is free again; *refused*: but not before it has been seen anew."""
        self._set_aside.discard(uid)
        self._owned.discard(uid)
        if refused:
            self._refused.add(uid)
        self._place(uid)

    def echoed(self, uid: str) -> None:
        """The watch shows the claim of a pod that was set aside: from now on its label says whose it is."""
        self._set_aside.discard(uid)
        self._place(uid)

    def leaving(self, uid: str) -> None:
        """A delete of the pod is about to be sent."""
        self._leaving.add(uid)
        self._place(uid)

    def staying(self, uid: str) -> None:
        """The delete was refused, or nothing has come of it."""
        self._leaving.discard(uid)
        self._place(uid)

    def is_leaving(self, uid: str) -> bool:
        """Whether a delete of the pod is under way."""
        return uid in self._leaving

    def take_news(self) -> list[str]:
        """Pods that have changed since this was last asked."""
        news = list(self._news)
        self._news.clear()
        return news

    def _place(self, uid: str) -> None:
        """Put the pod where it belongs, with what is under way laid over it."""
        pod = self._own.get(uid)
        if pod is None:
            return
        aside, leaving = uid in self._set_aside, uid in self._leaving
        if aside and pod.state is not PodState.TERMINATING:
            seen = replace(pod, state=PodState.CLAIMED, stuck=False)
        elif leaving:
            seen = replace(pod, state=PodState.TERMINATING, stuck=False)
        else:
            seen = pod
        self.census.put(seen)
        if seen.state is PodState.WARM and pod.current and uid not in self._refused:
            self.warm.put(uid, pod.since)
        else:
            self.warm.drop(uid)
        if seen.state is PodState.PROVEN and pod.current:
            self.closed[uid] = None
        else:
            self.closed.pop(uid, None)

    def _forget(self, uid: str) -> None:
        if self._own.pop(uid, None) is None:
            return
        self.census.drop(uid)
        for ordered in (self.warm, self.ready, self.setups):
            ordered.drop(uid)
        for table in (self.closed, self.setups_ended, self.unready, self.troubled):
            table.pop(uid, None)
        self._owned.discard(uid)


def _unready(pod: Pod) -> bool:
    return observe.proof_of(pod) is not None and not observe.is_ready(pod) and observe.trouble(pod) is None
