"""SandboxPool: a set of warm sandboxes of one template."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sandyard.api.model import ApiModel, ConditionStatus
from sandyard.api.template import Template

__all__ = ["Failure", "PoolSpec", "PoolStatus", "SandboxPool", "Startup", "WhenEmpty"]


class WhenEmpty(ApiModel):
    """What happens to a claim when no warm sandbox is left."""

    action: Annotated[
        Literal["ColdStart", "Wait"],
        Field(
            description="ColdStart: start one more now, and take the first that turns ready. Wait: wait for one of the "
            "pool's own."
        ),
    ] = "ColdStart"
    wait_seconds: Annotated[int, Field(ge=1, le=86400, description="How long a claim waits before it fails.")] = 60


class Startup(ApiModel):
    """How the pool starts pods."""

    parallelism: Annotated[int, Field(ge=1, le=1000, description="Pods that may be starting at once.")] = 10
    timeout_seconds: Annotated[
        int, Field(ge=5, le=86400, description="How long one start may take; then the pod is replaced.")
    ] = 300


class PoolSpec(ApiModel):
    """What a pool should be."""

    replicas: Annotated[
        int, Field(ge=0, le=10000, description="Warm sandboxes to keep: ready, proven isolated, not claimed.")
    ] = 1
    max_sandboxes: Annotated[
        int | None,
        Field(ge=1, le=100000, description="Most pods of this pool at once: starting, warm, claimed and terminating."),
    ] = None
    template: Annotated[Template, Field(description="The shape of each sandbox.")]
    when_empty: Annotated[
        WhenEmpty, Field(default_factory=WhenEmpty, description="What happens to a claim on an empty pool.")
    ]
    startup: Annotated[Startup, Field(default_factory=Startup, description="How pods are started.")]
    paused: Annotated[bool, Field(description="No new pods and no claims; nothing that runs is touched.")] = False


class Failure(ApiModel):
    """The latest failure to start a pod."""

    reason: Annotated[str, Field(max_length=1024, description="One word for programs.")]
    message: Annotated[str, Field(max_length=32768, description="A sentence for people.")] = ""
    time: Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="When it happened.")]


class PoolStatus(ApiModel):
    """What a pool is; written by the operator alone."""

    observed_generation: Annotated[
        int, Field(ge=-1, description="Generation that this status speaks of; -1 until the operator has seen the pool.")
    ] = -1
    replicas: Annotated[int | None, Field(ge=0, description="Warm sandboxes: ready, proven, not claimed.")] = None
    starting: Annotated[int | None, Field(ge=0, description="Pods on their way to warm.")] = None
    claimed: Annotated[int | None, Field(ge=0, description="Pods that belong to a Sandbox.")] = None
    terminating: Annotated[int | None, Field(ge=0, description="Pods being deleted.")] = None
    unhealthy: Annotated[int | None, Field(ge=0, description="Pods that failed and are being replaced.")] = None
    outdated: Annotated[
        int | None, Field(ge=0, description="Unclaimed pods of an earlier template, being replaced.")
    ] = None
    warm_hits: Annotated[int | None, Field(ge=0, description="Claims served by a warm sandbox so far.")] = None
    cold_starts: Annotated[int | None, Field(ge=0, description="Claims that had to wait for a start so far.")] = None
    selector: Annotated[
        str | None, Field(max_length=4096, description="Label selector of the warm pods, for autoscalers.")
    ] = None
    template_hash: Annotated[str | None, Field(max_length=63, description="Hash of the current template.")] = None
    last_failure: Annotated[Failure | None, Field(description="The latest failure to start a pod.")] = None
    conditions: Annotated[
        list[ConditionStatus] | None,
        Field(
            max_length=32,
            description="Ready, Reconciling, Stalled, RuntimeIsolated, NetworkEnforced, BackingOff.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = None


class SandboxPool(ApiModel):
    """A pool of warm sandboxes.

    The operator keeps `spec.replicas` isolated pods ready, so that a Sandbox that names this
    pool gets one of them in milliseconds, and starts a substitute at once.
    """

    spec: PoolSpec
    status: Annotated[PoolStatus, Field(default_factory=PoolStatus)]
