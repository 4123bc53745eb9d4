"""With the chart's admission policies away, the operator alone still makes no pod that breaks a rule of theirs.

Whatever of tests/attacks the definitions let through is made by an administrator. What the operator then makes of
it is shown to the policies, which hold in another namespace.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import names
from tests.support import admission, attacks, manifests
from tests.support.admission import OPERATOR
from tests.support.kube import Kube, Refused, until
from tests.support.operator import OperatorProcess

BINDINGS = "validatingadmissionpolicybindings"
TRIED = {name: attack for name, attack in attacks.corpus().items()
         if attack.layer == "api" and attack.do.get("create") in ("sandbox", "own", "pool")
         and "namespace" not in attack.do}  # fmt: skip


@pytest.fixture
def unguarded(kube: Kube) -> Iterator[Kube]:
    """The namespace as it would be without the chart's policies."""
    elsewhere = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [kube.namespace]}
    before = {}
    for binding in kube.list(BINDINGS):
        if not binding["metadata"]["name"].startswith("sandyard-"):
            continue
        rules = binding["spec"].get("matchResources")
        before[binding["metadata"]["name"]] = rules
        wanted = copy.deepcopy(rules or {})
        wanted.setdefault("namespaceSelector", {}).setdefault("matchExpressions", []).append(elsewhere)
        kube.patch(BINDINGS, binding["metadata"]["name"], {"spec": {"matchResources": wanted}})
    until("nothing is refused here", lambda: not refusals(kube), 30)
    yield kube
    for name, rules in before.items():
        kube.patch(BINDINGS, name, {"spec": {"matchResources": None}})
        kube.patch(BINDINGS, name, {"spec": {"matchResources": rules}})
    until("all is refused again", lambda: len(refusals(kube)) == 3, 30)


def refusals(kube: Kube) -> list[str]:
    """What the policies have against an object, a template and a pod, each of which one refuses."""
    somebodys = admission.built()
    somebodys["metadata"]["name"] = "probe"
    found = []
    labelled = {**manifests.sandbox("", "x"), "metadata": {"name": "probe", "labels": {"sandyard.dev/a": "b"}}}
    annotated = manifests.pool("probe", template={"image": "a", "annotations": {"example.com/a": "b"}})
    for made in (labelled, annotated, somebodys):
        try:
            kube.create(made, dry_run=True)
        except Refused as error:
            found.append(str(error))
    return found


def test_the_operator_alone_makes_no_pod_that_breaks_a_rule(
    unguarded: Kube, operator: OperatorProcess, admin: Kube
) -> None:
    made = dict[str, dict[str, Any]]()
    for number, (name, attack) in enumerate(TRIED.items()):
        body = attacks.changed(attack.do["create"], attack.do.get("set", {}), attack.do.get("drop", ()))
        body["metadata"] = {"name": f"a{number}", **{
            key: value for key, value in body["metadata"].items() if key in ("labels", "annotations")}}  # fmt: skip
        try:
            unguarded.create(body)
        except Refused:
            continue
        made[name] = body
    assert len(made) >= 60, "the definitions let most through that the policies are there for"

    def seen() -> bool:
        """Whether each has a pod, or is told why it has none."""
        states = [unguarded.status(body["kind"].lower(), body["metadata"]["name"]) for body in made.values()]
        stalled = [any(one["type"] == "Stalled" and one["status"] == "True" for one in state.get("conditions", ()))
                   for state in states]  # fmt: skip
        return all(
            "observedGeneration" in state and ("podName" in state or state.get("phase") in (None, "Failed") or stopped)
            for state, stopped in zip(states, stalled, strict=True)
        )

    until("the operator has seen all", seen, 60)
    pods = unguarded.list("pods", names.LABEL_STATE)
    assert len(pods) >= 10, "and some of them are harmless"
    guarded = admin.within("default")
    for pod in pods:
        copied = {**pod, "metadata": {key: pod["metadata"][key] for key in ("labels", "annotations")}}
        copied["metadata"]["name"] = "copy"
        # The scheduler's, and the kubelet's.
        del copied["spec"]["nodeName"], copied["status"]
        try:
            guarded.as_user(OPERATOR).create(copied, dry_run=True)
        except Refused as error:
            owner = pod["metadata"]["ownerReferences"][0]["name"]
            (attack,) = [name for name, body in made.items() if body["metadata"]["name"] == owner]
            raise AssertionError(f"{attack}: {error}") from None
    bounded = {pod["metadata"]["ownerReferences"][0]["name"] for pod in pods}
    for name, body in made.items():
        if body["metadata"]["name"] in bounded:
            told = refusal(guarded, body)
            assert "'sandyard-bounds'" not in told, f"{name}: there is a pod, and {told}"


def refusal(kube: Kube, body: dict[str, Any]) -> str:
    """Why admission refuses *body*; empty if it does not."""
    try:
        kube.create(body, dry_run=True)
    except Refused as error:
        return str(error)
    return ""
