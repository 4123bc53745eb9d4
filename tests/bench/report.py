"""A page about the figures of `tests.bench.claims`: docs/performance.md."""

from __future__ import annotations

import os
import pathlib
import platform
from collections.abc import Iterable, Mapping
from typing import Any, Final

from localcluster import paths
from tests.bench.plots import PICTURES, draw

__all__ = ["page", "write"]

_FLOODED: Final = "quiet, flood"
_HEAD: Final = """# Performance

What `make bench` measured; it wrote this page. A pool of 300 warm pods on simulated nodes, API server, etcd,
scheduler, controller manager, operator and load all on one machine:
{machine}.
Arrivals are a Poisson process drawn in advance, nobody waits for those before; each claim is held for three seconds
and then deleted, while the pool refills. A time runs from just before the POST of a Sandbox until a watch shows it
Ready. *Quiet* is a namespace where three claims come a second, by itself and while 200 come at once in another.

Times of two machines, or of two days, do not compare. What compares is what was measured in one run: beside Sandyard
stands a *sketch*, the claim path alone in some 200 lines (`tests/bench/sketch.py`): it proves nothing, checks
nothing, recovers from nothing and tells nobody anything, and has no admission policies. The *floor* is the writes of
a Sandbox's life, sent bare by the same client as fast as the API server takes them: {floor:.0f} lives a second.

"""
_TIMES: Final = """## Times

Milliseconds, p50 · p99. *Ratio* is Sandyard over the sketch.

"""
_COST: Final = """
## What a life costs

Processor time, in milliseconds, of everything that takes part in one claim's life, from its POST to its replacement's
start; the load itself is left out.

"""


def write(path: pathlib.Path, measured: Mapping[str, Any]) -> None:
    """Write the page about *measured* to *path*."""
    draw(path.parent / "bench", measured["figures"])
    path.write_text(page(measured, _machine()))


def page(measured: Mapping[str, Any], machine: str) -> str:
    """The page as Markdown."""
    figures = measured["figures"]
    scenarios = list(dict.fromkeys(item["scenario"] for item in figures))
    times = [["load", "Sandyard", "sketch", "ratio", "cold", "claims"]]
    cost = [["load", "subject", "all", "API server", "operator", "etcd", "others"]]
    for scenario in scenarios:
        ours, theirs = (_the(figures, scenario, subject) for subject in ("Sandyard", "sketch"))
        if ours is None:
            continue
        ratio = _ratio(ours, theirs)
        times.append([scenario, _times(ours), _times(theirs), ratio, str(ours["cold"]), str(ours["claims"])])
        if scenario != _FLOODED:
            # What the flood costs is no cost of the few claims beside it.
            cost += [_cost(item) for item in (ours, theirs) if item is not None]
    doubles, leaks, failed = (sum(item[what] for item in figures) for what in ("doubles", "leaks", "failed"))
    end = (f"\nPods handed out twice: {doubles}. Pods that were left when their Sandbox was gone: {leaks}. "
           f"Claims that were not Ready within a minute: {failed}.\n")  # fmt: skip
    pictures = "".join(f"\n{says}\n\n![{says}](bench/{name})\n" for name, says in PICTURES.items())
    tables = _TIMES + _table(times) + end + _COST + _table(cost)
    return _HEAD.format(machine=machine, floor=measured["floor"]) + tables + "\n## Pictures\n" + pictures


def _the(figures: Iterable[dict[str, Any]], scenario: str, subject: str) -> dict[str, Any] | None:
    """The figures of a scenario; of two runs of it the better one, which was disturbed less."""
    found = [item for item in figures if item["scenario"] == scenario and item["subject"] == subject]
    return min(found, key=lambda item: float(item["p99"]), default=None)


def _times(item: Mapping[str, Any] | None) -> str:
    return f"{item['p50']:.0f} · {item['p99']:.0f}" if item is not None else ""


def _ratio(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> str:
    return f"{ours['p50'] / theirs['p50']:.1f} · {ours['p99'] / theirs['p99']:.1f}" if theirs is not None else ""


def _cost(item: Mapping[str, Any]) -> list[str]:
    used = {name.removeprefix("kube-"): value for name, value in item["processor"].items() if name != "load"}
    named = ("apiserver", "operator", "etcd")
    others = sum(value for name, value in used.items() if name not in named)
    figures = (sum(used.values()), *(used[name] for name in named), others)
    return [item["scenario"], item["subject"], *(f"{value:.0f}" for value in figures)]


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _machine() -> str:
    kubernetes = (paths.REPOSITORY / "hack" / "tools" / "kubernetes" / "go.mod").read_text()
    version = next(line.split()[1] for line in kubernetes.splitlines() if "k8s.io/kubernetes v" in line)
    software = f"Linux {platform.release()}, Python {platform.python_version()}, Kubernetes {version}"
    return f"{os.cpu_count()} processors, {software}"
