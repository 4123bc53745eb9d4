"""The figures of `tests.bench.claims` as pictures: docs/bench/*.svg."""

from __future__ import annotations

import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pygal
from pygal.style import CleanStyle

__all__ = ["PICTURES", "draw", "still"]

# An importer of an old kind, for plugins that nobody has here: Python warns of it at each import that follows.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PluginImportFixer"]

PICTURES: Final = {
    "latency.svg": "From POST to Ready: how many of the claims took at most so long.",
    "throughput.svg": "Claims that became Ready a second, against those that were asked for.",
    "pool.svg": "Warm pods of the pool while claims come and replacements start.",
    "processor.svg": "Processor time of a claim's whole life, by process.",
}
_SUBJECTS: Final = ("Sandyard", "sketch")
# Names and dates of the moment, and scripts: the same figures make the same file, and a picture runs nothing.
_OF_THE_MOMENT: Final = re.compile(r"chart-[0-9a-f-]{36}|<!--.*?-->|<script.*?</script>", re.DOTALL)


def draw(folder: pathlib.Path, figures: Sequence[Mapping[str, Any]]) -> None:
    """Write all `PICTURES` into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    charts = {"latency.svg": _latency, "throughput.svg": _throughput, "pool.svg": _pool, "processor.svg": _processor}
    for name, chart in charts.items():
        (folder / name).write_text(still(chart(figures).render(is_unicode=True)) + "\n")


def still(text: str) -> str:
    """A rendered chart without what is of the moment, and without scripts."""
    return _OF_THE_MOMENT.sub(lambda found: "chart" if found[0][0] == "c" else "", text)


def _latency(figures: Sequence[Mapping[str, Any]]) -> pygal.XY:
    chart = _lines("ms", "% of claims")
    for item in _steady(figures):
        points = [(value, share) for share, value in enumerate(item["distribution"])]
        chart.add(f"{item['subject']} {item['scenario']}", points)
    return chart


def _throughput(figures: Sequence[Mapping[str, Any]]) -> pygal.XY:
    chart = _lines("asked for, claims/s", "Ready, claims/s", show_dots=True)
    for subject in _SUBJECTS:
        chart.add(subject, [(item["offered"], item["per_second"]) for item in _steady(figures)
                            if item["subject"] == subject])  # fmt: skip
    return chart


def _pool(figures: Sequence[Mapping[str, Any]]) -> pygal.XY:
    chart = _lines("s", "warm pods")
    for item in figures:
        if item["levels"] and "quiet" not in item["scenario"]:
            chart.add(item["scenario"], item["levels"])
    return chart


def _processor(figures: Sequence[Mapping[str, Any]]) -> pygal.StackedBar:
    chart = pygal.StackedBar(js=[], style=CleanStyle, width=900, height=450, y_title="ms a life", x_label_rotation=30)
    shown = _steady(figures)
    chart.x_labels = [f"{item['subject']} {item['scenario']}" for item in shown]
    for process in [name for name in (shown[0]["processor"] if shown else ()) if name != "load"]:
        chart.add(process.removeprefix("kube-"), [round(item["processor"].get(process, 0.0), 1) for item in shown])
    return chart


def _steady(figures: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The scenarios with so many claims a second, by rate; both subjects of a rate beside each other."""
    return sorted((item for item in figures if item["scenario"].endswith("/s")), key=lambda item: item["offered"])


def _lines(x_title: str, y_title: str, **options: Any) -> pygal.XY:
    return pygal.XY(
        **{"js": [], "style": CleanStyle, "width": 900, "height": 450, "show_dots": False, "x_title": x_title,
           "y_title": y_title, **options}
    )  # fmt: skip
