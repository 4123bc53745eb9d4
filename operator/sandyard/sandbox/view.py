"""What the decision about one Sandbox goes by: the object, its pods, its pool, and what was asked on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandyard.api.network import Network
from sandyard.api.objects import Pod
from sandyard.api.pool import PoolSpec
from sandyard.api.reasons import Reason, Start
from sandyard.api.sandbox import SandboxSpec
from sandyard.api.template import Template
from sandyard.podspec import bound_table, network
from sandyard.podspec.bounds import Bounds
from sandyard.podspec.foreign import Exposure
from sandyard.podspec.network import Reach
from sandyard.sandbox import expiry, freeze
from sandyard.sandbox.expiry import Expiry, Terms
from sandyard.sandbox.phase import Facts
from sandyard.sandbox.status import Status, until
from sandyard.sandbox.usage import Usage

__all__ = ["Answers", "Claim", "PoolFacts", "Refusal", "SandboxView", "UnreadableView"]

_COLD_START_SECONDS = 300


@dataclass(frozen=True)
class Refusal:
    """Why something was not done.

    Attributes
    ----------
    final
        Whether another attempt would end in the same way.
    retry_after_seconds
        The API server was busy, and may be asked again after so long; None: it has something against it.
    """

    reason: Reason
    message: str
    final: bool = False
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class Answers:
    """What the actions of this pass have found out; each is empty until it was asked for.

    Attributes
    ----------
    asked
        Somebody is asked and has not answered yet: a queue brings the Sandbox back.
    cpu_asked, cpu
        Whether the metrics API was asked, and what it said.
    cpu_unknown
        It was asked and failed.
    pod_seen
        Whether the cluster itself still knows the pod that the status names.
    unseen_pod
        Whether there was a pod of its own that the watch has not shown yet.
    workspace_gone
        The workspace that its pod names is not there.
    frozen, report
        What was done to its processes last (True: stopped), and what came of it.
    put_right
        The labels of its pod were put right, though the watch has yet to show it.
    switched_generation, setup_closed
        The labels of its pod were changed (as that generation of the spec asks for), though the
        watch has yet to show it.
    switch_refused
        Why its network could not be changed.
    claim_tried
        It has asked for a warm pod of its pool.
    start
        How it got the pod that has been claimed in this pass.
    no_room
        Its pool has reached maxSandboxes.
    claim_refused
        Why no pod may be written for it.
    start_tried
        It has tried to start a pod of its own; *start_refused* says why there is none.
    """

    asked: bool = False
    cpu_asked: bool = False
    cpu: Usage | None = None
    cpu_unknown: bool = False
    pod_seen: bool | None = None
    unseen_pod: bool | None = None
    workspace_gone: bool = False
    frozen: bool | None = None
    report: freeze.Report = field(default_factory=lambda: freeze.Report(False))
    put_right: bool = False
    switched_generation: int | None = None
    switch_refused: Refusal | None = None
    setup_closed: bool = False
    claim_tried: bool = False
    claim_refused: Refusal | None = None
    start: Start | None = None
    no_room: bool = False
    start_tried: bool = False
    start_refused: Refusal | None = None


@dataclass(frozen=True)
class PoolFacts:
    """The pool that a Sandbox names.

    Attributes
    ----------
    template_hash
        Which of its pods are of its present template.
    failure
        Why its starts fail or hang, if they do.
    beyond
        What it asks for beyond the bounds of its namespace; empty if that is nothing.
    created_at
        When, in seconds since the epoch: nobody has waited for it before.
    """

    name: str
    spec: PoolSpec
    template_hash: str = ""
    deleting: bool = False
    at_maximum: bool = False
    failure: tuple[Reason, str] | None = None
    beyond: str = ""
    created_at: float = float("-inf")


@dataclass(frozen=True)
class Claim:
    """A place in its pool's queue.

    Attributes
    ----------
    waited_seconds
        Since it joined; None when it has not.
    ahead
        Claims before it.
    open
        Whether it has joined, was granted a pod, or has to find out whether it has one.
    """

    waited_seconds: float | None = None
    ahead: int = 0
    open: bool = False


@dataclass(frozen=True)
class _View:
    now: float
    generation: int
    status: Status = field(default_factory=Status)
    deleting: bool = False
    guarded: bool = True
    claim: Claim = Claim()
    waits: bool = False
    hindered: str = ""
    pods: tuple[Pod, ...] = ()
    answers: Answers = Answers()
    pool_name: str | None = None


@dataclass(frozen=True)
class UnreadableView(_View):
    """A Sandbox that makes no sense to this operator."""

    invalid: str = ""

    def facts(self) -> Facts:
        """Facts for `sandyard.sandbox.phase`."""
        return Facts(self.generation, self.status, self.now)


@dataclass(frozen=True)
class SandboxView(_View):
    """A Sandbox and all that concerns it.

    Attributes
    ----------
    now, created_at
        Seconds since the epoch.
    guarded
        Whether our finalizer is on.
    waits
        Whether it waits for anything: a warm pod, its pool, room for a pod of its own.
    hindered
        Which request about it fails again and again; empty if none does.
    pods
        Its pods, the one that counts first. One set aside for a claim under way is not its own yet.
    pool
        The pool that it names, if it is there and can be read.
    astray
        Labels of its first pod that others have changed, with what they should be.
    terms
        What its pool says about lifetimes.
    stamp, noted_stamp
        When a client says that it was used last, and the latest of these that was taken in.
    waited_seconds
        Since it was first seen, or its present start began.
    last_refusal
        Why it could not be given its last pod.
    exposure
        What opens the sandboxes of its namespace, if anything of others does.
    bounds
        What templates and Sandboxes of its namespace may ask for.
    older
        Sandboxes of its namespace that came before it and have not ended; 0 where their number has no bound.
    pausing, busy_cores
        Settings: whether it may be paused, and the CPU use from which on it is not idle.
    """

    namespace: str = ""
    created_at: float = 0.0
    spec: SandboxSpec = field(default_factory=SandboxSpec)
    pool: PoolFacts | None = None
    astray: Mapping[str, str | None] = field(default_factory=dict)
    terms: Terms = Terms()
    stamp: str = ""
    noted_stamp: str = ""
    waited_seconds: float = 0.0
    last_refusal: tuple[Reason, str] | None = None
    exposure: Exposure | None = None
    bounds: Bounds = Bounds()
    older: int = 0
    pausing: bool = True
    busy_cores: float = 0.05

    @property
    def template(self) -> Template | None:
        """Its own template, or that of its pool."""
        if self.spec.template is not None:
            return self.spec.template
        return self.pool.spec.template if self.pool is not None else None

    @property
    def may_suspend(self) -> bool:
        """Whether there is, or will be, a workspace to keep."""
        if self.status.workspace_claim:
            return True
        return self.template is not None and self.template.workspace.persistent is not None

    @property
    def replaces(self) -> bool:
        """Whether a fresh pod takes the place of one that is lost."""
        by_pool = self.pool.spec.on_lost if self.pool is not None else "Fail"
        return (self.spec.on_lost or by_pool) == "Replace"

    @property
    def withheld(self) -> str:
        """Why no sandbox of its namespace is handed out at present; empty if they are."""
        return self.exposure.message if self.exposure is not None and self.exposure.withholds else ""

    @property
    def ending(self) -> str:
        """What happens when its time is over."""
        lifetime = self.terms.effective(self.spec.lifetime)
        return lifetime.on_expiry if lifetime is not None else "Delete"

    @property
    def start_patience_seconds(self) -> int:
        """Seconds that a start for this Sandbox alone may take."""
        if self.spec.wait_seconds is not None:
            return self.spec.wait_seconds
        if self.pool is not None:
            return self.pool.spec.startup.timeout_seconds
        setup = self.spec.template.setup if self.spec.template is not None else None
        return _COLD_START_SECONDS + (setup.timeout_seconds if setup is not None else 0)

    def own_reach(self) -> Reach | None:
        """The network that the Sandbox itself asks for; None when it takes its pool's."""
        if self.spec.network is not None:
            return Reach(self.spec.network, self.template.dns if self.template is not None else None)
        own = self.spec.template
        return Reach(own.network, own.dns) if own is not None else None

    def not_allowed(self, own: Network | None) -> str:
        """Why its pool, or its namespace, does not allow the network *own*; empty if they do."""
        if own is None:
            return ""
        beyond = bound_table.network_beyond(own, self.bounds)
        if beyond or self.pool is None:
            return beyond
        pool = self.pool.spec
        profiles = [pool.template.network.egress] if pool.allowed_egress is None else pool.allowed_egress
        why = network.beyond(own, pool.template.network, profiles)
        return f"spec.network.{why} (SandboxPool {self.pool.name!r})" if why else ""

    def expiry(self, *, status: Status | None = None, ready_at: float | None = None) -> Expiry:
        """When it expires; *status* and *ready_at* in place of those that are written."""
        status = status or self.status
        ready = status.ready_seconds
        resting = self.spec.desired_state == "Suspended" or status.suspended_on_request
        return expiry.expiry(
            self.spec.lifetime, self.terms, ready if ready is not None else ready_at, status.active_seconds,
            idle_counts=not resting,
        )  # fmt: skip

    def facts(self, *, ready_at: float | None = None) -> Facts:
        """Facts for `sandyard.sandbox.phase`."""
        fields: Mapping[str, Any] = {}
        if not self.status.ended:
            at = self.expiry(ready_at=ready_at).at
            fields = until(at, self.now)
        return Facts(self.generation, self.status, self.now, self.pool_name, fields)
