"""A Sandbox's claim on a warm pod: one state at a time, and no way between two but those of the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

__all__ = ["TRANSITIONS", "Claim", "Event", "IllegalTransition", "State"]


class State(StrEnum):
    """Where a claim stands."""

    WAITING = "waiting"
    GRANTED = "granted"
    WRITING = "writing"
    LEAVING = "leaving"
    UNSURE = "unsure"
    WRITTEN = "written"
    OVER = "over"


class Event(StrEnum):
    """What happens to a claim."""

    GRANT = "grant"
    REVOKE = "revoke"
    SEND = "send"
    CONFIRM = "confirm"
    REFUSE = "refuse"
    LOSE = "lose"
    WITHDRAW = "withdraw"


TRANSITIONS: Final = {
    (State.WAITING, Event.GRANT): State.GRANTED,
    (State.WAITING, Event.WITHDRAW): State.OVER,
    (State.GRANTED, Event.REVOKE): State.WAITING,
    (State.GRANTED, Event.SEND): State.WRITING,
    (State.GRANTED, Event.WITHDRAW): State.OVER,
    (State.WRITING, Event.CONFIRM): State.WRITTEN,
    (State.WRITING, Event.REFUSE): State.WAITING,
    (State.WRITING, Event.LOSE): State.UNSURE,
    (State.WRITING, Event.WITHDRAW): State.LEAVING,
    (State.LEAVING, Event.CONFIRM): State.WRITTEN,
    (State.LEAVING, Event.REFUSE): State.OVER,
    (State.LEAVING, Event.LOSE): State.OVER,
    (State.UNSURE, Event.CONFIRM): State.WRITTEN,
    (State.UNSURE, Event.REVOKE): State.WAITING,
    (State.UNSURE, Event.WITHDRAW): State.OVER,
}


class IllegalTransition(AssertionError):
    """The engine did to a claim what its state does not allow: a fault of ours."""


@dataclass
class Claim:
    """One Sandbox's claim on a pod of one pool.

    ========  ========================================  ========  =====================================
    state     event                                     then      its pod
    ========  ========================================  ========  =====================================
    Waiting   grant: the oldest of the queue            Granted   set aside for it
    Waiting   withdraw: it wants none any more          Over      has none
    Granted   revoke: the pod is gone or unfit          Waiting   free
    Granted   send: the PATCH is about to be sent       Writing   set aside
    Granted   withdraw                                  Over      free
    Writing   confirm: 200                              Written   the Sandbox's
    Writing   refuse: 409 or 404                        Waiting   free once it is seen in another version
    Writing   refuse: 403, 422                          Waiting   free when others have been tried
    Writing   refuse: 429, not connected, fenced        Waiting   free
    Writing   lose: no reply, or 5xx                    Unsure    set aside until somebody has looked
    Writing   withdraw: its reply is still to come      Leaving   set aside
    Leaving   confirm                                   Written   the Sandbox's, and goes with it
    Leaving   refuse, lose                              Over      free
    Unsure    confirm: a look shows the Sandbox on it   Written   the Sandbox's
    Unsure    revoke: a look shows that it is not       Waiting   free
    Unsure    withdraw                                  Over      free
    ========  ========================================  ========  =====================================

    A claim that waits again after a grant has its old place in the queue.  A pod that is set
    free though a write of it may still take place is safe: the PATCH names the version that it
    was made for, so of two writes the API server refuses the second.

    Attributes
    ----------
    number
        Its place in the order of arrival.
    since
        When it arrived; seconds of the monotonic clock.
    cold
        Whether the pool should start a pod for it while it waits (``whenEmpty.action: ColdStart``).
    waited
        Whether it has been without a pod after its first turn.
    pod_uid
        The pod that is set aside for it.
    denied
        Pods on which the API server has refused it, by UID, and why; they are left alone until it is over.
    """

    sandbox_uid: str
    pool_uid: str
    number: int
    since: float
    cold: bool = False
    waited: bool = False
    state: State = State.WAITING
    pod_uid: str | None = None
    denied: dict[str, Exception] = field(default_factory=dict)

    def grant(self, pod_uid: str) -> None:
        """Set a pod aside for it."""
        self.take(Event.GRANT)
        self.pod_uid = pod_uid

    def take(self, event: Event) -> None:
        """Go on to what *event* leads to.

        Raises
        ------
        IllegalTransition
            The table has no such event in its state.
        """
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            raise IllegalTransition(f"{event} of a claim that is {self.state}")
        self.state = after
        if after in (State.WAITING, State.OVER):
            self.pod_uid = None
