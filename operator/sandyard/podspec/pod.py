"""Builds the pod of a sandbox from its template.

What is always set here is the promise of isolation (design, "Always set and not settable");
`sandyard.podspec.rules` checks the result once more before it is sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandyard.api import names
from sandyard.api.pool import WarmProbe
from sandyard.api.template import EnvVar, Template
from sandyard.podspec import containers
from sandyard.podspec.containers import Probe

__all__ = ["Owner", "Probe", "build", "cold_pod_name", "pod_name", "template_hash"]

# Raised when the pod of an unchanged template must change, for example for a safety fix:
# warm pods of an older format are then replaced.
_FORMAT: Final = 2


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


def template_hash(template: Template, probe: Probe, health: WarmProbe | None = None, *, restart: bool = False) -> str:
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
    if restart:
        content["restart"] = True
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def pod_name(owner_name: str, suffix: str) -> str:
    """``<owner, cut>-<suffix>``: at most 63 characters, so that it is a host name too."""
    return f"{owner_name[: 62 - len(suffix)].rstrip('-.').replace('.', '-')}-{suffix}"


def cold_pod_name(sandbox: Owner, restarts: int = 0) -> str:
    """Name of the pod that is started for *sandbox* alone: the same each time it is tried.

    A Sandbox that resumes after it was suspended gets a pod of another name each time.
    """
    identity = sandbox.uid if restarts == 0 else f"{sandbox.uid} {restarts}"
    return pod_name(sandbox.name, hashlib.sha256(identity.encode()).hexdigest()[:8])


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
    workspace: str = "",
    restart: bool = False,
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
        Command that shows whether the sandbox is healthy (the pool's ``warm.probe``).
    terms
        The pool's terms for a Sandbox that gets the pod at once.
    workspace
        Name of the PersistentVolumeClaim that the Sandbox had before.
    restart
        Whether it may be restarted for another Sandbox.

    Returns
    -------
    dict
        A v1 Pod. Its egress label says None whatever the template allows (or what its setup
        may reach): it is widened after the pod has proven that closed means closed.
    """
    labels = {
        **(template.labels or {}),
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_STATE: names.STATE_COLD if sandbox else names.STATE_WARM,
        **containers.labels_at_first(template),
        names.LABEL_TEMPLATE_HASH: template_hash(template, probe, health, restart=restart),
    }
    annotations = {
        **(template.annotations or {}),
        names.ANNOTATION_SAFE_TO_EVICT: "false" if sandbox else "true",
        names.ANNOTATION_ARGO_RUNS_LONG: "true",
    }
    if pool is not None:
        labels[names.LABEL_POOL_UID] = pool.uid
        annotations[names.ANNOTATION_POOL] = pool.name
    if sandbox is not None:
        labels[names.LABEL_SANDBOX_UID] = sandbox.uid
        annotations[names.ANNOTATION_SANDBOX] = sandbox.name
    if terms:
        annotations[names.ANNOTATION_TERMS] = terms
    if containers.opened_for_setup(template) is not None:
        annotations[names.ANNOTATION_SETUP] = names.SETUP_OPEN
    if workspace or template.workspace.persistent is not None:
        annotations[names.ANNOTATION_WORKSPACE] = workspace or f"{name}-{names.WORKSPACE_VOLUME}"
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
        "spec": {
            **_spec(template, env, health, _workspace(template, labels, workspace)),
            "initContainers": _before(template, probe, env, restart=restart),
        },
    }


def _spec(
    template: Template, env: Sequence[EnvVar], health: WarmProbe | None, workspace: dict[str, Any]
) -> dict[str, Any]:
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
        "containers": [containers.main(template, env, health)],
        "volumes": [workspace, {"name": names.TMP_VOLUME, "emptyDir": _empty_dir(template.tmp)}],
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


def _before(template: Template, probe: Probe, env: Sequence[EnvVar], *, restart: bool) -> list[dict[str, Any]]:
    found = [containers.probing(template, probe)]
    if restart:
        found += [containers.cleaning(template, probe), containers.restarting(template, probe)]
    if template.setup is not None:
        found.append(containers.setting_up(template, env))
    opened = containers.opened_for_setup(template)
    if opened is not None:
        found.append(containers.closing(template, probe, opened.network))
    return found


def _workspace(template: Template, labels: Mapping[str, str], kept: str) -> dict[str, Any]:
    persistent = template.workspace.persistent
    if kept:
        return {"name": names.WORKSPACE_VOLUME, "persistentVolumeClaim": {"claimName": kept}}
    if persistent is None:
        return {"name": names.WORKSPACE_VOLUME, "emptyDir": _empty_dir(template.workspace)}
    # Made and, until a Sandbox has become its owner, collected with the pod by Kubernetes itself.
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": persistent.size}},
    }
    if persistent.storage_class_name is not None:
        spec["storageClassName"] = persistent.storage_class_name
    ours = (names.LABEL_MANAGED_BY, names.LABEL_POOL_UID, names.LABEL_SANDBOX_UID)
    metadata = {"labels": {key: labels[key] for key in ours if key in labels}}
    template_ = {"metadata": metadata, "spec": spec}
    return {"name": names.WORKSPACE_VOLUME, "ephemeral": {"volumeClaimTemplate": template_}}


def _pod_security(template: Template) -> dict[str, Any]:
    # Else the kubelet opens every file of the workspace to the group anew for each pod, a key of mode 0600 too.
    lasting = {"fsGroupChangePolicy": "OnRootMismatch"} if template.workspace.persistent is not None else {}
    return {
        "runAsNonRoot": template.user.uid != 0,
        # Of the pause container too, which lives as long as the pod: its limits and priorities are
        # nothing that a tenant can change.
        "runAsUser": names.GUARD_UID,
        "runAsGroup": names.GUARD_UID,
        "fsGroup": template.user.gid,
        **lasting,
        "seccompProfile": {"type": "RuntimeDefault"},
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
