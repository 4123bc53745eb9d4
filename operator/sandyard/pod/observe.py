"""What one pod is to its pool: the only place where a pod's status is interpreted for pools."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sandyard.api import model, names
from sandyard.api.objects import Pod, Terminated
from sandyard.api.reasons import Reason
from sandyard.pod import proof, restart

__all__ = ["PodState", "Trouble", "classify", "isolation_failure", "outlives", "proof_ended", "proof_of", "ready_at",
           "setup_ended", "setup_open", "setup_overdue", "setup_seconds_left",
           "setup_since", "sickness", "trouble"]  # fmt: skip

_IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
                  "ImageInspectError"}  # fmt: skip
_CONTAINER_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff",
                      "PreCreateHookError", "PostStartHookError"}  # fmt: skip


# How long a kubelet may take to notice that a pod is gone, and its runtime to end it.
_FINDING_OUT_SECONDS = 30.0


class PodState(StrEnum):
    """States of a pod, as its pool counts them."""

    STARTING = "starting"
    PROVEN = "proven"
    WARM = "warm"
    CLAIMED = "claimed"
    UNHEALTHY = "unhealthy"
    FAILED = "failed"
    TERMINATING = "terminating"


@dataclass(frozen=True)
class Trouble:
    """Why a pod makes no progress; it may still do so by itself."""

    reason: Reason
    message: str


def classify(pod: Pod, egress: str) -> PodState:
    """State of *pod* in a pool whose template asks for the profile *egress*.

    A pod that runs and has proven its isolation, but whose network is not opened yet, is
    PROVEN; it is WARM, and may be handed out, once its profile is the template's. One that
    was ready and is no longer (its probe fails, its node is lost) is UNHEALTHY, and so is one
    whose containers were restarted though nobody had asked for it.
    """
    labels = pod.metadata.labels
    if pod.metadata.deletion_timestamp is not None:
        return PodState.TERMINATING
    if names.LABEL_SANDBOX_UID in labels:
        return PodState.CLAIMED
    if pod.status.phase in ("Failed", "Succeeded"):
        return PodState.FAILED
    if restart.unasked(pod) or (not is_ready(pod) and was_ready(pod)):
        return PodState.UNHEALTHY
    if not is_ready(pod) or proof_of(pod) is None:
        return PodState.STARTING
    return PodState.WARM if labels.get(names.LABEL_EGRESS) == egress else PodState.PROVEN


def is_ready(pod: Pod) -> bool:
    """Whether the kubelet says Ready."""
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions)


def was_ready(pod: Pod) -> bool:
    """Whether a pod that is not ready has been so before.

    A pod's Ready condition is set to False before its containers start; if it has changed
    after the main container's start, it was True in between.
    """
    changed = next((c.last_transition_time for c in pod.status.conditions if c.type == "Ready"), None)
    since = running_since(pod)
    return bool(since is not None and changed and (model.moment(changed) or 0.0) > since)


def running_since(pod: Pod) -> float | None:
    """Since when the main container runs, in seconds since the epoch; None if it does not."""
    for status in pod.status.container_statuses:
        running = status.state.running
        if status.name == names.CONTAINER and running is not None and running.started_at:
            return model.moment(running.started_at)
    return None


def sickness(pod: Pod) -> Trouble:
    """Why a pod that runs is not ready."""
    name = pod.metadata.name
    for status in pod.status.container_statuses:
        if status.name == names.CONTAINER and not status.ready:
            text = f"pod {name}: the command of warm.probe fails" if status.state.running else f"pod {name} has stopped"
            return Trouble(Reason.POD_NOT_READY, text)
    # The kubelet has nothing against it, so it was the control plane: the node does not answer.
    return Trouble(Reason.NODE_LOST, f"node {pod.spec.node_name} of pod {name} does not answer")


def ready_at(pod: Pod) -> float:
    """When the pod turned ready, in seconds since the epoch; 0 if unknown.

    One that was restarted for its next Sandbox is as old as it is.
    """
    if names.ANNOTATION_USES in pod.metadata.annotations:
        return model.seconds(pod.metadata.creation_timestamp)
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.last_transition_time:
            return model.moment(condition.last_transition_time) or 0.0
    return 0.0


def proof_of(pod: Pod) -> proof.Proof | None:
    """What the pod's probe saw; None while it has not ended.

    Where a setup had its network opened, what counts is what was seen after it was closed.
    """
    opened = pod.metadata.annotations.get(names.ANNOTATION_SETUP)
    if opened is not None and opened != names.SETUP_CLOSED:
        return None
    last = names.PROBE_CONTAINER if opened is None else names.CLOSED_CONTAINER
    ended = _ended_before(pod, last)
    return proof.parse(ended.message) if ended is not None else None


def setup_open(pod: Pod) -> bool:
    """Whether the setup has ended and its network still has to be closed."""
    return (
        pod.metadata.annotations.get(names.ANNOTATION_SETUP) in (names.SETUP_OPEN, names.SETUP_CLOSING)
        and pod.metadata.deletion_timestamp is None
        and setup_ended(pod)
    )


def proof_ended(pod: Pod) -> bool:
    """Whether the proof that the setup's network is closed has ended."""
    return _ended_before(pod, names.CLOSED_CONTAINER) is not None


def setup_ended(pod: Pod) -> bool:
    """Whether *pod* has a setup that has ended."""
    return _ended_before(pod, names.SETUP_CONTAINER) is not None


