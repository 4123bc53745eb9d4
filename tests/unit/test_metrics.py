"""What Prometheus scrapes: names by its conventions, and what runs."""

from __future__ import annotations

import functools
import re

import aiohttp
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from localcluster import paths
from sandyard import __version__
from sandyard.engine.process import http
from sandyard.engine.process.metrics import Metrics


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
    rules = (paths.REPOSITORY / "charts/sandyard/templates/prometheusrule.yaml").read_text()
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == re.findall(r"alert: (\w+)", rules)
    values = yaml.safe_load((paths.REPOSITORY / "charts/sandyard/values.yaml").read_text())
    for path in re.findall(r"`((?:metrics|networkPolicy)[.][\w.]+)`", page):
        functools.reduce(lambda found, key: found[key], path.split("."), values)
