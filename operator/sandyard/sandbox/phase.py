"""The status of a Sandbox, from what is known of it and of its pod.

Every function returns the whole status as it should be written; nothing here has a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from sandyard.api import conditions, model
from sandyard.api.conditions import Finding
from sandyard.api.objects import Pod
from sandyard.api.reasons import Condition, Phase, Reason, Start
from sandyard.pod import proof as proofs
from sandyard.sandbox.status import Status, until

__all__ = [
    "Facts",
    "expired",
    "failed",
    "finished",
    "hindered",
    "is_hindered",
    "not_ready",
    "paused",
    "pausing",
    "pending",
    "ready",
    "refused_state",
    "replaced",
    "replacing",
    "resuming",
    "starting",
    "suspended",
    "suspending",
    "terminating",
    "unhindered",
]


_NO_POD: Final = {"pod_name": None, "pod_uid": None, "pod_ip": None, "node_name": None, "claimed_at": None}


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
        What every status says, whatever the phase (expires_at); None removes a field.
    """

    generation: int
    before: Status
    now: float
    pool_name: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def status(self, phase: Phase, findings: list[Finding], **fields: Any) -> Status:
        """The status in *phase*: what *fields* says, what was there before, and the conditions."""
        before = self.before
        merged = conditions.merge(before.conditions, findings, self.generation, self.now)
        named = {condition["type"] for condition in merged} | {Condition.READY}
        old = [condition for condition in before.conditions if condition["type"] not in named]
        content: dict[str, Any] = {"phase": phase, "observed_generation": self.generation}
        if self.pool_name is not None:
            content["pool_name"] = self.pool_name
        content |= {**self.fields, **fields, "conditions": (*merged, *old)}
        return msgspec.structs.replace(before, **content)


def pending(facts: Facts, reason: Reason, message: str, *, stalled: bool) -> Status:
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


def starting(facts: Facts, pod: Pod, reason: Reason, message: str, *, stalled: bool) -> Status:
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
    facts: Facts, pod: Pod, start: Start, proof: proofs.Proof, *, opened: str = "", setup: bool = False
) -> Status:
    """It can be used; *opened*: what of others opens its network; *setup*: its setup has ended well."""
    moment = model.timestamp(facts.now)
    before = facts.before
    fields = _pod_fields(pod)
    fields.update(
        start=before.start or start,
        runtime=proof.runtime,
        claimed_at=before.claimed_at or moment,
        ready_at=before.ready_at or moment,
        restarts=before.restarts or 0,
    )
    runtime = (
        Finding(Condition.RUNTIME_ISOLATED, True, Reason.PROVEN, proof.runtime)
        if proof.isolated
        else Finding(Condition.RUNTIME_ISOLATED, False, Reason.RUNTIME_NOT_ISOLATED,
                     "used anyway: isolation.runtime is BestEffort")
    )  # fmt: skip
    return facts.status(
        Phase.READY,
        [
            Finding(Condition.READY, True, Reason.READY, f"pod {pod.metadata.name}"),
            Finding(Condition.RECONCILING, False, Reason.READY, f"pod {pod.metadata.name}"),
            Finding(Condition.STALLED, False, Reason.RECONCILED),
            Finding(Condition.CLAIMED, True, Reason.CLAIMED, f"pod {pod.metadata.name}"),
            runtime,
            _network(proof, opened),
            *([Finding(Condition.SETUP_COMPLETED, True, Reason.COMPLETED)] if setup else []),
        ],
        **fields,
    )


def _network(proof: proofs.Proof, opened: str) -> Finding:
    if opened:
        return Finding(Condition.NETWORK_ENFORCED, False, Reason.FOREIGN_POLICY, opened)
    if not proof.enforced:
        text = "used anyway: isolation.network is BestEffort"
        return Finding(Condition.NETWORK_ENFORCED, False, Reason.NETWORK_NOT_ENFORCED, text)
    text = f"closed after {proof.open_seconds:g} s, before the main process started"
    return Finding(Condition.NETWORK_ENFORCED, True, Reason.PROVEN, text)


