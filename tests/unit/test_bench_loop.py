"""The bench of the operator's loop, in small: it must go on working, and a claim must stay as cheap as it is."""

from __future__ import annotations

import sys
from typing import Any

from tests.bench import loop


def test_a_warm_claim_is_two_writes_and_no_read_in_each_round_of_the_bench() -> None:
    figures = loop.measure(loop.Shape(2, 30), rounds=4)
    assert figures.writes == [2] * 4
    assert figures.reads == [0] * 4
    assert all(len(figures.seconds[row]) == 4 and figures.median(row) > 0 for row in loop.ROWS)


def test_no_step_calls_more_functions_because_the_pool_is_larger() -> None:
    """Calls are counted instead of time: a walk over all pods, Sandboxes or waiting claims would show."""
    calls = 0

    def count(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    def measured(pods: int) -> loop.Figures:
        sys.setprofile(count)
        try:
            return loop.measure(loop.Shape(1, pods), rounds=4, meter=lambda: calls)
        finally:
            sys.setprofile(None)

    small, large = measured(40), measured(400)
    for row in loop.ROWS:
        assert large.median(row) <= 1.3 * small.median(row), row


def test_a_row_that_grows_fails_the_check() -> None:
    def figures(microseconds: float) -> loop.Figures:
        return loop.Figures({row: [microseconds / 1e6] for row in loop.ROWS})

    shapes = [loop.Shape(1, 100), loop.Shape(1, 10_000)]
    assert loop.table(shapes, [figures(100), figures(199)])[1] == []
    grown = figures(100)
    grown.seconds["policies"] = [0.001]
    text, rows = loop.table(shapes, [figures(100), grown])
    assert rows == ["policies"]
    assert "10.0" in text
