"""The parts of Kubernetes objects that are read, as typed structures.

msgspec decodes these straight from the watch stream and skips everything else: a few
microseconds and a fraction of the memory of a whole pod.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "ContainerStatus",
    "EndpointSlice",
    "Generic",
    "LabelSelector",
    "Metadata",
    "NetworkPolicy",
    "OwnerReference",
    "Pod",
    "PodCondition",
    "PodStatus",
    "SelectorRequirement",
]


class OwnerReference(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """An owner of an object."""

    kind: str
    name: str
    uid: str


class Metadata(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """ObjectMeta, the parts that matter here."""

    name: str
    uid: str
    resource_version: str
    namespace: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class Terminated(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A container that has ended."""

    exit_code: int = 0
    signal: int | None = None
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class Waiting(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A container that does not run yet."""

    reason: str = ""
    message: str = ""


class Running(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A container that runs."""

    started_at: str | None = None


class ContainerState(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """What a container does now."""

    terminated: Terminated | None = None
    waiting: Waiting | None = None
    running: Running | None = None


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Status of one container."""

    name: str
    ready: bool = False
    restart_count: int = 0
    container_id: str = msgspec.field(name="containerID", default="")
    state: ContainerState = ContainerState()


class PodCondition(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A condition of a pod."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class PodStatus(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Status of a pod."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    conditions: list[PodCondition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class PodSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Spec of a pod."""

    node_name: str = ""
    termination_grace_period_seconds: int = 30


class Pod(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Generic(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Any object, by its metadata and its undecoded spec."""

    metadata: Metadata
    spec: msgspec.Raw = msgspec.Raw(b"null")


class SelectorRequirement(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One of the ``matchExpressions`` of a label selector."""

    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class LabelSelector(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Labels that objects must have; an empty one selects all."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[SelectorRequirement] | None = None


class PolicyRule(msgspec.Struct, frozen=True, gc=False):
    """A rule of a network policy: that there is one is all that matters here."""


class NetworkPolicySpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Spec of a network policy."""

    pod_selector: LabelSelector = LabelSelector()
    ingress: list[PolicyRule] | None = None
    egress: list[PolicyRule] | None = None


class NetworkPolicy(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A network policy of somebody else's."""

    metadata: Metadata
    spec: NetworkPolicySpec = NetworkPolicySpec()


class Endpoint(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One backend of an EndpointSlice."""

    addresses: list[str] = []


class EndpointPort(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One port of an EndpointSlice."""

    port: int | None = None


class EndpointSlice(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Addresses behind a Service."""

    metadata: Metadata
    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None
