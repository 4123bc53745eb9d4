"""What may be done to pods of ours by others: their status, their end, entering them, putting them on a node.

Most are dry runs; there is no node here, so what admission lets through in a CONNECT ends with another error.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.support import admission, chart, foreign_policies, manifests
from tests.support.admission import COLLECTOR, OPERATOR, SOMEBODY, World
from tests.support.kube import Kube, Refused, until

ENTERING = ("exec", "attach", "portforward", "proxy")


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    yield from admission.world(admin)


# Status


@pytest.mark.parametrize(
    "patch",
    [
        {"status": {"podIP": "10.9.9.9"}},
        {"metadata": {"labels": {names.LABEL_EGRESS: "Internet"}}},
        {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
    ],
    ids=["address", "network", "ready"],
)
def test_somebody_does_not_write_the_status_of_a_sandboxs_pod(world: World, patch: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="its kubelet's to write"):
        world.change(SOMEBODY, "pod", "ours", patch, "status")


def test_the_status_of_other_pods_is_none_of_our_business(world: World) -> None:
    world.change(SOMEBODY, "pod", "plain", {"status": {"podIP": "10.9.9.9"}}, "status")


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {names.LABEL_EGRESS: "Internet"}},
        {"labels": {names.LABEL_SANDBOX_UID: "s"}},
        {"annotations": {names.ANNOTATION_USES: "0"}},
        {"annotations": {names.ANNOTATION_SAFE_TO_EVICT: None, names.ANNOTATION_POOL: None}},
    ],
    ids=["network", "claim", "uses", "taken-off"],
)
def test_not_even_a_kubelet_moves_a_pod_to_another_network(world: World, metadata: dict[str, Any]) -> None:
    for user in (COLLECTOR, ""):
        with pytest.raises(Refused, match="belong to the operator"):
            world.change(user, "pod", "ours", {"metadata": metadata}, "status")


def test_the_control_plane_writes_the_status(world: World) -> None:
    """Real kubelets do so in the tests of the cluster."""
    status = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    world.change(COLLECTOR, "pod", "ours", status, "status")


@pytest.mark.parametrize(("kind", "name"), [("sandboxes", "ours"), ("sandboxpools", "ours")])
def test_the_status_of_our_objects_is_the_operators(world: World, kind: str, name: str) -> None:
    patch = {"status": {"observedGeneration": 3}}
    for user in (SOMEBODY, COLLECTOR):
        with pytest.raises(Refused, match="status is the operator's to write"):
            world.change(user, kind, name, patch, "status")
    world.change(OPERATOR, kind, name, patch, "status")


# Deletion


def delete(world: World, user: str, name: str, grace: int | None, *, selector: str = "") -> None:
    """Try to delete a pod, or with *selector* a collection of them."""
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}
    if grace is not None:
        body["gracePeriodSeconds"] = grace  # type: ignore[assignment]
    path = world.admin.path("pods") if selector else world.admin.path("pod", name)
    world.admin.as_user(user).request("DELETE", path, body, params={"labelSelector": selector} if selector else {})


@pytest.fixture
def scheduled(world: World) -> Iterator[str]:
    """The name of a pod of ours that is on a node, as far as the API server knows."""
    made = admission.built()
    name = made["metadata"]["name"] = f"scheduled-{uuid.uuid4().hex[:6]}"
    world.admin.as_user(OPERATOR).create(made)
    world.admin.request("POST", world.admin.path("pod", name, "binding"), binding(name))
    yield name
    world.admin.delete("pod", name, wait=False, force=True)


def binding(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"}}  # fmt: skip


@pytest.mark.parametrize("user", [SOMEBODY, OPERATOR])
def test_nobody_deletes_a_sandboxs_pod_without_its_grace_period(world: World, scheduled: str, user: str) -> None:
    says = "not deleted without its grace period"
    with pytest.raises(Refused, match=says):
        delete(world, user, scheduled, 0)
    for selector in (names.LABEL_STATE, "!nothing") if user == SOMEBODY else ():
        with pytest.raises(Refused, match=says):
            delete(world, user, "", 0, selector=selector)
    for grace in (None, 1, 30):
        delete(world, user, scheduled, grace)
    if user == SOMEBODY:
        delete(world, user, "", None, selector=names.LABEL_STATE)


def test_what_has_to_go_on_may_do_without_the_grace_period(world: World, scheduled: str) -> None:
    for user in ("system:serviceaccount:kube-system:pod-garbage-collector",
                 "system:serviceaccount:kube-system:namespace-controller", ""):  # fmt: skip
        delete(world, user, scheduled, 0)
    delete(world, SOMEBODY, "plain", 0)


def test_a_pod_without_a_node_needs_no_grace_period(world: World) -> None:
    for grace in (None, 0):
        delete(world, SOMEBODY, "ours", grace)


def evict(world: World, user: str, name: str, options: dict[str, Any] | None) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": name, "namespace": world.admin.namespace}}  # fmt: skip
    body = eviction if options is None else {**eviction, "deleteOptions": options}
    world.admin.as_user(user).request("POST", world.admin.path("pod", name, "eviction"), body, params={"dryRun": "All"})


def test_an_eviction_leaves_a_pod_its_grace_period(world: World) -> None:
    with pytest.raises(Refused, match="not evicted without its grace period"):
        evict(world, SOMEBODY, "ours", {"gracePeriodSeconds": 0})
    evict(world, SOMEBODY, "ours", None)
    evict(world, SOMEBODY, "ours", {"gracePeriodSeconds": 1})


# Nodes


def test_the_scheduler_alone_puts_a_pod_on_a_node(world: World) -> None:
    path, params = world.admin.path("pod", "ours", "binding"), {"dryRun": "All"}
    with pytest.raises(Refused, match="bound to nodes by the cluster's scheduler"):
        world.admin.as_user(SOMEBODY).request("POST", path, binding("ours"), params=params)
    world.admin.as_user("system:kube-scheduler").request("POST", path, binding("ours"), params=params)


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


# A stolen token


PRIVILEGED = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"},
              "spec": {"hostPID": True, "containers": [{"name": "c", "image": "a",
                                                         "securityContext": {"privileged": True}}]}}  # fmt: skip


def test_the_operators_token_makes_nothing_but_sandboxes(world: World, admin: Kube) -> None:
    for kube in (world.admin, admin.within("kube-system")):
        with pytest.raises(Refused, match="makes nothing without its own labels"):
            kube.as_user(OPERATOR).create(PRIVILEGED, dry_run=True)
    with pytest.raises(Refused, match="makes nothing without its own labels"):
        world.create(OPERATOR, admission.policy("another", {"app": "x"}))


def test_the_operators_token_touches_nothing_of_others(world: World) -> None:
    says = "changes and deletes nothing but what it has made"
    for kind in ("pod", "persistentvolumeclaim", "networkpolicy"):
        with pytest.raises(Refused, match=says):
            world.change(OPERATOR, kind, "plain", {"metadata": {"annotations": {"a": "b"}}})
        with pytest.raises(Refused, match=says):
            world.change(OPERATOR, kind, "plain", {"metadata": {"labels": {names.LABEL_STATE: "warm",
                                                                           names.LABEL_POLICY: "x",
                                                                           names.LABEL_POOL_UID: "x"}}})  # fmt: skip
        with pytest.raises(Refused, match=says):
            world.delete(OPERATOR, kind, "plain")
        world.change(OPERATOR, kind, "ours", {"metadata": {"annotations": {names.ANNOTATION_TOUCHED: "b"}}})
        world.delete(OPERATOR, kind, "ours")


# Network policies of others


@pytest.mark.parametrize("policy", foreign_policies.OPENING.values(), ids=foreign_policies.OPENING)
def test_a_policy_that_would_open_a_sandbox_is_refused_with_the_way_out(world: World, policy: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"key: sandyard.dev/state, operator: DoesNotExist"):
        world.create(SOMEBODY, policy)


@pytest.mark.parametrize("policy", foreign_policies.HARMLESS.values(), ids=foreign_policies.HARMLESS)
def test_a_policy_for_other_pods_or_one_that_opens_nothing_is_welcome(world: World, policy: dict[str, Any]) -> None:
    world.create(SOMEBODY, policy)


def test_a_harmless_policy_is_not_made_one_that_opens(world: World) -> None:
    with pytest.raises(Refused, match="operator: DoesNotExist"):
        world.change(SOMEBODY, "networkpolicy", "plain", {"spec": {"podSelector": {}, "egress": [{}]}})


@pytest.mark.parametrize("name", ["sandyard-closed", "sandyard-dns", "sandyard-internet", "sandyard-allow-0123",
                                  "sandyard-ingress-0123"])  # fmt: skip
def test_nobody_takes_the_name_of_one_of_our_policies(world: World, name: str) -> None:
    squatter = admission.policy(name)
    with pytest.raises(Refused, match="belongs to the operator"):
        world.create(SOMEBODY, squatter)


# Templates


@pytest.mark.parametrize("kind", ["labels", "annotations"])
def test_labels_and_annotations_of_a_template_are_for_the_platform_team_to_allow(world: World, kind: str) -> None:
    template = {"image": "a", kind: {"app": "web"}}
    for made in (manifests.sandbox("x", template=template), manifests.pool("x", 1, template)):
        with pytest.raises(Refused, match=rf"spec.template.{kind}: app is beyond policy.{kind} of the chart \(noth"):
            world.create(SOMEBODY, made)


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
