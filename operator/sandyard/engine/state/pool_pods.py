"""The pods of one pool, sorted by what has to be done about them as each change arrives.

A pool that is reconciled looks at the pods that are about something, not at all of them.
"""

from __future__ import annotations

from dataclasses import replace

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.api.template import Template
from sandyard.engine.state.pods import PodEntry, owned_by
from sandyard.pod import labels, observe
from sandyard.pod.observe import PodState, Trouble
from sandyard.pool.census import Census, PoolPod
from sandyard.pool.ordered import Ordered

__all__ = ["PoolPods"]

_ALIVE = (PodState.WARM, PodState.PROVEN, PodState.CLAIMED)
_FREE = (PodState.STARTING, PodState.PROVEN, PodState.WARM)


class PoolPods:
    """What a pool knows of its pods, for one template.

    Parameters
    ----------
    owner
        Namespace and UID of the pool: what only carries its label is none of its pods. None: believe labels.

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

    def __init__(
        self, template_hash: str = "", template: Template | None = None, owner: tuple[str, str] | None = None
    ) -> None:
        self.template_hash = template_hash
        self.egress: str = template.network.egress if template is not None else names.EGRESS_NONE
        self._networks = labels.free_networks(template) if template is not None else None
        self._owner = owner
        self.census = Census()
        self.warm = Ordered()
        self.ready = Ordered()
        self.closed: dict[str, None] = {}
        self.setups_ended: dict[str, None] = {}
        self.setups = Ordered()
        self.unready: dict[str, None] = {}
        self.troubled: dict[str, Trouble] = {}
        # As each pod is by itself: whatever is set aside or being deleted.
        self._own: dict[str, PoolPod] = {}
        self._unowned: set[str] = set()
        self._news: dict[str, None] = {}

    @property
    def unowned(self) -> int:
        """Pods that belong to no Sandbox, on their way out or not."""
        return len(self._unowned)

    def fits(self, pod: Pod) -> bool:
        """Whether *pod*, as last seen, may be handed out: warm, and of the present template."""
        current = pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) == self.template_hash
        return current and not self._strays(pod) and observe.classify(pod, self.egress) is PodState.WARM

    def _strays(self, pod: Pod) -> bool:
        """Whether *pod*, which is nobody's, has a network that its template does not give it."""
        return self._networks is not None and labels.network_of(pod) not in self._networks

    def trouble(self) -> Trouble | None:
        """What holds a starting pod of the present template back."""
        return next(iter(self.troubled.values()), None)

    def put(self, entry: PodEntry) -> None:
        """A pod is there, as the watch shows it."""
        pod, uid = entry.pod, entry.uid
        self.drop(uid)
        if not self._is_ours(pod):
            return
        self._news[uid] = None
        state = observe.classify(pod, self.egress)
        current = pod.metadata.labels.get(names.LABEL_TEMPLATE_HASH) == self.template_hash
        trouble = observe.trouble(pod) if state is PodState.STARTING else None
        since = observe.ready_at(pod)
        self._own[uid] = PoolPod(
            uid, state, model.seconds(pod.metadata.creation_timestamp), since, current, trouble is not None
        )
        if current and trouble is not None:
            self.troubled[uid] = trouble
        if current and state in _ALIVE and observe.is_ready(pod):
            self.ready.put(uid, since)
        labelled = names.LABEL_SANDBOX_UID in pod.metadata.labels
        if current and not labelled and self._strays(pod):
            entry.tampered = True
        if current and not labelled and observe.setup_open(pod):
            self.setups_ended[uid] = None
        started = observe.setup_since(pod)
        if not labelled and started is not None and pod.metadata.deletion_timestamp is None:
            self.setups.put(uid, started)
        if pod.metadata.deletion_timestamp is None and _unready(pod):
            self.unready[uid] = None
        self.place(entry)

    def drop(self, uid: str) -> None:
        """A pod is gone."""
        self._news.pop(uid, None)
        if self._own.pop(uid, None) is None:
            return
        self.census.drop(uid)
        for ordered in (self.warm, self.ready, self.setups):
            ordered.drop(uid)
        for table in (self.closed, self.setups_ended, self.unready, self.troubled):
            table.pop(uid, None)
        self._unowned.discard(uid)

    def place(self, entry: PodEntry) -> None:
        """Put a pod where it belongs, with what is under way laid over it: a claim, a delete."""
        uid = entry.uid
        pod = self._own.get(uid)
        if pod is None:
            return
        (self._unowned.discard if entry.owned else self._unowned.add)(uid)
        if entry.reserved_for is not None and pod.state is not PodState.TERMINATING:
            seen = replace(pod, state=PodState.CLAIMED, stuck=False)
        elif entry.leaving:
            seen = replace(pod, state=PodState.TERMINATING, stuck=False)
        elif entry.tampered and pod.state in _FREE:
            seen = replace(pod, state=PodState.UNHEALTHY, stuck=False)
        else:
            seen = pod
        self.census.put(seen)
        if seen.state is PodState.WARM and pod.current and not entry.refused:
            self.warm.put(uid, pod.since)
        else:
            self.warm.drop(uid)
        if seen.state is PodState.PROVEN and pod.current:
            self.closed[uid] = None
        else:
            self.closed.pop(uid, None)

    def _is_ours(self, pod: Pod) -> bool:
        if self._owner is None:
            return True
        namespace, uid = self._owner
        if pod.metadata.namespace != namespace:
            return False
        # A claimed pod belongs to its Sandbox.
        claimed = names.LABEL_SANDBOX_UID in pod.metadata.labels
        return claimed or owned_by(pod, uid)

    def take_news(self) -> list[str]:
        """UIDs of pods that have changed since this was last asked."""
        news = list(self._news)
        self._news.clear()
        return news


def _unready(pod: Pod) -> bool:
    return observe.proof_of(pod) is not None and not observe.is_ready(pod) and observe.trouble(pod) is None
