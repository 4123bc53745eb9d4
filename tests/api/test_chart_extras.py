"""What the chart makes for those who run it: budgets, monitors, names and labels; Helm renders it."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import yaml

from sandyard.api import names
from sandyard.engine.process import settings
from tests.support import api, chart, manifests
from tests.support.kube import Kube, until


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return selector["matchLabels"].items() <= labels.items()


def test_a_drain_takes_one_replica_at_a_time_and_they_lie_on_several_nodes() -> None:
    objects = chart.render()
    deployment = chart.one(objects, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    budget = chart.one(objects, "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], selects(budget["selector"], labels)) == (1, True)
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], selects(spread["labelSelector"], labels)) == ("kubernetes.io/hostname", True)
    # One that holds the only replica would stop the drain for ever.
    for values in ({"replicas": 1}, {"podDisruptionBudget.enabled": False}):
        assert not chart.selected(chart.render(values), "PodDisruptionBudget")


def test_the_api_server_queues_the_operators_requests_by_themselves_where_that_is_asked_for(
    admin: Kube, operator_config: pathlib.Path
) -> None:
    without = {"flowControl.claims.enabled": False}
    assert not chart.selected(chart.render(without), "FlowSchema")
    schema = chart.one(chart.render({"flowControl.enabled": True, **without}), "FlowSchema")
    admin.apply_as_is(schema)
    try:
        uid = admin.get("flowschema", schema["metadata"]["name"])["metadata"]["uid"]
        path = f"/apis/{names.API_VERSION}/{names.SANDBOXES}"
        until("it counts", lambda: api.of(operator_config).headers(path)["X-Kubernetes-PF-FlowSchema-UID"] == uid, 30)
    finally:
        admin.delete("flowschema", schema["metadata"]["name"], wait=False)


def test_namespaces_take_turns_with_new_sandboxes(admin: Kube) -> None:
    for served, expected in ((["a", "b"], ["a", "b"]), ([], ["*"])):
        rules = chart.one(chart.render({"namespaces": served}), "FlowSchema")["spec"]["rules"]
        (asked,) = [rule for item in rules for rule in item["resourceRules"]]
        assert asked == {"verbs": ["create"], "apiGroups": [names.GROUP], "resources": [names.SANDBOXES],
                         "namespaces": expected}  # fmt: skip
    objects = chart.render()
    schema, level = chart.one(objects, "FlowSchema"), chart.one(objects, "PriorityLevelConfiguration")
    admin.apply_as_is(level, schema)
    try:
        uid = admin.get("flowschema", schema["metadata"]["name"])["metadata"]["uid"]

        def of_it(path: str, body: Any = None, user: str = "anybody") -> bool:
            return api.of(admin.kubeconfig).headers(path, body, user)["X-Kubernetes-PF-FlowSchema-UID"] == uid

        path = f"/apis/{names.API_VERSION}/namespaces/default/{names.SANDBOXES}"
        until("it counts", lambda: of_it(f"{path}?dryRun=All", manifests.sandbox("one", "python")), 30)
        assert not of_it(path)
        assert not of_it(path.replace(names.SANDBOXES, names.POOLS) + "?dryRun=All", manifests.pool("python"))
        # The seats are fewer than the API server's processors could fill, and nobody else's.
        limited = admin.get("prioritylevelconfiguration", level["metadata"]["name"])["spec"]["limited"]
        assert (limited["nominalConcurrencyShares"], limited["borrowingLimitPercent"]) == (2, 0)
    finally:
        admin.delete("flowschema", schema["metadata"]["name"], wait=False)
        admin.delete("prioritylevelconfiguration", level["metadata"]["name"], wait=False)


@pytest.mark.parametrize(("kind", "key"), [("ServiceMonitor", "serviceMonitor"), ("PodMonitor", "podMonitor")])
def test_a_monitor_selects_what_has_the_metrics(kind: str, key: str) -> None:
    assert not chart.selected(chart.render(), kind)
    objects = chart.render(
        {f"metrics.{key}": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}}}
    )
    monitor = chart.one(objects, kind)
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    if kind == "ServiceMonitor":
        service = chart.one(objects, "Service")
        selected, ports = service["metadata"]["labels"], [port["name"] for port in service["spec"]["ports"]]
    else:
        template = chart.one(objects, "Deployment")["spec"]["template"]
        selected = template["metadata"]["labels"]
        ports = [port["name"] for port in template["spec"]["containers"][0]["ports"]]
    assert selects(monitor["spec"]["selector"], selected)
    (endpoint,) = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"] in ports, endpoint["interval"]) == (True, "15s")


def test_the_operators_port_is_reached_by_those_who_are_named() -> None:
    assert not chart.selected(chart.render(), "NetworkPolicy")
    nobody = chart.one(chart.render({"networkPolicy.enabled": True}), "NetworkPolicy")["spec"]
    assert nobody["policyTypes"] == ["Ingress"] and "ingress" not in nobody
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = chart.render({"networkPolicy": {"enabled": True, "from": peers}})
    policy = chart.one(objects, "NetworkPolicy")["spec"]
    assert policy["ingress"] == [{"from": peers, "ports": [{"protocol": "TCP", "port": "http"}]}]
    assert selects(policy["podSelector"], chart.one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"])


def test_everything_has_the_name_and_the_labels_that_are_asked_for() -> None:
    objects = chart.render({"fullnameOverride": "other", "commonLabels": {"team": "a"}})
    for item in objects:
        # Definitions outlive the release, and are as they are generated.
        if item["kind"] != "CustomResourceDefinition":
            assert item["kind"] == "RuntimeClass" or "other" in item["metadata"]["name"], item["metadata"]["name"]
            assert item["metadata"]["labels"]["team"] == "a", (item["kind"], item["metadata"]["name"])
    for pod in pods(objects).values():
        assert pod["metadata"]["labels"]["team"] == "a"
    named = chart.render({"nameOverride": "boxes"})
    assert {item["metadata"].get("labels", {}).get("app.kubernetes.io/name") for item in named} == {"boxes", None}
    assert {pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods(named).values()} == {"boxes"}
    selector = chart.one(named, "Deployment")["spec"]["selector"]
    assert selects(selector, chart.one(named, "Deployment")["spec"]["template"]["metadata"]["labels"])
    service = {"matchLabels": chart.one(named, "Service")["spec"]["selector"]}
    assert selects(service, pods(named)["Deployment"]["metadata"]["labels"])
    # Whom admission takes for the operator is the one that runs.
    account = chart.one(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    assert f"system:serviceaccount:sandyard-system:{account}" in yaml.safe_dump(objects, width=10**6)
    assert "system:serviceaccount:sandyard-system:sandyard'" not in yaml.safe_dump(objects, width=10**6)


def test_what_is_added_to_the_operator_changes_none_of_its_settings() -> None:
    extra = [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}]
    objects = chart.render({"extraEnv": extra, "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}})
    spec = chart.one(objects, "Deployment")["spec"]["template"]["spec"]
    assert extra[0] in spec["containers"][0]["env"]
    assert (spec["dnsPolicy"], spec["dnsConfig"]["nameservers"]) == ("None", ["192.0.2.1"])
    assert settings.load(chart.environment(objects)).policy == settings.load(chart.environment(chart.render())).policy
    with pytest.raises(AssertionError, match="extraEnv"):
        chart.render({"extraEnv": [{"name": "SANDYARD_POLICY", "value": "{}"}]})


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The operator's pod, that of the drain and that of `helm test`; the last is one itself."""
    made = {kind: chart.one(objects, kind) for kind in ("Deployment", "Job", "Pod")}
    return {kind: item if kind == "Pod" else item["spec"]["template"] for kind, item in made.items()}