def setup_since(pod: Pod) -> float | None:
    """Since when the setup runs, in seconds since the epoch; None if it does not."""
    for status in pod.status.init_container_statuses:
        running = status.state.running
        if status.name == names.SETUP_CONTAINER and running is not None and running.started_at:
            return model.moment(running.started_at)
    return None


def setup_seconds_left(pod: Pod, timeout_seconds: int, now: float) -> float | None:
    """Time that the setup of *pod* still has; None while it does not run."""
    since = setup_since(pod)
    if since is None or pod.metadata.deletion_timestamp is not None:
        return None
    return since + timeout_seconds - now


def setup_overdue(timeout_seconds: int) -> str:
    """What is said of a setup that takes too long."""
    return f"template.setup.command has not ended within timeoutSeconds ({timeout_seconds} s)"


def _ended_before(pod: Pod, container: str) -> Terminated | None:
    for status in pod.status.init_container_statuses:
        if status.name == container:
            return status.state.terminated
    return None


def outlives(pod: Pod) -> float:
    """Seconds for which the process of a pod that is no longer there may live on; 0 if it has ended.

    A kubelet reports the end of all containers before it lets a pod go. Whoever deletes one without
    its grace period, or from outside (the node is lost), leaves the kubelet to find out and to end it.
    """
    if not pod.spec.node_name or pod.status.phase in ("Succeeded", "Failed"):
        return 0.0
    return pod.spec.termination_grace_period_seconds + _FINDING_OUT_SECONDS


def isolation_failure(pod: Pod) -> Trouble | None:
    """Why the pod could not prove its isolation, if that is why it failed."""
    ends = [_ended_before(pod, name) for name in (names.PROBE_CONTAINER, names.CLOSED_CONTAINER)]
    proofs = [proof.parse(ended.message) for ended in ends if ended is not None]
    seen = next((item for item in proofs if item is not None and not (item.isolated and item.enforced)), None)
    if seen is None:
        return None
    if seen.others or seen.sockets:
        found = f"{seen.others} other processes and {seen.sockets} sockets"
        return Trouble(
            Reason.PROBE_FAILED,
            f"{found} were in the pod when the proof ran, which runs before anything else: the "
            "node's runtime has not ended those of a container before it",
        )
    if not seen.isolated:
        return Trouble(
            Reason.RUNTIME_NOT_ISOLATED,
            f"the RuntimeClass does not run gVisor: the kernel says {seen.kernel[:80]!r}. Check the RuntimeClass's "
            "handler on the nodes",
        )
    where = ", ".join(seen.reached) or "the API server"
    remedy = "install a network plugin that enforces NetworkPolicy"
    if seen.reached and all(destination.startswith("node:") for destination in seen.reached):
        # The policies hold but for the pod's own node, which several plugins leave open.
        remedy = "close it to pods in the node's firewall, or take it out of isolation.forbidden (SECURITY.md)"
    return Trouble(
        Reason.NETWORK_NOT_ENFORCED, f"a sandbox with no network allowed could still reach {where}: {remedy}"
    )


def trouble(pod: Pod) -> Trouble | None:
    """What keeps a starting pod from getting on, or made it fail."""
    failed = isolation_failure(pod) if pod.status.phase == "Failed" else None
    if failed is not None:
        return failed
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False" and condition.reason == "Unschedulable":
            return Trouble(Reason.UNSCHEDULABLE, condition.message)
    if pod.metadata.annotations.get(names.ANNOTATION_SETUP, names.SETUP_CLOSED) != names.SETUP_CLOSED and is_ready(pod):
        text = f"pod {pod.metadata.name}: the network of its setup was closed too late to be proven closed"
        return Trouble(Reason.NETWORK_NOT_ENFORCED, text)
    for status in [*pod.status.init_container_statuses, *pod.status.container_statuses]:
        waiting = status.state.waiting
        if waiting is not None and waiting.reason in _IMAGE_REASONS:
            return Trouble(Reason.IMAGE_PULL, waiting.message or waiting.reason)
        if waiting is not None and waiting.reason in _CONTAINER_REASONS:
            return Trouble(Reason.CONTAINER_ERROR, f"{waiting.reason}: {waiting.message}")
    if pod.status.phase in ("Failed", "Succeeded"):
        return _ended(pod)
    return None


def _ended(pod: Pod) -> Trouble:
    if pod.status.reason == "Evicted":
        return Trouble(Reason.EVICTED, pod.status.message)
    for status in pod.status.init_container_statuses:
        ended = status.state.terminated
        if ended is not None and ended.exit_code != 0 and status.name != names.RESTART_CONTAINER:
            text = ended.message or ended.reason
            if status.name == names.SETUP_CONTAINER:
                message = f"template.setup.command ended with exit code {ended.exit_code}: {text}"
                return Trouble(Reason.SETUP_FAILED, message)
            return Trouble(Reason.PROBE_FAILED, f"{status.name} ended with exit code {ended.exit_code}: {text}")
    for status in pod.status.container_statuses:
        ended = status.state.terminated
        if ended is not None:
            reason = Reason.OOM_KILLED if ended.reason == "OOMKilled" else Reason.CONTAINER_ERROR
            return Trouble(
                reason,
                f"the main process ended with exit code {ended.exit_code} before the sandbox was claimed: "
                f"{ended.message or ended.reason or 'no message'}; set template.command to one that keeps running",
            )
    return Trouble(Reason.CONTAINER_ERROR, pod.status.message or f"the pod is {pod.status.phase}")
