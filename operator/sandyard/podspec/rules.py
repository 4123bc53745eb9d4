"""The rules that every pod of ours must keep, checked once more before it is created.

Admission policies hold the same rules in the cluster; they can be uninstalled, and a fault in
the builder would then go unnoticed.  Source: Pod Security Standards, profile restricted, and
what it does not cover (design, "Always set and not settable").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandyard.api import names

__all__ = ["violations"]

_FORBIDDEN_SPEC = (
    "hostNetwork", "hostPID", "hostIPC", "hostUsers", "hostAliases", "serviceAccountName", "nodeName",
    "ephemeralContainers", "readinessGates", "schedulerName", "affinity",
)  # fmt: skip
_FORBIDDEN_POD_CONTEXT = ("sysctls", "seLinuxOptions", "supplementalGroups", "windowsOptions")
# A container's own word goes before the pod's.
_FORBIDDEN_CONTEXT = (
    "runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "procMount", "seLinuxOptions", "appArmorProfile",
    "windowsOptions",
)  # fmt: skip


def violations(pod: Mapping[str, Any], *, allow_root: bool = False) -> list[str]:
    """What is wrong with *pod*; empty when it may be created."""
    spec = pod["spec"]
    found = [f"spec.{field} must not be set" for field in _FORBIDDEN_SPEC if spec.get(field) is not None]
    expected = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "shareProcessNamespace": True,
    }
    found += [f"spec.{key} must be {value}" for key, value in expected.items() if spec.get(key) is not value
              and spec.get(key) != value]  # fmt: skip
    if not spec.get("runtimeClassName"):
        found.append("spec.runtimeClassName must be set")
    found += _security(spec, allow_root)
    found += _volumes(spec)
    found += _order(pod)
    if [container["name"] for container in spec["containers"]] != [names.CONTAINER]:
        found.append(f"the only container must be called {names.CONTAINER}")
    return found


def _order(pod: Mapping[str, Any]) -> list[str]:
    """What runs before the main process, and what is open meanwhile."""
    before = tuple(container["name"] for container in pod["spec"].get("initContainers", ()))
    closed = (names.PROBE_CONTAINER,)
    setup = (*closed, names.SETUP_CONTAINER)
    reopened = (*setup, names.CLOSED_CONTAINER)
    if before not in (closed, setup, reopened):
        return ["the probe must be the first init container, then setup, and the proof that its network is closed"]
    opened = pod["metadata"]["labels"].get(names.LABEL_EGRESS) != names.EGRESS_NONE
    marked = pod["metadata"].get("annotations", {}).get(names.ANNOTATION_SETUP) == names.SETUP_OPEN
    if (opened or marked) != (before == reopened) or opened != marked:
        return ["a pod starts with egress None, or with its setup's, which is then proven closed"]
    return []


def _security(spec: Mapping[str, Any], allow_root: bool) -> list[str]:
    found = []
    pod_context = spec.get("securityContext", {})
    root = pod_context.get("runAsUser") == 0
    if root and not allow_root:
        found.append("user.uid 0 needs policy.allowRoot in the operator's chart")
    if pod_context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        found.append("the seccomp profile must be RuntimeDefault")
    if not root and not (pod_context.get("runAsNonRoot") is True and pod_context.get("runAsUser")):
        found.append("the pod must run as non-root")
    found += [f"spec.securityContext.{field} must not be set" for field in _FORBIDDEN_POD_CONTEXT
              if pod_context.get(field) is not None]  # fmt: skip
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        context = container.get("securityContext", {})
        name = container["name"]
        if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
            found.append(f"{name}: privileges")
        if not root and context.get("capabilities") != {"drop": ["ALL"]}:
            found.append(f"{name}: capabilities must be dropped")
        overrides = [field for field in _FORBIDDEN_CONTEXT if context.get(field) is not None]
        if overrides:
            found.append(f"{name}: {', '.join(overrides)} overrides what the pod says")
        limits = container.get("resources", {}).get("limits", {})
        if set(limits) != {"cpu", "memory", "ephemeral-storage"}:
            found.append(f"{name}: limits for cpu, memory and ephemeral storage are needed")
        if container.get("ports") or container.get("envFrom") or container.get("lifecycle"):
            found.append(f"{name}: no ports, envFrom or lifecycle")
        if any("valueFrom" in variable for variable in container.get("env", ())):
            found.append(f"{name}: no environment from other objects")
    return found


def _volumes(spec: Mapping[str, Any]) -> list[str]:
    found = []
    for volume in spec.get("volumes", ()):
        if volume.get("name") == names.WORKSPACE_VOLUME and set(volume) in (
            {"name", "ephemeral"}, {"name", "persistentVolumeClaim"}
        ):  # fmt: skip
            continue
        if set(volume) != {"name", "emptyDir"} or not volume["emptyDir"].get("sizeLimit"):
            found.append(f"volume {volume.get('name')}: only emptyDir with a size limit")
    return found
