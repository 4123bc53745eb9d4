"""Short and long forms of tests."""

from __future__ import annotations

import re

import pytest

from localcluster import paths
from tests.support import soak


def test_a_test_is_short_unless_a_soak_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, wanted in (("", (3, 0.5)), ("0", (3, 0.5)), ("1", (30, 5.0))):
        monkeypatch.setenv("SANDYARD_SOAK", text)
        assert (soak.rounds(short=3, long=30), soak.seconds(short=0.5, long=5.0)) == wanted


def test_a_seed_changes_from_run_to_run_and_the_printed_one_repeats_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SANDYARD_SEED", raising=False)
    seeds = [soak.seed() for _ in range(4)]
    assert len(set(seeds)) > 1
    printed = capsys.readouterr().out.splitlines()[0].split()[0]
    monkeypatch.setenv(*printed.split("="))
    assert soak.seed() == seeds[0]


def test_every_test_with_a_long_form_is_part_of_the_soak() -> None:
    files = [path for path in (paths.REPOSITORY / "tests").rglob("test_*.py") if path.name != "test_soak.py"]
    long = [path for path in files if re.search(r"soak\.(rounds|seconds)\(", path.read_text())]
    assert len(long) >= 10
    assert [path.name for path in long if "mark.soak" not in path.read_text()] == []
