"""Each rule for what users write, for workspaces and for network policies, as a real API server holds it.

Everything is a dry run: a case that should be refused differs in one thing from one that is taken.
"""

from __future__ import annotations

import contextlib
import copy
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.support import admission, chart, manifests
from tests.support.admission import (
    COLLECTOR,
    OPERATOR,
    OUR_POLICY,
    SOMEBODY,
    STRANGERS,
    WORKSPACE,
    World,
    claim,
    policy,
)
from tests.support.kube import Kube, Refused, until


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    yield from admission.world(admin)


@pytest.mark.parametrize("user", STRANGERS)
def test_nobody_says_that_a_workspace_is_a_sandboxs(world: World, user: str) -> None:
    for labels in ({names.LABEL_SANDBOX_UID: "s1"}, {names.LABEL_POOL_UID: "p1"}, {names.LABEL_STATE: "warm"}):
        with pytest.raises(Refused, match="the workspace of a sandbox"):
            world.create(user, claim("another", labels))


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("ours", {names.LABEL_SANDBOX_UID: "s2"}),
        ("ours", {names.LABEL_POOL_UID: "p2"}),
        ("ours", {names.LABEL_SANDBOX_UID: None}),
        ("ours", {names.LABEL_POOL_UID: None}),
        ("ours", None),
        ("plain", {names.LABEL_SANDBOX_UID: "s1"}),
        ("plain", {names.LABEL_POOL_UID: "p1"}),
    ],
    ids=["another-sandbox", "another-pool", "no-sandbox", "no-pool", "no-labels", "joins-a-sandbox", "joins-a-pool"],
)
def test_nobody_moves_a_workspace_from_sandbox_to_sandbox(world: World, name: str, labels: Any) -> None:
    with pytest.raises(Refused, match="the workspace of a sandbox"):
        world.change(SOMEBODY, "pvc", name, {"metadata": {"labels": labels}})


def test_what_else_is_done_with_a_workspace_is_no_affair_of_ours(world: World) -> None:
    """A bigger disk, a label of one's own, a binder's annotation."""
    world.change(SOMEBODY, "pvc", "ours", {"metadata": {"labels": {"app": "x"}, "annotations": {"a": "b"}}})
    world.change(SOMEBODY, "pvc", "plain", {"metadata": {"labels": {"app": "y"}}})
    world.change(OPERATOR, "pvc", "ours", {"metadata": {"labels": {names.LABEL_SANDBOX_UID: "s2"}}})
    world.create(OPERATOR, claim("another", WORKSPACE))


def test_the_control_plane_makes_a_workspace_with_its_pod_and_in_no_other_way(world: World) -> None:
    made = claim("s-1-workspace", WORKSPACE)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "s-1", "uid": "11111111-1111-1111-1111-111111111111"}
    world.create(COLLECTOR, {**made, "metadata": {**made["metadata"], "ownerReferences": [owner]}})
    others = [{"name": "s-2"}, {"kind": "StatefulSet", "apiVersion": "apps/v1"}]
    for owners in ([], *([{**owner, **change}] for change in others)):
        with pytest.raises(Refused, match="made with its pod"):
            world.create(COLLECTOR, {**made, "metadata": {**made["metadata"], "ownerReferences": owners}})


@pytest.mark.parametrize("user", STRANGERS)
def test_nobody_opens_or_closes_a_sandbox_by_a_policy_of_ours(world: World, user: str) -> None:
    says = "belongs to the operator"
    with pytest.raises(Refused, match=says):
        world.create(user, policy("another", OUR_POLICY))
    with pytest.raises(Refused, match=says):
        world.change(user, "networkpolicy", "ours", {"spec": {"policyTypes": ["Ingress"]}})
    with pytest.raises(Refused, match=says):
        world.change(user, "networkpolicy", "ours", {"metadata": {"labels": None}})
    with pytest.raises(Refused, match=says):
        world.change(user, "networkpolicy", "plain", {"metadata": {"labels": OUR_POLICY}})
    with pytest.raises(Refused, match=says):
        world.delete(user, "networkpolicy", "ours")


def test_policies_of_others_are_none_of_our_business(world: World) -> None:
    world.create(SOMEBODY, policy("another"))
    world.change(SOMEBODY, "networkpolicy", "plain", {"metadata": {"labels": {"app": "y"}}})
    world.delete(SOMEBODY, "networkpolicy", "plain")
    for user in (OPERATOR, COLLECTOR):
        world.delete(user, "networkpolicy", "ours")


def sandbox(**metadata: Any) -> dict[str, Any]:
    made = manifests.sandbox("another", "python")
    return {**made, "metadata": {**made["metadata"], **metadata}}


def pool(**metadata: Any) -> dict[str, Any]:
    made = manifests.pool("another")
    return {**made, "metadata": {**made["metadata"], **metadata}}


