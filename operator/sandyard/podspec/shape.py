"""What a pod of ours may look like: one table, checked before a pod is sent and held again by admission.

It is a list of what may be there, not of what may not: a field that Kubernetes gets next year is
refused until it stands here.  Sources: Pod Security Standards, profile restricted, and what it
does not cover (design, "Always set and not settable").  `hack/generate` writes the admission
policy's rules from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from sandyard.api import names
from sandyard.podspec import schema
from sandyard.podspec.containers import KEEPER, NODE_ADDRESS, RESTART_EXIT_CODE
from sandyard.podspec.schema import ANYTHING, AnyOf, Each, Fields, Is, Named, OneOf, Range, Rule, Words

__all__ = ["CLOSED_ORDER", "Installation", "Row", "rows"]

# What runs before the main process, in this order.
_PLAIN_ORDER: Final = (names.PROBE_CONTAINER,)
_SETUP_ORDER: Final = (*_PLAIN_ORDER, names.SETUP_CONTAINER)
_RESTART_ORDER: Final = (*_PLAIN_ORDER, names.CLEAN_CONTAINER, names.RESTART_CONTAINER)
CLOSED_ORDER: Final = (*_SETUP_ORDER, names.CLOSED_CONTAINER)


@dataclass(frozen=True)
class Installation:
    """What differs from one installation to the next.

    Attributes
    ----------
    image_repository
        The operator's image without tag and digest: the proof runs in it, also in that of the
        version before while an upgrade goes on.
    runtime, network
        What the proof has to show: ``Required`` or ``BestEffort``.
    allow_root
        Whether pods may run as root.
    labels, annotations
        How keys of a template's labels and annotations may begin.
    """

    image_repository: str
    runtime: str
    network: str
    allow_root: bool = False
    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One rule of the table.

    Attributes
    ----------
    part
        What it looks at: `of` takes it out of a pod, `expression` does so in CEL.
    says
        The sentence that a person reads when it is broken.
    """

    part: str
    rule: Rule
    says: str

    def of(self, pod: Mapping[str, Any]) -> Any:
        """That part of *pod*."""
        return _PARTS[self.part][0](pod)

    @property
    def expression(self) -> str:
        """That part of the admission request."""
        return _PARTS[self.part][1]


def _containers(pod: Mapping[str, Any]) -> list[Any]:
    return [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]


_PARTS: Final[dict[str, tuple[Callable[[Mapping[str, Any]], Any], str]]] = {
    # Of a pod that is there already, those that are new: what others have put on it is theirs.
    "labels": (lambda pod: pod["metadata"].get("labels") or {}, "variables.newLabels"),
    "annotations": (lambda pod: pod["metadata"].get("annotations") or {}, "variables.newAnnotations"),
    "spec": (lambda pod: pod["spec"], "variables.spec"),
    "containers": (_containers, "variables.containers"),
}

