"""What is done for a Sandbox in one step: the words that decisions and their execution share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.api.template import Template
from sandyard.podspec.network import Reach
from sandyard.sandbox.status import Status

__all__ = [
    "Action",
    "AddFinalizer",
    "AdoptWorkspace",
    "AskCpuUse",
    "ClaimWarmPod",
    "CloseSetupNetwork",
    "Count",
    "DeletePod",
    "DeleteSandbox",
    "Freeze",
    "LookForUnseenPod",
    "LookUpPod",
    "NoteStamp",
    "ObserveStart",
    "RestartClock",
    "ResyncKubelet",
    "StartPod",
    "Step",
    "StopWaiting",
    "SwitchNetwork",
    "TearDown",
    "WaitForPool",
]


@dataclass(frozen=True)
class AddFinalizer:
    """Put our finalizer on, where admission has not done so."""


@dataclass(frozen=True)
class StopWaiting:
    """Give up its place in every queue; find out what became of a claim that was cut off."""


@dataclass(frozen=True)
class TearDown:
    """One step of its teardown."""


@dataclass(frozen=True)
class DeleteSandbox:
    """Delete the object: its time is over."""


@dataclass(frozen=True)
class DeletePod:
    """Ask *pod* to go, unless it is on its way."""

    pod: Pod


@dataclass(frozen=True)
class AskCpuUse:
    """Ask the metrics API, where there is one, whether its main container is busy."""

    pod: Pod


@dataclass(frozen=True)
class NoteStamp:
    """The stamp of a client has been taken in."""

    stamp: str


@dataclass(frozen=True)
class LookUpPod:
    """Ask the API server itself for the pod that the status names."""

    name: str
    uid: str


@dataclass(frozen=True)
class LookForUnseenPod:
    """Ask the API server itself for a pod of its own, and delete it."""


@dataclass(frozen=True)
class AdoptWorkspace:
    """Make its pod's PersistentVolumeClaim its own."""

    name: str


@dataclass(frozen=True)
class Freeze:
    """Stop every process, or (not *stopped*) let them continue."""

    pod: Pod
    stopped: bool


@dataclass(frozen=True)
class SwitchNetwork:
    """Give its pod the network that *generation* of its spec asks for; *post*: with an Event, because it runs."""

    pod: Pod
    reach: Reach
    generation: int
    post: bool


@dataclass(frozen=True)
class PutLabelsRight:
    """Give its pod the labels back that others have changed; None takes one off."""

    pod: Pod
    labels: Mapping[str, str | None]


@dataclass(frozen=True)
class CloseSetupNetwork:
    """Close the network of a setup that has ended."""

    pod: Pod
    template: Template


@dataclass(frozen=True)
class ResyncKubelet:
    """Make the kubelet look at a pod whose main container is overdue."""

    pod: Pod


@dataclass(frozen=True)
class WaitForPool:
    """Wake it when its pool appears or is continued."""


@dataclass(frozen=True)
class ClaimWarmPod:
    """Take a warm pod of its pool, or join the pool's queue.

    Attributes
    ----------
    reach
        The wider network that it asks for.
    cold
        Whether the pool should start a pod for it if it has to wait.
    wait
        Whether to join the queue.
    """

    reach: Reach | None
    cold: bool
    wait: bool


@dataclass(frozen=True)
class StartPod:
    """Start a pod for this Sandbox alone; *from_pool*: it counts against its pool's maxSandboxes."""

    template: Template
    from_pool: bool


@dataclass(frozen=True)
class RestartClock:
    """The new start has all the time that a start may take."""


@dataclass(frozen=True)
class ObserveStart:
    """It is Ready for the first time: count it, and measure how long it took."""

    kind: str


Action = (
    AddFinalizer | StopWaiting | TearDown | DeleteSandbox | DeletePod | AskCpuUse | NoteStamp | LookUpPod
    | LookForUnseenPod | AdoptWorkspace | Freeze | SwitchNetwork | PutLabelsRight | CloseSetupNetwork | ResyncKubelet
    | WaitForPool | ClaimWarmPod | StartPod | RestartClock | ObserveStart
)  # fmt: skip


@dataclass(frozen=True)
class Count:
    """One more in a counter of `sandyard.engine.process.metrics`.

    Attributes
    ----------
    counter
        ``expired``, ``ended`` or ``claims``.
    """

    counter: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """What is done next, in this order.

    Attributes
    ----------
    reason
        The rule's word for it, for the log.
    status
        Written if it says something new; only then *event* and *counts* follow.
    event, counts
        Posted and counted; without a status they always are.
    actions
        Carried out last, in their order.
    again
        Decide once more, with what the actions have found out.
    requeue_after
        Seconds after which to look again even if nothing happens.
    """

    reason: str
    status: Status | None = None
    event: tuple[Event, str] | None = None
    counts: tuple[Count, ...] = ()
    actions: tuple[Action, ...] = ()
    again: bool = False
    requeue_after: float | None = None
