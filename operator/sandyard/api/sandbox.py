"""Sandbox: one isolated pod, taken from a pool or started for it alone."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from sandyard.api.lifetime import Lifetime
from sandyard.api.model import DNS_SUBDOMAIN, ApiModel, ConditionStatus, rules
from sandyard.api.network import Network
from sandyard.api.template import ENVIRONMENT_RULE, EnvVar, Template

__all__ = ["LastTermination", "PoolRef", "Sandbox", "SandboxSpec", "SandboxStatus"]


class PoolRef(ApiModel):
    """The pool to take the sandbox from, in the same namespace."""

    name: Annotated[
        str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN, description="Name of the SandboxPool.")
    ]


class SandboxSpec(ApiModel):
    """What a sandbox should be."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.poolRef) != has(self.template)",
                "set exactly one of poolRef (take a sandbox from a pool) and template (start one of its own)",
            ),
            (
                "has(self.poolRef) == has(oldSelf.poolRef) && (!has(self.poolRef) || self.poolRef == oldSelf.poolRef)",
                "poolRef cannot be changed: delete this Sandbox and make a new one",
            ),
            (
                "has(self.template) == has(oldSelf.template) && "
                "(!has(self.template) || self.template == oldSelf.template)",
                "template cannot be changed: delete this Sandbox and make a new one",
            ),
            (
                "has(self.env) == has(oldSelf.env) && (!has(self.env) || self.env == oldSelf.env)",
                "env cannot be changed in a running sandbox: delete this Sandbox and make a new one",
            ),
            (
                "has(self.network) || !has(oldSelf.network)",
                "network cannot be taken away again: set it to what the sandbox may talk to, such as egress None",
            ),
            (
                "!has(self.template) || !has(self.desiredState) || self.desiredState != 'Suspended' || "
                "(has(self.template.workspace) && has(self.template.workspace.persistent))",
                "desiredState Suspended needs template.workspace.persistent: nothing of the sandbox would be kept",
            ),
            (
                "!has(self.template) || !has(self.lifetime) || !has(self.lifetime.onExpiry) || "
                "self.lifetime.onExpiry != 'Suspend' || "
                "(has(self.template.workspace) && has(self.template.workspace.persistent))",
                "lifetime.onExpiry Suspend needs template.workspace.persistent: nothing of the sandbox would be kept",
            ),
        )
    )

    pool_ref: Annotated[PoolRef | None, Field(description="Take the sandbox from this pool.")] = None
    template: Annotated[Template | None, Field(description="Start a sandbox of this shape.")] = None
    desired_state: Annotated[
        Literal["Running", "Paused", "Suspended"],
        Field(
            description="Running. Paused: every process is stopped and keeps its memory; it needs /bin/sh in the "
            "image. Suspended: its pod is deleted, its persistent workspace (workspace.persistent) is kept for the "
            "next one. Its lifetime continues meanwhile; idleSeconds does not while it is suspended."
        ),
    ] = "Running"
    lifetime: Annotated[
        Lifetime | None,
        Field(description="When the sandbox ends by itself; may be changed while it runs. Omitted: never."),
    ] = None
    network: Annotated[
        Network | None,
        Field(
            description="What it may talk to, in place of the template's network and within the pool's allowedEgress. "
            "One that is wider is opened in the claim itself; any other has to be proven closed, so the sandbox is "
            "started cold. It may be changed while the sandbox runs; connections that stand may outlive a narrower one."
        ),
    ] = None
    env: Annotated[
        list[EnvVar] | None,
        Field(
            max_length=128,
            description="Further environment variables. They cannot be put into a running pod, so with poolRef the "
            "sandbox is started cold from the pool's template.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                **rules(ENVIRONMENT_RULE),
            },
        ),
    ] = None
    on_lost: Annotated[
        Literal["Fail", "Replace"] | None,
        Field(
            description="What happens when its pod is lost: its node is gone, it was evicted, somebody deleted it. "
            "Fail: the Sandbox has failed. Replace: a fresh pod takes its place once the lost one is gone, without "
            "what was in it (condition StateLost), at most 5 times in a row. Default: the pool's onLost, or Fail."
        ),
    ] = None
    wait_seconds: Annotated[
        int | None,
        Field(
            ge=1,
            le=86400,
            description="How long to wait for a sandbox before this one fails; default: the pool's "
            "whenEmpty.waitSeconds.",
        ),
    ] = None