_TOLERATION: Final = ("operator", "value", "effect", "tolerationSeconds")
# Whatever selects pods by labels (a Service, somebody's NetworkPolicy) selects no sandbox.
_LABELS: Final = (
    names.LABEL_MANAGED_BY, names.LABEL_STATE, names.LABEL_EGRESS, names.LABEL_ALLOW, names.LABEL_INGRESS,
    names.LABEL_TEMPLATE_HASH, names.LABEL_POOL_UID, names.LABEL_SANDBOX_UID,
)  # fmt: skip
# Annotations are words to whatever runs on the node; those of the cluster's own plug-ins are not ours to give.
_ANNOTATIONS: Final = (
    names.ANNOTATION_SAFE_TO_EVICT, names.ANNOTATION_ARGO_RUNS_LONG,
    # Put on by admission itself: limits of the namespace, OpenShift's own standards.
    "kubernetes.io/limit-ranger", "openshift.io/scc", "security.openshift.io/validated-scc-subject-type",
)  # fmt: skip
_GIVEN: Final[dict[str, Rule]] = {
    "runtimeClassName": ANYTHING,
    "restartPolicy": Is("Never"),
    "automountServiceAccountToken": Is(False),
    "enableServiceLinks": Is(False),
    "shareProcessNamespace": Is(True),
    "terminationGracePeriodSeconds": Range(1, 3600),
    "securityContext": ANYTHING,
    "initContainers": ANYTHING,
    "containers": ANYTHING,
    "volumes": ANYTHING,
}
_POSSIBLE: Final[dict[str, Rule]] = {
    "dnsPolicy": OneOf(["ClusterFirst", "None"]),
    "dnsConfig": Fields({"nameservers": ANYTHING}),
    "hostname": ANYTHING,
    "imagePullSecrets": ANYTHING,
    "nodeSelector": ANYTHING,
    # A toleration without a key tolerates everything.
    "tolerations": Each(Fields({"key": schema.Matches(".+")}, dict.fromkeys(_TOLERATION, ANYTHING))),
    "priorityClassName": schema.StartsWith(["system-"], none=True),
    # The API server's own additions: defaults, and what its plugins work out from a class.
    "schedulerName": Is("default-scheduler"),
    "serviceAccountName": Is("default"),
    "serviceAccount": Is("default"),
    "priority": ANYTHING,
    "preemptionPolicy": ANYTHING,
    "overhead": ANYTHING,
}
_ORDERS: Final = (
    _PLAIN_ORDER, _SETUP_ORDER, CLOSED_ORDER, _RESTART_ORDER, (*_RESTART_ORDER, names.SETUP_CONTAINER)
)  # fmt: skip
_LIMITS: Final = Fields({"cpu": ANYTHING, "memory": ANYTHING, "ephemeral-storage": ANYTHING})
_DIRECTORY: Final = Fields({"sizeLimit": ANYTHING}, {"medium": OneOf(["", "Memory"])})
_CLAIM_METADATA: Final = Fields(optional={"labels": ANYTHING, "creationTimestamp": ANYTHING})
_CLAIM: Final = Fields(
    {"accessModes": Is(["ReadWriteOnce"]), "resources": Fields({"requests": Fields({"storage": ANYTHING})})},
    {"storageClassName": ANYTHING, "volumeMode": Is("Filesystem")},
)
# As Kubernetes calls the volume that it has made with a pod.
_WORKSPACE_NAME: Final = schema.Matches(f".+-{names.WORKSPACE_VOLUME}")
_VOLUMES: Final = Named({
    names.WORKSPACE_VOLUME: AnyOf([
        Fields({"name": ANYTHING, "emptyDir": _DIRECTORY}),
        Fields({"name": ANYTHING, "persistentVolumeClaim": Fields({"claimName": _WORKSPACE_NAME})}),
        Fields({
            "name": ANYTHING,
            "ephemeral": Fields({"volumeClaimTemplate": Fields({"spec": _CLAIM}, {"metadata": _CLAIM_METADATA})}),
        }),
    ]),
    names.TMP_VOLUME: Fields({"name": ANYTHING, "emptyDir": _DIRECTORY}),
})  # fmt: skip
_MOUNTS: Final = Is([
    {"name": names.WORKSPACE_VOLUME, "mountPath": "/workspace"},
    {"name": names.TMP_VOLUME, "mountPath": "/tmp"},
])  # fmt: skip
_ENVIRONMENT: Final = Each(Fields({"name": ANYTHING}, {"value": ANYTHING}))
_NODE_ADDRESS: Final = Each(
    Fields({
        "name": Is(NODE_ADDRESS["name"]),
        "valueFrom": Fields({"fieldRef": Fields({"apiVersion": Is("v1"), "fieldPath": Is("status.hostIP")})}),
    })
)  # fmt: skip
_HEALTH: Final = Fields(
    {"exec": Fields({"command": ANYTHING})},
    {
        "periodSeconds": ANYTHING,
        "timeoutSeconds": ANYTHING,
        "failureThreshold": ANYTHING,
        "successThreshold": ANYTHING,
    },
)
_UNPRIVILEGED: Final[dict[str, Rule]] = {
    "allowPrivilegeEscalation": Is(False), "readOnlyRootFilesystem": OneOf([True, False])
}  # fmt: skip
_MAYBE: Final[dict[str, Rule]] = {"privileged": Is(False)}
_DROPPED: Final[dict[str, Rule]] = {"capabilities": Is({"drop": ["ALL"]})}
# What each container has: a name, an image, and fields that other rows look at.
_COMMON: Final[dict[str, Rule]] = {
    "name": ANYTHING,
    "image": ANYTHING,
    "resources": ANYTHING,
    "securityContext": ANYTHING,
}
_DEFAULTED: Final[dict[str, Rule]] = {"imagePullPolicy": ANYTHING, "terminationMessagePath": Is("/dev/termination-log")}
_OF_THE_TENANT: Final[dict[str, Rule]] = {"workingDir": ANYTHING, "env": _ENVIRONMENT}
_PYTHON: Final = ("/opt/sandyard/bin/python", "-I", "-m")
# Its own end, in its own way alone, restarts the pod; a tenant's process has no rule.
_RESTARTS: Final[dict[str, Rule]] = {
    "restartPolicy": Is("Always"),
    "restartPolicyRules": Each(Fields({
        "action": Is("RestartAllContainers"),
        "exitCodes": Fields({"operator": Is("In"), "values": Is([RESTART_EXIT_CODE])}),
    })),
}  # fmt: skip
_PROOF_FURTHER: Final = r"--forbidden=\S+"
_CLOSED_FURTHER: Final = r"--forbidden=\S+|--after-setup|--closed-again=\S+"


