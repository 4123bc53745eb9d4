"""NetworkPolicies of others: one that is refused, one whose name was taken before us, one that opens sandboxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.api.conftest import OPERATOR_USER
from tests.api.lives import TEMPLATE, claim, pool
from tests.support import foreign_policies, manifests
from tests.support.kube import Kube, Refused, until
from tests.support.operator import OperatorProcess

REFUSED = "198.51.100.66/32"
TAKEN = "198.51.100.67/32"


@pytest.fixture
def refusing(kube: Kube) -> Iterator[None]:
    """A policy of the cluster's that refuses every NetworkPolicy that names `REFUSED`."""
    group = "admissionregistration.k8s.io/v1"
    name = f"no-{kube.namespace}"
    rules = [{"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
              "resources": ["networkpolicies"]}]  # fmt: skip
    expression = (
        "!has(object.spec.egress) || object.spec.egress.all(e, !has(e.to) || e.to.all(t, !has(t.ipBlock) || "
        f"t.ipBlock.cidr != '{REFUSED}'))"
    )
    selector = {"matchLabels": {"kubernetes.io/metadata.name": kube.namespace}}
    kube.create(
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
         "spec": {"matchConstraints": {"resourceRules": rules, "namespaceSelector": selector},
                  "validations": [{"expression": expression, "message": "not this one"}]}},
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
         "spec": {"policyName": name, "validationActions": ["Deny"]}},
    )  # fmt: skip
    probe = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "probe"},
             "spec": {"podSelector": {"matchLabels": {"app": "x"}},
                      "egress": [{"to": [{"ipBlock": {"cidr": REFUSED}}]}]}}  # fmt: skip

    def held() -> bool:
        try:
            kube.create(probe, dry_run=True)
        except Refused:
            return True
        return False

    until("it holds", held, 30)
    yield
    kube.delete("validatingadmissionpolicybinding", name, wait=False)
    kube.delete("validatingadmissionpolicy", name, wait=False)


def listing(cidr: str) -> dict[str, Any]:
    return {"egress": "AllowList", "allow": [{"cidr": cidr}]}


def test_a_policy_that_is_refused_costs_its_own_sandbox_and_nobody_elses(
    kube: Kube, operator: OperatorProcess, refusing: None
) -> None:
    kube.create(manifests.sandbox("bad", template={**TEMPLATE, "network": listing(REFUSED)}))
    message = kube.wait_reason("sandbox", "bad", "Ready", ["PodRefused"], 30)
    assert "not this one" in message
    # Its policy is still wanted and still refused: a pool, a cold start and a list of others go on.
    pool(kube, 1)
    claim(kube, "warm")
    kube.create(manifests.sandbox("good", template={**TEMPLATE, "network": listing(TAKEN)}))
    kube.wait_for("sandbox", "good", "Ready")


def test_who_took_the_name_of_our_policy_does_not_take_it_away_with_him(kube: Kube, operator: OperatorProcess) -> None:
    until("nobody has the name", lambda: kube.get("networkpolicy", "sandyard-closed") is None, 60)
    kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "squatter"}})
    uid = kube.get("configmap", "squatter")["metadata"]["uid"]  # type: ignore[index]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "squatter", "uid": uid}
    # Before the admission policies were there, that is.
    kube.as_user(OPERATOR_USER).create({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "sandyard-closed", "labels": {names.LABEL_POLICY: "sandyard-closed"},
                     "ownerReferences": [owner]},
        "spec": {"podSelector": {"matchExpressions": [{"key": names.LABEL_EGRESS, "operator": "Exists"}]},
                 "egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}], "policyTypes": ["Egress"]},
    })  # fmt: skip
    pool(kube, 1)
    policy = kube.get("networkpolicy", "sandyard-closed")
    assert policy is not None
    assert "ownerReferences" not in policy["metadata"]
    assert "egress" not in policy["spec"]
    # Somebody puts it back: the operator looks again.
    kube.as_user(OPERATOR_USER).patch("networkpolicy", "sandyard-closed", {"metadata": {"ownerReferences": [owner]}})
    until("it is nobody's again", lambda: "ownerReferences" not in (
        kube.get("networkpolicy", "sandyard-closed") or {"metadata": {}})["metadata"], 30)  # fmt: skip


# Policies of others that open sandboxes


@pytest.fixture
def unguarded(kube: Kube) -> Iterator[Kube]:
    """The namespace as it was before the chart's admission: policies of others are let through in it."""
    binding = "sandyard-foreign-network-policies"
    elsewhere = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [kube.namespace]}
    selector = {"namespaceSelector": {"matchExpressions": [elsewhere]}}
    kube.patch("validatingadmissionpolicybinding", binding, {"spec": {"matchResources": selector}})

    def let_through() -> bool:
        try:
            kube.create(foreign_policies.policy({}, "probe"), dry_run=True)
        except Refused:
            return False
        return True

    until("policies are let through", let_through, 30)
    yield kube
    for policy in kube.list("networkpolicies", f"!{names.LABEL_POLICY}"):
        kube.delete("networkpolicy", policy["metadata"]["name"], wait=False)
    kube.patch("validatingadmissionpolicybinding", binding, {"spec": {"matchResources": None}})
    until("they are refused again", lambda: not let_through(), 30)


