"""Our names belong to the operator, and it has no right that it does not use."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
import yaml

from localcluster import paths
from sandyard.api.template import Template
from sandyard.client.code.languages import LANGUAGES
from sandyard.podspec import pod as podspec
from tests.api.conftest import OPERATOR_USER, render
from tests.support import manifests
from tests.support.kube import Kube, Refused, until

PROBE = podspec.Probe(image="sandyard/operator:1", pull_policy="IfNotPresent", forbidden=("10.96.0.1:443",))


def our_pod(**fields: Any) -> dict[str, Any]:
    return podspec.build(
        Template.model_validate({"image": "a", **fields}), name="ours", namespace="", probe=PROBE,
        owner=podspec.Owner("SandboxPool", "p", "11111111-1111-1111-1111-111111111111"),
    )  # fmt: skip


@pytest.fixture
def as_operator(kube: Kube) -> Kube:
    """The test's namespace with the operator's rights."""
    return kube.as_user(OPERATOR_USER)


def test_only_the_operator_makes_and_changes_our_pods(kube: Kube, as_operator: Kube) -> None:
    with pytest.raises(Refused, match="belong to the operator"):
        kube.create(our_pod())
    ours = our_pod()
    # Its owner is not there: garbage collection would take it.
    del ours["metadata"]["ownerReferences"]
    as_operator.create(ours)
    changes: list[dict[str, Any]] = [
        {"labels": {"sandyard.dev/state": "claimed"}},
        {"labels": {"sandyard.dev/egress": "Internet"}},
        {"annotations": {"x": "y"}},
    ]
    for change in changes:
        with pytest.raises(Refused, match="belong to the operator"):
            kube.patch("pod", "ours", {"metadata": change})
    plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"},
             "spec": {"containers": [{"name": "c", "image": "a"}]}}  # fmt: skip
    kube.create(plain)
    with pytest.raises(Refused, match="belong to the operator"):
        kube.patch("pod", "plain", {"metadata": {"labels": {"sandyard.dev/state": "warm"}}})


def test_the_finalizer_goes_by_the_operator_alone(kube: Kube, as_operator: Kube) -> None:
    kube.apply(manifests.sandbox("x", "python"))
    strip: dict[str, Any] = {"metadata": {"finalizers": None}}
    with pytest.raises(Refused, match="taken off by the operator"):
        kube.patch("sandbox", "x", strip)
    kube.delete("sandbox", "x", wait=False)
    with pytest.raises(Refused, match="taken off by the operator"):
        kube.patch("sandbox", "x", strip)
    as_operator.patch("sandbox", "x", strip)
    assert kube.get("sandbox", "x") is None


def test_our_network_policies_are_the_operators(kube: Kube, as_operator: Kube) -> None:
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
              "metadata": {"name": "p", "labels": {"sandyard.dev/policy": "p"}},
              "spec": {"podSelector": {"matchLabels": {"sandyard.dev/egress": "DNS"}}}}  # fmt: skip
    with pytest.raises(Refused, match="belongs to the operator"):
        kube.create(policy)
    as_operator.create(policy)
    with pytest.raises(Refused, match="belongs to the operator"):
        kube.delete("networkpolicy", "p")
    as_operator.delete("networkpolicy", "p", wait=False)
    until("gone", lambda: kube.get("networkpolicy", "p") is None)


ALLOWED = [
    ("get", "sandboxes"), ("list", "sandboxes"), ("watch", "sandboxes"), ("patch", "sandboxes"),
    ("delete", "sandboxes"), ("patch", "sandboxes/status"), ("patch", "sandboxpools/status"), ("create", "pods"),
    ("patch", "pods"), ("delete", "pods"), ("create", "networkpolicies"), ("delete", "networkpolicies"),
    ("create", "events"), ("create", "pods/exec"), ("get", "pods/exec"),
]  # fmt: skip
DENIED = [
    ("create", "sandboxes"), ("delete", "sandboxpools"), ("create", "sandboxpools"), ("update", "pods"),
    ("create", "pods/attach"), ("create", "pods/portforward"),
    ("patch", "pods/ephemeralcontainers"), ("patch", "pods/resize"), ("patch", "pods/status"), ("get", "pods/log"),
    ("get", "secrets"), ("list", "secrets"), ("get", "configmaps"), ("create", "configmaps"),
    ("create", "serviceaccounts/token"), ("get", "nodes"), ("get", "nodes/proxy"), ("list", "namespaces"),
    ("patch", "namespaces"), ("create", "rolebindings"), ("bind", "clusterroles"), ("escalate", "clusterroles"),
    ("impersonate", "users"), ("create", "deployments"), ("create", "jobs"), ("delete", "customresourcedefinitions"),
    ("patch", "validatingadmissionpolicies"),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "resource"), ALLOWED + DENIED)
def test_the_operator_may_do_what_it_does_and_nothing_else(admin: Kube, verb: str, resource: str) -> None:
    assert admin.may(OPERATOR_USER, verb, resource) is ((verb, resource) in ALLOWED)


def test_the_operator_s_exec_is_for_its_own_scripts_alone(kube: Kube, as_operator: Kube) -> None:
    """There is no node here: what admission lets through ends with another error."""
    bystander = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                 "spec": {"containers": [{"name": "sandbox", "image": "a"}, {"name": "c", "image": "a"}],
                          "nodeName": "none"}}  # fmt: skip
    kube.apply(bystander)
    ours = our_pod()
    del ours["metadata"]["ownerReferences"]
    as_operator.create(ours)

    def answer(container: str, *command: str, pod: str = "ours") -> str:
        with pytest.raises(Refused) as caught:
            as_operator.request("POST", kube.path("pod", pod, "exec"),
                                params={"container": container, "stdin": "true", "command": command})  # fmt: skip
        return str(caught.value)

    refused, no_node = "nothing but its own scripts", "does not have a host assigned"
    elsewhere = "the operator enters nothing but sandboxes"
    until("the policy sees the pod", lambda: elsewhere in answer("sandbox", "/bin/sh", "-s", pod="p"), 20)
    assert refused in answer("sandbox", "cat", "/etc/passwd")
    assert refused in answer("c", "/bin/sh", "-s")
    assert refused in answer("sandbox", "python3", "-I", "-S", "-")
    allowed = answer("sandbox", "/bin/sh", "-s")
    # Where a kubelet is played beside this it has a node, which is none.
    assert no_node in allowed or "not found" in allowed
    assert refused in answer("sandbox", "/usr/bin/python3", "-I", "-S", "-")


def test_without_pausing_and_restarting_there_is_no_right_to_exec(admin: Kube) -> None:
    def rights(*values: str) -> str:
        made = render(admin, *values)
        return str(
            [item["rules"] for item in made if (item["kind"], item["metadata"]["name"]) == ("ClusterRole", "sandyard")]
        )  # type: ignore[index]

    assert "pods/exec" in rights("pausing.enabled=false")
    assert "pods/exec" in rights("restarting.enabled=false")
    assert "pods/exec" not in rights("pausing.enabled=false", "restarting.enabled=false")
    text = str(render(admin, "pausing.enabled=false", "restarting.enabled=false"))
    for name, told in {"PAUSING": "spec.desiredState: Paused", "RESTARTING": "spec.recycle: Restart"}.items():
        assert f"'SANDYARD_{name}', 'value': 'false'" in text
        assert f"{told} is switched off" in text


def test_namespaces_that_are_listed_get_roles_and_no_cluster_role(admin: Kube) -> None:
    objects = render(admin, "namespaces={a,b}")
    kinds = [item["kind"] for item in objects]
    assert "ClusterRoleBinding" not in kinds
    assert "sandyard" not in [item["metadata"]["name"] for item in objects if item["kind"] == "ClusterRole"]  # type: ignore[index]
    roles = [item["metadata"]["namespace"] for item in objects if item["kind"] == "Role"]  # type: ignore[index]
    assert {"a", "b"} <= set(roles)


def test_the_chart_goes_without_what_an_older_cluster_lacks(admin: Kube) -> None:
    kinds = {item["kind"] for item in render(admin, api_versions="v1")}
    assert "MutatingAdmissionPolicy" not in kinds
    assert "ValidatingAdmissionPolicy" in kinds


@pytest.mark.parametrize(
    ("value", "told"),
    [("isolation.network=Off", "isolation"), ("replicas=-1", "replicas"), ("colour=red", "colour"),
     ("image.digest=abc", "digest")],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(admin: Kube, value: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        render(admin, value)


def test_the_charts_crds_are_kept_on_uninstall(admin: Kube) -> None:
    for item in render(admin):
        if item["kind"] == "CustomResourceDefinition":
            assert item["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}  # type: ignore[index]


def test_policies_of_the_platform_team(admin: Kube, kube: Kube) -> None:
    """Image patterns, runtime classes and root are values of the chart."""
    objects = render(kube, "policy.images={^registry[.]example/}", "policy.runtimeClasses={gvisor}",
                     "policy.allowRoot=true")  # fmt: skip
    ours = [item for item in objects if item["kind"] == "ValidatingAdmissionPolicy"]
    default = [item for item in render(kube) if item["kind"] == "ValidatingAdmissionPolicy"]
    evil = manifests.sandbox("a", template={"image": "evil/x", "user": {"uid": 0}})
    admin.apply(*ours)
    try:
        told = until("the new policy holds", lambda: "policy.images" in (t := kube.refused(evil)) and t)
        assert "allowRoot" not in told
        template = {"image": "registry.example/x", "runtimeClassName": "runc"}
        assert "policy.runtimeClasses" in kube.refused(manifests.sandbox("a", template=template))
    finally:
        admin.apply(*default)
        until("the default policy holds again", lambda: "policy.images" not in kube.refused(evil))


def test_the_kind_configuration_and_examples_are_well_formed() -> None:
    top = paths.REPOSITORY
    config = yaml.safe_load((top / "hack/localcluster/kind/cluster.yaml").read_text())
    assert config["kind"] == "Cluster"
    assert all("runsc" in mount["hostPath"] for mount in config["nodes"][0]["extraMounts"])
    assert 'runtime_type = "io.containerd.runsc.v1"' in config["containerdConfigPatches"][0]


@pytest.mark.parametrize("name", sorted(path.name for path in (paths.REPOSITORY / "examples").glob("*.yaml")))
def test_every_example_is_taken_as_it_stands(admin: Kube, name: str) -> None:
    for item in yaml.safe_load_all((paths.REPOSITORY / "examples" / name).read_text()):
        admin.create(item, dry_run=True)


def test_a_pool_may_say_its_language_and_a_sandbox_may_not(kube: Kube) -> None:
    for made, right in ((manifests.pool("languages"), True), (manifests.sandbox("s", "languages"), False)):
        made["metadata"]["labels"] = {"sandyard.dev/language": "python"}
        with contextlib.nullcontext() if right else pytest.raises(Refused, match="belong to the operator"):
            kube.create(made)


def test_a_pool_for_each_language(kube: Kube) -> None:
    chart = str(paths.REPOSITORY / "charts" / "sandyard-pools")
    digest = f"sha256:{'0a' * 32}"
    text = kube.run("helm", "template", "x", chart, "--namespace", kube.namespace, "--set=languages.bash.replicas=0",
                    f"--set=languages.ruby.digest={digest}")  # fmt: skip
    pools = {item["metadata"]["labels"]["sandyard.dev/language"]: item for item in yaml.safe_load_all(text) if item}
    assert set(pools) == set(LANGUAGES)
    for item in pools.values():
        kube.create(item, dry_run=True)
        # By exact version, until an installation says by digest.
        assert re.search(r":[0-9]+\.[0-9]+\.[0-9]+[^:]*$|@sha256:[0-9a-f]{64}$", item["spec"]["template"]["image"])
    assert pools["ruby"]["spec"]["template"]["image"] == f"ruby@{digest}"
    assert (pools["bash"]["spec"]["replicas"], pools["go"]["spec"]["replicas"]) == (0, 1)
    assert pools["go"]["spec"]["template"]["resources"]["requests"]["cpu"] == "50m"
    with pytest.raises(Refused, match="digest"):
        kube.run("helm", "template", "x", chart, "--set=languages.ruby.digest=latest")
