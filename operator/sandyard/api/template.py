"""The sandbox template: a short list of safe fields, not a PodSpec."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from sandyard.api import names, quantity
from sandyard.api.model import (
    DNS_SUBDOMAIN,
    LABEL_KEY,
    LABEL_KEY_RULE,
    LABEL_KEYS_RULE,
    TEXT,
    ApiModel,
    LabelValue,
    Quantity,
    no_larger,
    rules,
)
from sandyard.api.network import Dns, Network
from sandyard.api.volume import Tmp, Workspace

__all__ = [
    "EnvVar",
    "Requests",
    "Resources",
    "Setup",
    "Template",
    "Toleration",
    "User",
]

_OWN_KEYS_RULE = (
    "self.all(k, !k.matches('(^|[.])sandyard[.]dev/|^dev[.]gvisor[.]|(^|[.])(kubernetes|k8s)[.]io/'))",
    "keys of sandyard.dev/, dev.gvisor. and kubernetes.io/ are reserved: use a key of your own domain",
)
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

ShortText = Annotated[str, Field(max_length=4096, pattern=TEXT)]

# An environment and the words of a command reach the kernel as one block each, of which no string may have
# 128 KiB (MAX_ARG_STRLEN); and a pod with all of them must still fit into etcd (1.5 MiB).
_WORDS = "self.map(w, size(bytes(w)))"
COMMAND_RULE = no_larger("a command", _WORDS, 64 * 1024, "put what is long into the image or a file")
_SETUP_RULE = no_larger("a setup", _WORDS, 96 * 1024, "put what is long into the image, or fetch it")
ENVIRONMENT_RULE = no_larger(
    "an environment", "self.map(v, size(bytes(v.name)) + (has(v.value) ? size(bytes(v.value)) : 0))", 96 * 1024,
    "write what is long into a file of the sandbox",
)  # fmt: skip
_ANNOTATIONS_RULE = no_larger(
    "annotations", "self.map(k, size(bytes(k)) + size(bytes(self[k])))", 128 * 1024, "shorten them"
)


class EnvVar(ApiModel):
    """One environment variable."""

    name: Annotated[
        str,
        Field(
            # Kubernetes before 1.36 refuses "." and what begins with "..".
            min_length=1,
            max_length=256,
            pattern=r"^([-_a-zA-Z]|[.][-_a-zA-Z0-9])[-._a-zA-Z0-9]*$",
            description="Name of the variable.",
        ),
    ]
    value: Annotated[str, Field(max_length=32768, pattern=TEXT, description="Its value, taken as it stands.")] = ""


class Requests(ApiModel):
    """What the scheduler sets aside."""

    cpu: Annotated[
        Quantity | None,
        Field(
            description="CPU to set aside; default: a tenth of the limit, because an idle sandbox needs little.",
            json_schema_extra=quantity.between("1m", "1k", "100m"),
        ),
    ] = None
    memory: Annotated[
        Quantity | None,
        Field(
            description="Memory to set aside; default: the limit.",
            json_schema_extra=quantity.between("1Mi", "16Ti", "256Mi"),
        ),
    ] = None


class Resources(ApiModel):
    """Limits of the sandbox, and what it sets aside on the node."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.requests) || !has(self.requests.cpu) || "
                "quantity(string(self.requests.cpu)).compareTo(quantity(string(self.cpu))) <= 0",
                "requests.cpu must not exceed cpu: lower the request or raise the limit",
            ),
            (
                "!has(self.requests) || !has(self.requests.memory) || "
                "quantity(string(self.requests.memory)).compareTo(quantity(string(self.memory))) <= 0",
                "requests.memory must not exceed memory: lower the request or raise the limit",
            ),
        )
    )

    cpu: Annotated[
        Quantity,
        Field(description="CPU limit in cores.", json_schema_extra=quantity.between("10m", "1k", "500m")),
    ] = "1"
    memory: Annotated[
        Quantity,
        Field(
            description="Memory limit; beyond it the sandbox is OOM-killed.",
            json_schema_extra=quantity.between("16Mi", "16Ti", "512Mi"),
        ),
    ] = "512Mi"
    ephemeral_storage: Annotated[
        Quantity,
        Field(
            description="Limit of everything written to disk (root file system, volumes, logs); beyond it the pod is "
            "evicted.",
            json_schema_extra=quantity.between("16Mi", "64Ti", "1Gi"),
        ),
    ] = "1Gi"
    requests: Annotated[Requests | None, Field(description="What to set aside on the node.")] = None


class User(ApiModel):
    """The user that the sandbox's processes run as."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            *((f"!has(self.{field}) || self.{field} != {names.GUARD_UID}",
               f"{field} must not be {names.GUARD_UID}: that is Sandyard's own in each pod")
              for field in ("uid", "gid")),
        )
    )  # fmt: skip

    uid: Annotated[
        int,
        Field(
            ge=0,
            le=2147483647,
            description="User id. 0 (root inside gVisor) is refused unless the chart's policy.allowRoot is on.",
        ),
    ] = 1000
    gid: Annotated[int, Field(ge=0, le=2147483647, description="Group id, also of the volumes.")] = 1000


class Setup(ApiModel):
    """A command that prepares the volumes before the main process starts."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.network) || !has(self.network.ingressFrom)",
                "a setup has no ingressFrom: nobody connects to it",
            ),
        )
    )

    command: Annotated[
        list[Annotated[str, Field(max_length=32768, pattern=TEXT)]],
        Field(
            min_length=1,
            max_length=128,
            json_schema_extra=rules(_SETUP_RULE),
            description="Run with the sandbox's image, user, environment and volumes; exit code 0 is success. What it "
            "leaves in /workspace and /tmp is kept, anything else is not.",
        ),
    ]
    timeout_seconds: Annotated[
        int, Field(ge=1, le=86400, description="How long it may take; within the pool's startup.timeoutSeconds.")
    ] = 120
    network: Annotated[
        Network | None,
        Field(
            description="What it may talk to while it runs; default: nothing. It is closed again, and proven closed, "
            "before the main process starts."
        ),
    ] = None