def rows(installation: Installation, *, root: bool = False) -> list[Row]:
    """The table, for pods that run as root or for all others."""
    return [
        Row(
            "labels",
            schema.Keys(_LABELS, installation.labels),
            "a sandbox's pod has the operator's labels, and of its template's those whose keys begin as policy.labels "
            "of the chart says",
        ),
        Row(
            "annotations",
            schema.Keys(_ANNOTATIONS, (names.PREFIX, *installation.annotations)),
            "a sandbox's pod has the operator's annotations, and of its template's those whose keys begin as "
            "policy.annotations of the chart says",
        ),
        Row(
            "spec",
            Fields(_GIVEN, _POSSIBLE),
            "a sandbox's pod has just the fields that the operator gives it: nothing of its node, no service account "
            "token, no name of a node or of another scheduler",
        ),
        Row(
            "spec",
            Fields({"securityContext": _pod_context(root)}, closed=False),
            "a sandbox runs as non-root (or as root where policy.allowRoot of the chart is on) with the default "
            "seccomp profile, and asks for nothing more of the kernel",
        ),
        Row(
            "spec",
            Fields({"volumes": _VOLUMES}, closed=False),
            "a sandbox has only its own workspace and /tmp, with a size limit, which live and die with it",
        ),
        Row(
            "containers",
            Each(AnyOf([_secured(_tenants(root), ours=False), _secured(_ours(), ours=True)])),
            "a sandbox's containers have no privileges and no capabilities; the tenant's run as the template's user, "
            "the operator's as one of their own",
        ),
        Row(
            "containers",
            Each(Fields({"resources": Fields({"limits": _LIMITS, "requests": _LIMITS})}, closed=False)),
            "a sandbox's containers have limits of cpu, memory and ephemeral-storage, and no others",
        ),
        Row(
            "spec",
            Fields({"containers": Named({names.CONTAINER: _main()})}, closed=False),
            "a sandbox has one container, with just the fields that the operator gives it: nothing from other "
            "objects, no ports, no hooks",
        ),
        Row(
            "spec",
            Fields(
                {"containers": schema.NamesAre([[names.CONTAINER]]), "initContainers": schema.NamesAre(_ORDERS)},
                closed=False,
            ),
            "the proof runs first, then what empties a pod that is restarted and what restarts it, then a setup, and "
            "after one that opened the network the proof that it is closed",
        ),
        Row(
            "spec",
            Fields({"initContainers": Named(_before(installation))}, closed=False),
            "before a sandbox runs nothing but the operator's proof, exactly as the operator has it, and the "
            "template's setup",
        ),
    ]


