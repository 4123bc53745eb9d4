"""Condition types, their reasons, and the phases: the words a person reads in ``status``.

A reason is one word in CamelCase that says what to do next; every decision returns one, so
that the condition, the Event and the log line come from the same value.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Condition", "Phase", "Reason", "Start"]


class Phase(StrEnum):
    """``status.phase`` of a Sandbox."""

    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    PAUSED = "Paused"
    SUSPENDED = "Suspended"
    TERMINATING = "Terminating"
    EXPIRED = "Expired"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Start(StrEnum):
    """``status.start``: where the sandbox's pod came from."""

    WARM = "Warm"
    COLD = "Cold"


class Condition(StrEnum):
    """Types of conditions; ``Reconciling`` and ``Stalled`` follow kstatus."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    CLAIMED = "Claimed"
    RUNTIME_ISOLATED = "RuntimeIsolated"
    NETWORK_ENFORCED = "NetworkEnforced"
    SETUP_COMPLETED = "SetupCompleted"
    FINISHED = "Finished"
    STATE_LOST = "StateLost"
    TEARDOWN_STUCK = "TeardownStuck"
    BACKING_OFF = "BackingOff"
    FULL = "Full"


class Reason(StrEnum):
    """Reasons of conditions and Events."""

    # how it goes
    READY = "Ready"
    CLAIMED = "Claimed"
    NOT_CLAIMED = "NotClaimed"
    STARTING = "Starting"
    WAITING = "WaitingForPool"
    SCALING = "Scaling"
    ALL_WARM = "AllWarm"
    EMPTY = "Empty"
    ROLLING_OUT = "RollingOut"
    PAUSED = "Paused"
    PAUSING = "Pausing"
    RESUMING = "Resuming"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    PROVEN = "Proven"
    NOT_PROVEN = "NotProvenYet"
    RECONCILED = "Reconciled"
    TERMINATING = "Terminating"
    RUNNING = "Running"
    # why it does not
    POOL_NOT_FOUND = "PoolNotFound"
    POOL_EXHAUSTED = "PoolExhausted"
    MAX_SANDBOXES = "MaxSandboxesReached"
    START_TIMEOUT = "StartTimeout"
    IMAGE_PULL = "ImagePullBackOff"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    RUNTIME_CLASS_MISSING = "RuntimeClassMissing"
    RUNTIME_NOT_ISOLATED = "RuntimeNotIsolated"
    NETWORK_NOT_ENFORCED = "NetworkNotEnforced"
    FOREIGN_POLICY = "ForeignNetworkPolicy"
    PROBE_FAILED = "ProbeFailed"
    SETUP_FAILED = "SetupFailed"
    CONTAINER_ERROR = "ContainerError"
    POD_REFUSED = "PodRefused"
    INVALID_TEMPLATE = "InvalidTemplate"
    INVALID_SPEC = "InvalidSpec"
    EGRESS_NOT_ALLOWED = "EgressNotAllowed"
    PAUSING_DISABLED = "PausingDisabled"
    NOT_PAUSED = "NotPaused"
    PAUSE_FAILED = "PauseFailed"
    NOT_PERSISTENT = "WorkspaceNotPersistent"
    POD_NOT_READY = "PodNotReady"
    NODE_LOST = "NodeLost"
    RESTART_UNAVAILABLE = "RestartUnavailable"
    REQUEST_FAILED = "RequestFailed"
    # how it ended
    COMPLETED = "Completed"
    ERROR = "Error"
    OOM_KILLED = "OOMKilled"
    EVICTED = "Evicted"
    POD_LOST = "PodLost"
    POD_RESTARTED = "UnexpectedRestart"
    EXPIRED = "Expired"
    IDLE = "Idle"
    POD_NOT_GOING = "PodNotTerminating"
    NOT_READY = "NotReady"
