"""Each rule for pods of ours, one by one, as a real API server holds it.

Everything is a dry run: a case that should be refused differs in one thing from one that is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from sandyard.podspec.containers import RESTART_COMMAND
from sandyard.sandbox import freeze
from tests.support import admission, bad_pods, chart
from tests.support.admission import (
    COLLECTOR,
    CONTROL_PLANE,
    NETWORK_PLUGINS,
    OPERATOR,
    SOMEBODY,
    STRANGERS,
    World,
    built,
)
from tests.support.kube import Kube, Refused, until


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    yield from admission.world(admin)


def test_pods_as_the_operator_makes_them_are_taken(world: World) -> None:
    world.create(OPERATOR, {**built(), "metadata": {**built()["metadata"], "name": "another"}})
    everything = built(
        workspace={"persistent": {"size": "1Gi"}}, tmp={"medium": "Memory"}, env=[{"name": "A", "value": "1"}],
        setup={"command": ["true"], "network": {"egress": "Internet"}}, readOnlyRootFilesystem=True,
    )  # fmt: skip
    for made in (everything, built(restart=True), built(restart=True, setup={"command": ["true"]})):
        made["metadata"]["name"] = "another"
        world.create(OPERATOR, made)


@pytest.mark.parametrize("name", bad_pods.RESTARTED)
def test_not_even_the_operator_makes_a_pod_that_others_can_restart(world: World, name: str) -> None:
    case = bad_pods.RESTARTED[name]
    made = built(restart=True)
    made["metadata"]["name"] = "another"
    case.change(made)
    with pytest.raises(Refused, match=case.says):
        world.create(OPERATOR, made)


@pytest.mark.parametrize("name", bad_pods.CASES)
def test_not_even_the_operator_makes_a_pod_that_breaks_a_rule(world: World, name: str) -> None:
    case = bad_pods.CASES[name]
    made = built()
    made["metadata"]["name"] = "another"
    case.change(made)
    with pytest.raises(Refused, match=case.says):
        world.create(OPERATOR, made)


def test_a_sandbox_does_not_run_as_root(world: World) -> None:
    made = built(user={"uid": 0})
    made["metadata"]["name"] = "another"
    with pytest.raises(Refused, match="does not run as root"):
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


@pytest.mark.parametrize("user", [*NETWORK_PLUGINS, COLLECTOR])
@pytest.mark.parametrize("subresource", ["", "status"])
def test_a_network_plugin_notes_what_a_pod_s_network_is(world: World, user: str, subresource: str) -> None:
    """As Calico and OVN-Kubernetes do for each pod that starts."""
    noted = {"metadata": {"annotations": {"cni.projectcalico.org/podIP": "10.0.0.1/32"}}}
    world.change(user, "pod", "ours", noted, subresource)
    for stranger in (SOMEBODY, "system:serviceaccount:other:sandyard"):
        with pytest.raises(Refused, match="sandyard"):
            world.change(stranger, "pod", "ours", noted, subresource)


@pytest.mark.parametrize(
    ("change", "subresource"),
    [
        ({"metadata": {"labels": {"app": "web"}}}, ""),
        ({"metadata": {"labels": {names.LABEL_STATE: None}}}, ""),
        ({"metadata": {"labels": {"app": "web"}}}, "status"),
        ({"metadata": {"annotations": {f"{names.GROUP}/x": "1"}}}, ""),
        ({"metadata": {"annotations": {f"{names.GROUP}/x": "1"}}}, "status"),
        ({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}]}}, ""),
        ({"spec": {"activeDeadlineSeconds": 9}}, ""),
    ],
)
def test_a_network_plugin_changes_nothing_else(world: World, change: dict[str, Any], subresource: str) -> None:
    with pytest.raises(Refused, match=r"belong to the operator|pod updates may not change"):
        world.change(NETWORK_PLUGINS[0], "pod", "ours", change, subresource)


@pytest.mark.parametrize("user", [OPERATOR, SOMEBODY, COLLECTOR])
def test_nobody_puts_an_ephemeral_container_into_a_sandbox(world: World, user: str) -> None:
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "a"}]}}
    says = "belong to the operator" if user == SOMEBODY else bad_pods.FIELDS
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
        (names.RESTART_CONTAINER, ["/bin/sh", "-s"], False),
        (names.RESTART_CONTAINER, ["/bin/sh", "-c", "kill -KILL -1"], False),
        ("sandbox", list(RESTART_COMMAND), False),
        (None, ["/bin/sh", "-s"], False),
    ],
    ids=["program", "shell", "shell-c", "more", "terminal", "by-path", "less-isolated", "of-the-tenant", "container",
         "restart-by-a-script", "restart-otherwise", "restart-of-a-tenant", "any-container"],
)  # fmt: skip
def test_the_operator_runs_nothing_but_its_own_scripts(
    world: World, container: str | None, command: list[str], tty: bool
) -> None:
    assert OWN_SCRIPTS in said(world, container, *command, tty=tty)


def test_the_operator_runs_its_own_scripts_and_others_what_they_may(world: World) -> None:
    assert OWN_SCRIPTS not in said(world, names.CONTAINER, *freeze.COMMAND)
    assert OWN_SCRIPTS not in said(world, names.RESTART_CONTAINER, *RESTART_COMMAND)
    assert OWN_SCRIPTS not in said(world, "sandbox", "cat", user=SOMEBODY)


@pytest.fixture
def labelled(world: World) -> Iterator[World]:
    """Keys of templates' labels and annotations are let through, as `policy.labels` and `policy.annotations` say."""

    def put(values: dict[str, Any]) -> None:
        (pods,) = chart.selected(chart.render(values), "ValidatingAdmissionPolicy", "sandyard-pods")
        world.admin.apply_as_is(pods)

    put({"policy.labels": ["team.example/"], "policy.annotations": ["seen.example/"]})
    yield world
    put({})