STAMP = names.ANNOTATION_ACTIVITY


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (sandbox(labels={"sandyard.dev/x": "y"}), "metadata.labels"),
        (sandbox(labels={"app": "x", names.LABEL_SANDBOX_UID: "y"}), "metadata.labels"),
        (sandbox(labels={names.LABEL_LANGUAGE: "python"}), "metadata.labels"),
        (pool(labels={names.LABEL_STATE: "warm"}), "metadata.labels"),
        (sandbox(annotations={"sandyard.dev/x": "y"}), "metadata.annotations"),
        (sandbox(annotations={"kopf.dev/x": "y"}), "metadata.annotations"),
        (pool(annotations={"sandyard.dev/x": "y"}), "metadata.annotations"),
        (pool(annotations={STAMP: "2030-01-31T12:00:00Z"}), "metadata.annotations"),
        (sandbox(annotations={STAMP: "tomorrow"}), "must be a time"),
        (sandbox(annotations={STAMP: "2030-01-31T12:00:00"}), "must be a time"),
        (sandbox(annotations={STAMP: "at 2030-01-31T12:00:00Z"}), "must be a time"),
        (sandbox(annotations={STAMP: "2030-01-31T12:00:00Z or so"}), "must be a time"),
    ],
    ids=["label", "label-among-others", "language-of-a-sandbox", "label-of-a-pool", "annotation", "kopf",
         "annotation-of-a-pool", "stamp-of-a-pool", "no-time", "no-zone", "before-the-time", "after-the-time"],
)  # fmt: skip
def test_our_labels_and_annotations_are_the_operators(world: World, made: dict[str, Any], says: str) -> None:
    for user in (SOMEBODY, COLLECTOR):
        with pytest.raises(Refused, match=says):
            world.create(user, made)


@pytest.mark.parametrize(
    "made",
    [
        sandbox(labels={"app": "x"}, annotations={"example.com/x": "y"}),
        sandbox(annotations={STAMP: "2030-01-31T12:00:00Z"}),
        sandbox(annotations={STAMP: "2030-01-31T12:00:00.123456+01:00"}),
        pool(labels={names.LABEL_LANGUAGE: "python"}),
    ],
    ids=["of-ones-own", "stamp", "stamp-with-zone", "language"],
)
def test_what_users_may_write_is_taken(world: World, made: dict[str, Any]) -> None:
    world.create(SOMEBODY, made)


@pytest.mark.parametrize("kind", ["sandbox", "sandboxpool"])
@pytest.mark.parametrize("finalizers", [None, [], ["example.com/mine"]], ids=["null", "none", "replaced"])
@pytest.mark.parametrize("user", [SOMEBODY, COLLECTOR])
def test_the_finalizer_is_taken_off_by_the_operator_alone(world: World, kind: str, finalizers: Any, user: str) -> None:
    patch = {"metadata": {"finalizers": finalizers}}
    with pytest.raises(Refused, match="taken off by the operator"):
        world.change(user, kind, "ours", patch)
    world.change(OPERATOR, kind, "ours", patch)


@pytest.mark.parametrize("kind", ["sandbox", "sandboxpool"])
@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"labels": {"sandyard.dev/x": "y"}}, "metadata.labels: keys"),
        ({"annotations": {"kopf.dev/x": "y"}}, "metadata.annotations: keys"),
        ({"annotations": {"a": "\x1b[2J"}}, "metadata.annotations: must be text"),
        ({"labels": {f"a{number}": "" for number in range(65)}}, "metadata.labels: must be at most 64"),
        ({"finalizers": [names.FINALIZER, *(f"example.com/{number}" for number in range(16))]}, "finalizers: must be"),
        ({"ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": f"n{number}", "uid": f"{number}"} for number in range(17)
        ]}, "ownerReferences: must be"),
    ],
    ids=["label", "annotation", "control-character", "labels", "finalizers", "owners"],
)  # fmt: skip
def test_the_operators_token_does_to_an_object_no_more_than_end_it(
    world: World, kind: str, metadata: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=says):
        world.change(OPERATOR, kind, "ours", {"metadata": {"finalizers": None, **metadata}})


