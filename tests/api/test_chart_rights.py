"""The rights that the chart gives: those that are used and no others, to the accounts that use them.

Helm renders it; no API server is asked here. That they are enough, the other tests of the API show.
"""

from __future__ import annotations

import pytest

from tests.support import chart

OPERATOR = (
    chart.verbs("sandyard.dev", "sandboxes", "get", "list", "watch", "patch", "delete")
    | chart.verbs("sandyard.dev", "sandboxpools", "get", "list", "watch", "patch")
    | chart.verbs("sandyard.dev", "sandboxes/status", "patch")
    | chart.verbs("sandyard.dev", "sandboxpools/status", "patch")
    | chart.verbs("", "pods", "get", "list", "watch", "create", "patch", "delete")
    | chart.verbs("networking.k8s.io", "networkpolicies", "list", "watch", "create", "patch", "delete")
    | chart.verbs("", "events", "create")
    | chart.verbs("", "persistentvolumeclaims", "get", "list", "patch", "delete")
    | chart.verbs("metrics.k8s.io", "pods", "get")
)
EXEC = chart.verbs("", "pods/exec", "get", "create")
DRAIN = (
    chart.verbs("sandyard.dev", "sandboxes", "get", "list", "delete", "patch")
    | chart.verbs("sandyard.dev", "sandboxpools", "get", "list", "delete", "patch")
    | chart.verbs("", "pods", "list")
    | chart.verbs("", "persistentvolumeclaims", "list")
)
LEASE = chart.verbs("coordination.k8s.io", "leases", "create") | chart.verbs(
    "coordination.k8s.io", "leases=sandyard", "get", "update"
)
API_SERVERS = chart.verbs("discovery.k8s.io", "endpointslices", "list", "watch")


def test_the_operator_has_the_rights_that_it_uses_and_no_others() -> None:
    objects = chart.render()
    assert chart.rules(chart.one(objects, "ClusterRole", "sandyard")) == OPERATOR | EXEC
    assert chart.rules(chart.one(objects, "ClusterRole", "sandyard-drain")) == DRAIN
    assert chart.rules(chart.one(objects, "Role", "sandyard-lease", "sandyard-system")) == LEASE
    assert chart.rules(chart.one(objects, "Role", "sandyard-api-servers", "default")) == API_SERVERS
    people = {"sandyard-view", "sandyard-user", "sandyard-author", "sandyard-pool-admin"}
    roles = {role["metadata"]["name"] for role in chart.selected(objects, "ClusterRole")}
    assert roles == {"sandyard", "sandyard-drain", *people}
    assert len(chart.selected(objects, "Role")) == 2


