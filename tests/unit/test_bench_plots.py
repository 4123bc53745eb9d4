"""Pictures of what was measured: the same figures, the same files."""

from __future__ import annotations

import pathlib
from typing import Any
from xml.etree import ElementTree

import pytest

from pages.dashboard import PANELS
from tests.bench import dashboard
from tests.bench.plots import PICTURES, draw
from tests.support.promql import Series


def figures(subject: str, rate: float) -> dict[str, Any]:
    return {
        "subject": subject, "scenario": f"{rate:g}/s", "offered": rate, "per_second": rate - 1,
        "distribution": [float(share) for share in range(101)], "levels": [(0.0, 300), (1.0, 290)],
        "processor": {"etcd": 1.0, "kube-apiserver": 2.0, "load": 9.0},
    }  # fmt: skip


FIGURES = [figures(subject, rate) for rate in (5, 10) for subject in ("Sandyard", "sketch")]


@pytest.mark.parametrize("name", PICTURES)
def test_the_same_figures_make_the_same_picture(tmp_path: pathlib.Path, name: str) -> None:
    draw(tmp_path / "one", FIGURES)
    draw(tmp_path / "two", FIGURES)
    text = (tmp_path / "one" / name).read_text()
    assert text == (tmp_path / "two" / name).read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg")  # noqa: S314 - it is ours


def test_each_process_but_the_load_is_a_part_of_the_bar(tmp_path: pathlib.Path) -> None:
    draw(tmp_path, FIGURES)
    text = (tmp_path / "processor.svg").read_text()
    assert "apiserver" in text and "etcd" in text and "load" not in text


def test_a_run_without_figures_makes_pictures_too(tmp_path: pathlib.Path) -> None:
    draw(tmp_path, [])
    assert {path.name for path in tmp_path.iterdir()} == set(PICTURES)


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(float(at), at / 3) for at in range(90)]])
def test_the_picture_of_the_dashboard_has_every_panel_whatever_it_shows(points: list[tuple[float, float]]) -> None:
    answers = {query: [Series({"pool": "a<b"}, points)] for panel in PANELS for query, _ in panel.queries}
    text = dashboard.draw(answers)
    assert text == dashboard.draw(answers)
    shown = "".join(ElementTree.fromstring(text).itertext())  # noqa: S314 - it is ours
    assert all(panel.title in shown for panel in PANELS)
    assert all(f">{panel.title}<" in dashboard.PICTURE.read_text() for panel in PANELS), "make dashboard"
