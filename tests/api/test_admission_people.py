"""What people may do in a namespace with sandboxes: enter them, and what each of the chart's roles is for.

Most are dry runs; there is no node here, so what admission lets through in a CONNECT ends with another error.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.support import admission, chart, manifests
from tests.support.admission import OPERATOR, SOMEBODY, World
from tests.support.kube import Kube, Refused, until

ENTERING = ("exec", "attach", "portforward", "proxy")


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    yield from admission.world(admin)


# Entering


def enter(kube: Kube, how: str, pod: str = "claimed") -> str:
    """What an attempt to enter the pod is answered."""
    params = {"command": "id", "container": names.CONTAINER} if how in ("exec", "attach") else {"ports": "80"}
    with pytest.raises(Refused) as caught:
        kube.request("POST", kube.path("pod", pod, how), params=params)
    return str(caught.value)


def editor(kube: Kube) -> Kube:
    """*kube* as somebody with the rights on pods of the built-in role edit, and nothing else.

    That role itself is filled by a controller, which does not run here.
    """
    user = f"editor-{uuid.uuid4().hex[:6]}"
    group = "rbac.authorization.k8s.io"
    resources = ["pods", *(f"pods/{how}" for how in ENTERING)]
    kube.create(
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": user},
         "rules": [{"apiGroups": [""], "resources": resources, "verbs": ["get", "create"]}]},
        {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": user},
         "roleRef": {"apiGroup": group, "kind": "Role", "name": user},
         "subjects": [{"kind": "User", "name": user, "apiGroup": group}]},
    )  # fmt: skip
    until("the role holds", lambda: kube.may(user, "create", "pods/exec"), 30)
    return kube.as_user(user)


@pytest.fixture(scope="module")
def edit(world: World) -> Kube:
    return editor(world.admin)


@pytest.mark.parametrize("how", ENTERING)
def test_edit_is_no_leave_to_enter_a_sandbox(edit: Kube, how: str) -> None:
    assert "needs the verb create on sandboxes/exec" in enter(edit, how)


@pytest.mark.parametrize("how", ENTERING)
def test_who_may_create_sandboxes_exec_enters(world: World, how: str) -> None:
    """Mallory has every right in this namespace, that one too."""
    assert "sandboxes/exec" not in enter(world.admin.as_user(SOMEBODY), how)


@pytest.mark.parametrize("how", ["exec", "attach"])
@pytest.mark.parametrize("container", [names.RESTART_CONTAINER, names.PROBE_CONTAINER])
def test_nobody_but_the_operator_enters_a_container_of_ours(world: World, how: str, container: str) -> None:
    """Mallory may enter the sandbox itself."""
    with pytest.raises(Refused, match="belong to the operator"):
        world.admin.as_user(SOMEBODY).request(
            "POST", world.admin.path("pod", "ours", how), params={"command": "id", "container": container}
        )


@pytest.fixture(scope="module")
def closed(world: World) -> Iterator[World]:
    """With ``admission.enteringWarm: Refuse``."""
    objects = [item for item in chart.render({"admission.enteringWarm": "Refuse"})
               if item["metadata"]["name"] == "sandyard-entering-warm"]  # fmt: skip
    world.admin.apply_as_is(*objects)
    yield world
    for item in objects:
        world.admin.delete(item["kind"].lower(), item["metadata"]["name"])


@pytest.mark.parametrize("how", ENTERING)
def test_nobody_enters_a_warm_pod_but_the_operator(closed: World, how: str) -> None:
    world = closed
    until("the policy sees the pod", lambda: "nobody enters a warm pod" in enter(
        world.admin.as_user(SOMEBODY), how, "ours"), 20)  # fmt: skip
    for user in (OPERATOR, ""):
        assert "warm pod" not in enter(world.admin.as_user(user), how, "ours")


@pytest.mark.parametrize("name", ["ours:8888", "https:ours:8888", "http:ours:"])
def test_nor_by_the_proxy_to_one_of_its_ports(closed: World, name: str) -> None:
    somebody = closed.admin.as_user(SOMEBODY)
    until("the policy sees the pod", lambda: "nobody enters a warm pod" in enter(somebody, "proxy", name), 20)
    assert "warm pod" not in enter(closed.admin.as_user(OPERATOR), "proxy", name)


def test_nor_by_the_proxy_of_a_service_which_may_lead_into_one(closed: World) -> None:
    path = f"{closed.admin.path('services')}/plain/proxy/"

    def answer() -> str:
        with pytest.raises(Refused) as caught:
            closed.admin.as_user(SOMEBODY).request("GET", path)
        return str(caught.value)

    until("the policy sees the pod", lambda: "a Service's proxy may lead into one" in answer(), 20)


def test_a_pod_that_is_claimed_is_entered_from_then_on(closed: World) -> None:
    """And one that is warm again is not."""
    world = closed
    somebody, operator = world.admin.as_user(SOMEBODY), world.admin.as_user(OPERATOR)
    warm = {names.LABEL_STATE: "warm", names.LABEL_SANDBOX_UID: None}
    for labels, refused in ((admission.CLAIMED, False), (warm, True)):
        operator.patch("pod", "ours", {"metadata": {"labels": labels}})

        def seen(refused: bool = refused) -> bool:
            return ("nobody enters a warm pod" in enter(somebody, "exec", "ours")) is refused

        until("the policy sees it", seen, 20)


def test_pods_of_an_exempt_namespace_are_entered_as_ever(admin: Kube) -> None:
    kube = editor(admin.within("kube-system"))
    assert "sandboxes/exec" not in enter(kube, "exec")


# Rights of people


def bound(kube: Kube, role: str) -> Kube:
    """*kube* as somebody who has the chart's ClusterRole *role* there."""
    user, group = f"{role}-{uuid.uuid4().hex[:6]}", "rbac.authorization.k8s.io"
    kube.create({
        "apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": user},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": user, "apiGroup": group}],
    })  # fmt: skip
    until("the role holds", lambda: kube.may(user, "list", "sandboxes"), 30)
    return kube.as_user(user)


