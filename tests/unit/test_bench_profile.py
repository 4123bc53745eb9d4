"""What ``make profile`` says about the operator."""

from __future__ import annotations

import pathlib

from tests.bench.profile import operator_table


def test_a_function_counts_once_for_each_sample_in_which_it_runs(tmp_path: pathlib.Path) -> None:
    raw = tmp_path / "operator.raw"
    raw.write_text("main (m.py:1);work (w.py:2);work (w.py:3) 30\nmain (m.py:1);rest (r.py:9) 10\n")
    assert operator_table(raw).splitlines() == [
        " 100.0 %  main (m.py",
        "  75.0 %  work (w.py",
        "  25.0 %  rest (r.py",
    ]