class LastTermination(ApiModel):
    """How the main process ended."""

    reason: Annotated[
        str, Field(max_length=1024, description="Completed, Error, OOMKilled, Evicted, Expired or PodLost.")
    ]
    exit_code: Annotated[int | None, Field(description="Exit code, where there is one.")] = None
    signal: Annotated[int | None, Field(description="Signal that ended it, where there is one.")] = None
    message: Annotated[str | None, Field(max_length=32768, description="A sentence for people.")] = None
    finished_at: Annotated[
        str | None, Field(json_schema_extra={"format": "date-time"}, description="When it ended.")
    ] = None


def _time(description: str) -> object:
    return Field(json_schema_extra={"format": "date-time"}, description=description)


class SandboxStatus(ApiModel):
    """What a sandbox is; written by the operator alone."""

    observed_generation: Annotated[
        int, Field(ge=-1, description="Generation that this status speaks of; -1 until the operator has seen it.")
    ] = -1
    phase: Annotated[
        Literal["Pending", "Starting", "Ready", "Paused", "Suspended", "Terminating", "Expired", "Succeeded", "Failed"],
        Field(description="Where the sandbox is in its life; conditions say more."),
    ] = "Pending"
    start: Annotated[
        Literal["Warm", "Cold"] | None,
        Field(description="Warm: a pod that stood ready. Cold: the sandbox had to wait for a pod to start."),
    ] = None
    pool_name: Annotated[str | None, Field(max_length=253, description="Pool it was taken from.")] = None
    pod_name: Annotated[str | None, Field(max_length=253, description="Its pod.")] = None
    pod_uid: Annotated[str | None, Field(alias="podUID", max_length=64, description="UID of its pod.")] = None
    pod_ip: Annotated[str | None, Field(alias="podIP", max_length=45, description="Address of its pod.")] = None
    node_name: Annotated[str | None, Field(max_length=253, description="Node that it runs on.")] = None
    runtime: Annotated[str | None, Field(max_length=64, description="Runtime, as proven from inside the sandbox.")] = (
        None
    )
    claimed_at: Annotated[str | None, _time("When it got its pod.")] = None
    ready_at: Annotated[str | None, _time("When it became Ready.")] = None
    expires_at: Annotated[str | None, _time("When it will expire.")] = None
    expires: Annotated[
        str | None,
        Field(max_length=12, description="When it will expire, in UTC, for people: 11-29 12:30Z, or the date alone."),
    ] = None
    last_activity_at: Annotated[
        str | None, _time("When it was last used, as far as lifetime.idleSeconds is concerned.")
    ] = None
    activity_source: Annotated[
        Literal["Client", "CPU"] | None,
        Field(description="What lastActivityAt goes by: a client's stamp, or CPU use as the metrics API shows it."),
    ] = None
    workspace_claim: Annotated[
        str | None, Field(max_length=253, description="PersistentVolumeClaim that holds its workspace.")
    ] = None
    resumed_at: Annotated[str | None, _time("When it last began to resume, or lost its pod.")] = None
    restarts: Annotated[int | None, Field(ge=0, description="Times that its pod was replaced.")] = None
    replacements: Annotated[
        int | None,
        Field(ge=0, description="Lost pods in a row that were replaced, each before it had lasted ten minutes."),
    ] = None
    last_termination: Annotated[
        LastTermination | None, Field(description="How the main process ended, when it has.")
    ] = None
    conditions: Annotated[
        list[ConditionStatus] | None,
        Field(
            max_length=32,
            description="Ready, Reconciling, Stalled, Claimed, RuntimeIsolated, NetworkEnforced, SetupCompleted, "
            "Finished, StateLost, TeardownStuck.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = None


class Sandbox(ApiModel):
    """An isolated place to run untrusted code.

    It is one pod under gVisor with no network unless asked for. It is taken from a warm pool
    (`spec.poolRef`) or started alone (`spec.template`). Deleting it deletes everything of it;
    the object is gone only when that is done.
    """

    spec: SandboxSpec
    status: Annotated[SandboxStatus, Field(default_factory=SandboxStatus)]
