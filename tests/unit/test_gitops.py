"""Health as Argo CD, Flux and kstatus see it, on every situation that the operator can write."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from pages import gitops, judges, situations
from sandyard.api import names
from sandyard.api.pool import PoolSpec
from sandyard.api.reasons import Phase
from sandyard.api.sandbox import SandboxSpec

ALL = [*situations.sandboxes(), *situations.pools()]
SAME = {"Current": ("Healthy", "Suspended"), "InProgress": ("Progressing",), "Failed": ("Degraded",),
        "Terminating": ("Progressing",)}  # fmt: skip
TEAM = judges.GITOPS / "team"


def documents(*path: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(judges.GITOPS.joinpath(*path).read_text()))


def of(what: str, kind: str = names.SANDBOX_KIND) -> dict[str, Any]:
    (found,) = [one.object for one in ALL if one.what == what and one.object["kind"] == kind]
    return copy.deepcopy(found)


def test_every_phase_is_among_the_situations() -> None:
    assert {one.object["status"]["phase"] for one in situations.sandboxes()} == set(Phase)


@pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one.object['kind']}: {one.what}")
def test_argo_and_flux_say_what_kstatus_says(one: situations.Situation) -> None:
    verdict = judges.kstatus(one.object)
    status, message = judges.argo(one.object)
    assert status in SAME[verdict]
    assert message, "a person sees why"
    assert judges.flux(one.object) == ("InProgress" if verdict == "Terminating" else verdict)


@pytest.mark.parametrize(
    ("what", "kind", "status"),
    [
        ("can be used", "Sandbox", "Healthy"),
        ("its main process ended well", "Sandbox", "Healthy"),
        ("has expired and is kept", "Sandbox", "Healthy"),
        ("is paused", "Sandbox", "Suspended"),
        ("is suspended", "Sandbox", "Suspended"),
        ("should resume, and no pod starts", "Sandbox", "Degraded"),
        ("a claim has just taken a sandbox", "SandboxPool", "Healthy"),
        ("is paused", "SandboxPool", "Suspended"),
        ("is backing off after failed starts", "SandboxPool", "Degraded"),
        ("has been empty for longer than a start takes", "SandboxPool", "Progressing"),
    ],
)
def test_what_argo_cd_shows(what: str, kind: str, status: str) -> None:
    assert judges.argo(of(what, kind))[0] == status


@pytest.mark.parametrize("kind", [names.SANDBOX_KIND, names.POOL_KIND])
@pytest.mark.parametrize("status", [None, {}, {"conditions": []}, {"observedGeneration": 1, "conditions": []}])
def test_what_no_operator_has_seen_as_it_is_is_on_its_way(kind: str, status: dict[str, Any] | None) -> None:
    body = of("not seen by an operator yet", kind)
    body.pop("status")
    if status is not None:
        body["status"] = status
    assert judges.argo(body)[0] == "Progressing"
    if status is not None:
        assert judges.flux(body) == "InProgress"


def test_the_message_is_the_reason_and_the_condition_s_words() -> None:
    assert judges.argo(of("its pool is not there"))[1] == "PoolNotFound: there is no pool python in team"


def test_a_pool_whose_spec_cannot_be_read_says_so_in_its_column() -> None:
    assert judges.columns(of("its spec cannot be read", names.POOL_KIND))["Reason"] == "InvalidSpec"


def test_the_configmap_has_the_scripts_of_both_kinds() -> None:
    (config,) = documents("argocd", "argocd-cm.yaml")
    assert config["metadata"]["name"] == "argocd-cm"
    assert set(config["data"]) == {f"resource.customizations.health.sandyard.dev_{kind}" for kind in
                                   (names.SANDBOX_KIND, names.POOL_KIND)}  # fmt: skip
    for key, text in config["data"].items():
        kind = key.rpartition("_")[2]
        assert judges.argo(of("is paused", kind), text)[0] == "Suspended"


def test_flux_waits_for_both_kinds_and_for_the_operator() -> None:
    assert set(judges.flux_expressions()) == {names.SANDBOX_KIND, names.POOL_KIND}
    (made,) = documents("flux", "pools.yaml")
    assert (made["spec"]["wait"], made["spec"]["dependsOn"]) == (True, [{"name": "sandyard"}])
    assert (judges.GITOPS.parents[1] / made["spec"]["path"]).resolve() == TEAM


def wave(body: dict[str, Any]) -> int:
    return int(body["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0"))


def test_waves_make_the_namespace_then_the_pool_then_what_claims_from_it() -> None:
    made = [documents("team", name)[0] for name in documents("team", "kustomization.yaml")[0]["resources"]]
    assert [item["kind"] for item in sorted(made, key=wave)] == ["Namespace", "SandboxPool", "Sandbox"]
    assert len({wave(item) for item in made}) == len(made)
    PoolSpec.model_validate(made[1]["spec"])
    SandboxSpec.model_validate(made[2]["spec"])
    assert {item["metadata"].get("namespace") for item in made[1:]} == {made[0]["metadata"]["name"]}
    operator, team = documents("argocd", "applications.yaml")
    assert wave(operator) < wave(team)
    assert (judges.GITOPS.parents[1] / team["spec"]["source"]["path"]).resolve() == TEAM


def test_nothing_prunes_a_namespace_with_sandboxes_and_nobody_ends_one_without_a_word() -> None:
    (namespace,), (sandbox,) = documents("team", "namespace.yaml"), documents("team", "sandbox.yaml")
    notes = namespace["metadata"]["annotations"]
    assert "Prune=false" in notes["argocd.argoproj.io/sync-options"]
    assert notes["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
    assert "Prune=confirm" in sandbox["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]
    assert "lifetime" not in sandbox["spec"]


def test_the_page_says_where_the_column_of_reasons_tells_another_one() -> None:
    """Somebody who looks for the reason of the table in kubectl's column would not find it."""
    page = gitops.health_page()
    for part, kind in zip(page.split("\n## ")[1:], (names.SANDBOX_KIND, names.POOL_KIND), strict=True):
        told = " ".join(part.rpartition("```")[2].split())
        for one in (one.object for one in ALL if one.object["kind"] == kind):
            known = {item["type"]: item for item in one["status"].get("conditions", ())}
            stalled, printed = known.get("Stalled", {}), judges.columns(one)["Reason"]
            apart = stalled.get("status") == "True" and printed not in (None, stalled["reason"])
            if apart:
                assert f"`{printed}` where the table above has `{stalled['reason']}`" in told
    assert "`PausingDisabled`" in page.partition("## SandboxPool")[0].rpartition("```")[2]
    assert "`RestartUnavailable`" in page.rpartition("```")[2]


def test_the_page_lists_every_situation() -> None:
    page = gitops.health_page()
    assert all(f"| {one.what} |" in page for one in ALL)