def _pod_context(root: bool) -> Fields:
    return Fields({
        "runAsNonRoot": Is(not root),
        "runAsUser": Is(names.GUARD_UID),
        "runAsGroup": Is(names.GUARD_UID),
        "fsGroup": Range(0),
        "seccompProfile": Is({"type": "RuntimeDefault"}),
    }, {"fsGroupChangePolicy": Is("OnRootMismatch")})  # fmt: skip


def _secured(context: Fields, *, ours: bool) -> Fields:
    return Fields({"name": OneOf(names.OWN_CONTAINERS, none=not ours), "securityContext": context}, closed=False)


def _tenants(root: bool) -> Fields:
    another = AnyOf([Range(1, names.GUARD_UID - 1), Range(names.GUARD_UID + 1)])
    user: dict[str, Rule] = {"runAsUser": Is(0) if root else another, "runAsGroup": AnyOf([Is(0), another])}
    # Root keeps the runtime's default set: without it, it could not even change a file's owner.
    return Fields({**_UNPRIVILEGED, **user, **({} if root else _DROPPED)}, {**_MAYBE, **(_DROPPED if root else {})})


def _ours() -> Fields:
    return Fields({**_UNPRIVILEGED, **_DROPPED}, _MAYBE)


def _main() -> Fields:
    return Fields(
        {**_COMMON, "volumeMounts": _MOUNTS},
        {
            **_DEFAULTED,
            **_OF_THE_TENANT,
            "command": ANYTHING,
            "args": ANYTHING,
            "readinessProbe": _HEALTH,
            "terminationMessagePolicy": Is("File"),
        },
    )


def _before(installation: Installation) -> dict[str, Rule]:
    setup = Fields(
        {**_COMMON, "command": ANYTHING, "volumeMounts": _MOUNTS},
        {**_DEFAULTED, **_OF_THE_TENANT, "terminationMessagePolicy": Is("FallbackToLogsOnError")},
    )
    return {
        names.PROBE_CONTAINER: _proof(installation, _PROOF_FURTHER, "--alone"),
        names.CLEAN_CONTAINER: _own(installation, Is([*_PYTHON, "sandyard.clean"]), {"volumeMounts": _MOUNTS}),
        names.RESTART_CONTAINER: _own(installation, Is(list(KEEPER)), _RESTARTS),
        names.SETUP_CONTAINER: setup,
        names.CLOSED_CONTAINER: _proof(installation, _CLOSED_FURTHER),
    }


def _proof(installation: Installation, further: str, *first: str) -> Fields:
    """No volume, no variable and no word of the tenant's comes near it."""
    command = [*_PYTHON, "sandyard.probe", f"--runtime={installation.runtime}", f"--network={installation.network}",
               *first]  # fmt: skip
    return _own(installation, Words(command, rf"--timeout-seconds=\d+|{further}"))


def _own(installation: Installation, command: Rule, further: Mapping[str, Rule] = MappingProxyType({})) -> Fields:
    """A container in the operator's image."""
    return Fields(
        {
            **_COMMON,
            "securityContext": Fields({"readOnlyRootFilesystem": Is(True)}, closed=False),
            "image": schema.StartsWith([f"{installation.image_repository}{sign}" for sign in ":@"]),
            "command": command,
            **further,
        },
        {**_DEFAULTED, "env": _NODE_ADDRESS, "terminationMessagePolicy": Is("File")},
    )
