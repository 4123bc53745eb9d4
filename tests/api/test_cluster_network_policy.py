"""The tier that the chart can install above all NetworkPolicies: the real definitions take it.

The definitions are read from the Go module of the project that keeps them, sigs.k8s.io/network-policy-api.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sandyard.api import names
from tests.api.conftest import establish
from tests.support import chart
from tests.support.kube import Kube

MODULE = "sigs.k8s.io/network-policy-api"
# Kind, version of the API, version of the module, and where the definition stands in it.
KINDS = {
    "ClusterNetworkPolicy": ("v1beta1", "v0.3.0",
                             "config/crd/standard/policy.networking.k8s.io_clusternetworkpolicies.yaml"),
    "AdminNetworkPolicy": ("v1alpha1", "v0.1.7",
                           "config/crd/standard/policy.networking.k8s.io_adminnetworkpolicies.yaml"),
}  # fmt: skip
VALUES = {"policy.clusterNetworkPolicy.enabled": True, "policy.clusterNetworkPolicy.priority": 7,
          "network.excludedCidrs": ["198.51.100.0/24", "2001:db8::/32"]}  # fmt: skip


def definition(kind: str, folder: pathlib.Path) -> dict[str, Any]:
    """The CustomResourceDefinition of *kind*."""
    _, version, path = KINDS[kind]
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"{MODULE}@{version}"], cwd=folder, text=True, capture_output=True,
        timeout=120, check=True,
    )  # fmt: skip
    text = (pathlib.Path(json.loads(done.stdout)["Dir"]) / path).read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def rendered(kind: str) -> list[dict[str, Any]]:
    """What the chart makes of it where the cluster has *kind*."""
    version = KINDS[kind][0]
    return chart.selected(chart.render(VALUES, api_versions=f"policy.networking.k8s.io/{version}/{kind}"), kind)


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest, admin: Kube, tmp_path: pathlib.Path) -> Iterator[str]:
    """A kind that this cluster has."""
    made = definition(request.param, tmp_path)
    establish(admin, made)
    yield request.param
    admin.delete("crd", made["metadata"]["name"])


def test_the_cluster_takes_the_tier_as_it_is(admin: Kube, served: str) -> None:
    objects = rendered(served)
    assert len(objects) == 3
    admin.create(*objects, dry_run=True)


@pytest.mark.parametrize("kind", KINDS)
def test_it_denies_and_opens_nothing(kind: str) -> None:
    for made in rendered(kind):
        spec = made["spec"]
        assert spec.get("tier", "Admin") == "Admin"
        rules = [*spec.get("egress", ()), *spec.get("ingress", ())]
        assert {rule["action"] for rule in rules} == {"Deny"}
        selector = spec["subject"]["pods"]["podSelector"]
        keys = [*selector.get("matchLabels", ()), *(item["key"] for item in selector.get("matchExpressions", ()))]
        assert names.LABEL_STATE in keys or names.LABEL_EGRESS in keys, "it selects nothing but sandboxes"


def test_it_is_off_unless_asked_for_and_says_what_it_needs() -> None:
    assert not [item for item in chart.render() if item["apiVersion"].startswith("policy.networking")]
    with pytest.raises(AssertionError, match=r"policy\.clusterNetworkPolicy\.enabled: this cluster has neither"):
        chart.render({"policy.clusterNetworkPolicy.enabled": True})