def test_labels_of_pods_are_the_most_special_ones_and_never_what_selects_them() -> None:
    common = {"app.kubernetes.io/name": "theirs", "team": "a", "tier": "any"}
    objects = chart.render({"commonLabels": {"team": "a", "tier": "any"}, "podLabels": {**common, "team": "b"}})
    labels = pods(objects)["Deployment"]["metadata"]["labels"]
    assert (labels["team"], labels["tier"]) == ("b", "any")
    assert selects(chart.one(objects, "Deployment")["spec"]["selector"], labels)
    assert pods(objects)["Job"]["metadata"]["labels"]["team"] == "a"


def test_the_chart_s_jobs_run_where_and_as_the_operator_does() -> None:
    same = {"nodeSelector": {"pool": "system"}, "tolerations": [{"key": "system", "operator": "Exists"}],
            "priorityClassName": "high", "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}}  # fmt: skip
    for kind, pod in pods(chart.render(same)).items():
        assert {key: pod["spec"].get(key) for key in same} == same, kind
    for kind, pod in pods(chart.render()).items():
        assert not set(same) & set(pod["spec"]), kind
    extra = [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}]
    assert pods(chart.render({"extraEnv": extra}))["Job"]["spec"]["containers"][0]["env"] == extra
    # One that keeps replicas apart would keep the drain off their nodes too.
    kept_apart = pods(chart.render({"affinity": {"podAntiAffinity": {}}}))
    assert "affinity" in kept_apart["Deployment"]["spec"] and "affinity" not in kept_apart["Job"]["spec"]


