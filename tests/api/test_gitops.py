"""GitOps against a real API server: kstatus' own verdicts, what kubectl prints, and the examples."""

from __future__ import annotations

import functools
from typing import Any

import yaml

from pages import judges, situations
from sandyard.api import names
from tests.api.conftest import OPERATOR_USER
from tests.support import chart, kstatus
from tests.support.kube import Kube

ALL = [*situations.sandboxes(), *situations.pools()]


def test_kstatus_itself_gives_the_verdicts_of_the_page() -> None:
    bodies = [one.object for one in ALL]
    assert kstatus.judge_all(bodies) == [judges.kstatus(body) for body in bodies]


def put(kube: Kube, one: situations.Situation, name: str) -> dict[str, str]:
    """Make the object as it is in a situation; what the page says of its columns."""
    body = one.object
    kube.create({**body, "metadata": {"name": name}})
    kind = names.SANDBOXES if body["kind"] == names.SANDBOX_KIND else names.POOLS
    kube.as_user(OPERATOR_USER).patch(kind, name, {"status": body["status"]}, subresource="status")
    return judges.columns({**body, "metadata": {**body["metadata"], "name": name}})


def printed(kube: Kube, kind: str) -> list[dict[str, str]]:
    """The table that kubectl gets and prints, without the age."""
    table = kube.request("GET", kube.path(kind), accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    titles = [(at, column["name"]) for at, column in enumerate(table["columnDefinitions"]) if not column["priority"]]
    return [{name: str("" if row["cells"][at] is None else row["cells"][at]) for at, name in titles if name != "Age"}
            for row in table["rows"]]  # fmt: skip


def test_kubectl_prints_each_situation_as_the_page_has_it(kube: Kube) -> None:
    expected = {kind: [put(kube, one, f"s-{at:02}") for at, one in enumerate(found)] for kind, found in
                ((names.SANDBOXES, situations.sandboxes()), (names.POOLS, situations.pools()))}  # fmt: skip
    for kind, rows in expected.items():
        assert printed(kube, kind) == rows


def test_the_example_of_a_team_is_taken_as_it_stands(kube: Kube) -> None:
    folder = judges.GITOPS / "team"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    for item in [yaml.safe_load((folder / name).read_text()) for name in listed][1:]:
        item["metadata"]["namespace"] = kube.namespace
        kube.create(item, dry_run=True)


def values_of(path: str, kind: str, *keys: str) -> dict[str, Any]:
    for item in yaml.safe_load_all((judges.GITOPS / path).read_text()):
        if item["kind"] == kind and "sandyard-system" in yaml.safe_dump(item):
            found: dict[str, Any] = functools.reduce(lambda part, key: part[key], keys, item)
            return found
    raise AssertionError(path)


def test_the_chart_takes_the_values_of_both_examples() -> None:
    argo = values_of("argocd/applications.yaml", "Application", "spec", "source", "helm", "valuesObject")
    flux = values_of("flux/operator.yaml", "HelmRelease", "spec", "values")
    for values in (argo, flux):
        spec = chart.one(chart.render(values), "Deployment")["spec"]["template"]["spec"]
        assert spec["containers"][0]["image"].startswith("registry.example/sandyard/operator:")