def test_an_administrator_frees_what_is_deleted_when_the_operator_is_gone(world: World) -> None:
    """The way out, in two steps; what nobody has deleted keeps its finalizer, whoever asks."""
    patch, kube = {"metadata": {"finalizers": None}}, world.admin
    breaking = {"metadata": {"annotations": {"sandyard.dev/break-glass": "the operator is gone"}}}
    with pytest.raises(Refused, match="taken off by the operator"):
        kube.patch("sandbox", "ours", patch)
    with pytest.raises(Refused, match="belong to the operator"):
        kube.patch("sandbox", "ours", breaking)
    for kind, made in (("sandbox", manifests.sandbox("left", "nobody")), ("sandboxpool", manifests.pool("left", 0))):
        kube.create(made)
        kube.delete(kind, "left", wait=False)
        with pytest.raises(Refused, match="taken off by the operator"):
            kube.patch(kind, "left", patch)
        with pytest.raises(Refused, match="belong to the operator"):
            world.change(SOMEBODY, kind, "left", breaking)
        kube.patch(kind, "left", breaking)
        with pytest.raises(Refused, match="taken off by the operator"):
            world.change(SOMEBODY, kind, "left", patch)
        kube.patch(kind, "left", patch)
        until("it is gone", lambda kind=kind: kube.get(kind, "left") is None)


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [([], [], "serve every namespace, and release sandyard serves every one already"),
     ([], ["a", "b"], "serve every namespace, and release sandyard serves a, b already"),
     (["c"], [], "release sandyard serves every namespace already"),
     (["c", "b"], ["a", "b"], "b is served by release sandyard already"),
     (["c"], ["a", "b"], "")],
)  # fmt: skip
def test_a_release_that_overlaps_another_is_refused(admin: Kube, ours: list[str], theirs: list[str], says: str) -> None:
    name = "sandyard-objects"
    before = admin.get("validatingadmissionpolicybinding", name)
    assert before is not None
    served = [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": theirs}]
    narrow = {"namespaceSelector": {"matchExpressions": served if theirs else None}}
    admin.patch("validatingadmissionpolicybinding", name, {"spec": {"matchResources": narrow}})
    try:
        install = ("helm", "template", "--dry-run=server", "second", str(chart.CHART), "--namespace=second",
                   f"--set=image.repository={chart.REPOSITORY}", "--set=crds.install=false",
                   "--set=runtimeClass.create=false",
                   f"--set-json=namespaces={json.dumps(ours)}")  # fmt: skip
        with pytest.raises(Refused, match=says) if says else contextlib.nullcontext():
            admin.run(*install)
    finally:
        admin.patch("validatingadmissionpolicybinding", name, {"spec": {"matchResources": None}})


def test_finalizers_of_others_come_and_go(world: World) -> None:
    both = {"metadata": {"finalizers": ["example.com/mine", names.FINALIZER]}}
    world.change(SOMEBODY, "sandbox", "ours", both)
    world.change(SOMEBODY, "sandbox", "ours", {"metadata": {"labels": {"app": "x"}}})


@pytest.mark.parametrize("made", [manifests.sandbox("another", template={"image": "a", "user": {"uid": 0}}),
                                  manifests.pool("another", 1, {"image": "a", "user": {"uid": 0}})],
                         ids=["sandbox", "pool"])  # fmt: skip
def test_no_template_asks_for_root_without_the_charts_leave(world: World, made: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"policy\.allowRoot"):
        world.create(SOMEBODY, made)
    other = copy.deepcopy(made)
    other["spec"]["template"]["user"]["uid"] = 1
    world.create(SOMEBODY, other)


@pytest.fixture(scope="module")
def strict(admin: Kube) -> Iterator[Kube]:
    """A namespace with the rules of an installation that switches things off."""
    namespace = f"strict-{uuid.uuid4().hex[:8]}"
    admin.make_namespace(namespace)
    objects = chart.render(
        {"pausing.enabled": False, "restarting.enabled": False},
        release=namespace,
    )  # fmt: skip
    rules = chart.one(objects, "ValidatingAdmissionPolicy", f"{namespace}-objects")
    binding = chart.one(objects, "ValidatingAdmissionPolicyBinding", f"{namespace}-objects")
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    binding["spec"]["matchResources"] = {"namespaceSelector": here}
    admin.apply_as_is(rules, binding)
    kube = admin.within(namespace)

    def holds() -> bool:
        wrong = manifests.sandbox("x", "p", desiredState="Paused")
        try:
            kube.create(wrong, dry_run=True)
        except Refused as error:
            return f"{namespace}-objects" in str(error)
        return False

    until("the strict rules hold", holds, 60)
    yield kube
    admin.delete("validatingadmissionpolicybinding", f"{namespace}-objects", wait=False)
    admin.delete("validatingadmissionpolicy", f"{namespace}-objects", wait=False)
    admin.delete("namespace", namespace, wait=False)


def own(**template: Any) -> dict[str, Any]:
    return manifests.sandbox("another", template={"image": "a", **template})


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (manifests.sandbox("another", "p", desiredState="Paused"), "pausing.enabled"),
        (manifests.pool("another", 1, {"image": "a"}, recycle="Restart"), "restarting.enabled"),
    ],
    ids=["paused", "restart"],
)  # fmt: skip
def test_what_an_installation_switches_off_is_refused(strict: Kube, made: dict[str, Any], says: str) -> None:
    assert says in strict.refused(made)


@pytest.mark.parametrize(
    "made",
    [
        manifests.sandbox("another", "p", desiredState="Suspended"),
        manifests.sandbox("another", "p", desiredState="Running"),
        manifests.pool("another", 1, {"image": "a"}, recycle="Delete"),
        own(),
    ],
    ids=["suspended", "running", "delete", "own"],
)
def test_what_it_leaves_on_is_taken(strict: Kube, made: dict[str, Any]) -> None:
    strict.create(made, dry_run=True)


def test_the_charts_own_policy_for_the_operators_port_is_let_through(world: World) -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = chart.render({"networkPolicy": {"enabled": True, "from": peers}})
    for item in [*chart.selected(objects, "NetworkPolicy"), *chart.selected(objects, "PodDisruptionBudget")]:
        item["metadata"].pop("namespace")
        world.admin.create(item, dry_run=True)
