"""Every condition and every reason is told with what it means and what to do."""

from __future__ import annotations

import re

import pytest

from localcluster import paths
from sandyard.api.reasons import Condition, Phase, Reason
from sandyard.api.remedies import CONDITIONS, REASONS


def test_every_condition_and_every_reason_is_told() -> None:
    assert set(CONDITIONS) == set(Condition)
    assert set(REASONS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_told_in_sentences(reason: Reason) -> None:
    for text in REASONS[reason]:
        assert text[0].isupper() or text[0] == "`"
        assert text.endswith(".")
        assert "|" not in text


def test_symptoms_name_reasons_and_phases_that_there_are() -> None:
    page = (paths.REPOSITORY / "docs" / "troubleshooting.md").read_text()
    words = {word for row in re.findall(r"^\| (a (?:Sandbox|pool) .*?) \|", page, re.MULTILINE)
             for word in re.findall(r"`([A-Z]\w+)`", row)}  # fmt: skip
    assert {"Pending", "PoolNotFound", "NetworkNotEnforced"} <= words <= {*Reason, *Phase}
