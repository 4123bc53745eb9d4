"""Values of the chart that make no sense are refused by Helm, by their name, before they reach a cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from sandyard.podspec import bounds
from sandyard.podspec.bounds import VALUES, Policy
from tests.support import chart

BAD: dict[str, list[Any]] = {
    "replicas": [-1, 6, "2", 1.5],
    "image.repository": [""],
    "image.digest": ["sha256:abc", "latest"],
    "image.pullPolicy": ["Sometimes"],
    "imagePullSecrets": [["a"]],
    "namespaces": ["a", ["a", "a"], [""]],
    "crds.install": ["yes"],
    "runtimeClass.name": [""],
    "runtimeClass.handler": [""],
    "runtimeClass.create": [1],
    "isolation.runtime": ["Off"],
    "isolation.network": ["required"],
    "isolation.probeTimeoutSeconds": [1, 301],
    "isolation.forbidden": [["10.0.0.1"], "a:1"],
    "network.excludedCidrs": [["10.0.0.1"], ["example.com/8"]],
    "policy.allowRoot": ["true"],
    "policy.images": [[""], "x"],
    "policy.runtimeClasses": [[""]],
    "policy.egress": [["Everything"], ["DNS", "DNS"]],
    "policy.cidrs": [["private"], ["10.0.0.0"], ["::ffff:1.2.3.4/128"]],
    "policy.nameservers": [["dns.example.com"]],
    "policy.ports": [["http"], ["80/ICMP"], [443]],
    "policy.tolerations": [["a b"], ["a,b"], "*"],
    "policy.nodeSelector": [["a**"]],
    "policy.maxCpu": ["much", -1, "-1", 0.5],
    "policy.maxMemory": ["16X"],
    "policy.minMemoryRequestPercent": [101, -1, "all"],
    "policy.maxLifetimeSeconds": [-1, 1.5],
    "policy.maxSandboxes": [-1],
    "pausing.enabled": ["no"],
    "restarting.enabled": [0],
    "idle.cpu": ["much", -1],
    "leaderElection.leaseDurationSeconds": [2, 301],
    "admission.enabled": ["true"],
    "admission.finalizer": ["x"],
    "admission.untracked": ["x"],
    "logLevel": ["TRACE"],
    "drain.enabled": ["x"],
    "drain.timeoutSeconds": [0, 3601],
    "tolerations": [{}],
    "metrics.rules.enabled": ["x"],
}


@pytest.mark.parametrize("turn", range(max(map(len, BAD.values()))))
def test_a_value_that_makes_no_sense_is_refused_by_its_name(turn: int) -> None:
    """All at once, each by its first, second, ... bad value: Helm tells of all of them."""
    bad = {key: values[turn] for key, values in BAD.items() if turn < len(values)}
    with pytest.raises(AssertionError) as caught:
        chart.render(bad)
    for key in bad:
        assert f"at '/{key.replace('.', '/')}" in str(caught.value), key


def test_a_value_that_nobody_knows_is_refused() -> None:
    """In each group of values that has a list of them."""
    schema = json.loads((chart.CHART / "values.schema.json").read_text())["properties"]
    groups = [key for key, told in schema.items() if "properties" in told]
    assert {"image", "policy", "isolation"} <= set(groups)
    with pytest.raises(AssertionError) as caught:
        chart.render({"colour": True, **{f"{group}.colour": True for group in groups}})
    for place in ("", *groups):
        assert f"at '{place and '/' + place}': additional properties 'colour' not allowed" in str(caught.value)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"maxMemory": "much"}, "maxMemory"),
        ({"colour": "red"}, "colour"),
        ({"foreignNetworkPolicies": "Report"}, "foreignNetworkPolicies"),
        ({"namespaces": {}}, "namespaces"),
    ],
)
def test_bounds_of_a_namespace_have_the_forms_of_all_others(own: dict[str, Any], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        chart.render({"policy.namespaces": {"team-a": own}})
    with pytest.raises(AssertionError, match="Team_A"):
        chart.render({"policy.namespaces": {"Team_A": {}}})


def test_every_bound_is_a_value_of_the_chart_with_its_default_and_a_schema() -> None:
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())["policy"]
    schema = json.loads((chart.CHART / "values.schema.json").read_text())
    assert set(values) - {"namespaces", "foreignNetworkPolicies", "clusterNetworkPolicy"} == set(VALUES)
    assert bounds.parse(json.dumps(values)) == Policy()
    assert set(schema["properties"]["policy"]["required"]) == set(VALUES)
    assert set(schema["definitions"]["bounds"]["properties"]) == set(VALUES)


def test_a_pattern_that_is_none_is_refused_before_it_reaches_a_cluster() -> None:
    for values in ({"policy.images": ["("]}, {"policy.namespaces": {"a": {"images": ["("]}}}):
        with pytest.raises(AssertionError, match="missing closing"):
            chart.render(values)
