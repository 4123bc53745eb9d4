"""The chart's dashboard as a picture, from what an operator really showed: docs/dashboard.svg.

Simulated nodes; a few minutes of claims with a rush in the middle, a pool that runs dry, one that its namespace's
quota stops, and deletions. Prometheus' own engine answers the dashboard's queries.
"""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

import pygal
from pygal.style import CleanStyle

from localcluster import paths, tools
from pages import dashboard
from tests.bench.crowd import crowd
from tests.bench.plane import GROUPS
from tests.bench.plots import still
from tests.bench.subjects import NAMESPACE, POOL, Sandyard, installed
from tests.support import manifests
from tests.support.kube import Kube
from tests.support.operator import OperatorProcess
from tests.support.promql import Scrapes, Series

__all__ = ["PICTURE", "draw", "main"]

PICTURE: Final = paths.REPOSITORY / "docs" / "dashboard.svg"
_SMALL: Final = "node"
_FULL: Final = "full"
_REPLICAS: Final = 60
_SCRAPE_SECONDS: Final = 2.0
_RATE_INTERVAL: Final = "16s"
_WIDTH: Final = 460
_HEIGHT: Final = 300
_COLUMNS: Final = 3
_TITLE_HEIGHT: Final = 26
_FEW: Final = 4
# As Grafana calls a unit -> how a value is written.
_UNITS: Final = {"s": "{:g} s", "reqps": "{:g}/s", "short": "{:g}"}


def _set_up(kube: Kube) -> None:
    kube.apply(manifests.pool(_SMALL, 5))
    full = kube.within(_FULL)
    full.make_namespace(_FULL)
    full.apply_as_is({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": _FULL},
                      "spec": {"hard": {"pods": "2"}}})  # fmt: skip
    full.apply(manifests.pool("python", 4))


async def _live(kube: Kube, seconds: float) -> None:
    """Claims, more than the small pool can serve in the second half, and a rush in the middle."""
    async with crowd(kube.kubeconfig, NAMESPACE) as users, asyncio.TaskGroup() as group:
        group.create_task(users.steady(POOL, 3, seconds, 10, seed=1))
        group.create_task(users.steady(_SMALL, 0.3, seconds / 2, 5, seed=2))
        await asyncio.sleep(seconds / 2)
        group.create_task(users.arrive(POOL, [0.0] * 80, 15))
        group.create_task(users.steady(_SMALL, 2, seconds / 4, 8, seed=3))


async def _watched(operator: OperatorProcess, kube: Kube, seconds: float) -> Scrapes:
    scrapes, began = Scrapes(), time.monotonic()
    living = asyncio.create_task(_live(kube, seconds))
    while not living.done():
        scrapes.now = time.monotonic() - began
        scrapes.take(await asyncio.to_thread(operator.fetch, "/metrics"))
        await asyncio.wait([living], timeout=_SCRAPE_SECONDS)
    await living
    return scrapes


def draw(answers: Mapping[str, Sequence[Series]]) -> str:
    """All panels of the dashboard in one picture; *answers* by query."""
    parts = []
    for at, panel in enumerate(dashboard.PANELS):
        row, column = divmod(at, _COLUMNS)
        chart = _chart(panel, answers)
        x, y = column * _WIDTH, row * (_HEIGHT + _TITLE_HEIGHT)
        body = re.sub(r"^.*?<svg ", f'<svg x="{x}" y="{y + _TITLE_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" ',
                      still(chart.render(is_unicode=True)), count=1, flags=re.DOTALL)  # fmt: skip
        parts.append(f'<text x="{x + 12}" y="{y + 18}" class="title">{panel.title}</text>{body}')
    rows = -(-len(dashboard.PANELS) // _COLUMNS)
    width, height = _COLUMNS * _WIDTH, rows * (_HEIGHT + _TITLE_HEIGHT)
    style = "<style>.title {font: bold 15px sans-serif; fill: #333}</style>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    return f'{head}{style}<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'


def _chart(panel: dashboard.Panel, answers: Mapping[str, Sequence[Series]]) -> pygal.XY:
    # One point alone is no line.
    few = any(len(series.points) < _FEW for query, _ in panel.queries for series in answers[query])
    chart = pygal.XY(
        js=[], style=CleanStyle(no_data_font_size=14, legend_font_size=11, label_font_size=11), width=_WIDTH,
        height=_HEIGHT, show_dots=few, dots_size=2, legend_at_bottom=True, legend_box_size=9, margin=8,
        x_value_formatter="{:g} s".format, value_formatter=_UNITS.get(panel.unit, "{:g}").format, truncate_legend=24,
        no_data_text="nothing in this time", include_x_axis=True,
    )  # fmt: skip
    for query, legend in panel.queries:
        for series in answers[query]:
            name = re.sub(r"{{(\w+)}}", lambda found: series.labels.get(found[1], ""), legend)  # noqa: B023
            chart.add(name, [(round(at), float(f"{value:.3g}")) for at, value in series.points])
    return chart


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=180, help="how long claims come")
    parser.add_argument("--picture", type=pathlib.Path, default=PICTURE, help="where the picture goes")
    wanted = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tools.ensure([*GROUPS, "promql"])
    subject = Sandyard()
    with installed(subject) as (_, kube, folder), subject.running(kube, folder, _REPLICAS) as operator:
        _set_up(kube)
        print(f"claims for {wanted.seconds} s ...", flush=True)
        scrapes = asyncio.run(_watched(operator, kube, wanted.seconds))
    queries = [query for panel in dashboard.PANELS for query, _ in panel.queries]
    asked = [dashboard.concrete(query, _RATE_INTERVAL) for query in queries]
    answers = scrapes.ask(asked, _SCRAPE_SECONDS)
    wanted.picture.write_text(draw(dict(zip(queries, answers, strict=True))))
    print(wanted.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
