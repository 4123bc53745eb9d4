"""Whether a used pod may be handed out again once it has been restarted, and what is believed of the restart.

The default answer is no: everything that is not as the pool's template has it, or not shown by
the kubelet to be fresh, means that the pod is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandyard.api import names, untrusted
from sandyard.api.objects import Pod
from sandyard.api.pool import PoolSpec
from sandyard.pod import observe, restart
from sandyard.podspec import network
from sandyard.podspec.network import Reach

__all__ = ["Progress", "changed", "obstacle", "progress", "uses"]


_SLACK_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    """How a restart goes.

    Attributes
    ----------
    wait_seconds
        How long to wait for more; None: it is over.
    why
        What keeps the pod from being used again; empty once it is proven to be fresh.
    """

    wait_seconds: float | None = None
    why: str = ""


def uses(pod: Pod) -> int:
    """How often *pod* has been handed out, this time included."""
    before = untrusted.whole_number(pod.metadata.annotations.get(names.ANNOTATION_USES, "0"))
    return (10**6 if before is None else before) + 1


def obstacle(pod: Pod, was_ready: bool, pool: PoolSpec, template_hash: str) -> str:
    """Why *pod*, whose Sandbox was Ready or not, is not to be restarted for another; empty if it may be."""
    why = changed(pod, pool, template_hash)
    if why:
        return why
    if not restart.possible(pod):
        return "it has no container that could restart it"
    if not was_ready or not observe.is_ready(pod):
        return "it is not ready"
    if restart.unasked(pod):
        return "its containers were restarted, and nobody had asked for it"
    main = next((status for status in pod.status.container_statuses if status.name == names.CONTAINER), None)
    if main is None or main.state.running is None:
        return "its main process has ended"
    return ""


def changed(pod: Pod, pool: PoolSpec, template_hash: str) -> str:
    """What about *pod* is not as *pool* has it, or no longer; empty if that is nothing."""
    labels = pod.metadata.labels
    if pool.recycle != "Restart":
        return "the pool does not recycle"
    if labels.get(names.LABEL_STATE) != names.STATE_CLAIMED:
        return "it was started for its Sandbox alone"
    if labels.get(names.LABEL_TEMPLATE_HASH) != template_hash:
        return "its template has changed"
    wanted = network.labels(Reach(pool.template.network, pool.template.dns))
    if any(labels.get(key) != wanted.get(key) for key in (names.LABEL_EGRESS, names.LABEL_ALLOW, names.LABEL_INGRESS)):
        return "its network was widened, and cannot be proven closed in time"
    if uses(pod) >= pool.restarting.max_uses:
        return f"it was handed out {uses(pod)} times (restart.maxUses)"
    if pod.metadata.deletion_timestamp is not None:
        return "it is being deleted"
    return ""


def progress(pod: Pod, request: restart.Request, timeout_seconds: float, now: float) -> Progress:
    """How the restart of *pod* that *request* asked for goes."""
    left = request.at + timeout_seconds - now
    shown = restart.evidence(pod, request)
    missing = shown.missing or ("" if observe.is_ready(pod) and observe.proof_of(pod) else "it is not ready yet")
    if shown.odd:
        return Progress(why=shown.odd)
    # A clock that was set back does not make it wait longer than it may.
    if left > timeout_seconds + _SLACK_SECONDS or left <= 0:
        return Progress(why=f"not proven within {timeout_seconds:.0f} s: {missing or 'it came too late'}")
    return Progress(wait_seconds=left) if missing else Progress()
