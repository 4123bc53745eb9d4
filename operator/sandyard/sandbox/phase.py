"""The status of a Sandbox, from what is known of it and of its pod.

Every function returns the whole status as it should be written; nothing here has a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandyard.api import conditions, model
from sandyard.api.conditions import Finding
from sandyard.api.objects import Pod
from sandyard.api.reasons import Condition, Phase, Reason, Start
from sandyard.pod import proof as proofs

__all__ = [
    "Facts",
    "being_suspended",
    "ended",
    "expired",
    "failed",
    "finished",
    "held",
    "not_ready",
    "paused",
    "pausing",
    "pending",
    "ready",
    "refused_state",
    "resuming",
    "running",
    "starting",
    "suspended",
    "suspended_on_request",
    "suspending",
    "terminating",
]

_PHASES_ENDED = (Phase.EXPIRED, Phase.SUCCEEDED, Phase.FAILED)


@dataclass(frozen=True)
class Facts:
    """What every status is made from.

    Attributes
    ----------
    before
        The last status, for what must be kept: times, transitions.
    now
        Seconds since the epoch.
    fields
        What every status says, whatever the phase (expiresAt, lastActivityAt); None removes a field.
    """

    generation: int
    before: Mapping[str, Any]
    now: float
    pool_name: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def status(self, phase: Phase, findings: list[Finding], **fields: Any) -> dict[str, Any]:
        """The status in *phase*: what *fields* says, what was there before, and the conditions."""
        kept = {key: value for key, value in self.before.items() if value is not None and key != "conditions"}
        content = {**kept, "phase": phase.value, "observedGeneration": self.generation}
        if self.pool_name is not None:
            content["poolName"] = self.pool_name
        content.update(self.fields)
        content.update(fields)
        merged = conditions.merge(self.before.get("conditions") or (), findings, self.generation, self.now)
        named = {condition["type"] for condition in merged}
        old = [dict(c) for c in self.before.get("conditions") or () if c["type"] not in named]
        content["conditions"] = [*merged, *old]
        return content


def ended(status: Mapping[str, Any]) -> bool:
    """Whether the sandbox has ended for good."""
    return status.get("phase") in _PHASES_ENDED


def pending(facts: Facts, reason: Reason, message: str, *, stalled: bool) -> dict[str, Any]:
    """No pod yet: it waits for its pool. *stalled* when somebody has to do something."""
    return facts.status(
        Phase.PENDING,
        [
            Finding(Condition.READY, False, reason, message),
            Finding(Condition.RECONCILING, not stalled, reason, message),
            Finding(Condition.STALLED, stalled, reason if stalled else Reason.WAITING, message if stalled else ""),
            Finding(Condition.CLAIMED, False, Reason.NOT_CLAIMED),
        ],
    )


def starting(facts: Facts, pod: Pod, reason: Reason, message: str, *, stalled: bool) -> dict[str, Any]:
    """Its own pod is on the way."""
    return facts.status(
        Phase.STARTING,
        [
            Finding(Condition.READY, False, reason, message),
            Finding(Condition.RECONCILING, not stalled, reason, message),
            Finding(Condition.STALLED, stalled, reason if stalled else Reason.STARTING, message if stalled else ""),
            Finding(Condition.CLAIMED, True, Reason.CLAIMED, f"pod {pod.metadata.name}"),
        ],
        **_pod_fields(pod),
    )


def ready(
    facts: Facts, pod: Pod, start: Start, proof: proofs.Proof, *, setup: bool = False
) -> dict[str, Any]:  # fmt: skip
    """It can be used; *setup*: its setup has ended well."""
    moment = model.timestamp(facts.now)
    before = facts.before
    fields = _pod_fields(pod)
    fields.update(
        start=before.get("start") or start.value,
        runtime=proof.runtime,
        claimedAt=before.get("claimedAt") or moment,
        readyAt=before.get("readyAt") or moment,
        restarts=before.get("restarts") or 0,
    )
    network = (
        Finding(Condition.NETWORK_ENFORCED, True, Reason.PROVEN,
                f"closed after {proof.open_seconds:g} s, before the main process started")
        if proof.enforced
        else Finding(Condition.NETWORK_ENFORCED, False, Reason.NETWORK_NOT_ENFORCED,
                     "handed out all the same: isolation.network is BestEffort")
    )  # fmt: skip
    runtime = (
        Finding(Condition.RUNTIME_ISOLATED, True, Reason.PROVEN, proof.runtime)
        if proof.isolated
        else Finding(Condition.RUNTIME_ISOLATED, False, Reason.RUNTIME_NOT_ISOLATED,
                     "handed out all the same: isolation.runtime is BestEffort")
    )  # fmt: skip
    return facts.status(
        Phase.READY,
        [
            Finding(Condition.READY, True, Reason.READY, f"pod {pod.metadata.name}"),
            Finding(Condition.RECONCILING, False, Reason.RECONCILED),
            Finding(Condition.STALLED, False, Reason.RECONCILED),
            Finding(Condition.CLAIMED, True, Reason.CLAIMED, f"pod {pod.metadata.name}"),
            runtime,
            network,
            *([Finding(Condition.SETUP_COMPLETED, True, Reason.COMPLETED)] if setup else []),
        ],
        **fields,
    )


def not_ready(facts: Facts, pod: Pod, reason: Reason, message: str) -> dict[str, Any]:
    """It was Ready and is not at this moment; it may become so again."""
    return facts.status(
        Phase.STARTING,
        _under_way(reason, message),
        **_pod_fields(pod),
    )


def pausing(facts: Facts, pod: Pod, reason: Reason, message: str, *, stalled: bool = False) -> dict[str, Any]:
    """Its processes are being stopped or continued; some may be one, some the other."""
    kept = Phase(facts.before.get("phase") or Phase.READY)
    return facts.status(
        kept if kept is Phase.PAUSED else Phase.READY,
        _under_way(reason, message, stalled=stalled),
        **_pod_fields(pod),
    )


def paused(facts: Facts, pod: Pod, count: int) -> dict[str, Any]:
    """Every process is stopped, as was looked up."""
    message = f"{count} processes are stopped; set desiredState to Running to go on"
    return facts.status(
        Phase.PAUSED,
        _at_rest(Reason.PAUSED, message),
        **_pod_fields(pod),
    )


def suspending(facts: Facts, message: str) -> dict[str, Any]:
    """Its pod goes; what is in its workspace stays."""
    kept = Phase(facts.before.get("phase") or Phase.PENDING)
    return facts.status(
        kept,
        _under_way(Reason.SUSPENDING, message),
    )


def suspended(facts: Facts, reason: Reason, message: str, *, stalled: bool = False) -> dict[str, Any]:
    """It has no pod, but its workspace is kept. *stalled*: it should go on and could not."""
    return facts.status(
        Phase.SUSPENDED,
        [*_at_rest(reason, message, stalled=stalled), Finding(Condition.CLAIMED, False, Reason.NOT_CLAIMED)],
        podName=None, podUID=None, podIP=None, nodeName=None, claimedAt=None,
    )  # fmt: skip


def resuming(facts: Facts) -> dict[str, Any]:
    """It goes on after it was suspended: a new pod is on the way."""
    message = "starting a new pod with its workspace"
    fields: dict[str, Any] = {}
    if facts.before.get("workspaceClaim"):
        fields["restarts"] = (facts.before.get("restarts") or 0) + 1
    if facts.before.get("readyAt"):
        # Nobody could use it meanwhile: its idle time starts anew.
        fields["lastActivityAt"] = model.timestamp(facts.now)
    return facts.status(
        Phase.STARTING,
        _under_way(Reason.STARTING, message),
        **fields,
    )


def suspended_on_request(status: Mapping[str, Any]) -> bool:
    """Whether it is suspended because somebody asked for it, not because its time was over."""
    found = conditions.find(status.get("conditions"), Condition.READY)
    return status.get("phase") == Phase.SUSPENDED and found is not None and found.get("reason") == Reason.SUSPENDED


def being_suspended(status: Mapping[str, Any]) -> bool:
    """Whether its pod is on its way out, and only its pod."""
    found = conditions.find(status.get("conditions"), Condition.READY)
    return found is not None and found.get("reason") == Reason.SUSPENDING


def running(status: Mapping[str, Any]) -> bool:
    """Whether its present pod has been Ready."""
    return bool(status.get("readyAt") and status.get("claimedAt"))


def held(status: Mapping[str, Any]) -> bool:
    """Whether some of its processes may be stopped: they must be continued before it is Ready."""
    found = conditions.find(status.get("conditions"), Condition.READY)
    return found is not None and found.get("reason") in (
        Reason.PAUSED, Reason.PAUSING, Reason.RESUMING, Reason.PAUSE_FAILED
    )  # fmt: skip


def refused_state(status: Mapping[str, Any], reason: Reason, message: str) -> dict[str, Any]:
    """*status*, but what was asked for cannot be had."""
    conditions_ = [dict(condition) for condition in status["conditions"]]
    for condition in conditions_:
        if condition["type"] == Condition.STALLED:
            condition.update(status="True", reason=reason.value, message=message)
    return {**status, "conditions": conditions_}


def expired(facts: Facts, reason: Reason, message: str) -> dict[str, Any]:
    """Its time is over and it is kept (``onExpiry: Stop``); its pod goes."""
    termination = {"reason": Reason.EXPIRED.value, "message": message, "finishedAt": model.timestamp(facts.now)}
    return facts.status(
        Phase.EXPIRED,
        _end_findings(reason, message, stalled=False),
        lastTermination=termination,
        podIP=None,
        expiresAt=None,
    )


def finished(facts: Facts, pod: Pod, termination: Mapping[str, Any]) -> dict[str, Any]:
    """The main process has ended by itself."""
    reason = Reason(termination["reason"])
    well = reason is Reason.COMPLETED
    phase = Phase.SUCCEEDED if well else Phase.FAILED
    message = termination.get("message") or f"the main process ended with exit code {termination.get('exitCode')}"
    return facts.status(
        phase, _end_findings(reason, message, stalled=not well), lastTermination=dict(termination), **_pod_fields(pod)
    )


def failed(facts: Facts, reason: Reason, message: str) -> dict[str, Any]:
    """It could not be started in time, or its pod is lost. It does not come back."""
    fields: dict[str, Any] = {}
    if reason in (Reason.POD_LOST, Reason.EVICTED, Reason.OOM_KILLED):
        fields["lastTermination"] = {
            "reason": reason.value,
            "message": conditions.printable(message),
            "finishedAt": model.timestamp(facts.now),
        }
    findings = _end_findings(reason, message, stalled=True)
    if reason is Reason.SETUP_FAILED:
        findings.append(Finding(Condition.SETUP_COMPLETED, False, reason, message))
    return facts.status(Phase.FAILED, findings, **fields)


def terminating(facts: Facts, stuck: str, doing: str = "deleting its pod") -> dict[str, Any]:
    """It is being torn down."""
    message = stuck or doing
    return facts.status(
        Phase.TERMINATING,
        [
            Finding(Condition.READY, False, Reason.TERMINATING, message),
            Finding(Condition.RECONCILING, True, Reason.TERMINATING, message),
            Finding(Condition.STALLED, bool(stuck), Reason.POD_NOT_GOING if stuck else Reason.TERMINATING, stuck),
            Finding(Condition.TEARDOWN_STUCK, bool(stuck), Reason.POD_NOT_GOING if stuck else Reason.TERMINATING,
                    stuck),
        ],
    )  # fmt: skip


def _under_way(reason: Reason, message: str, *, stalled: bool = False) -> list[Finding]:
    """Not Ready, but on its way there unless *stalled*."""
    return [
        Finding(Condition.READY, False, reason, message),
        Finding(Condition.RECONCILING, not stalled, reason, message),
        Finding(Condition.STALLED, stalled, reason, message if stalled else ""),
    ]


def _at_rest(reason: Reason, message: str, *, stalled: bool = False) -> list[Finding]:
    """Not Ready, and nothing is done about it."""
    return [
        Finding(Condition.READY, False, reason, message),
        Finding(Condition.RECONCILING, False, reason),
        Finding(Condition.STALLED, stalled, reason, message if stalled else ""),
    ]


def _end_findings(reason: Reason, message: str, *, stalled: bool) -> list[Finding]:
    return [*_at_rest(reason, message, stalled=stalled), Finding(Condition.FINISHED, True, reason, message)]


def _pod_fields(pod: Pod) -> dict[str, Any]:
    fields: dict[str, Any] = {"podName": pod.metadata.name, "podUID": pod.metadata.uid}
    if pod.status.pod_ip:
        fields["podIP"] = pod.status.pod_ip
    if pod.spec.node_name:
        fields["nodeName"] = pod.spec.node_name
    return fields
