"""Builds the pod of a sandbox from its template.

What is always set here is the promise of isolation (design, "Always set and not settable");
`sandyard.podspec.rules` checks the result once more before it is sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from sandyard.api import names, quantity
from sandyard.api.pool import WarmProbe
from sandyard.api.template import EnvVar, Resources, Template
from sandyard.podspec import network

__all__ = ["Owner", "Probe", "build", "cold_pod_name", "pod_name", "template_hash"]

# Raised when the pod of an unchanged template must change, for example for a safety fix:
# warm pods of an older format are then replaced.
_FORMAT: Final = 1

# An idle process that ends at once on TERM: it is not process 1 (the pause container is), so
# the default action of the signal holds. Images whose own command would exit work with it.
KEEPER: Final = ("sleep", "2147483647")
_PROBE_MEMORY: Final = "128Mi"
_PROBE_REQUEST: Final = "32Mi"


@dataclass(frozen=True)
class Probe:
    """How the init container proves isolation.

    Attributes
    ----------
    image
        The operator's own image.
    forbidden
        ``host:port`` of destinations that must be out of reach, the API server's first.
    runtime, network
        ``Required`` or ``BestEffort``.
    """

    image: str
    pull_policy: str
    forbidden: tuple[str, ...]
    runtime: str = "Required"
    network: str = "Required"
    timeout_seconds: int = 20


@dataclass(frozen=True)
class Owner:
    """The object that the pod belongs to: its garbage goes with it."""

    kind: str
    name: str
    uid: str

    def reference(self) -> dict[str, Any]:
        """An ownerReference."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }


def template_hash(template: Template, probe: Probe, health: WarmProbe | None = None) -> str:
    """Hash of everything that a pod is made from; fits a label value.

    What the probe requires is part of it: pods that were let through by a laxer setting must
    not be handed out after it has been tightened.  The probe's image is not: an upgrade of
    the operator replaces no warm pod.
    """
    required = {"runtime": probe.runtime, "network": probe.network}
    content = {
        "format": _FORMAT,
        "required": required,
        "template": template.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    if health is not None:
        content["health"] = health.model_dump(mode="json", by_alias=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def pod_name(owner_name: str, suffix: str) -> str:
    """``<owner, cut>-<suffix>``: at most 63 characters, so that it is a host name too."""
    return f"{owner_name[: 62 - len(suffix)].rstrip('-.').replace('.', '-')}-{suffix}"


def cold_pod_name(sandbox: Owner) -> str:
    """Name of the pod that is started for *sandbox* alone: the same each time it is tried."""
    return pod_name(sandbox.name, hashlib.sha256(sandbox.uid.encode()).hexdigest()[:8])


def build(
    template: Template,
    *,
    name: str,
    namespace: str,
    owner: Owner,
    probe: Probe,
    pool: Owner | None = None,
    sandbox: Owner | None = None,
    env: Sequence[EnvVar] = (),
    health: WarmProbe | None = None,
    terms: str = "",
) -> dict[str, Any]:
    """The pod of one sandbox.

    Parameters
    ----------
    owner
        Pool (a warm pod) or Sandbox (a cold one).
    pool
        Pool whose template this is, if any: the pod counts as one of its own.
    sandbox
        Sandbox that the pod is for; None for a warm pod.
    env
        Variables of the Sandbox, which override those of the template.
    health
        Command that tells whether the sandbox is well (the pool's ``warm.probe``).
    terms
        The pool's terms for a Sandbox that gets the pod at once.

    Returns
    -------
    dict
        A v1 Pod. Its egress label says None whatever the template allows: it is widened
        after the pod has proven that closed means closed.
    """
    labels = {
        **(template.labels or {}),
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_STATE: names.STATE_COLD if sandbox else names.STATE_WARM,
        **network.labels(network.Reach(template.network, template.dns)),
        names.LABEL_EGRESS: names.EGRESS_NONE,
        names.LABEL_TEMPLATE_HASH: template_hash(template, probe, health),
    }
    annotations = {**(template.annotations or {}), names.ANNOTATION_SAFE_TO_EVICT: "false" if sandbox else "true"}
    if pool is not None:
        labels[names.LABEL_POOL_UID] = pool.uid
        annotations[names.ANNOTATION_POOL] = pool.name
    if sandbox is not None:
        labels[names.LABEL_SANDBOX_UID] = sandbox.uid
        annotations[names.ANNOTATION_SANDBOX] = sandbox.name
    if terms:
        annotations[names.ANNOTATION_TERMS] = terms
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner.reference()],
        },
        "spec": _spec(template, probe, env, health),
    }


