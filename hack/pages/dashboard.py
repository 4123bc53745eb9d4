"""The Grafana dashboard of the chart: what to look at, a panel each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["PANELS", "Panel", "concrete", "dashboard"]

_WIDTH: Final = 8
_HEIGHT: Final = 8
_COLUMNS: Final = 24 // _WIDTH
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_POOLS: Final = '{namespace=~"$namespace", pool=~"$pool"}'


@dataclass(frozen=True)
class Panel:
    """One graph.

    Attributes
    ----------
    unit
        As Grafana calls it: s, short, reqps, percentunit, bytes.
    queries
        (PromQL, legend).
    """

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    description: str = ""


def _quantile(share: float, metric: str, by: str = "") -> str:
    return f"histogram_quantile({share}, sum by (le{by}) (rate({metric}_bucket[$__rate_interval])))"


PANELS: Final = (
    Panel("Claims a second", "reqps", (
        ("sum by (start, result) (rate(sandyard_claims_total[$__rate_interval]))", "{{start}} {{result}}"),
    ), "By where the pod came from, and how it ended."),
    Panel("Time to Ready, warm", "s", tuple(
        (f'histogram_quantile({share}, sum by (le) (rate(sandyard_claim_duration_seconds_bucket{{start="Warm"}}'
         "[$__rate_interval])))", f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)
    )),
    Panel("Time to Ready, cold", "s", tuple(
        (f'histogram_quantile({share}, sum by (le) (rate(sandyard_claim_duration_seconds_bucket{{start="Cold"}}'
         "[$__rate_interval])))", f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)
    )),
    Panel("Pods of pools", "short", (
        (f"sum by (state) (max by (namespace, pool, state) (sandyard_pool_pods{_POOLS}))", "{{state}}"),
    )),
    Panel("Warm sandboxes by pool", "short", (
        ('max by (namespace, pool) (sandyard_pool_pods{state="warm", namespace=~"$namespace", pool=~"$pool"})',
         "{{namespace}}/{{pool}}"),
    )),
    Panel("Claims that wait", "short", (
        (f"max by (namespace, pool) (sandyard_pool_waiting_claims{_POOLS})", "{{namespace}}/{{pool}}"),
    )),
    Panel("Age of the oldest waiting claim", "s", (
        (f"max by (namespace, pool) (sandyard_pool_oldest_claim_age_seconds{_POOLS})", "{{namespace}}/{{pool}}"),
    )),
    Panel("Pools in back-off", "short", (
        (f"sum(max by (namespace, pool) (sandyard_pool_backing_off{_POOLS}))", "pools"),
    )),
    Panel("Starts of pods", "reqps", (
        ("sum by (result) (rate(sandyard_pod_starts_total[$__rate_interval]))", "{{result}}"),
    )),
    Panel("Create to warm", "s", tuple(
        (_quantile(share, "sandyard_pod_start_duration_seconds"), f"p{share * 100:g}") for share in (0.5, 0.9)
    )),
    Panel("Sandboxes", "short", (("sum by (phase) (max by (phase) (sandyard_sandboxes))", "{{phase}}"),)),
    Panel("How Sandboxes end", "reqps", (
        ("sum by (reason) (rate(sandyard_ended_total[$__rate_interval]))", "{{reason}}"),
        ("sum by (reason) (rate(sandyard_expired_total[$__rate_interval]))", "expired: {{reason}}"),
    )),
    Panel("Teardown", "s", tuple(
        (_quantile(share, "sandyard_teardown_duration_seconds"), f"p{share * 100:g}") for share in (0.5, 0.99)
    )),
    Panel("Stuck teardowns and leftovers", "short", (
        ("max(sandyard_teardown_stuck)", "stuck"),
        ("sum by (kind) (increase(sandyard_sweep_removed_total[1h]))", "leftover {{kind}} (1 h)"),
    )),
    Panel("Requests to the API server", "reqps", (
        ("sum by (verb, code) (rate(sandyard_api_requests_total[$__rate_interval]))", "{{verb}} {{code}}"),
    )),
    Panel("Time of requests to the API server", "s", (
        (_quantile(0.99, "sandyard_api_request_duration_seconds", ", verb"), "p99 {{verb}}"),
    )),
    Panel("Queues", "short", (("max by (queue) (sandyard_queue_length)", "{{queue}}"),)),
    Panel("Operator", "short", (
        ("sum(sandyard_leader)", "leaders"),
        ("count(sandyard_build_info)", "processes"),
    )),
)  # fmt: skip


def concrete(query: str, rate_interval: str = "2m") -> str:
    """*query* as Grafana sends it while every namespace and pool is shown."""
    return re.sub(r"\$(namespace|pool)\b", ".*", query.replace("$__rate_interval", rate_interval))


def dashboard() -> str:
    """The dashboard as Grafana imports it."""
    content = {
        "title": "Sandyard",
        "uid": "sandyard",
        "description": "Generated from hack/pages/dashboard.py by hack/generate.",
        "tags": ["sandyard", "kubernetes"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_datasource(), _variable("namespace"), _variable("pool", '{namespace=~"$namespace"}')]},
        "panels": [_panel(at, panel) for at, panel in enumerate(PANELS)],
    }
    return json.dumps(content, indent=1) + "\n"


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _variable(label: str, of: str = "") -> dict[str, Any]:
    query = f"label_values(sandyard_pool_pods{of}, {label})"
    return {"name": label, "type": "query", "datasource": _SOURCE, "definition": query,
            "query": {"query": query, "refId": label}, "refresh": 2, "includeAll": True, "multi": True,
            "current": {"text": "All", "value": "$__all"}, "sort": 1}  # fmt: skip


def _panel(at: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(at, _COLUMNS)
    return {
        "id": at + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(panel.queries)
        ],
    }