@pytest.mark.parametrize(("field", "let"), [("labels", "team.example/a"), ("annotations", "seen.example/a")])
def test_keys_of_a_template_s_that_the_chart_lets_through_are_let_through(
    labelled: World, field: str, let: str
) -> None:
    def pod(key: str) -> dict[str, Any]:
        made = built()
        made["metadata"] |= {"name": "another", field: {**made["metadata"].get(field, {}), key: "x"}}
        return made

    def taken() -> bool:
        try:
            labelled.create(OPERATOR, pod(let))
        except Refused:
            return False
        return True

    until("the policy holds", taken, 30)
    for key in ("other.example/a", "variables.labels", "variables.annotations"):
        with pytest.raises(Refused, match=f"policy.{field} of the chart"):
            labelled.create(OPERATOR, pod(key))


@pytest.mark.parametrize(
    "metadata",
    [{"labels": {"app": "x"}}, {"labels": {"sandyard.dev/other": "x"}}, {"annotations": {"example.com/a": "x"}}],
    ids=["label", "label-of-ours", "annotation"],
)
def test_the_operator_puts_no_other_label_and_no_other_annotation_on_what_it_has_made(
    world: World, metadata: dict[str, Any]
) -> None:
    claimed = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: "u"}
    world.change(OPERATOR, "pod", "ours", {"metadata": {"labels": claimed}})
    metadata = {**metadata, "labels": {**claimed, **metadata.get("labels", {})}}
    with pytest.raises(Refused, match="of its template's those whose keys begin as policy"):
        world.change(OPERATOR, "pod", "ours", {"metadata": metadata})


def test_the_operator_changes_no_spec_in_a_claim(world: World) -> None:
    change = {"metadata": {"labels": {names.LABEL_STATE: names.STATE_CLAIMED}}, "spec": {"activeDeadlineSeconds": 5}}
    with pytest.raises(Refused, match=bad_pods.FIELDS):
        world.change(OPERATOR, "pod", "ours", change)
