"""The Pod Security Standards' own fixtures: each one that fails there fails here, at both of our doors.

What passes there need not pass here: our table is narrower. What does is told, so that a change shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.podspec import rules
from sandyard.podspec.shape import Installation
from tests.support import admission, pod_security
from tests.support.admission import OPERATOR, World
from tests.support.kube import Kube, Refused

INSTALLATION = Installation(image_repository="sandyard/operator", runtime="Required", network="Required")
# Of the fixtures that pass there, those whose difference a pod of ours may have, for it is none of ours at all.
WELCOME = {
    "restricted": {"base", "hostprobesandhostlifecycle0", "privileged0", "runasnonroot0", "seccompprofile_restricted0",
                   "sysctls0"},
    "baseline": {"base", "hostprobesandhostlifecycle0", "privileged0", "sysctls0"},
}  # fmt: skip


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    yield from admission.world(admin)


def answer(world: World, pod: dict[str, Any]) -> str:
    """What the API server says to *pod* from the operator; "" if it takes it."""
    pod["metadata"]["name"] = "another"
    try:
        world.create(OPERATOR, pod)
    except Refused as error:
        return str(error)
    return ""


@pytest.mark.parametrize("profile", pod_security.PROFILES)
def test_every_failing_fixture_is_refused_by_admission_as_it_stands(world: World, profile: str) -> None:
    failing = pod_security.fixtures(profile, "fail")
    assert [name for name, pod in failing.items() if not answer(world, pod_security.raw(pod))] == []


@pytest.mark.parametrize("profile", pod_security.PROFILES)
def test_what_is_wrong_with_a_failing_fixture_is_refused_in_a_pod_that_is_good_otherwise(
    world: World, profile: str
) -> None:
    failing = pod_security.fixtures(profile, "fail")
    made = {name: pod_security.carried_over(profile, pod) for name, pod in failing.items()}
    assert [name for name, pod in made.items() if not rules.violations(pod, INSTALLATION)] == []
    assert [name for name, pod in made.items() if not answer(world, pod)] == []


@pytest.mark.parametrize("profile", pod_security.PROFILES)
def test_both_doors_are_as_narrow_for_what_the_standards_let_through(world: World, profile: str) -> None:
    passing = pod_security.fixtures(profile, "pass")
    made = {name: pod_security.carried_over(profile, pod) for name, pod in passing.items()}
    assert {name for name, pod in made.items() if not rules.violations(pod, INSTALLATION)} == WELCOME[profile]
    assert {name for name, pod in made.items() if not answer(world, pod)} == WELCOME[profile]
