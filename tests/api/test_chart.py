"""What the chart installs: an operator that is itself confined, values that hold, policies that bind.

Helm renders it; no API server is asked here (`test_admission` and `test_admission_rules` ask one).
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from localcluster import paths
from sandyard.engine.process import settings
from sandyard.podspec.bounds import Bounds, Policy
from sandyard.podspec.policy import METADATA, in_all_forms
from tests.support import chart


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("isolation.runtime", "BestEffort", "isolation_runtime", "BestEffort"),
        ("isolation.network", "BestEffort", "isolation_network", "BestEffort"),
        ("isolation.probeTimeoutSeconds", 7, "probe_timeout_seconds", 7),
        ("isolation.forbidden", ["10.0.0.1:443", "node:1"], "forbidden", ("10.0.0.1:443", "node:1")),
        ("network.excludedCidrs", ["192.0.2.0/24", "2001:db8::/32"], "excluded_cidrs",
         ("192.0.2.0/24", "2001:db8::/32")),
        ("policy.allowRoot", True, "policy", Policy(Bounds(allow_root=True))),
        ("policy.labels", ["a", "b/"], "policy", Policy(Bounds(labels=("a", "b/")))),
        ("policy.maxCpu", 4, "policy", Policy(Bounds(max_cpu="4"))),
        ("policy.namespaces", {"n": {"maxSandboxes": 7, "annotations": ["a"]}}, "policy",
         Policy(Bounds(), {"n": Bounds(max_sandboxes=7, annotations=("a",))})),
        ("pausing.enabled", False, "pausing", False),
        ("restarting.enabled", False, "restarting", False),
        ("idle.cpu", "250m", "idle_cpu_cores", 0.25),
        ("leaderElection.leaseDurationSeconds", 30, "lease_duration_seconds", 30),
        ("logLevel", "DEBUG", "log_level", "DEBUG"),
        ("namespaces", ["a"], "namespaces", ("a",)),
        ("image.pullPolicy", "Always", "probe_pull_policy", "Always"),
    ],
)  # fmt: skip
def test_each_value_reaches_the_setting_that_it_is_for(key: str, value: Any, field: str, expected: Any) -> None:
    default = settings.load(chart.environment(chart.render()))
    made = settings.load(chart.environment(chart.render({key: value})))
    assert getattr(made, field) == expected
    changed = {name for name in vars(made) if name != "identity" and getattr(made, name) != getattr(default, name)}
    assert changed == {field}


def test_without_a_word_the_chart_is_as_strict_as_the_operator() -> None:
    ours, chosen = settings.load({}), settings.load(chart.environment(chart.render()))
    differing = {name for name in vars(ours) if getattr(ours, name) != getattr(chosen, name)}
    assert differing == {"identity", "probe_image"}


def test_the_operator_and_the_probe_are_one_image_by_its_digest_if_there_is_one() -> None:
    digest = f"sha256:{'0a' * 32}"
    version = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())["appVersion"]
    for values, image in (
        ({}, f"sandyard/operator:{version}"),
        ({"image.tag": "dev"}, "sandyard/operator:dev"),
        ({"image.tag": "dev", "image.digest": digest}, f"sandyard/operator@{digest}"),
        ({"image.repository": "registry.example/x", "image.digest": digest}, f"registry.example/x@{digest}"),
    ):
        objects = chart.render(values)
        images = {container["image"] for item in pods(objects) for container in item["containers"]}
        assert images == {image}
        assert chart.environment(objects)["SANDYARD_PROBE_IMAGE"] == image


def test_without_an_image_the_chart_says_what_to_set() -> None:
    for values in ({"image.repository": None}, {"image": {"tag": "dev", "repository": None}}):
        with pytest.raises(AssertionError, match=r"--set image\.repository=registry\.example/sandyard/operator"):
            chart.render(values)


def pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Specs of every pod that the chart makes."""
    found = [item["spec"]["template"]["spec"] for kind in ("Deployment", "Job")
             for item in chart.selected(objects, kind)]  # fmt: skip
    found += [item["spec"] for item in chart.selected(objects, "Pod")]
    assert len(found) == 3
    return found