@pytest.mark.parametrize(
    ("pausing", "restarting", "right"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_the_right_to_exec_is_there_for_those_who_need_it_and_narrowed_then(
    pausing: bool, restarting: bool, right: bool
) -> None:
    objects = chart.render({"pausing.enabled": pausing, "restarting.enabled": restarting})
    assert chart.rules(chart.one(objects, "ClusterRole", "sandyard")) == (OPERATOR | EXEC if right else OPERATOR)
    narrowed = bool(chart.selected(objects, "ValidatingAdmissionPolicy", "sandyard-exec"))
    assert narrowed is right
    assert bool(chart.selected(objects, "ValidatingAdmissionPolicyBinding", "sandyard-exec")) is right


def test_each_right_is_bound_to_its_own_account_and_to_nobody_else() -> None:
    objects = chart.render()
    bound = {}
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for binding in chart.selected(objects, kind):
            role, subjects = binding["roleRef"], binding["subjects"]
            key = (kind, binding["metadata"].get("namespace"), role["kind"], role["name"])
            bound[key] = [(s["kind"], s["name"], s["namespace"]) for s in subjects]
    operator = [("ServiceAccount", "sandyard", "sandyard-system")]
    assert bound == {
        ("ClusterRoleBinding", None, "ClusterRole", "sandyard"): operator,
        ("ClusterRoleBinding", None, "ClusterRole", "sandyard-drain"): [
            ("ServiceAccount", "sandyard-drain", "sandyard-system")
        ],
        ("RoleBinding", "sandyard-system", "Role", "sandyard-lease"): operator,
        ("RoleBinding", "default", "Role", "sandyard-api-servers"): operator,
    }


LOOKING = chart.verbs("sandyard.dev", "sandboxes", "get", "list", "watch") | chart.verbs(
    "sandyard.dev", "sandboxpools", "get", "list", "watch"
)
WRITING = ("create", "update", "patch", "delete", "deletecollection")
USING = (
    LOOKING
    | chart.verbs("sandyard.dev", "sandboxes", *WRITING)
    | chart.verbs("sandyard.dev", "sandboxes/exec", "create")
    | chart.verbs("", "pods/exec", "get", "create")
    | chart.verbs("", "pods/portforward", "get", "create")
    | chart.verbs("", "pods", "get", "list", "watch")
    | chart.verbs("", "pods/log", "get", "list", "watch")
    | chart.verbs("", "events", "get", "list", "watch")
    | chart.verbs("metrics.k8s.io", "pods", "get")
)
PEOPLE = {
    "sandyard-view": LOOKING,
    "sandyard-user": USING,
    "sandyard-author": USING
    | chart.verbs("sandyard.dev", "sandboxes/template", "create")
    | chart.verbs("sandyard.dev", "sandboxes/network", "create"),
    "sandyard-pool-admin": LOOKING
    | chart.verbs("sandyard.dev", "sandboxpools", *WRITING)
    | chart.verbs("sandyard.dev", "sandboxpools/scale", "get", "update", "patch"),
}


@pytest.mark.parametrize("name", PEOPLE)
def test_the_roles_of_people_have_the_rights_that_they_are_for(name: str) -> None:
    assert chart.rules(chart.one(chart.render(), "ClusterRole", name)) == PEOPLE[name]
    listed = chart.render({"namespaces": ["a", "b"]})
    for space in ("a", "b"):
        assert chart.rules(chart.one(listed, "Role", name, space)) == PEOPLE[name]
    assert not chart.selected(chart.render({"roles.create": False}), "ClusterRole", name)


def test_the_built_in_roles_get_ours_when_they_are_told_to() -> None:
    def aggregated(**values: bool) -> dict[str, str]:
        made = chart.render({f"roles.{key}": value for key, value in values.items()})
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        return {
            role["metadata"]["name"]: key.removeprefix(prefix)
            for role in chart.selected(made, "ClusterRole")
            for key in role["metadata"]["labels"]
            if key.startswith(prefix)
        }

    assert aggregated() == {}
    assert aggregated(aggregate=True) == {
        "sandyard-view": "view", "sandyard-user": "edit", "sandyard-author": "admin", "sandyard-pool-admin": "admin",
    }  # fmt: skip


def test_namespaces_that_are_listed_are_served_and_no_others() -> None:
    objects = chart.render({"namespaces": ["a", "b"]})
    assert not chart.selected(objects, "ClusterRole")
    assert not chart.selected(objects, "ClusterRoleBinding")
    for space in ("a", "b"):
        assert chart.rules(chart.one(objects, "Role", "sandyard", space)) == OPERATOR | EXEC
        assert chart.rules(chart.one(objects, "Role", "sandyard-drain", space)) == DRAIN
        for name in ("sandyard", "sandyard-drain"):
            binding = chart.one(objects, "RoleBinding", name, space)
            assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
            assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": "sandyard-system"}]
    assert {role["metadata"]["namespace"] for role in chart.selected(objects, "Role")} == {
        "a", "b", "default", "sandyard-system",
    }  # fmt: skip
    assert chart.environment(objects)["SANDYARD_WATCH_NAMESPACES"] == "a,b"
    drain = chart.one(objects, "Job")["spec"]["template"]["spec"]["containers"][0]
    assert drain["args"] == ["--timeout-seconds=300", "--namespace=a", "--namespace=b"]