def test_roles_are_aggregated_where_they_are_of_the_cluster() -> None:
    def aggregated(values: dict[str, Any]) -> set[str]:
        objects = chart.render({"roles.aggregate": True, **values})
        return {label.rpartition("-")[2] for item in objects for label in item["metadata"].get("labels", {})
                if label.startswith("rbac.authorization.k8s.io/aggregate-to-")}  # fmt: skip

    assert aggregated({}) == {"view", "edit", "admin"}
    assert aggregated({"namespaces": ["a"]}) == set()


def test_claims_are_traced_where_there_is_an_endpoint() -> None:
    def environment(values: dict[str, Any]) -> dict[str, str]:
        (container,) = chart.one(chart.render(values), "Deployment")["spec"]["template"]["spec"]["containers"]
        return {item["name"]: item.get("value", "") for item in container["env"]}

    assert not any(name.startswith("OTEL_") for name in environment({}))
    endpoint = "http://collector.monitoring:4318"
    assert environment({"tracing.endpoint": endpoint})["OTEL_EXPORTER_OTLP_ENDPOINT"] == endpoint


def test_further_objects_are_rendered_with_the_release() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-one"}}
    text = yaml.safe_dump({**config, "metadata": {"name": "two", "namespace": "{{ .Release.Namespace }}"}})
    objects = chart.render({"extraObjects": [config, text]})
    found = [item["metadata"] for item in chart.selected(objects, "ConfigMap")]
    assert found == [{"name": "sandyard-one"}, {"name": "two", "namespace": "sandyard-system"}]


def test_a_dashboard_is_there_on_request_for_grafana_to_find() -> None:
    assert not chart.selected(chart.render(), "ConfigMap")
    config = chart.one(chart.render({"metrics.dashboard": {"enabled": True}}), "ConfigMap")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    board = json.loads(config["data"]["sandyard.json"])
    assert board["title"] == "Sandyard" and len(board["panels"]) > 10
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)


def test_alerts_link_to_their_pages_and_have_the_bounds_that_are_asked_for() -> None:
    values = {"metrics.rules": {"enabled": True, "runbookUrlPrefix": "https://docs.example/runbooks",
                                "claimP99Seconds": 0.25, "oldestClaimSeconds": 7}}  # fmt: skip
    for given, linked in ((values, True), ({"metrics.rules.enabled": True}, False)):
        (group,) = chart.one(chart.render(given), "PrometheusRule")["spec"]["groups"]
        rules = {rule["alert"]: rule for rule in group["rules"]}
        for name, rule in rules.items():
            url = rule["annotations"].get("runbook_url")
            assert url == (f"https://docs.example/runbooks/{name}/" if linked else None)
            assert rule["annotations"]["summary"] and "{{" not in rule["expr"]
        if linked:
            assert rules["SandyardClaimsSlow"]["expr"].endswith("> 0.25")
            assert rules["SandyardClaimsWait"]["expr"].endswith("> 7")


def test_security_contexts_can_be_added_to_and_stay_as_strict_where_nothing_is_said() -> None:
    def contexts(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        spec = chart.one(chart.render(values), "Deployment")["spec"]["template"]["spec"]
        return spec["securityContext"], spec["containers"][0]["securityContext"]

    pod, container = contexts({})
    assert (pod["runAsNonRoot"], pod["runAsUser"], pod["seccompProfile"]["type"]) == (True, 65532, "RuntimeDefault")
    assert container["capabilities"] == {"drop": ["ALL"]} and container["readOnlyRootFilesystem"] is True
    changed, own = contexts({"podSecurityContext": {"runAsUser": 1234, "fsGroup": 5},
                             "securityContext": {"seLinuxOptions": {"level": "s0"}}})  # fmt: skip
    assert (changed["runAsUser"], changed["fsGroup"], changed["runAsNonRoot"]) == (1234, 5, True)
    assert own == {**container, "seLinuxOptions": {"level": "s0"}}


def test_the_charts_tell_where_they_come_from_and_what_is_in_them() -> None:
    about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    notes = about["annotations"]
    assert {item["kind"] for item in yaml.safe_load(notes["artifacthub.io/crds"])} == {"Sandbox", "SandboxPool"}
    for example in yaml.safe_load(notes["artifacthub.io/crdsExamples"]):
        assert example["kind"] in ("Sandbox", "SandboxPool")
    assert notes["artifacthub.io/license"] == "Apache-2.0"
    folder = chart.CHART.parent / "sandyard-pools"
    notes = yaml.safe_load((folder / "Chart.yaml").read_text())["annotations"]
    assert notes["artifacthub.io/license"] == "Apache-2.0"
    languages = yaml.safe_load((folder / "values.yaml").read_text())["languages"]
    images = {item["name"]: item["image"] for item in yaml.safe_load(notes["artifacthub.io/images"])}
    assert images == {name: language["image"] for name, language in languages.items()}
