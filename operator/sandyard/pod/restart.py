"""A restart of all containers of a pod: what was asked for, and what the kubelet has shown of it.

Nothing that runs in the pod is asked.  What counts as evidence are container statuses, which
kubelets alone write: each container is another one than before, counts one more restart, and
has started later than what the same kubelet had told of the one before.  The node's clock is
compared with itself only; it may be ahead of the operator's, or behind.  Two things more are asked of
what runs before anything of a tenant's: that the limits of resources are those of the proof before,
since gVisor keeps them beyond a restart, and that no more memory is in use than before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sandyard.api import model, names, untrusted
from sandyard.api.objects import ContainerStatus, Pod
from sandyard.pod import proof

__all__ = ["Evidence", "Request", "ask", "asked", "count", "evidence", "possible", "unasked"]

# Of the pod's status, while the kubelet ends the containers (KEP-5532).
_RESTARTING = "AllContainersRestarting"
# What the kubelet says of a container that the runtime knows nothing of any more.
_NOT_FOUND = "ContainerStatusUnknown"
# Much more than was ever seen to differ (some 10 KiB), and little for ten tenants to add up.
_MORE_MEMORY_KIB = 1024


@dataclass(frozen=True)
class Before:
    """A container as it was when the restart was asked for.

    Attributes
    ----------
    container_id
        Of the runtime.
    restarts
        How often it had been started anew.
    at
        When it had ended, or else started, by the node's clock: in seconds since the epoch.
    """

    container_id: str
    restarts: int
    at: float


@dataclass(frozen=True)
class Request:
    """A restart that was asked for.

    Attributes
    ----------
    at
        When, by the operator's clock: in seconds since the epoch.
    before
        The containers at that moment, by name.
    limits
        Of resources, as the proof before has found them; empty: nobody knows.
    memory_kib
        In use when the pod was clean, before; None: nobody knows.
    """

    at: float
    before: Mapping[str, Before] = field(default_factory=dict)
    limits: tuple[int, ...] = ()
    memory_kib: int | None = None


@dataclass(frozen=True)
class Evidence:
    """What a pod shows of its restart; it is proven once both are empty.

    Attributes
    ----------
    odd
        What speaks against it for good.
    missing
        What is still to come.
    """

    odd: str = ""
    missing: str = ""


def ask(pod: Pod, now: float) -> str:
    """The annotation that asks for a restart of *pod*, as it is now."""
    before = {
        status.name: [status.container_id, status.restart_count, _last_told(status)] for status in _containers(pod)
    }
    found = {"limits": _limits(pod), "memoryKiB": _memory(pod)}
    return json.dumps({"at": round(now, 3), "before": before, **found})


def asked(pod: Pod) -> Request | None:
    """The restart of *pod* that was asked for; None if none was, or it has been proven and the pod given back.

    One that cannot be read is one that was asked for long ago: its time is over.
    """
    text = pod.metadata.annotations.get(names.ANNOTATION_RESTART)
    if text is None:
        return None
    content = untrusted.fields(text)
    at, before = content.get("at"), content.get("before")
    if not isinstance(at, float) or not math.isfinite(at) or not isinstance(before, dict):
        return Request(0.0)
    known = {name: _known(item) for name, item in before.items()}
    limits = proof.limits(content.get("limits"))
    there = {name: item for name, item in known.items() if item is not None}
    return Request(at, there, limits, _number(content.get("memoryKiB")))


def possible(pod: Pod) -> bool:
    """Whether *pod* has the container that restarts it."""
    return any(status.name == names.RESTART_CONTAINER for status in pod.status.init_container_statuses)


def count(pod: Pod) -> int:
    """How often the containers of *pod* have been started anew; the one that restarts it may do so alone."""
    return _most_starts(_containers(pod))


def unasked(pod: Pod) -> bool:
    """Whether the containers of *pod* were, or are being, restarted though nobody has asked for it.

    A pod that has ended was not: the kubelet that evicts one counts a restart of a container that it
    no longer finds, before it is done with the pod (``convertToAPIContainerStatuses``).
    """
    if names.ANNOTATION_RESTART in pod.metadata.annotations or pod.status.phase in ("Failed", "Succeeded"):
        return False
    known = untrusted.whole_number(pod.metadata.annotations.get(names.ANNOTATION_RESTARTS, "0")) or 0
    under_way = any(condition.type == _RESTARTING and condition.status == "True" for condition in pod.status.conditions)
    return under_way or _most_starts(status for status in _containers(pod) if not _not_found(status)) > known


def _most_starts(statuses: Iterable[ContainerStatus]) -> int:
    counts = [status.restart_count for status in statuses if status.name != names.RESTART_CONTAINER]
    return max(counts, default=0)


def _not_found(status: ContainerStatus) -> bool:
    ended = status.state.terminated
    return ended is not None and ended.reason == _NOT_FOUND


def evidence(pod: Pod, request: Request) -> Evidence:
    """What *pod* shows of the restart that *request* asked for."""
    if pod.status.phase in ("Failed", "Succeeded"):
        return Evidence(odd=f"it is {pod.status.phase}: {_why(pod)}")
    found = {status.name: status for status in _containers(pod)}
    if not found or found.keys() != request.before.keys():
        return Evidence(missing="not all of its containers are shown")
    each = [_of_one(status, request.before[name]) for name, status in found.items()]
    odd = next((item.odd for item in each if item.odd), "")
    missing = next((item.missing for item in each if item.missing), "")
    if not odd and not missing:
        odd = _outlived(pod, request)
    return Evidence(odd, "" if odd else missing)


def _of_one(status: ContainerStatus, before: Before) -> Evidence:
    name, ended, started_at = status.name, status.state.terminated, _started_at(status)
    if not status.container_id or status.container_id == before.container_id or started_at is None:
        return Evidence(missing=f"container {name} has not been started anew")
    if ended is not None and not _may_end(status):
        said = f": {ended.message}" if ended.message else ""
        return Evidence(odd=f"container {name} ended with exit code {ended.exit_code} after its restart{said}")
    if status.restart_count <= before.restarts:
        return Evidence(odd=f"container {name} is another one, though it counts no more restarts than before")
    if started_at <= before.at:
        return Evidence(odd=f"container {name} says that it was started no later than the one before it")
    return Evidence(missing="" if _settled(status) else f"container {name} is starting")


def _outlived(pod: Pod, request: Request) -> str:
    """What of the one before has outlived the restart, by the proof and the cleaner; empty if that is nothing."""
    if not request.limits or _limits(pod) != request.limits:
        return "the limits of resources are not those that its first proof has found"
    seen, before, now = _proof(pod), request.memory_kib, _memory(pod)
    if seen is None or not seen.isolated:
        # Its kernel is the node's, which frees what nobody can reach, and tells of the node's memory.
        return ""
    if before is None or now is None or now > before + _MORE_MEMORY_KIB:
        return f"{now} KiB of memory are in use in the clean pod, and before it was used {before} KiB were"
    return ""


def _limits(pod: Pod) -> tuple[int, ...]:
    """Those that the proof of *pod* has found; empty if it does not tell."""
    seen = _proof(pod)
    return seen.limits if seen is not None else ()


def _memory(pod: Pod) -> int | None:
    """KiB in use when the cleaner of *pod* was done; None if it does not tell."""
    return _number(untrusted.fields(_said(pod, names.CLEAN_CONTAINER)).get("memoryKiB"))


def _number(found: object) -> int | None:
    return found if type(found) is int and found >= 0 else None


def _proof(pod: Pod) -> proof.Proof | None:
    return proof.parse(_said(pod, names.PROBE_CONTAINER))


def _said(pod: Pod, container: str) -> str:
    ended = next((item.state.terminated for item in _containers(pod) if item.name == container), None)
    return ended.message or "" if ended is not None else ""


def _may_end(status: ContainerStatus) -> bool:
    ended = status.state.terminated
    last = status.name in (names.CONTAINER, names.RESTART_CONTAINER)
    return not last and ended is not None and ended.exit_code == 0


def _settled(status: ContainerStatus) -> bool:
    """Whether it does what it does in a pod that is ready: what runs before has ended, the rest runs."""
    lasting = status.name in (names.CONTAINER, names.RESTART_CONTAINER)
    return (status.state.running if lasting else status.state.terminated) is not None


def _started_at(status: ContainerStatus) -> float | None:
    state = status.state.running or status.state.terminated
    return model.moment(state.started_at) if state is not None and state.started_at else None


def _last_told(status: ContainerStatus) -> float | None:
    ended = status.state.terminated
    if ended is not None and ended.finished_at:
        return model.moment(ended.finished_at)
    return _started_at(status)


def _why(pod: Pod) -> str:
    for status in _containers(pod):
        ended = status.state.terminated
        if ended is not None and ended.exit_code != 0 and status.name != names.RESTART_CONTAINER:
            return f"{status.name} ended with exit code {ended.exit_code}: {ended.message or ended.reason}"
    return pod.status.message or "no message"


def _containers(pod: Pod) -> Iterator[ContainerStatus]:
    yield from pod.status.init_container_statuses
    yield from pod.status.container_statuses


def _known(item: object) -> Before | None:
    match item:
        case [str(container), int(restarts), int() | float() as at] if not isinstance(restarts, bool):
            return Before(container, restarts, at)
    return None
