"""SandboxPool: a set of warm sandboxes of one template."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from sandyard.api.lifetime import SandboxLifetime
from sandyard.api.model import TEXT, ApiModel, ConditionStatus, no_larger, rules
from sandyard.api.network import EgressProfile
from sandyard.api.sizing import Autoscale, AutoscaleStatus, ScheduledSize, ScheduleStatus
from sandyard.api.template import Template

__all__ = [
    "ClaimDefaults",
    "Failure",
    "PoolSpec",
    "PoolStatus",
    "Restart",
    "Rollout",
    "SandboxPool",
    "Startup",
    "Warm",
    "WarmProbe",
    "WhenEmpty",
]


def _amount(value: Any) -> str:
    """A number or a percentage, as text."""
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,5}|(100|[0-9]{1,2})%", text):
        raise ValueError("must be a number of sandboxes or a percentage such as 25%")
    return text


class WhenEmpty(ApiModel):
    """What happens to a claim when no warm sandbox is left."""

    action: Annotated[
        Literal["ColdStart", "Wait", "Reject"],
        Field(
            description="ColdStart: start one more now, and take the first that turns ready. Wait: wait for one of the "
            "pool's own. Reject: fail at once."
        ),
    ] = "ColdStart"
    wait_seconds: Annotated[int, Field(ge=1, le=86400, description="How long a claim waits before it fails.")] = 60


class Startup(ApiModel):
    """How the pool starts pods."""

    parallelism: Annotated[int, Field(ge=1, le=1000, description="Pods that may be starting at once.")] = 10
    timeout_seconds: Annotated[
        int, Field(ge=5, le=86400, description="How long one start may take; then the pod is replaced.")
    ] = 300


class ClaimDefaults(ApiModel):
    """What a Sandbox of this pool gets when it does not say otherwise."""

    lifetime: Annotated[
        SandboxLifetime | None, Field(description="Lifetime of a Sandbox that names none; as a whole.")
    ] = None


class WarmProbe(ApiModel):
    """A command that shows whether a sandbox is healthy; the kubelet runs it."""

    command: Annotated[
        list[Annotated[str, Field(max_length=4096, pattern=TEXT)]],
        Field(
            min_length=1,
            max_length=64,
            description="Command, run in the sandbox; exit code 0: healthy.",
            json_schema_extra=rules(
                no_larger("a probe", "self.map(w, size(bytes(w)))", 32 * 1024, "put what is long into the image")
            ),
        ),
    ]
    period_seconds: Annotated[int, Field(ge=1, le=3600, description="How often.")] = 30
    timeout_seconds: Annotated[int, Field(ge=1, le=3600, description="How long it may take.")] = 2
    failure_threshold: Annotated[int, Field(ge=1, le=100, description="Failures in a row that count as sick.")] = 1


class Warm(ApiModel):
    """How warm sandboxes are kept well."""

    max_age_seconds: Annotated[
        int | None,
        Field(
            ge=10,
            le=315360000,
            description="A warm sandbox older than this is replaced, after its replacement is ready.",
        ),
    ] = None
    probe: Annotated[
        WarmProbe | None,
        Field(
            description="Health of warm and claimed sandboxes. One that fails while warm is replaced, one that fails "
            "while claimed is not Ready until it is healthy again."
        ),
    ] = None


class Rollout(ApiModel):
    """How warm sandboxes of an earlier template are replaced."""

    max_unavailable: Annotated[
        str,
        pydantic.BeforeValidator(_amount),
        pydantic.WithJsonSchema(
            {
                "x-kubernetes-int-or-string": True,
                "pattern": "^(100|[0-9]{1,2})%$",
                "x-kubernetes-validations": [
                    {
                        "rule": "type(self) != int || (self >= 0 && self <= 10000)",
                        "message": "must be a number of sandboxes or a percentage of replicas such as 25%",
                    }
                ],
            }
        ),
        Field(
            description="How many warm sandboxes may be missing while they are replaced: a number, or a percentage of "
            "replicas (rounded up). 0: each goes after its replacement is ready."
        ),
    ] = "25%"


class Restart(ApiModel):
    """How used sandboxes are restarted."""

    timeout_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=600,
            description="How long it may take until a restarted pod is proven and warm, a setup included; then the pod "
            "is deleted.",
        ),
    ] = 30
    max_uses: Annotated[
        int, Field(ge=1, le=10000, description="How often one pod is handed out before it is deleted.")
    ] = 10


def _now_called(word: Any) -> Any:
    """Scrub is the former word for Restart."""
    return "Restart" if word == "Scrub" else word


_RESTARTS = "!has(self.recycle) || self.recycle == 'Delete'"


class PoolSpec(ApiModel):
    """What a pool should be."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            (
                f"{_RESTARTS} || !has(self.template.setup) || !has(self.template.setup.network)",
                "recycle Restart needs a template whose setup has no network of its own: leave setup.network out, or "
                "use recycle Delete",
            ),
            (
                f"{_RESTARTS} || !has(self.template.workspace) || !has(self.template.workspace.persistent)",
                "recycle Restart needs a template without workspace.persistent, which belongs to its Sandbox",
            ),
            (
                f"{_RESTARTS} || !has(self.template.user) || !has(self.template.user.uid) || "
                "self.template.user.uid != 0",
                "recycle Restart needs a template whose user is not root: root could end what restarts the pod",
            ),
        )
    )

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
    recycle: Annotated[
        Literal["Delete", "Restart"],
        pydantic.BeforeValidator(_now_called),
        pydantic.WithJsonSchema({"type": "string", "enum": ["Delete", "Restart", "Scrub"]}),
        Field(
            description="What becomes of a used pod. Delete: it is deleted, and a fresh one started. Restart: the "
            "kubelet ends every process and starts all containers anew in the same pod, what they could leave is "
            "emptied, and the proof runs again; what is not proven within restart.timeoutSeconds is deleted. It needs "
            "Kubernetes 1.36. Scrub: the former word for Restart, read for one release more."
        ),
    ] = "Delete"
    restart: Annotated[
        Restart | None, Field(description="How used sandboxes are restarted; default: 30 seconds, 10 uses.")
    ] = None
    scrub: Annotated[
        Restart | None,
        Field(description="Former name of restart, read for one release more where restart is not given."),
    ] = None
    startup: Annotated[Startup, Field(default_factory=Startup, description="How pods are started.")]
    warm: Annotated[Warm, Field(default_factory=Warm, description="How warm sandboxes are kept well.")]
    rollout: Annotated[Rollout, Field(default_factory=Rollout, description="How a changed template is rolled out.")]
    autoscale: Annotated[
        Autoscale | None,
        Field(description="Size the pool from the measured claim rate and warm-up time; replicas is then not used."),
    ] = None
    schedule: Annotated[
        list[ScheduledSize] | None,
        Field(
            max_length=32,
            description="Sizes by time, in place of replicas: the entry that began last holds. With autoscale it is "
            "the fewest that the demand may leave.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    claim_defaults: Annotated[
        ClaimDefaults, Field(default_factory=ClaimDefaults, description="What a Sandbox gets that does not say so.")
    ]
    max_lifetime_seconds: Annotated[
        int | None,
        Field(
            ge=1, le=315360000, description="Upper bound that no Sandbox of this pool can exceed, counted from Ready."
        ),
    ] = None
    allowed_egress: Annotated[
        list[EgressProfile] | None,
        Field(
            max_length=8,
            description="Profiles that a Sandbox's own network may ask for; default: that of the template.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    on_lost: Annotated[
        Literal["Fail", "Replace"],
        Field(
            description="What happens to a Sandbox of this pool whose pod is lost: its node is gone, it was evicted, "
            "somebody deleted it. Fail: it has failed. Replace: it gets a fresh pod, without what was in the lost one. "
            "A Sandbox may say otherwise."
        ),
    ] = "Fail"
    paused: Annotated[bool, Field(description="No new pods and no claims; nothing that runs is touched.")] = False

    @property
    def restarting(self) -> Restart:
        """How used sandboxes are restarted, by whichever name it was given."""
        return self.restart or self.scrub or Restart()


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
    reused: Annotated[int | None, Field(ge=0, description="Used pods that were restarted and given back so far.")] = (
        None
    )
    cold_starts: Annotated[int | None, Field(ge=0, description="Claims that had to wait for a start so far.")] = None
    selector: Annotated[
        str | None, Field(max_length=4096, description="Label selector of the warm pods, for autoscalers.")
    ] = None
    template_hash: Annotated[str | None, Field(max_length=63, description="Hash of the current template.")] = None
    last_failure: Annotated[Failure | None, Field(description="The latest failure to start a pod.")] = None
    schedule: Annotated[ScheduleStatus | None, Field(description="What spec.schedule asks for now.")] = None
    autoscale: Annotated[AutoscaleStatus | None, Field(description="What spec.autoscale has measured and decided.")] = (
        None
    )
    conditions: Annotated[
        list[ConditionStatus] | None,
        Field(
            max_length=32,
            description="Ready, Full, Reconciling, Stalled, RuntimeIsolated, NetworkEnforced, BackingOff.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = None


class SandboxPool(ApiModel):
    """A pool of warm sandboxes.

    The operator keeps `spec.replicas` isolated pods ready. A Sandbox that names this pool gets one
    of them without waiting for a start, and the operator starts a replacement at once.
    """

    spec: PoolSpec
    status: Annotated[PoolStatus, Field(default_factory=PoolStatus)]
