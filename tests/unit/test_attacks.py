"""The corpus of attacks is whole, and the operator's own check stands where admission is taken away."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from sandyard.podspec import rules
from sandyard.podspec.shape import Installation
from tests.support import attacks

INSTALLATION = Installation(image_repository="sandyard/operator", runtime="Required", network="Required")
# Pods that the operator's token would make.
PODS = [
    attack.name for attack in attacks.corpus().values()
    if attack.do.get("create") == "pod" and attack.actor == "operator" and "namespace" not in attack.do
]  # fmt: skip


def test_the_corpus_has_at_least_150_attacks_and_each_kind_in_two_forms() -> None:
    found = attacks.corpus().values()
    counted = Counter(attack.kind for attack in found)
    assert len(found) >= 150
    assert {kind for kind in attacks.KINDS if counted[kind] < 2} == set()
    assert {attack.actor for attack in found} == set(attacks.ACTORS)


@pytest.mark.parametrize("name", attacks.corpus())
def test_each_attack_says_what_it_is_and_what_must_become_of_it(name: str) -> None:
    attack = attacks.corpus()[name]
    assert attack.tries
    assert bool(attack.says) is (attack.verdict == "refused")
    # What is contained has to be looked at.
    assert (attack.verdict == "contained") is bool({"then", "shows"} & attack.do.keys())


@pytest.mark.parametrize("name", PODS)
def test_the_operator_itself_sends_no_pod_that_admission_refuses(name: str) -> None:
    attack = attacks.corpus()[name]
    made = json.loads(json.dumps(attacks.changed("pod", attack.do.get("set", {}), attack.do.get("drop", ()))))
    assert rules.violations(made, INSTALLATION)


def test_a_sample_of_the_attacks_with_real_sandboxes_is_tried_each_time() -> None:
    """By their cheapest; each is some seconds of `make test`."""
    sample = [attack for attack in attacks.corpus().values() if attack.do.get("sample")]
    assert all(attack.layer == "node" for attack in sample)
    assert {"inside", "exec"} <= {attack.kind for attack in sample}
    assert 3 <= len(sample) <= 8
