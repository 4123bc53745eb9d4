"""docs/performance.md: what was measured, and nothing better than it was."""

from __future__ import annotations

from typing import Any

from tests.bench import report


def figures(subject: str, scenario: str, p99: float, **fields: Any) -> dict[str, Any]:
    used = {"etcd": 1.0, "kube-apiserver": 2.0, "operator": 3.0, "kwok": 4.0, "load": 100.0}
    return {"subject": subject, "scenario": scenario, "claims": 7, "p50": p99 / 2, "p99": p99, "cold": 0, "failed": 0,
            "doubles": 0, "leaks": 0, "processor": used, **fields}  # fmt: skip


def test_a_load_is_a_row_beside_the_sketch_and_the_load_costs_nobody() -> None:
    made = [figures("Sandyard", "5/s", 30.0, failed=2), figures("sketch", "5/s", 20.0, doubles=1, leaks=3)]
    page = report.page({"floor": 27.4, "figures": made}, "two processors")
    assert "| 5/s | 15 · 30 | 10 · 20 | 1.5 · 1.5 | 0 | 7 |" in page
    assert "| 5/s | Sandyard | 10 | 2 | 3 | 1 | 4 |" in page
    assert "Pods handed out twice: 1. Pods that were left when their Sandbox was gone: 3. Claims that" in page
    assert "not Ready within a minute: 2." in page
    assert "27 lives a second" in page


def test_a_flood_is_no_cost_of_the_claims_beside_it() -> None:
    made = [figures("Sandyard", "quiet, flood", 30.0)]
    page = report.page({"floor": 1.0, "figures": made}, "")
    assert "| quiet, flood | 15 · 30 |" in page
    assert "| quiet, flood | Sandyard |" not in page
