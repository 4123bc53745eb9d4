"""The drawing of a Sandbox's life in docs/lifetimes.md."""

from __future__ import annotations

import re

from localcluster import paths
from sandyard.api.reasons import Phase

DRAWING = (paths.REPOSITORY / "docs" / "lifetimes.md").read_text().split("```")[1]


def test_it_has_each_phase_once_and_nothing_that_is_none() -> None:
    assert sorted(re.findall(r"\[(\w+)\]", DRAWING)) == sorted(Phase)


def test_what_has_ended_and_what_is_deleted_leads_to_terminating() -> None:
    ends = DRAWING.partition("from any of these")[2]
    assert set(re.findall(r"\[(\w+)\]", ends)) == {"Succeeded", "Failed", "Expired", "Terminating"}