class Toleration(ApiModel):
    """A taint that the pod tolerates."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            (
                "self.operator != 'Exists' || !has(self.value) || self.value == ''",
                "value must be empty when operator is Exists",
            ),
            (
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "tolerationSeconds needs effect NoExecute",
            ),
        )
    )

    key: Annotated[
        str,
        Field(
            min_length=1,
            max_length=317,
            pattern=LABEL_KEY,
            description="Key of the taint; tolerating every taint is refused.",
            json_schema_extra=rules(LABEL_KEY_RULE),
        ),
    ]
    operator: Annotated[Literal["Exists", "Equal"], Field(description="How to compare.")] = "Equal"
    value: Annotated[LabelValue | None, Field(description="Value of the taint, for Equal.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="Effect to tolerate; default: all."),
    ] = None
    toleration_seconds: Annotated[
        int | None, Field(ge=0, le=86400, description="How long a NoExecute taint is tolerated.")
    ] = None


class PullSecret(ApiModel):
    """Name of a Secret in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN, description="Name.")]


class Template(ApiModel):
    """The shape of a sandbox's pod."""

    image: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            pattern=r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$",
            description="Container image, best pinned by digest.",
        ),
    ]
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"] | None,
        Field(description="When to pull the image; default: Always for :latest, else IfNotPresent."),
    ] = None
    image_pull_secrets: Annotated[
        list[PullSecret] | None, Field(max_length=8, description="Secrets for private registries.")
    ] = None
    command: Annotated[
        list[ShortText] | None,
        Field(
            min_length=1,
            max_length=128,
            json_schema_extra=rules(COMMAND_RULE),
            description="Main process; the sandbox has ended when it ends. Omitted: one that idles until the sandbox "
            "is deleted.",
        ),
    ] = None
    args: Annotated[
        list[ShortText] | None,
        Field(max_length=128, description="Arguments of command.", json_schema_extra=rules(COMMAND_RULE)),
    ] = None
    env: Annotated[
        list[EnvVar] | None,
        Field(
            max_length=128,
            description="Environment variables.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                **rules(ENVIRONMENT_RULE),
            },
        ),
    ] = None
    working_dir: Annotated[
        str, Field(max_length=1024, pattern=r"^/[^\x00-\x1f\x7f-\x9f]*$", description="Working directory, absolute.")
    ] = "/workspace"
    resources: Annotated[Resources, Field(default_factory=Resources, description="Limits, and what to set aside.")]
    runtime_class_name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=DNS_SUBDOMAIN,
            description="RuntimeClass; the sandbox proves that it is gVisor before it is handed out.",
        ),
    ] = "gvisor"
    user: Annotated[User, Field(default_factory=User, description="User of the processes.")]
    read_only_root_filesystem: Annotated[bool, Field(description="Refuse writes outside the volumes.")] = False
    workspace: Annotated[Workspace, Field(default_factory=Workspace, description="The volume at /workspace.")]
    tmp: Annotated[Tmp, Field(default_factory=Tmp, description="The volume at /tmp.")]
    hostname: Annotated[
        str | None,
        Field(min_length=1, max_length=63, pattern=_DNS_LABEL, description="Host name; default: the pod's name."),
    ] = None
    dns: Annotated[Dns | None, Field(description="Name resolution.")] = None
    network: Annotated[Network, Field(default_factory=Network, description="What the sandbox may talk to.")]
    setup: Annotated[Setup | None, Field(description="What to do before the main process starts.")] = None
    termination_grace_period_seconds: Annotated[
        int, Field(ge=1, le=3600, description="Time for the processes to end after TERM, before KILL.")
    ] = 10
    node_selector: Annotated[
        dict[str, LabelValue] | None,
        Field(max_length=32, description="Labels that the node must have.", json_schema_extra=rules(LABEL_KEYS_RULE)),
    ] = None
    tolerations: Annotated[list[Toleration] | None, Field(max_length=16, description="Taints that are tolerated.")] = (
        None
    )
    priority_class_name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=253,
            pattern=DNS_SUBDOMAIN,
            description="PriorityClass of the pod.",
            json_schema_extra=rules(
                ("!self.startsWith('system-')", "classes of the system are refused: make a PriorityClass of your own")
            ),
        ),
    ] = None
    labels: Annotated[
        dict[str, LabelValue] | None,
        Field(
            max_length=32,
            description="Further labels of the pod.",
            json_schema_extra=rules(LABEL_KEYS_RULE, _OWN_KEYS_RULE),
        ),
    ] = None
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096, pattern=TEXT)]] | None,
        Field(
            max_length=32,
            description="Further annotations of the pod.",
            json_schema_extra=rules(LABEL_KEYS_RULE, _OWN_KEYS_RULE, _ANNOTATIONS_RULE),
        ),
    ] = None