def _spec(template: Template, probe: Probe, env: Sequence[EnvVar], health: WarmProbe | None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "runtimeClassName": template.runtime_class_name,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # The pause container is process 1: it reaps orphans, TERM works at once, and stopping
        # all processes reaches the main one too.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": template.termination_grace_period_seconds,
        "securityContext": _pod_security(template),
        "initContainers": [_probe_container(template, probe)],
        "containers": [_container(template, env, health)],
        "volumes": [
            {"name": "workspace", "emptyDir": _empty_dir(template.workspace)},
            {"name": "tmp", "emptyDir": _empty_dir(template.tmp)},
        ],
        **_dns(template),
    }
    if template.hostname:
        spec["hostname"] = template.hostname
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret.name} for secret in template.image_pull_secrets]
    if template.node_selector:
        spec["nodeSelector"] = dict(template.node_selector)
    if template.tolerations:
        spec["tolerations"] = [
            toleration.model_dump(mode="json", by_alias=True, exclude_none=True) for toleration in template.tolerations
        ]
    if template.priority_class_name:
        spec["priorityClassName"] = template.priority_class_name
    return spec


def _container(template: Template, env: Sequence[EnvVar], health: WarmProbe | None) -> dict[str, Any]:
    # A home that the user can write to; uid 1000 has no entry in most images' passwd file.
    variables = {"HOME": "/workspace"}
    variables.update({variable.name: variable.value for variable in template.env or ()})
    variables.update({variable.name: variable.value for variable in env})
    container: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": template.image,
        "workingDir": template.working_dir,
        "env": [{"name": name, "value": value.replace("$(", "$$(")} for name, value in variables.items()],
        "resources": resources(template.resources),
        "securityContext": _container_security(template, template.read_only_root_filesystem),
        "volumeMounts": [{"name": "workspace", "mountPath": "/workspace"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    if health is not None:
        container["readinessProbe"] = {
            "exec": {"command": list(health.command)},
            "periodSeconds": health.period_seconds,
            "timeoutSeconds": health.timeout_seconds,
            "failureThreshold": health.failure_threshold,
        }
    if template.image_pull_policy:
        container["imagePullPolicy"] = template.image_pull_policy
    if template.command:
        container["command"] = [_literal(word) for word in template.command]
    elif not template.args:
        container["command"] = list(KEEPER)
    if template.args:
        container["args"] = [_literal(word) for word in template.args]
    return container


def _literal(word: str) -> str:
    """Kubernetes expands ``$(NAME)`` in commands; what a user writes is taken as it stands."""
    return word.replace("$(", "$$(")


def _probe_container(template: Template, probe: Probe) -> dict[str, Any]:
    arguments = [f"--forbidden={destination}" for destination in probe.forbidden]
    return {
        "name": names.PROBE_CONTAINER,
        "image": probe.image,
        "imagePullPolicy": probe.pull_policy,
        "command": [
            "/opt/sandyard/bin/python", "-I", "-m", "sandyard.probe",
            f"--runtime={probe.runtime}", f"--network={probe.network}",
            f"--timeout-seconds={probe.timeout_seconds}", *arguments,
        ],
        "resources": {
            "limits": {"cpu": template.resources.cpu, "memory": _PROBE_MEMORY, "ephemeral-storage": "16Mi"},
            "requests": {
                "cpu": resources(template.resources)["requests"]["cpu"],
                "memory": _PROBE_REQUEST,
                "ephemeral-storage": "16Mi",
            },
        },
        "securityContext": _container_security(template, read_only=True),
        "terminationMessagePolicy": "File",
    }  # fmt: skip


def _pod_security(template: Template) -> dict[str, Any]:
    return {
        "runAsNonRoot": template.user.uid != 0,
        "runAsUser": template.user.uid,
        "runAsGroup": template.user.gid,
        "fsGroup": template.user.gid,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _container_security(template: Template, read_only: bool) -> dict[str, Any]:
    context: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": read_only,
    }
    if template.user.uid != 0:
        context["capabilities"] = {"drop": ["ALL"]}
    return context


def resources(wanted: Resources) -> dict[str, Any]:
    """Limits and requests: memory is set aside whole, CPU to a tenth, unless said otherwise."""
    requests = wanted.requests
    tenth = max(1, int(quantity.parse(wanted.cpu) * Fraction(1000, 10)))
    return {
        "limits": {
            "cpu": wanted.cpu,
            "memory": wanted.memory,
            "ephemeral-storage": wanted.ephemeral_storage,
        },
        "requests": {
            "cpu": requests.cpu if requests and requests.cpu else f"{tenth}m",
            "memory": requests.memory if requests and requests.memory else wanted.memory,
            "ephemeral-storage": "16Mi",
        },
    }


def _empty_dir(volume: Any) -> dict[str, Any]:
    source = {"sizeLimit": volume.size_limit}
    if volume.medium:
        source["medium"] = volume.medium
    return source


def _dns(template: Template) -> dict[str, Any]:
    if template.dns is not None:
        return {"dnsPolicy": "None", "dnsConfig": {"nameservers": list(template.dns.nameservers)}}
    # Whatever the template allows: a Sandbox's own network may be wider.
    return {"dnsPolicy": "ClusterFirst"}