POOLED = manifests.sandbox("new", "python")
OWN = manifests.sandbox("new", template={"image": "a"})
LISTED = manifests.sandbox("new", "python", network={"egress": "AllowList", "allow": [{"cidr": "1.1.1.1/32"}]})
PEERS = manifests.sandbox("new", "python", network={"ingressFrom": [{"podSelector": {}, "ports": [{"port": 1}]}]})
PROFILE = manifests.sandbox("new", "python", network={"egress": "DNS"})
POOL = manifests.pool("new")


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("sandyard-view", [], [POOLED, OWN, POOL]),
        ("sandyard-user", [POOLED, PROFILE], [OWN, LISTED, PEERS, POOL]),
        ("sandyard-author", [POOLED, PROFILE, OWN, LISTED, PEERS], [POOL]),
        ("sandyard-pool-admin", [POOL], [POOLED, OWN]),
    ],
)
def test_each_role_may_what_it_is_for(
    world: World, role: str, may: list[dict[str, Any]], may_not: list[dict[str, Any]]
) -> None:
    person = bound(world.admin, role)
    for made in may:
        person.create(made, dry_run=True)
    for made in may_not:
        with pytest.raises(Refused):
            person.create(made, dry_run=True)


@pytest.mark.parametrize(
    ("role", "enters"),
    [("sandyard-view", False), ("sandyard-user", True), ("sandyard-author", True), ("sandyard-pool-admin", False)],
)
def test_who_uses_sandboxes_enters_them(world: World, role: str, enters: bool) -> None:
    answer = enter(bound(world.admin, role), "exec")
    assert ("cannot" not in answer and "sandboxes/exec" not in answer) is enters


def test_a_refused_template_and_network_name_the_role_that_is_missing(world: World) -> None:
    person = bound(world.admin, "sandyard-user")
    for made, field in ((OWN, "spec.template"), (LISTED, "spec.network"), (PEERS, "spec.network")):
        with pytest.raises(Refused, match=f"{field}.*sandyard-author"):
            person.create(made, dry_run=True)


def test_a_network_is_not_widened_later_without_the_right_either(world: World) -> None:
    person = bound(world.admin, "sandyard-user")
    with pytest.raises(Refused, match="sandyard-author"):
        person.patch("sandboxes", "ours", {"spec": {"network": LISTED["spec"]["network"]}})


# Workspaces


@pytest.fixture(scope="module")
def snapshots(world: World) -> Iterator[Kube]:
    """A cluster that knows VolumeSnapshots, and those of groups, as one with a CSI driver does."""
    kinds = {"snapshot.storage.k8s.io": "VolumeSnapshot", "groupsnapshot.storage.k8s.io": "VolumeGroupSnapshot"}
    for group, kind in kinds.items():
        world.admin.create(definition(group, kind))
    until("snapshots are known", lambda: not refused(world.admin, snapshot("plain")), 30)
    until("those of groups are known", lambda: not refused(world.admin, group_snapshot({})), 30)
    yield world.admin
    world.admin.delete("customresourcedefinitions", *(f"{kind.lower()}s.{group}" for group, kind in kinds.items()))


