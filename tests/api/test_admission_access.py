"""What may be done to pods of ours by others: their status, their end, putting them on a node.

Most are dry runs; there is no node here, so what admission lets through in a CONNECT ends with another error.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.support import admission, foreign_policies, manifests
from tests.support.admission import COLLECTOR, OPERATOR, SOMEBODY, World, claim
from tests.support.control_plane import ControlPlane
from tests.support.kube import Kube, Refused, until

NOT_READY = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    yield from admission.world(admin)


@pytest.fixture
def kubelets(world: World, control_plane: ControlPlane) -> World:
    """The same namespace, for a user who is in the group of the nodes."""
    return World(Kube(control_plane.kubelets), world.admin.namespace)


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
def test_not_even_a_kubelet_moves_a_pod_to_another_network(
    world: World, kubelets: World, metadata: dict[str, Any]
) -> None:
    for who, user in ((world, COLLECTOR), (world, ""), (kubelets, "")):
        with pytest.raises(Refused, match="belong to the operator"):
            who.change(user, "pod", "ours", {"metadata": metadata, **NOT_READY}, "status")


def test_the_control_plane_and_kubelets_write_the_status(world: World, kubelets: World) -> None:
    world.change(COLLECTOR, "pod", "ours", NOT_READY, "status")
    kubelets.change("", "pod", "ours", NOT_READY, "status")


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


def test_the_operators_token_mounts_no_volume_but_a_sandboxs(world: World) -> None:
    """By its name it could be one."""
    world.admin.create(claim("somebodys-workspace"))
    operator = world.admin.as_user(OPERATOR)
    operator.create(claim("kept-workspace", admission.WORKSPACE))

    def mounting(name: str) -> dict[str, Any]:
        made = admission.built()
        made["metadata"]["name"] = "mounting"
        made["spec"]["volumes"][0] = {"name": "workspace", "persistentVolumeClaim": {"claimName": name}}
        return made

    says = "this PersistentVolumeClaim is no Sandbox's"
    until("the policy sees the volume", lambda: _refused_with(operator, mounting("somebodys-workspace"), says), 20)
    operator.create(mounting("kept-workspace"), dry_run=True)


def _refused_with(kube: Kube, made: dict[str, Any], says: str) -> bool:
    try:
        kube.create(made, dry_run=True)
    except Refused as error:
        return says in str(error)
    return False


# Network policies of others


def test_a_pod_has_its_nodes_zone_once_it_is_bound(world: World, admin: Kube) -> None:
    """Since Kubernetes 1.35: so a policy that selects a zone selects sandboxes."""
    node, name = f"n-{uuid.uuid4().hex[:6]}", f"zoned-{uuid.uuid4().hex[:6]}"
    zone = {"topology.kubernetes.io/zone": "a"}
    admin.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": zone}})
    made = admission.built()
    made["metadata"]["name"] = name
    world.admin.as_user(OPERATOR).create(made)
    bound_to = {**binding(name), "target": {"apiVersion": "v1", "kind": "Node", "name": node}}
    try:
        world.admin.request("POST", world.admin.path("pod", name, "binding"), bound_to)
        found = world.admin.get("pod", name)
        assert found is not None
        assert zone.items() <= found["metadata"]["labels"].items()
        # What the API server has put there does not keep the operator from the pod.
        world.change(OPERATOR, "pod", name, {"metadata": {"labels": admission.CLAIMED}})
    finally:
        world.admin.delete("pod", name, wait=False, force=True)
        admin.delete("node", node)


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
