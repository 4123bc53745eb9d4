"""What Prometheus scrapes: names by its conventions, and what runs."""

from __future__ import annotations

import functools
import re

import aiohttp
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from localcluster import paths
from pages import dashboard
from sandyard import __version__
from sandyard.api.reasons import Reason
from sandyard.engine.process import http
from sandyard.engine.process.metrics import Metrics

RULES = paths.REPOSITORY / "charts/sandyard/templates/prometheusrule.yaml"
PAGE = paths.REPOSITORY / "docs" / "monitoring.md"


async def scraped(metrics: Metrics, accept: str = "") -> tuple[str, str]:
    """The type and the text of an answer."""
    runner = await http.serve(0, metrics, alive=str, ready=str, collect=lambda: None)
    try:
        port = next(address[1] for address in runner.addresses if ":" not in address[0])
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept}) as answer,
        ):
            return answer.headers["Content-Type"], await answer.text()
    finally:
        await runner.cleanup()


def touched() -> Metrics:
    metrics = Metrics()
    metrics.observe_request("GET", "pods", "200", 0.1)
    metrics.count_failures("pools", 2)
    metrics.count_failures("pools", 5)
    return metrics


async def test_names_are_as_prometheus_has_them() -> None:
    _, text = await scraped(touched())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert not [name for name in families if name.endswith("_created")]
    for family in families.values():
        assert family.name.startswith(("sandyard_", "process_")), family.name
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        assert "seconds" in family.name or family.type != "histogram"


async def test_failures_are_counted_and_what_runs_is_told() -> None:
    _, text = await scraped(touched())
    assert 'sandyard_queue_failures_total{queue="pools"} 5.0' in text
    assert 'sandyard_api_requests_total{code="200",resource="pods",verb="GET"} 1.0' in text
    assert f'version="{__version__}"' in next(
        line for line in text.splitlines() if line.startswith("sandyard_build_info{")
    )
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"):
        assert f"\n{name} " in text


async def test_whoever_asks_for_openmetrics_gets_it() -> None:
    kind, text = await scraped(touched(), "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics.text_string_to_metric_families(text)} >= {"sandyard_claims"}


def test_two_operators_in_one_process_share_nothing() -> None:
    one, two = touched(), Metrics()
    assert isinstance(one.registry, CollectorRegistry) and one.registry is not two.registry
    assert two.registry.get_sample_value("sandyard_queue_failures_total", {"queue": "pools"}) is None


def test_the_page_on_monitoring_speaks_of_what_there_is() -> None:
    page = (paths.REPOSITORY / "docs" / "monitoring.md").read_text()
    samples = {sample.name for family in touched().registry.collect() for sample in family.samples}
    families = {family.name for family in Metrics().registry.collect()}
    known = samples | families | {f"{name}_{part}" for name in families for part in ("total", "bucket")}
    assert set(re.findall(r"\bsandyard_[a-z_]+", page)) <= known
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == re.findall(r"alert: (\w+)", RULES.read_text())
    values = yaml.safe_load((paths.REPOSITORY / "charts/sandyard/values.yaml").read_text())
    for path in re.findall(r"`((?:metrics|networkPolicy)[.][\w.]+)`", page):
        functools.reduce(lambda found, key: found[key], path.split("."), values)


def labels_of_metrics() -> dict[str, set[str]]:
    """Every sample that an operator may show, and the labels that it has."""
    found: dict[str, set[str]] = {}
    for item in vars(Metrics()).values():
        if hasattr(item, "_documentation"):
            labels = set(item._labelnames)
            found |= {item._name: labels, f"{item._name}_total": labels, f"{item._name}_info": labels,
                      f"{item._name}_bucket": labels | {"le"}}  # fmt: skip
    return found


def test_every_metric_is_moved() -> None:
    folder = paths.REPOSITORY / "operator" / "sandyard"
    sources = [path.read_text() for path in folder.rglob("*.py") if path.name != "metrics.py"]
    # Some have a method of their own there.
    home = (folder / "engine" / "process" / "metrics.py").read_text().partition("def observe_request")[2]
    told = "\n".join([*sources, home])
    # Those that are what they are from the start.
    moved = vars(Metrics()).keys() - {"registry", "build"}
    assert {name for name in moved if not name.startswith("_") and f".{name}" not in told} == set()


EXPRESSIONS = {
    **dict(re.findall(r"alert: (\w+)\n +expr: (.+)", RULES.read_text())),
    **{f"{panel.title} {at}": query for panel in dashboard.PANELS for at, (query, _) in enumerate(panel.queries)},
    **{f"monitoring.md {at}": query for at, query in enumerate(re.findall(r"`(\w+\(.*?\))`", PAGE.read_text()))},
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_alerts_and_graphs_go_by_metrics_and_labels_that_there_are(name: str) -> None:
    known, expression = labels_of_metrics(), EXPRESSIONS[name]
    used = re.findall(r"(sandyard_[a-z0-9_]+)(?:\{(.*?)\})?", expression)
    assert used, expression
    for metric, matchers in used:
        assert metric in known, metric
        assert set(re.findall(r"(\w+)(?:=~|!=|=)", matchers)) <= known[metric]
    of_all = set().union(*(known[metric] for metric, _ in used))
    for by in re.findall(r"by \((.*?)\)", expression):
        assert {label.strip() for label in by.split(",")} <= of_all
    assert expression.count("(") == expression.count(")")


def test_every_alert_has_a_page_that_says_where_to_look_and_what_helps() -> None:
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    pages = {path.stem: path.read_text() for path in (paths.REPOSITORY / "docs" / "runbooks").glob("*.md")}
    assert set(pages) == alerts
    for name, text in pages.items():
        assert text.startswith(f"# {name}\n")
        assert "## Look" in text and "## What to do" in text
        assert f"/{name}/\n" in RULES.read_text(), "the alert links to it, as the site serves it"


def test_words_in_runbooks_are_reasons_that_there_are() -> None:
    for path in (paths.REPOSITORY / "docs" / "runbooks").glob("*.md"):
        for row in re.findall(r"^\| (`[A-Z].*?) \|", path.read_text(), re.MULTILINE):
            assert set(re.findall(r"`([A-Z]\w+)`", row)) <= set(Reason), path