def definition(group: str, kind: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    approved = {"api-approved.kubernetes.io": "https://github.com/kubernetes-csi/external-snapshotter/pull/814"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.{group}", "annotations": approved},
        "spec": {"group": group, "scope": "Namespaced", "versions": [version],
                 "names": {"kind": kind, "listKind": f"{kind}List", "plural": f"{kind.lower()}s",
                           "singular": kind.lower()}},
    }  # fmt: skip


def snapshot(claim: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": "s", "labels": labels},
            "spec": {"source": {"persistentVolumeClaimName": claim}}}  # fmt: skip


def group_snapshot(selector: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "groupsnapshot.storage.k8s.io/v1", "kind": "VolumeGroupSnapshot",
            "metadata": {"name": "s"}, "spec": {"source": {"selector": selector}}}  # fmt: skip


def refused(kube: Kube, item: dict[str, Any]) -> str:
    """Why *item* is not taken; empty if it is."""
    path = kube.path("namespace", kube.namespace)
    if item["apiVersion"] != "v1":
        path = path.replace("/api/v1", f"/apis/{item['apiVersion']}")
    try:
        kube.request("POST", f"{path}/{item['kind'].lower()}s", item, params={"dryRun": "All"})
    except Refused as error:
        return str(error)
    return ""


def test_a_workspace_is_not_copied_by_a_snapshot(snapshots: Kube) -> None:
    """Whatever labels the snapshot has, and whoever makes it but for backups."""
    for user in (SOMEBODY, OPERATOR):
        kube = snapshots.as_user(user)
        assert "not to be copied" in refused(kube, snapshot("ours"))
        assert "not to be copied" in refused(kube, snapshot("ours", **{"sandyard.dev/state": "warm"}))
        assert refused(kube, snapshot("plain")) == ""
    assert refused(snapshots, snapshot("ours")) == "", "an administrator's backup"


WITH_SNAPSHOTS = (f"{chart.SERVED},snapshot.storage.k8s.io/v1/VolumeSnapshot,"
                  "groupsnapshot.storage.k8s.io/v1/VolumeGroupSnapshot")  # fmt: skip


@pytest.fixture(scope="module")
def watched(snapshots: Kube) -> Iterator[Kube]:
    """With the policies that the chart makes where snapshots are known."""
    own = [item for item in chart.render(api_versions=WITH_SNAPSHOTS)
           if item["metadata"]["name"].startswith("sandyard-awaited-by-snapshots")]  # fmt: skip
    snapshots.apply(*own)
    until("the policies find the kinds", lambda: "paramKind" not in made(snapshots, "found"), 90)
    yield snapshots
    for item in own:
        snapshots.delete(item["kind"].lower(), item["metadata"]["name"])


def made(kube: Kube, pod: str) -> str:
    """Why the control plane makes no workspace with a sandbox's pod; empty if it does."""
    return refused(kube.as_user(admission.VOLUMES), admission.made_with(pod))


@pytest.mark.parametrize(
    "waits",
    [snapshot("late-workspace"), group_snapshot({"matchLabels": {names.LABEL_POOL_UID: admission.POOL.uid}})],
    ids=["alone", "of a group"],
)
def test_no_workspace_is_made_that_a_snapshot_waits_for(watched: Kube, waits: dict[str, Any]) -> None:
    """It has passed the rule about the workspaces that there are."""
    kind = waits["kind"].lower()
    until("nothing waits", lambda: not made(watched, "late"), 30)
    watched.create(waits)
    try:
        until("it is known", lambda: f"{waits['kind']} of somebody else's waits" in made(watched, "late"), 30)
        if kind == "volumesnapshot":
            assert made(watched, "another") == ""
        watched.patch(kind, "s", {"status": {f"bound{waits['kind']}ContentName": "made"}})
        until("it has what it asked for", lambda: not made(watched, "late"), 30)
    finally:
        watched.delete(kind, "s")


SANDBOXES = {"key": names.LABEL_SANDBOX_UID}
GROUPS_WITH_OURS: list[dict[str, Any]] = [
    {},
    {"matchLabels": {names.LABEL_SANDBOX_UID: "s1"}},
    {"matchLabels": {names.LABEL_POOL_UID: "p1"}, "matchExpressions": []},
    {"matchExpressions": [{**SANDBOXES, "operator": "Exists"}]},
    {"matchExpressions": [{**SANDBOXES, "operator": "In", "values": ["s0", "s1"]}]},
    {"matchExpressions": [{**SANDBOXES, "operator": "NotIn", "values": ["s2"]}]},
    {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
    {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]},
]
GROUPS_WITHOUT: list[dict[str, Any]] = [
    {"matchLabels": {"app": "x"}},
    {"matchLabels": {names.LABEL_SANDBOX_UID: "s2"}},
    {"matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]},
    {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
    {"matchExpressions": [{**SANDBOXES, "operator": "NotIn", "values": ["s1"]}]},
    {"matchExpressions": [{**SANDBOXES, "operator": "DoesNotExist"}]},
]


@pytest.mark.parametrize("selector", GROUPS_WITH_OURS)
def test_a_workspace_is_not_copied_by_a_snapshot_of_a_group(snapshots: Kube, selector: dict[str, Any]) -> None:
    for user in (SOMEBODY, OPERATOR):
        assert "not to be copied" in refused(snapshots.as_user(user), group_snapshot(selector))
    assert refused(snapshots, group_snapshot(selector)) == "", "an administrator's backup"


@pytest.mark.parametrize("selector", GROUPS_WITHOUT)
def test_a_snapshot_of_a_group_without_workspaces_is_taken(snapshots: Kube, selector: dict[str, Any]) -> None:
    assert refused(snapshots.as_user(SOMEBODY), group_snapshot(selector)) == ""