def test_every_pod_of_ours_is_confined_as_the_profile_restricted_has_it() -> None:
    for spec in pods(chart.render()):
        assert spec["securityContext"] == {
            "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]
        assert all("emptyDir" in volume for volume in spec.get("volumes", ()))


def test_only_those_who_ask_the_api_server_have_a_token() -> None:
    objects = chart.render()
    tokens = {
        spec["containers"][0]["name"]: (spec["automountServiceAccountToken"], spec.get("serviceAccountName"))
        for spec in pods(objects)
    }
    assert tokens == {
        "operator": (True, "sandyard"), "drain": (True, "sandyard-drain"), "test": (False, None),
    }  # fmt: skip
    for account in chart.selected(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_the_kubelet_asks_the_operator_where_it_answers() -> None:
    objects = chart.render()
    container = chart.one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.load({}).http_port}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    liveness = container["livenessProbe"]
    # A start that takes long, or one missed answer, is no reason to be killed; half a minute of silence is.
    assert liveness["initialDelaySeconds"] >= 5
    assert 2 <= liveness["failureThreshold"] <= 5
    assert liveness["periodSeconds"] * liveness["failureThreshold"] <= 60
    service = chart.one(objects, "Service")
    assert service["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
    labels = chart.one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_the_deployment_and_the_service_choose_the_operators_pods_and_not_the_drains() -> None:
    objects = chart.render({"podLabels": {"mine": "x"}})
    deployment, job = chart.one(objects, "Deployment"), chart.one(objects, "Job")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["mine"] == "x"
    for selector in (deployment["spec"]["selector"]["matchLabels"], chart.one(objects, "Service")["spec"]["selector"]):
        assert selector.items() <= labels.items()
        assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()
        assert not selector.items() <= chart.one(objects, "Pod")["metadata"]["labels"].items()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_as_many_replicas_as_are_asked_for(count: int) -> None:
    assert chart.one(chart.render({"replicas": count}), "Deployment")["spec"]["replicas"] == count


def test_the_default_has_a_standby() -> None:
    assert chart.one(chart.render(), "Deployment")["spec"]["replicas"] >= 2


def test_where_the_operator_runs_is_for_the_installation_to_say() -> None:
    values: dict[str, Any] = {
        "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}}, "priorityClassName": "high", "imagePullSecrets": [{"name": "s"}],
    }  # fmt: skip
    objects = chart.render(values)
    spec = chart.one(objects, "Deployment")["spec"]["template"]["spec"]
    assert {key: spec[key] for key in values} == values
    drain = chart.one(objects, "Job")["spec"]["template"]["spec"]
    for key in ("nodeSelector", "tolerations", "imagePullSecrets"):
        assert drain[key] == values[key]
    plain = chart.one(chart.render(), "Deployment")["spec"]["template"]["spec"]
    assert not set(values) & set(plain)


def test_the_drain_runs_before_the_uninstall_and_has_the_time_that_it_was_given() -> None:
    job = chart.one(chart.render({"drain.timeoutSeconds": 40}), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert "hook-failed" not in job["metadata"]["annotations"]["helm.sh/hook-delete-policy"], "its log says why"
    assert job["spec"]["activeDeadlineSeconds"] > 40
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["--timeout-seconds=40"]
    assert container["command"][-1] == "sandyard.engine.drain"
    objects = chart.render({"drain.enabled": False})
    assert not chart.selected(objects, "Job")
    assert not [item for item in objects if item["metadata"]["name"] == "sandyard-drain"]


def test_the_runtime_class_is_as_the_values_have_it_or_left_to_the_cluster() -> None:
    made = chart.one(
        chart.render({
            "runtimeClass.name": "mine", "runtimeClass.handler": "other", "runtimeClass.nodeSelector": {"a": "b"},
            "runtimeClass.overhead": {"memory": "20Mi"},
        }),
        "RuntimeClass",
    )  # fmt: skip
    assert (made["metadata"]["name"], made["handler"]) == ("mine", "other")
    assert made["scheduling"] == {"nodeSelector": {"a": "b"}}
    assert made["overhead"] == {"podFixed": {"memory": "20Mi"}}
    plain = chart.one(chart.render(), "RuntimeClass")
    assert (plain["metadata"]["name"], plain["handler"]) == ("gvisor", "runsc")
    assert not chart.selected(chart.render({"runtimeClass.create": False}), "RuntimeClass")


def test_the_definitions_are_kept_on_uninstall_or_left_to_somebody_else() -> None:
    for item in chart.selected(chart.render(), "CustomResourceDefinition"):
        assert item["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert len(chart.selected(chart.render(), "CustomResourceDefinition")) == 2
    assert not chart.selected(chart.render({"crds.install": False}), "CustomResourceDefinition")


POLICIES = {"sandyard-objects", "sandyard-pods", "sandyard-network-policies", "sandyard-workspaces", "sandyard-exec",
            "sandyard-pod-status", "sandyard-pod-deletion", "sandyard-pod-eviction", "sandyard-pod-binding",
            "sandyard-evicted-later", "sandyard-entering", "sandyard-operator", "sandyard-status", "sandyard-bounds",
            "sandyard-foreign-network-policies", "sandyard-services", "sandyard-mounted-workspaces",
            "sandyard-exec-in-sandboxes", "sandyard-mounted-by-others", "sandyard-copied-by-others",
            "sandyard-awaited-by-ours", "sandyard-awaited-by-pods", "sandyard-awaited-by-volumes",
            "sandyard-autoscalers"}  # fmt: skip


def test_what_the_operator_may_open_leaves_out_all_metadata() -> None:
    operator = chart.one(chart.render(), "ValidatingAdmissionPolicy", "sandyard-operator")
    (listed,) = [one["expression"] for one in operator["spec"]["variables"] if one["name"] == "metadata"]
    assert re.findall("'([^']+)'", listed) == [str(network) for network in in_all_forms(METADATA)]


def test_each_admission_policy_is_bound_denies_and_fails_closed() -> None:
    objects = chart.render()
    policies = {item["metadata"]["name"]: item for item in chart.selected(objects, "ValidatingAdmissionPolicy")}
    assert set(policies) == POLICIES
    for name, policy in policies.items():
        assert policy["spec"]["failurePolicy"] == "Fail"
        bindings = [item["spec"] for item in chart.selected(objects, "ValidatingAdmissionPolicyBinding")
                    if item["spec"]["policyName"] == name]  # fmt: skip
        # Everywhere: no selector narrows it.
        everywhere = [{key: value for key, value in spec.items() if key != "paramRef"} for spec in bindings]
        # The workspaces of pools and those of Sandboxes are told by a label each.
        number = 2 if name.endswith("-by-others") else 1
        assert everywhere == [{"policyName": name, "validationActions": ["Deny"]}] * number
    assert not chart.selected(chart.render({"admission.enabled": False}), "ValidatingAdmissionPolicy")


@pytest.mark.parametrize(
    ("key", "value", "policy"),
    [("admission.entering", False, "sandyard-entering"),
     ("policy.foreignNetworkPolicies", "Report", "sandyard-foreign-network-policies")],
)  # fmt: skip
def test_a_policy_that_a_value_turns_off_is_the_only_one(key: str, value: Any, policy: str) -> None:
    objects = chart.render({key: value})
    policies = chart.selected(objects, "ValidatingAdmissionPolicy")
    assert {item["metadata"]["name"] for item in policies} == POLICIES - {policy}
    bindings = chart.selected(objects, "ValidatingAdmissionPolicyBinding")
    assert {item["spec"]["policyName"] for item in bindings} == POLICIES - {policy}


def test_labels_that_templates_may_have_keep_no_policy_of_others_away_from_sandboxes() -> None:
    made = chart.render({"policy.labels": ["team/"]})
    (policy,) = chart.selected(made, "ValidatingAdmissionPolicy", "sandyard-foreign-network-policies")
    expressions = {item["name"]: item["expression"] for item in policy["spec"]["variables"]}
    assert expressions["own"] == '["sandyard.dev/", "topology.kubernetes.io/"] + ["team/"]'
    assert expressions["excluded"].count("startsWith(own)") == 2


@pytest.mark.parametrize(
    "values", [{}, {"policy.namespaces": {"a": {"maxSandboxes": 3}}, "admission.enteringWarm": "Refuse"}]
)
def test_where_namespaces_are_listed_no_policy_holds_in_others(values: dict[str, Any]) -> None:
    """A Sandbox of a namespace that nobody serves could otherwise never be deleted."""
    objects = chart.render({"namespaces": ["a", "b"], **values})
    kinds = ("ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding")
    bindings = [item for kind in kinds for item in chart.selected(objects, kind)]
    assert len(bindings) > len(POLICIES)
    for binding in bindings:
        selectors = list(binding["spec"].get("matchResources", {}).values())
        served = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}
        assert selectors and all(served in one["matchExpressions"] for one in selectors), binding["metadata"]["name"]


def test_where_namespaces_are_listed_others_are_left_alone() -> None:
    policies = chart.selected(chart.render({"namespaces": ["a"]}), "ValidatingAdmissionPolicy", "sandyard-entering")
    (condition,) = policies[0]["spec"]["matchConditions"]
    assert condition["expression"] == '!(request.namespace in ["kube-system"]) && request.namespace in ["a"]'


def test_policies_speak_of_the_very_account_that_the_operator_runs_as() -> None:
    objects = chart.render(release="mine", namespace="there")
    account = chart.one(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    assert (account, chart.environment(objects)["SANDYARD_NAMESPACE"]) == ("mine", "there")
    assert chart.environment(objects)["SANDYARD_LEASE_NAME"] == "mine"
    assert chart.rules(chart.one(objects, "Role", "mine-lease", "there")) >= chart.verbs(
        "coordination.k8s.io", "leases=mine", "get", "update"
    )
    users = set()
    for policy in chart.selected(objects, "ValidatingAdmissionPolicy"):
        users |= set(
            re.findall(r"request\.userInfo\.username == '([^']+:there:[^']+)'", yaml.dump(policy, width=10**6))
        )
    # The drain before an uninstall takes finalizers off.
    assert users == {"system:serviceaccount:there:mine", "system:serviceaccount:there:mine-drain"}


@pytest.mark.parametrize(
    ("versions", "value", "expected"),
    [
        ("admissionregistration.k8s.io/v1/MutatingAdmissionPolicy", True, "admissionregistration.k8s.io/v1"),
        ("admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy", True, "admissionregistration.k8s.io/v1beta1"),
        ("v1", True, None),
        ("admissionregistration.k8s.io/v1/MutatingAdmissionPolicy", False, None),
    ],
)
def test_the_finalizer_comes_with_the_object_where_the_cluster_can_do_that(
    versions: str, value: bool, expected: str | None
) -> None:
    objects = chart.render({"admission.finalizer": value, "admission.untracked": value}, api_versions=versions)
    for kind in ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"):
        assert [item["apiVersion"] for item in chart.selected(objects, kind)] == ([expected] * 2 if expected else [])
    for policy in chart.selected(objects, "MutatingAdmissionPolicy"):
        # Without it the operator puts the finalizer on: no reason to refuse a Sandbox.
        assert policy["spec"]["failurePolicy"] == "Ignore"


def test_alerts_are_there_on_request_with_their_labels() -> None:
    assert not chart.selected(chart.render(), "PrometheusRule")
    rule = chart.one(
        chart.render({"metrics.rules.enabled": True, "metrics.rules.labels": {"team": "a"}}), "PrometheusRule"
    )
    assert rule["metadata"]["labels"]["team"] == "a"
    alerts = {item["alert"]: item for group in rule["spec"]["groups"] for item in group["rules"]}
    assert {"SandyardTeardownStuck", "SandyardPoolBackingOff", "SandyardClaimsFail", "SandyardClaimsSlow",
            "SandyardClaimsWait", "SandyardNoLeader"} <= set(alerts)  # fmt: skip
    assert alerts["SandyardNoLeader"]["labels"] == {"severity": "critical"}
    names = set(re.findall(r"sandyard_[a-z_]+", " ".join(item["expr"] for item in alerts.values())))
    source = "\n".join(path.read_text() for path in (paths.REPOSITORY / "operator/sandyard/engine").rglob("*.py"))
    for name in names:
        assert name.removesuffix("_total").removesuffix("_bucket") in source, f"the operator has no metric {name}"


def test_a_namespace_with_bounds_of_its_own_has_a_policy_and_no_other_holds_there() -> None:
    objects = chart.render({"policy.namespaces": {"a": {"allowRoot": True, "labels": ["x/"]}, "b": {"maxCpu": 1}}})
    chosen = {}
    for binding in chart.selected(objects, "ValidatingAdmissionPolicyBinding"):
        if "bounds" in binding["metadata"]["name"]:
            (chosen[binding["spec"]["policyName"]],) = binding["spec"]["matchResources"]["namespaceSelector"][
                "matchExpressions"
            ]
    key = "kubernetes.io/metadata.name"
    assert chosen == {
        "sandyard-bounds": {"key": key, "operator": "NotIn", "values": ["a", "b"]},
        "sandyard-bounds-a": {"key": key, "operator": "In", "values": ["a"]},
        "sandyard-bounds-b": {"key": key, "operator": "In", "values": ["b"]},
    }
    pods = chart.one(objects, "ValidatingAdmissionPolicy", "sandyard-pods")["spec"]
    variables = {item["name"]: item["expression"] for item in pods["variables"]}
    assert variables["labels"] == '(request.namespace in {"a":["x/"]} ? {"a":["x/"]}[request.namespace] : [])'
    assert any('{"a":true}[request.namespace] : false' in item["expression"] for item in pods["validations"])