def not_ready(facts: Facts, pod: Pod, reason: Reason, message: str) -> Status:
    """It was Ready and is not at this moment; it may become so again."""
    return facts.status(
        Phase.STARTING,
        _under_way(reason, message),
        **_pod_fields(pod),
    )


def pausing(facts: Facts, pod: Pod, reason: Reason, message: str, *, stalled: bool = False) -> Status:
    """Its processes are being stopped or continued; some may be one, some the other."""
    kept = facts.before.phase or Phase.READY
    return facts.status(
        kept if kept is Phase.PAUSED else Phase.READY,
        _under_way(reason, message, stalled=stalled),
        **_pod_fields(pod),
    )


def paused(facts: Facts, pod: Pod, count: int) -> Status:
    """Every process is stopped, as was looked up."""
    message = f"{count} processes are stopped; set desiredState to Running to resume"
    return facts.status(
        Phase.PAUSED,
        _at_rest(Reason.PAUSED, message),
        **_pod_fields(pod),
    )


def suspending(facts: Facts, message: str) -> Status:
    """Its pod goes; what is in its workspace stays."""
    kept = facts.before.phase or Phase.PENDING
    return facts.status(
        kept,
        _under_way(Reason.SUSPENDING, message),
    )


def suspended(facts: Facts, reason: Reason, message: str, *, stalled: bool = False) -> Status:
    """It has no pod, but its workspace is kept. *stalled*: it should resume and could not."""
    return facts.status(
        Phase.SUSPENDED,
        [*_at_rest(reason, message, stalled=stalled), Finding(Condition.CLAIMED, False, Reason.NOT_CLAIMED)],
        **_NO_POD,
    )


def resuming(facts: Facts) -> Status:
    """It resumes after it was suspended: a new pod is on the way."""
    message = "starting a new pod with its workspace"
    fields = _begun_anew(facts)
    if facts.before.workspace_claim:
        fields["restarts"] = (facts.before.restarts or 0) + 1
    return facts.status(
        Phase.STARTING,
        _under_way(Reason.STARTING, message),
        **fields,
    )


def replacing(facts: Facts, reason: Reason, message: str, what: str, number: int) -> Status:
    """Its pod is lost (*what*), and a fresh one is to follow, the *number*-th in a row."""
    kept = " but for its workspace" if facts.before.workspace_claim else ""
    lost = f"{what}: its processes, memory and files are lost{kept}"
    return facts.status(
        Phase.STARTING,
        [
            *_under_way(reason, message),
            Finding(Condition.CLAIMED, False, Reason.NOT_CLAIMED),
            Finding(Condition.STATE_LOST, True, reason, lost),
        ],
        restarts=(facts.before.restarts or 0) + 1, replacements=number, **_NO_POD, **_begun_anew(facts),
    )  # fmt: skip


def replaced(facts: Facts) -> Status:
    """The lost pod is gone, and the fresh one may start."""
    return facts.status(Phase.STARTING, _under_way(Reason.STARTING, "its pod was lost; a fresh one takes its place"))


def refused_state(status: Status, reason: Reason, message: str) -> Status:
    """*status*, but what was asked for cannot be had."""
    refused = {"status": "True", "reason": reason.value, "message": message}
    found = tuple({**item, **refused} if item["type"] == Condition.STALLED else item for item in status.conditions)
    return msgspec.structs.replace(status, conditions=found)


def hindered(facts: Facts, message: str, *, stalled: bool) -> Status:
    """All is as it was, but what comes next cannot be done: requests fail. *stalled*: somebody has to do something."""
    before = facts.before
    if not before.conditions:
        return pending(facts, Reason.REQUEST_FAILED, message, stalled=stalled)
    if stalled:
        return _with(facts, Finding(Condition.STALLED, True, Reason.REQUEST_FAILED, message))
    if before.condition(Condition.READY) is None:
        # What is at rest has its reason here.
        return before
    return _with(facts, Finding(Condition.RECONCILING, True, Reason.REQUEST_FAILED, message))


def is_hindered(status: Status) -> bool:
    """Whether *status* says so."""
    return bool(_hindrances(status))


