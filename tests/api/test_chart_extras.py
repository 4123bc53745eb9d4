"""What the chart makes for those who run it: budgets, monitors, names and labels; Helm renders it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sandyard.engine.process import settings
from tests.support import chart


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


def test_further_objects_are_rendered_with_the_release() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-one"}}
    text = yaml.safe_dump({**config, "metadata": {"name": "two", "namespace": "{{ .Release.Namespace }}"}})
    objects = chart.render({"extraObjects": [config, text]})
    found = [item["metadata"] for item in chart.selected(objects, "ConfigMap")]
    assert found == [{"name": "sandyard-one"}, {"name": "two", "namespace": "sandyard-system"}]