def test_a_policy_of_others_that_opens_sandboxes_stops_the_hand_out_until_it_is_gone(
    unguarded: Kube, operator: OperatorProcess
) -> None:
    kube = unguarded
    pool(kube, 1)
    claim(kube, "before")
    kube.create(foreign_policies.policy({}, "let-us-out"))
    message = kube.wait_reason("sandboxpool", "python", "NetworkEnforced", ["ForeignNetworkPolicy"], 10)
    assert "let-us-out" in message
    assert "operator: DoesNotExist" in message
    kube.wait_reason("sandbox", "before", "NetworkEnforced", ["ForeignNetworkPolicy"], 10)
    kube.create(manifests.sandbox("warm", "python"), manifests.sandbox("own", template=TEMPLATE))
    for name in ("warm", "own"):
        kube.wait_reason("sandbox", name, "Ready", ["ForeignNetworkPolicy"], 10)
    kube.delete("networkpolicy", "let-us-out")
    for name in ("warm", "own", "before"):
        kube.wait_for("sandbox", name, "Ready", 20)
        kube.wait_reason("sandbox", name, "NetworkEnforced", ["Proven"], 20)
    kube.wait_reason("sandboxpool", "python", "NetworkEnforced", ["Proven"], 20)


def test_a_policy_of_others_that_was_there_first_lets_nothing_start(unguarded: Kube, operator: OperatorProcess) -> None:
    kube = unguarded
    kube.create(foreign_policies.policy({"matchLabels": {names.LABEL_MANAGED_BY: "sandyard"}}, "first", ingress=[{}]))
    pool(kube, 2, ready=False)
    kube.wait_reason("sandboxpool", "python", "Ready", ["ForeignNetworkPolicy"], 10)
    assert kube.list("pods", names.LABEL_STATE) == []
    exclude = {"podSelector": {"matchLabels": None, "matchExpressions": [
        {"key": names.LABEL_STATE, "operator": "DoesNotExist"}]}}  # fmt: skip
    kube.patch("networkpolicy", "first", {"spec": exclude})
    kube.wait_for("sandboxpool", "python", "Full", 30)


def test_a_policy_of_others_that_opens_no_sandbox_stops_nobody(unguarded: Kube, operator: OperatorProcess) -> None:
    kube = unguarded
    for name in ("default-deny", "app", "no-sandboxes"):
        policy = foreign_policies.HARMLESS[name]
        kube.create({**policy, "metadata": {"name": name}})
    pool(kube, 1)
    claim(kube, "s1")


# Labels that others have changed


@pytest.fixture
def unwatched(kube: Kube) -> Iterator[Kube]:
    """A namespace in which admission does not keep others from our pods."""
    elsewhere = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [kube.namespace]}
    selector = {"namespaceSelector": {"matchExpressions": [elsewhere]}}
    bindings = ("sandyard-pods", "sandyard-pod-status", "sandyard-network-policies")
    for name in bindings:
        kube.patch("validatingadmissionpolicybinding", name, {"spec": {"matchResources": selector}})
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "labels": {names.LABEL_STATE: "warm"}},
             "spec": {"containers": [{"name": "c", "image": "a"}]}}  # fmt: skip

    def let_through() -> bool:
        try:
            kube.create(probe, dry_run=True)
        except Refused:
            return False
        return True

    until("pods are let through", let_through, 30)
    yield kube
    for name in bindings:
        kube.patch("validatingadmissionpolicybinding", name, {"spec": {"matchResources": None}})
    until("they are refused again", lambda: not let_through(), 30)


def labels_of(kube: Kube, name: str, kind: str = "pod") -> dict[str, str]:
    found = kube.get(kind, name)
    return dict(found["metadata"].get("labels", {})) if found is not None else {}


@pytest.mark.parametrize(
    "labels",
    [
        {names.LABEL_EGRESS: "Internet"},
        {names.LABEL_SANDBOX_UID: None, names.LABEL_STATE: "warm"},
        {names.LABEL_STATE: None},
    ],
    ids=["network", "free", "out-of-sight"],
)
@pytest.mark.parametrize("subresource", ["", "status"])
def test_labels_that_others_have_changed_are_put_right(
    unwatched: Kube, operator: OperatorProcess, labels: dict[str, str | None], subresource: str
) -> None:
    kube = unwatched
    pool(kube, 1)
    pod = claim(kube, "s1")["podName"]
    right = labels_of(kube, pod)
    kube.patch("pod", pod, {"metadata": {"labels": labels}}, subresource)
    until("the labels are right", lambda: labels_of(kube, pod) == right, 20)
    kube.wait_for("sandbox", "s1", "Ready", 10)


def test_a_warm_pod_that_others_have_opened_is_replaced(unwatched: Kube, operator: OperatorProcess) -> None:
    kube = unwatched
    pool(kube, 1)
    (pod,) = kube.list("pods", f"{names.LABEL_STATE}=warm")
    kube.patch("pod", pod["metadata"]["name"], {"metadata": {"labels": {names.LABEL_EGRESS: "Internet"}}}, "status")
    until("it is gone", lambda: kube.get("pod", pod["metadata"]["name"]) is None, 30)
    kube.wait_for("sandboxpool", "python", "Full", 30)


def test_a_policy_whose_labels_others_took_off_is_ours_again(unwatched: Kube, operator: OperatorProcess) -> None:
    kube = unwatched
    pool(kube, 1)
    kube.patch("networkpolicy", "sandyard-closed", {"metadata": {"labels": None}})
    until("it has its labels", lambda: names.LABEL_POLICY in labels_of(kube, "sandyard-closed", "networkpolicy"), 20)
    kube.wait_for("sandboxpool", "python", "Full", 30)
