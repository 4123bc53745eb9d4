"""Each rule for pods of ours, one by one, as a real API server holds it.

Everything is a dry run: a case that should be refused differs in one thing from one that is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.support import admission
from tests.support.admission import COLLECTOR, CONTROL_PLANE, OPERATOR, SOMEBODY, STRANGERS, World, built
from tests.support.kube import Kube, Refused


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    yield from admission.world(admin)


Change = Callable[[dict[str, Any]], Any]
POD_RULES: dict[str, tuple[Change, str]] = {
    "host-network": (lambda p: p["spec"].update(hostNetwork=True), "no namespace with its node"),
    "host-pid": (lambda p: p["spec"].update(hostPID=True, shareProcessNamespace=None), "no namespace with its node"),
    "host-ipc": (lambda p: p["spec"].update(hostIPC=True), "no namespace with its node"),
    "host-users": (lambda p: p["spec"].update(hostUsers=True), "no namespace with its node"),
    "no-runtime-class": (lambda p: p["spec"].pop("runtimeClassName"), "a RuntimeClass and no service account token"),
    "token": (lambda p: p["spec"].update(automountServiceAccountToken=True), "no service account token"),
    "token-by-silence": (lambda p: p["spec"].pop("automountServiceAccountToken"), "no service account token"),
    "host-path": (lambda p: volume(p, hostPath={"path": "/"}), "only volumes"),
    "secret": (lambda p: volume(p, secret={"secretName": "s"}), "only volumes"),
    "config-map": (lambda p: volume(p, configMap={"name": "c"}), "only volumes"),
    "csi": (lambda p: volume(p, csi={"driver": "d"}), "only volumes"),
    "claim-of-another": (lambda p: volume(p, persistentVolumeClaim={"claimName": "c"}), "only volumes"),
    "no-size-limit": (lambda p: volume(p, emptyDir={}), "with a size limit"),
    "workspace-on-the-node": (
        lambda p: p["spec"]["volumes"].__setitem__(0, {"name": "workspace", "hostPath": {"path": "/"}}),
        "only volumes",
    ),
    "root": (lambda p: p["spec"]["securityContext"].update(runAsUser=0, runAsNonRoot=False), "does not run as root"),
    "maybe-root": (lambda p: p["spec"]["securityContext"].update(runAsNonRoot=False), "runs as non-root"),
    "root-by-silence": (lambda p: p["spec"]["securityContext"].pop("runAsNonRoot"), "runs as non-root"),
    "no-seccomp": (lambda p: p["spec"]["securityContext"].update(seccompProfile={"type": "Unconfined"}), "seccomp"),
    "sysctls": (
        lambda p: p["spec"]["securityContext"].update(sysctls=[{"name": "net.ipv4.ip_local_port_range", "value": "1"}]),
        "nothing more of the kernel",
    ),
}


def volume(pod: dict[str, Any], **source: Any) -> None:
    pod["spec"]["volumes"].append({"name": "more", **source})


CONTAINER_RULES: dict[str, tuple[Change, str]] = {
    "privileged": (
        lambda c: c["securityContext"].update(privileged=True, allowPrivilegeEscalation=None),
        "no privileges",
    ),
    "escalation": (lambda c: c["securityContext"].update(allowPrivilegeEscalation=True), "no privileges"),
    "escalation-by-silence": (lambda c: c["securityContext"].pop("allowPrivilegeEscalation"), "no privileges"),
    "no-context": (lambda c: c.pop("securityContext"), "no privileges"),
    "capability-added": (
        lambda c: c["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}),
        "no capabilities",
    ),
    "capabilities-kept": (lambda c: c["securityContext"].pop("capabilities"), "no capabilities"),
    "capabilities-dropped-in-part": (
        lambda c: c["securityContext"].update(capabilities={"drop": ["NET_RAW"]}),
        "no capabilities",
    ),
    "runs-as-root": (lambda c: c["securityContext"].update(runAsUser=0), "override nothing"),
    "may-run-as-root": (lambda c: c["securityContext"].update(runAsNonRoot=False), "override nothing"),
    "own-seccomp": (lambda c: c["securityContext"].update(seccompProfile={"type": "Unconfined"}), "override nothing"),
    "own-apparmor": (
        lambda c: c["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
        "override nothing",
    ),
    "own-selinux": (lambda c: c["securityContext"].update(seLinuxOptions={"type": "spc_t"}), "override nothing"),
    "no-cpu-limit": (lambda c: c["resources"]["limits"].pop("cpu"), "have limits"),
    "no-memory-limit": (lambda c: c["resources"]["limits"].pop("memory"), "have limits"),
    "no-storage-limit": (lambda c: c["resources"]["limits"].pop("ephemeral-storage"), "have limits"),
    "no-limits": (lambda c: c["resources"].pop("limits"), "have limits"),
    "port": (lambda c: c.update(ports=[{"containerPort": 80}]), "have limits, and nothing from other objects"),
    "host-port": (lambda c: c.update(ports=[{"containerPort": 80, "hostPort": 80}]), "nothing from other objects"),
    "env-from": (lambda c: c.update(envFrom=[{"secretRef": {"name": "s"}}]), "nothing from other objects"),
    "env-value-from": (
        lambda c: c.update(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
        "nothing from other objects",
    ),
}


def test_pods_as_the_operator_makes_them_are_taken(world: World) -> None:
    world.create(OPERATOR, {**built(), "metadata": {**built()["metadata"], "name": "another"}})
    everything = built(
        workspace={"persistent": {"size": "1Gi"}}, tmp={"medium": "Memory"}, env=[{"name": "A", "value": "1"}],
        setup={"command": ["true"], "network": {"egress": "Internet"}}, readOnlyRootFilesystem=True,
    )  # fmt: skip
    everything["metadata"]["name"] = "another"
    world.create(OPERATOR, everything)


@pytest.mark.parametrize("rule", POD_RULES)
def test_not_even_the_operator_makes_a_pod_that_breaks_a_rule(world: World, rule: str) -> None:
    change, says = POD_RULES[rule]
    made = built()
    made["metadata"]["name"] = "another"
    change(made)
    with pytest.raises(Refused, match=says):
        world.create(OPERATOR, made)


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
@pytest.mark.parametrize("rule", CONTAINER_RULES)
def test_no_container_of_a_sandbox_breaks_a_rule(world: World, rule: str, kind: str) -> None:
    change, says = CONTAINER_RULES[rule]
    made = built()
    made["metadata"]["name"] = "another"
    change(made["spec"][kind][0])
    with pytest.raises(Refused, match=says):
        world.create(OPERATOR, made)


def test_no_container_has_hooks(world: World) -> None:
    made = built()
    made["metadata"]["name"] = "another"
    made["spec"]["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": ["true"]}}}
    with pytest.raises(Refused, match="nothing from other objects"):
        world.create(OPERATOR, made)


@pytest.mark.parametrize("user", [*STRANGERS, *CONTROL_PLANE])
def test_nobody_but_the_operator_makes_a_pod_of_ours(world: World, user: str) -> None:
    made = built()
    made["metadata"]["name"] = "another"
    with pytest.raises(Refused, match="belong to the operator"):
        world.create(user, made)
    # One of our labels is enough to be one of ours.
    labelled = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "another", "labels": {names.LABEL_ALLOW: "x"}},
                "spec": {"containers": [{"name": "c", "image": "a"}]}}  # fmt: skip
    with pytest.raises(Refused, match="belong to the operator"):
        world.create(user, labelled)


@pytest.mark.parametrize(
    ("name", "patch"),
    [
        ("ours", {"metadata": {"labels": {names.LABEL_STATE: "claimed"}}}),
        ("ours", {"metadata": {"labels": {names.LABEL_EGRESS: "Internet"}}}),
        ("ours", {"metadata": {"labels": {"app": "x"}}}),
        ("ours", {"metadata": {"labels": None}}),
        ("ours", {"metadata": {"annotations": {names.ANNOTATION_USES: "0"}}}),
        ("ours", {"metadata": {"finalizers": ["example.com/hold"]}}),
        ("plain", {"metadata": {"labels": {names.LABEL_STATE: "warm"}}}),
        ("plain", {"metadata": {"labels": {names.LABEL_SANDBOX_UID: "s"}}}),
    ],
    ids=["state", "egress", "another-label", "all-labels-off", "annotation", "finalizer", "joins", "claims"],
)
def test_nobody_but_the_operator_changes_a_pod_into_or_out_of_ours(
    world: World, name: str, patch: dict[str, Any]
) -> None:
    with pytest.raises(Refused, match="belong to the operator"):
        world.change(SOMEBODY, "pod", name, patch)


def test_pods_of_others_are_none_of_our_business(world: World) -> None:
    world.change(SOMEBODY, "pod", "plain", {"metadata": {"labels": {"app": "y"}}})
    plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "another"},
             "spec": {"hostNetwork": True, "containers": [{"name": "c", "image": "a"}]}}  # fmt: skip
    world.create(SOMEBODY, plain)


def test_the_control_plane_goes_on_with_our_pods(world: World) -> None:
    for user in CONTROL_PLANE:
        world.change(user, "pod", "ours", {"metadata": {"annotations": {"example.com/seen": "1"}}})
    world.delete(COLLECTOR, "pod", "ours")


@pytest.mark.parametrize("user", [OPERATOR, SOMEBODY, COLLECTOR])
def test_nobody_puts_an_ephemeral_container_into_a_sandbox(world: World, user: str) -> None:
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "a"}]}}
    says = "belong to the operator" if user == SOMEBODY else "ephemeral containers are refused"
    with pytest.raises(Refused, match=says):
        world.change(user, "pod", "ours", debug, "ephemeralcontainers")
    world.change(user, "pod", "plain", debug, "ephemeralcontainers")


def test_nobody_but_the_operator_resizes_a_sandbox(world: World) -> None:
    def more(name: str) -> dict[str, Any]:
        return {"spec": {"containers": [{"name": name, "resources": {"limits": {"cpu": "9"}}}]}}

    def resize(user: str) -> None:
        world.admin.as_user(user).request(
            "PATCH", world.admin.path("pod", "ours", "resize"), more(names.CONTAINER),
            content_type="application/strategic-merge-patch+json", params={"dryRun": "All"},
        )  # fmt: skip

    with pytest.raises(Refused, match="belong to the operator"):
        resize(SOMEBODY)


def said(world: World, container: str | None, *command: str, tty: bool = False, user: str = OPERATOR) -> str:
    """What an exec is answered; there is no node, so each ends with some error."""
    params: dict[str, Any] = {"command": list(command), "stdin": "true", "tty": str(tty).lower()}
    if container is not None:
        params["container"] = container
    with pytest.raises(Refused) as caught:
        world.admin.as_user(user).request("POST", world.admin.path("pod", "ours", "exec"), params=params)
    return str(caught.value)


OWN_SCRIPTS = "nothing but its own scripts"


@pytest.mark.parametrize(
    ("container", "command", "tty"),
    [
        ("sandbox", ["cat", "/etc/passwd"], False),
        ("sandbox", ["/bin/sh"], False),
        ("sandbox", ["/bin/sh", "-c", "id"], False),
        ("sandbox", ["/bin/sh", "-s", "x"], False),
        ("sandbox", ["/bin/sh", "-s"], True),
        ("sandbox", ["python3", "-I", "-S", "-"], False),
        ("sandbox", ["/usr/bin/python3", "-"], False),
        ("sandbox", ["/tmp/python3", "-I", "-S", "-"], False),
        (names.PROBE_CONTAINER, ["/bin/sh", "-s"], False),
        (None, ["/bin/sh", "-s"], False),
    ],
    ids=["program", "shell", "shell-c", "more", "terminal", "by-path", "less-isolated", "of-the-tenant", "container",
         "any-container"],
)  # fmt: skip
def test_the_operator_runs_nothing_but_its_own_scripts(
    world: World, container: str | None, command: list[str], tty: bool
) -> None:
    assert OWN_SCRIPTS in said(world, container, *command, tty=tty)


def test_the_operator_runs_its_own_scripts_and_others_what_they_may(world: World) -> None:
    for command in (["/bin/sh", "-s"], ["/usr/local/bin/python3", "-I", "-S", "-"],
                    ["/usr/bin/python3", "-I", "-S", "-"]):  # fmt: skip
        assert OWN_SCRIPTS not in said(world, "sandbox", *command)
    assert OWN_SCRIPTS not in said(world, "sandbox", "cat", user=SOMEBODY)
