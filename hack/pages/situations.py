"""Every situation of a Sandbox and of a pool, as the object that the operator writes then.

They come from the functions that the operator itself has, so that what is said about them cannot be said of
something that does not happen.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sandyard.api import names
from sandyard.api.conditions import Finding
from sandyard.api.objects import Pod
from sandyard.api.reasons import Condition, Reason, Start
from sandyard.pod import proof
from sandyard.pod.observe import PodState, Trouble
from sandyard.podspec.foreign import Exposure
from sandyard.pool import report
from sandyard.pool.backoff import Backoff
from sandyard.pool.census import Census, PoolPod
from sandyard.pool.status import PoolStatus
from sandyard.sandbox import phase
from sandyard.sandbox.phase import Facts
from sandyard.sandbox.status import Status, until

__all__ = ["Situation", "pools", "sandboxes"]

Object = dict[str, Any]
# 2026-01-01T00:00:00Z
_NOW: Final = 1767225600.0
_GENERATION: Final = 2
_PROOF: Final = proof.Proof("gvisor", isolated=True, network="Enforced")
_POD: Final = msgspec.json.decode(
    json.dumps({"metadata": {"name": "python-3148f4b5", "namespace": "team", "uid": "pod", "resourceVersion": "1"},
                "spec": {"nodeName": "node-1"}, "status": {"podIP": "10.0.0.7"}}),
    type=Pod,
)  # fmt: skip
_PROVEN: Final = {
    "runtime": Finding(Condition.RUNTIME_ISOLATED, True, Reason.PROVEN, "gvisor"),
    "network": Finding(Condition.NETWORK_ENFORCED, True, Reason.PROVEN, "closed before the main process started"),
}
_PULL: Final = "image registry.example/team/python:3: not found"


@dataclass(frozen=True)
class Situation:
    """What has happened, in words, and the object as the API server shows it then."""

    what: str
    object: Object


def _facts(before: Status | None = None, fields: Object | None = None) -> Facts:
    return Facts(_GENERATION, before or Status(), _NOW, "python", fields or {})


def _ready() -> Status:
    return phase.ready(_facts(fields=until(_NOW + 600, _NOW)), _POD, Start.WARM, _PROOF)


def _paused() -> Status:
    return phase.paused(_facts(_ready()), _POD, 3)


def _suspended() -> Status:
    return phase.suspended(_facts(_ready(), until(None, _NOW)), Reason.SUSPENDED, "spec.desiredState is Suspended")


def _ended(reason: str, code: int) -> Status:
    return phase.finished(_facts(_ready()), _POD, {"reason": reason, "exitCode": code})


_SANDBOXES: Final[list[tuple[str, str, Callable[[], Status | None]]]] = [
    ("not seen by an operator yet", "", lambda: None),
    ("waits for its pool", "",
     lambda: phase.pending(_facts(), Reason.WAITING, "pool python has no warm sandbox; 3 claims wait", stalled=False)),
    ("its pool is not there", "",
     lambda: phase.pending(_facts(), Reason.POOL_NOT_FOUND, "there is no pool python in team", stalled=True)),
    ("its own pod starts", "",
     lambda: phase.starting(_facts(), _POD, Reason.STARTING, "its pod starts", stalled=False)),
    ("its own pod cannot start", "",
     lambda: phase.starting(_facts(), _POD, Reason.IMAGE_PULL, _PULL, stalled=True)),
    ("can be used", "", _ready),
    ("can be used, and its spec was changed just now", "changed", _ready),
    ("was Ready, and its probe fails", "",
     lambda: phase.not_ready(_facts(_ready()), _POD, Reason.POD_NOT_READY, "its probe fails")),
    ("is being paused", "Paused",
     lambda: phase.pausing(_facts(_ready()), _POD, Reason.PAUSING, "its processes are being stopped")),
    ("is paused", "Paused", _paused),
    ("cannot be paused", "Paused",
     lambda: phase.pausing(_facts(_ready()), _POD, Reason.PAUSE_FAILED, "2 processes run on", stalled=True)),
    ("is asked to pause where pausing is off", "Paused",
     lambda: phase.refused_state(_ready(), Reason.PAUSING_DISABLED, "pausing.enabled of the chart is false")),
    ("is being suspended", "Suspended", lambda: phase.suspending(_facts(_ready()), "its pod is being deleted")),
    ("is suspended", "Suspended", _suspended),
    ("is suspended, since its time was over", "",
     lambda: phase.suspended(_facts(_ready(), until(None, _NOW)), Reason.EXPIRED, "its lifetime (600 s) is over")),
    ("resumes", "", lambda: phase.resuming(_facts(_suspended()))),
    ("should resume, and no pod starts", "",
     lambda: phase.suspended(_facts(_ready()), Reason.IMAGE_PULL, _PULL, stalled=True)),
    ("has expired and is kept", "",
     lambda: phase.expired(_facts(_ready(), until(None, _NOW)), Reason.EXPIRED, "its lifetime (600 s) is over")),
    ("its main process ended well", "", lambda: _ended("Completed", 0)),
    ("its main process failed", "", lambda: _ended("Error", 3)),
    ("its pod was lost", "",
     lambda: phase.failed(_facts(_ready()), Reason.POD_LOST, "its pod was deleted by somebody else")),
    ("its pod was lost, and a fresh one follows (onLost: Replace)", "",
     lambda: phase.replacing(_facts(_ready()), Reason.POD_LOST, "a fresh pod takes its place", "its pod is gone", 1)),
    ("is being deleted", "deleted", lambda: phase.terminating(_facts(_ready()), "")),
    ("is being deleted, and its pod does not go", "deleted",
     lambda: phase.terminating(_facts(_ready()), "its pod is still on node-1, which is silent")),
]  # fmt: skip


def sandboxes() -> list[Situation]:
    """Every situation of a Sandbox, in the order of a life."""
    return [Situation(what, _sandbox(mark, make())) for what, mark, make in _SANDBOXES]


def _sandbox(mark: str, status: Status | None) -> Object:
    spec: Object = {"poolRef": {"name": "python"}, "desiredState": "Running"}
    if mark in ("Paused", "Suspended"):
        spec["desiredState"] = mark
    return _object(names.SANDBOX_KIND, "hello", spec, {} if status is None else status.dump(), mark)


def _pool(pods: list[PoolPod], **fields: Any) -> PoolStatus:
    content: Object = {"uid": "u", "generation": _GENERATION, "replicas": 2, "template_hash": "h", "pending_creates": 0,
                       "waiting": 0, "warm_hits": 5, "cold_starts": 1, "filled": True, **_PROVEN}  # fmt: skip
    return report.status(report.PoolFacts(**{**content, "pods": Census(pods), **fields}), PoolStatus(), _NOW)


def _warm(number: int, *, current: bool = True) -> list[PoolPod]:
    return [PoolPod(f"w{at}{current}", PodState.WARM, current=current) for at in range(number)]


_STARTING: Final = [PoolPod("s", PodState.STARTING)]
_IMAGE: Final = Trouble(Reason.IMAGE_PULL, _PULL)
_FAILURES: Final = Backoff(4, _NOW + 60, Reason.IMAGE_PULL, _PULL, _NOW)
_NOTHING_PROVEN: Final = {"filled": False, "runtime": None, "network": None}
_OPENED: Final = ("allow-all",)
_POOLS: Final[list[tuple[str, str, Callable[[], PoolStatus | None]]]] = [
    ("not seen by an operator yet", "", lambda: None),
    ("is filled for the first time", "", lambda: _pool(_STARTING, **_NOTHING_PROVEN)),
    ("is full", "", lambda: _pool(_warm(2))),
    ("is full, and its spec was changed just now", "changed", lambda: _pool(_warm(2))),
    ("a claim has just taken a sandbox", "", lambda: _pool([*_warm(1), *_STARTING])),
    ("claims have taken all of them", "", lambda: _pool(_STARTING, waiting=1)),
    ("has been empty for longer than a start takes", "", lambda: _pool(_STARTING, waiting=9, empty_too_long=True)),
    ("is replaced by a new template", "", lambda: _pool([*_warm(1), *_warm(1, current=False)], filled=False)),
    ("is at maxSandboxes", "", lambda: _pool(_warm(1), at_maximum=True)),
    ("is paused", "paused", lambda: _pool(_warm(2), paused=True)),
    ("its image cannot be pulled", "", lambda: _pool(_STARTING, trouble=_IMAGE, **_NOTHING_PROVEN)),
    ("is backing off after failed starts", "", lambda: _pool([], backoff=_FAILURES, backoff_now=_NOW)),
    ("its template is beyond the bounds", "",
     lambda: _pool([], refused="template.resources.cpu is 64, and policy.maxCpu 8", **_NOTHING_PROVEN)),
    ("a NetworkPolicy of others opens its sandboxes", "",
     lambda: _pool(_warm(2), exposure=Exposure(_OPENED, withholds=True))),
    ("the same, where isolation.network is BestEffort", "",
     lambda: _pool(_warm(2), exposure=Exposure(_OPENED, withholds=False))),
    ("is full, and cannot restart as it asks for", "",
     lambda: _pool(_warm(2), no_restart="the cluster is older than Kubernetes 1.36")),
    ("its spec cannot be read", "",
     lambda: report.unreadable(PoolStatus(), "spec.replicas is no number", _GENERATION, _NOW)),
    ("is being deleted", "deleted", lambda: _pool(_warm(1))),
]  # fmt: skip


def pools() -> list[Situation]:
    """Every situation of a pool."""
    return [Situation(what, _pool_object(mark, make())) for what, mark, make in _POOLS]


def _pool_object(mark: str, status: PoolStatus | None) -> Object:
    spec: Object = {"replicas": 2, "template": {"image": "registry.example/team/python:3"}}
    if mark == "paused":
        spec["paused"] = True
    return _object(names.POOL_KIND, "python", spec, {} if status is None else status.dump(), mark)


def _object(kind: str, name: str, spec: Object, status: Object, mark: str) -> Object:
    metadata: Object = {"name": name, "namespace": "team", "uid": "u", "generation": _GENERATION,
                        "creationTimestamp": "2026-01-01T00:00:00Z"}  # fmt: skip
    if mark == "changed":
        metadata["generation"] = _GENERATION + 1
    if mark == "deleted":
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [names.FINALIZER]}
    written = json.loads(json.dumps({key: value for key, value in status.items() if value is not None}))
    # The default of the definitions: no generation has been observed.
    unseen = {"observedGeneration": -1, **({"phase": "Pending"} if kind == names.SANDBOX_KIND else {})}
    shown = {**unseen, **written}
    return copy.deepcopy(
        {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec, "status": shown}
    )
