"""Kubernetes Events that the operator posts: their reasons are stable, their messages are not."""

from __future__ import annotations

from enum import Enum

__all__ = ["Event"]

_NORMAL, _WARNING = "Normal", "Warning"
_SANDBOX, _POOL = "Sandbox", "SandboxPool"


class Event(Enum):
    """(reason, type, kinds of objects, what has happened); docs/reference.md is made from this."""

    READY = ("Ready", _NORMAL, (_SANDBOX, _POOL), "The Sandbox can be used; the pool was filled, and serves claims.")
    WAITING = ("Waiting", _WARNING, (_SANDBOX,), "It is waiting for a pod; the message begins with why.")
    FAILED = ("Failed", _WARNING, (_SANDBOX,), "It could not be started and will not be; the message begins with why.")
    NOT_READY = ("NotReady", _WARNING, (_SANDBOX,), "It was Ready and is not: its probe fails, or its node is lost.")
    FINISHED = ("Finished", _NORMAL, (_SANDBOX,), "Its main process has ended: completed, error, OOM or eviction.")
    POD_LOST = ("PodLost", _WARNING, (_SANDBOX,), "Its pod was deleted by somebody else, or is gone with its node.")
    POD_RESTARTED = (
        "UnexpectedRestart",
        _WARNING,
        (_SANDBOX,),
        "The containers of its pod were restarted, not by Sandyard.",
    )
    PAUSED = ("Paused", _NORMAL, (_SANDBOX,), "Every process is stopped.")
    PAUSE_FAILED = ("PauseFailed", _WARNING, (_SANDBOX,), "Not every process could be stopped or continued.")
    SUSPENDED = ("Suspended", _NORMAL, (_SANDBOX,), "Its pod is gone, its workspace is kept.")
    RESUMED = ("Resumed", _NORMAL, (_SANDBOX,), "It has resumed: after it was paused or suspended, or in a fresh pod.")
    RESUME_FAILED = ("ResumeFailed", _WARNING, (_SANDBOX,), "No new pod could be started for it; it stays suspended.")
    NETWORK_CHANGED = ("NetworkChanged", _NORMAL, (_SANDBOX,), "Its network was switched while it ran.")
    LABELS_PUT_RIGHT = ("LabelsPutRight", _WARNING, (_SANDBOX,), "Others had changed its pod's labels; they are back.")
    EXPIRED = ("Expired", _NORMAL, (_SANDBOX,), "Its lifetime, its deadline or its idle time is over.")
    DELETED = ("Deleted", _NORMAL, (_SANDBOX,), "It had ended, and secondsAfterFinished is over.")
    CLEANED = ("Cleaned", _NORMAL, (_SANDBOX,), "It was deleted, and nothing of it is left.")
    TEARDOWN_STUCK = ("TeardownStuck", _WARNING, (_SANDBOX,), "Something of it does not go; the message says what.")
    REQUEST_FAILED = (
        "RequestFailed",
        _WARNING,
        (_SANDBOX,),
        "What it asks for cannot be done at present: requests to the API server fail again and again.",
    )
    START_FAILED = ("StartFailed", _WARNING, (_POOL,), "A warm pod could not be started; the message begins with why.")
    RESTARTED = ("PodRestarted", _NORMAL, (_POOL,), "The containers of a used pod were restarted: it is warm again.")
    RESTART_FAILED = ("RestartFailed", _WARNING, (_POOL,), "A restart of a used pod is not proven: it is deleted.")

    def __init__(self, reason: str, type_: str, kinds: tuple[str, ...], meaning: str) -> None:
        self.reason = reason
        self.type = type_
        self.kinds = kinds
        self.meaning = meaning
