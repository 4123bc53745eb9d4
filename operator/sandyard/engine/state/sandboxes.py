"""The entry of one Sandbox: the object as last seen, and what this process remembers of it."""

from __future__ import annotations

from dataclasses import dataclass

from sandyard.api.reasons import Reason
from sandyard.engine.state.records import AnySandbox

__all__ = ["SandboxEntry"]


@dataclass
class SandboxEntry:
    """One Sandbox. All of it can be lost and learnt anew.

    Attributes
    ----------
    record
        The newest version.
    seen_at
        When this process first saw it, or its present start began; seconds of the monotonic clock.
    start_refused
        Why the last pod of its own could not be made.
    noted_stamp
        The latest stamp of a client's that was taken in, as it was written.
    stuck
        Whether its teardown has been called stuck.
    waits_for_pool
        Whether it waits for its pool to appear or be continued.
    waits_for_room
        Whether it waits until maxSandboxes of its pool leaves room for a pod of its own.
    """

    record: AnySandbox
    seen_at: float
    start_refused: tuple[Reason, str] | None = None
    noted_stamp: str = ""
    stuck: bool = False
    waits_for_pool: bool = False
    waits_for_room: bool = False
