"""Each rule that a pod of ours must keep is looked at once more before it is created."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandyard.api import names
from sandyard.engine.cluster.isolation import ApiServers, Isolation
from sandyard.engine.loops.clock import Clock
from sandyard.engine.process.settings import Settings
from sandyard.podspec import pod as podspec
from sandyard.podspec import rules
from tests.support import bad_pods
from tests.unit import objects

POOL = podspec.Owner("SandboxPool", "python", "pool-uid")


def build(*, restart: bool = False, **fields: Any) -> dict[str, Any]:
    made = podspec.build(objects.template(**fields), name="p", namespace="ns", owner=POOL, pool=POOL,
                         probe=objects.PROBE, restart=restart)  # fmt: skip
    copied: dict[str, Any] = json.loads(json.dumps(made))
    return copied


def violations(pod: dict[str, Any], **installation: Any) -> list[str]:
    return rules.violations(pod, objects.installation(**installation))


@pytest.mark.parametrize("name", bad_pods.CASES)
def test_each_bad_pod_is_refused_by_its_field(name: str) -> None:
    case = bad_pods.CASES[name]
    made = build()
    assert violations(made) == []
    case.change(made)
    assert any(case.where in violation for violation in violations(made)), violations(made)


@pytest.mark.parametrize("made", [build(setup={"command": ["true"]}), build(restart=True)], ids=["setup", "restart"])
def test_what_runs_before_the_main_process_has_its_order(made: dict[str, Any]) -> None:
    assert violations(made) == []
    made["spec"]["initContainers"].reverse()
    assert any(found.startswith("spec.initContainers must be ") for found in violations(made)), violations(made)


@pytest.mark.parametrize("name", bad_pods.RESTARTED)
def test_what_restarts_a_pod_is_exactly_ours(name: str) -> None:
    case = bad_pods.RESTARTED[name]
    made = build(restart=True)
    assert violations(made) == []
    case.change(made)
    assert any(case.where in violation for violation in violations(made)), violations(made)


def test_root_needs_the_charts_leave_and_even_root_has_no_privileges() -> None:
    made = build(user={"uid": 0})
    assert any("allowRoot" in violation for violation in violations(made))
    assert violations(made, allow_root=True) == []
    made["spec"]["containers"][0]["securityContext"]["privileged"] = True
    assert any("privileged" in violation for violation in violations(made, allow_root=True))


def test_capabilities_are_kept_by_root_alone() -> None:
    made = build()
    del made["spec"]["containers"][0]["securityContext"]["capabilities"]
    assert any("capabilities" in violation for violation in violations(made, allow_root=True))


@pytest.mark.parametrize(
    ("image", "fits"),
    [
        ("registry:5000/sandyard/operator:2", True),
        ("registry:5000/sandyard/operator@sha256:0", True),
        ("registry:5000/sandyard/operator", False),
        ("registry:5000/sandyard/operator-too:1", False),
        ("sandyard/operator:1", False),
    ],
)
def test_the_proof_runs_in_the_operators_own_image_of_any_version(image: str, fits: bool) -> None:
    isolation = Isolation(Settings(probe_image="registry:5000/sandyard/operator:1"), ApiServers(Clock()))
    made = podspec.build(objects.template(), name="p", namespace="ns", owner=POOL, pool=POOL, probe=isolation.probe())
    made["spec"]["initContainers"][0]["image"] = image
    assert (rules.violations(made, isolation.installation("ns")) == []) is fits


@pytest.mark.parametrize("kind", ["labels", "annotations"])
def test_labels_and_annotations_of_a_template_are_those_that_the_chart_lets_through(kind: str) -> None:
    made = build(**{kind: {"app": "web", "team.example.com/name": "a"}})
    assert [violation for violation in violations(made) if "app" in violation]
    assert [violation for violation in violations(made, **{kind: ("team.example.com/",)}) if "app" in violation]
    assert violations(made, **{kind: ("team.example.com/", "app")}) == []


SETUP = {"command": ["true"], "network": {"egress": "Internet"}}


@pytest.mark.parametrize(
    "change",
    [
        # The proof that the network is closed again is missing, or comes too early.
        lambda pod: pod["spec"]["initContainers"].pop(),
        lambda pod: pod["spec"]["initContainers"].reverse(),
        lambda pod: pod["spec"]["initContainers"].insert(0, pod["spec"]["initContainers"].pop()),
        # It starts open, and nobody would close it.
        lambda pod: pod["metadata"]["annotations"].pop(names.ANNOTATION_SETUP),
        lambda pod: pod["metadata"]["annotations"].update({names.ANNOTATION_SETUP: names.SETUP_CLOSED}),
        # It starts closed, but would be believed to have been open.
        lambda pod: pod["metadata"]["labels"].update({names.LABEL_EGRESS: names.EGRESS_NONE}),
    ],
)
def test_what_a_setup_opens_is_proven_closed_before_the_main_process(change: Any) -> None:
    made = build(setup=SETUP)
    assert violations(made) == []
    change(made)
    assert violations(made)
