"""The bench of the operator's loop, in small: it must go on working, and a claim must stay as cheap as it is."""

from __future__ import annotations

from tests.bench import loop


def test_a_warm_claim_is_two_writes_and_no_read_in_each_round_of_the_bench() -> None:
    figures = loop.measure(loop.Shape(2, 30), rounds=4)
    assert figures.writes == [2] * 4
    assert figures.reads == [0] * 4
    assert all(len(figures.seconds[row]) == 4 and figures.median(row) > 0 for row in loop.ROWS)


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