def unhindered(facts: Facts) -> Status:
    """What could not be done has been done since."""
    return _with(facts, *(Finding(kind, False, Reason.RECONCILED) for kind in _hindrances(facts.before)))


def _hindrances(status: Status) -> list[Condition]:
    found = {kind: status.condition(kind) for kind in (Condition.STALLED, Condition.RECONCILING)}
    return [kind for kind, item in found.items() if item is not None and item.get("reason") == Reason.REQUEST_FAILED]


def _with(facts: Facts, *findings: Finding) -> Status:
    """The status as it was, with other conditions in the place of those of their types."""
    before = facts.before
    made = {item["type"]: item for item in conditions.merge(before.conditions, findings, facts.generation, facts.now)}
    kept = tuple(made.pop(item["type"], item) for item in before.conditions)
    return msgspec.structs.replace(before, conditions=(*kept, *made.values()))


def expired(facts: Facts, reason: Reason, message: str) -> Status:
    """Its time is over and it is kept (``onExpiry: Stop``); its pod goes."""
    termination = {"reason": Reason.EXPIRED.value, "message": message, "finishedAt": model.timestamp(facts.now)}
    return facts.status(
        Phase.EXPIRED,
        _end_findings(reason, message, stalled=False),
        last_termination=termination,
        pod_ip=None,
        **until(None, facts.now),
    )


def finished(facts: Facts, pod: Pod, termination: Mapping[str, Any]) -> Status:
    """The main process has ended by itself."""
    reason = Reason(termination["reason"])
    well = reason is Reason.COMPLETED
    phase = Phase.SUCCEEDED if well else Phase.FAILED
    message = termination.get("message") or f"the main process ended with exit code {termination.get('exitCode')}"
    return facts.status(
        phase, _end_findings(reason, message, stalled=not well), last_termination=dict(termination), **_pod_fields(pod)
    )


def failed(facts: Facts, reason: Reason, message: str, pod: Pod | None = None) -> Status:
    """It could not be started in time, by *pod*, or its pod is lost. It does not come back."""
    fields: dict[str, Any] = _pod_fields(pod) if pod is not None else {}
    if reason in (Reason.POD_LOST, Reason.EVICTED, Reason.OOM_KILLED):
        fields["last_termination"] = {
            "reason": reason.value,
            "message": conditions.printable(message),
            "finishedAt": model.timestamp(facts.now),
        }
    findings = _end_findings(reason, message, stalled=True)
    if reason is Reason.SETUP_FAILED:
        findings.append(Finding(Condition.SETUP_COMPLETED, False, reason, message))
    return facts.status(Phase.FAILED, findings, **fields)


def terminating(facts: Facts, stuck: str, doing: str = "deleting its pod") -> Status:
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
    """Nothing is done about it: it is as it was asked to be, or *stalled*.

    In the first case there is no condition Ready. It would have to be False, which says "not yet" to everybody
    who judges by kstatus, for ever. Reconciling has the reason.
    """
    return [
        *([Finding(Condition.READY, False, reason, message)] if stalled else []),
        Finding(Condition.RECONCILING, False, reason, message),
        Finding(Condition.STALLED, stalled, reason, message if stalled else ""),
    ]


def _end_findings(reason: Reason, message: str, *, stalled: bool) -> list[Finding]:
    return [*_at_rest(reason, message, stalled=stalled), Finding(Condition.FINISHED, True, reason, message)]


def _begun_anew(facts: Facts) -> dict[str, Any]:
    """Nobody can use it while it gets another pod: its idle time starts anew."""
    now = model.timestamp(facts.now)
    return {"resumed_at": now, **({"last_activity_at": now} if facts.before.ready_at else {})}


def _pod_fields(pod: Pod) -> dict[str, Any]:
    fields: dict[str, Any] = {"pod_name": pod.metadata.name, "pod_uid": pod.metadata.uid}
    if pod.status.pod_ip:
        fields["pod_ip"] = pod.status.pod_ip
    if pod.spec.node_name:
        fields["node_name"] = pod.spec.node_name
    return fields
