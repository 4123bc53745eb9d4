"""The table of behaviours is whole."""

from __future__ import annotations

import tomllib

from localcluster import paths

ROWS = {"A": 41, "B": 34, "C": 49, "D": 30, "E": 21}


def test_no_row_is_missing_and_each_has_a_test_or_says_what_it_waits_for() -> None:
    rows = tomllib.loads((paths.REPOSITORY / "tests" / "behaviours.toml").read_text())
    assert set(rows) == {f"{letter}{number}" for letter, last in ROWS.items() for number in range(1, last + 1)}
    for name, row in rows.items():
        assert row["what"], name
        assert bool(row.get("tests")) != bool(row.get("waits")), name
