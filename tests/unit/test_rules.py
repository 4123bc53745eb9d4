"""Each rule that a pod of ours must keep is looked at once more before it is created."""

from __future__ import annotations

from typing import Any

import pytest

from sandyard.api import names
from sandyard.podspec import pod as podspec
from sandyard.podspec import rules
from tests.unit import objects

POOL = podspec.Owner("SandboxPool", "python", "pool-uid")


def build(**fields: Any) -> dict[str, Any]:
    return podspec.build(objects.template(**fields), name="p", namespace="ns", owner=POOL, pool=POOL,
                         probe=objects.PROBE)  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostNetwork", True), ("hostPID", True), ("hostIPC", True), ("hostUsers", False),
        ("hostAliases", [{"ip": "127.0.0.1", "hostnames": ["x"]}]), ("serviceAccountName", "admin"),
        ("nodeName", "node-1"), ("ephemeralContainers", [{"name": "debug"}]),
        ("readinessGates", [{"conditionType": "x"}]), ("schedulerName", "mine"), ("affinity", {"nodeAffinity": {}}),
        ("automountServiceAccountToken", None), ("enableServiceLinks", True), ("enableServiceLinks", None),
        ("restartPolicy", "Always"), ("restartPolicy", None), ("shareProcessNamespace", False),
        ("shareProcessNamespace", None), ("runtimeClassName", ""),
    ],
)  # fmt: skip
def test_the_spec_has_nothing_of_the_node_and_nothing_of_others(field: str, value: Any) -> None:
    made = build()
    made["spec"][field] = value
    if value is None:
        del made["spec"][field]
    assert any(f"spec.{field}" in violation for violation in rules.violations(made))


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["securityContext"].update(privileged=True), "privileges"),
        (lambda c: c["securityContext"].update(allowPrivilegeEscalation=True), "privileges"),
        (lambda c: c["securityContext"].pop("allowPrivilegeEscalation"), "privileges"),
        (lambda c: c.pop("securityContext"), "privileges"),
        (lambda c: c["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}), "capabilities"),
        (lambda c: c["securityContext"].update(capabilities={"drop": ["NET_RAW"]}), "capabilities"),
        (lambda c: c["securityContext"].update(runAsUser=0), "overrides"),
        (lambda c: c["securityContext"].update(runAsNonRoot=False), "overrides"),
        (lambda c: c["securityContext"].update(seccompProfile={"type": "Unconfined"}), "overrides"),
        (lambda c: c["securityContext"].update(procMount="Unmasked"), "overrides"),
        (lambda c: c["resources"]["limits"].pop("cpu"), "limits"),
        (lambda c: c["resources"]["limits"].pop("memory"), "limits"),
        (lambda c: c["resources"]["limits"].pop("ephemeral-storage"), "limits"),
        (lambda c: c["resources"]["limits"].update({"nvidia.com/gpu": 1}), "limits"),
        (lambda c: c.update(ports=[{"containerPort": 80, "hostPort": 80}]), "no ports"),
        (lambda c: c.update(envFrom=[{"secretRef": {"name": "s"}}]), "no ports, envFrom"),
        (lambda c: c.update(lifecycle={"postStart": {}}), "lifecycle"),
        (lambda c: c.update(env=[{"name": "a", "valueFrom": {"secretKeyRef": {}}}]), "other objects"),
    ],
)
def test_no_container_has_privileges_or_anything_of_others(kind: str, change: Any, told: str) -> None:
    made = build()
    change(made["spec"][kind][0])
    assert any(told in violation for violation in rules.violations(made))


@pytest.mark.parametrize(
    "volume",
    [
        {"name": "h", "hostPath": {"path": "/"}},
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "t", "projected": {"sources": []}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "of-another"}},
        {"name": "data", "ephemeral": {}},
        {"name": names.WORKSPACE_VOLUME, "hostPath": {"path": "/"}},
        {"name": names.WORKSPACE_VOLUME, "persistentVolumeClaim": {}, "hostPath": {"path": "/"}},
        {"name": "e", "emptyDir": {}},
        {"name": "e", "emptyDir": {"medium": "Memory"}},
    ],
)
def test_only_volumes_that_live_and_die_with_the_pod(volume: dict[str, Any]) -> None:
    made = build()
    made["spec"]["volumes"].append(volume)
    assert any(f"volume {volume['name']}" in violation for violation in rules.violations(made))


@pytest.mark.parametrize("field", ["runAsNonRoot", "runAsUser", "seccompProfile"])
def test_the_pod_itself_says_who_it_runs_as(field: str) -> None:
    made = build()
    del made["spec"]["securityContext"][field]
    assert rules.violations(made)


@pytest.mark.parametrize("field", ["sysctls", "seLinuxOptions", "supplementalGroups"])
def test_the_pod_asks_for_nothing_more_of_the_kernel(field: str) -> None:
    made = build()
    made["spec"]["securityContext"][field] = [{"name": "kernel.shm_rmid_forced", "value": "0"}]
    assert any(f"securityContext.{field}" in violation for violation in rules.violations(made))


def test_root_needs_the_charts_leave_and_even_root_has_no_privileges() -> None:
    made = build(user={"uid": 0})
    assert any("allowRoot" in violation for violation in rules.violations(made))
    assert rules.violations(made, allow_root=True) == []
    made["spec"]["containers"][0]["securityContext"]["privileged"] = True
    assert any("privileges" in violation for violation in rules.violations(made, allow_root=True))


SETUP = {"command": ["true"], "network": {"egress": "Internet"}}


@pytest.mark.parametrize(
    "change",
    [
        # The proof that the network is closed again is missing, or comes too early.
        lambda pod: pod["spec"]["initContainers"].pop(),
        lambda pod: pod["spec"]["initContainers"].reverse(),
        lambda pod: pod["spec"]["initContainers"].insert(0, pod["spec"]["initContainers"].pop()),
        # It starts open, and nobody would close it.
        lambda pod: pod["metadata"]["annotations"].pop(names.ANNOTATION_SETUP),
        lambda pod: pod["metadata"]["annotations"].update({names.ANNOTATION_SETUP: names.SETUP_CLOSED}),
        # It starts closed, but would be believed to have been open.
        lambda pod: pod["metadata"]["labels"].update({names.LABEL_EGRESS: names.EGRESS_NONE}),
    ],
)
def test_what_a_setup_opens_is_proven_closed_before_the_main_process(change: Any) -> None:
    made = build(setup=SETUP)
    assert rules.violations(made) == []
    change(made)
    assert rules.violations(made)
