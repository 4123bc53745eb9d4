"""Alerts and graphs as Prometheus itself evaluates them, over what an operator has shown."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import generate_latest

from localcluster import tools
from sandyard.engine.process.metrics import Metrics

__all__ = ["STEP_SECONDS", "Alert", "Scrapes", "Series"]

# How often Prometheus looks, unless it is told else (global.scrape_interval and evaluation_interval are 60 at most).
STEP_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Series:
    """One line of a graph: (seconds, value) in order; a value that is no number is left out."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Alert:
    """A rule of the chart; *patience* is its ``for``, in seconds."""

    name: str
    expression: str
    patience: float

    @classmethod
    def of(cls, rule: Mapping[str, Any]) -> Alert:
        """From a PrometheusRule."""
        text = rule.get("for", "0m")
        assert text.endswith("m"), text
        return cls(rule["alert"], rule["expr"], 60 * float(text[:-1]))


class Scrapes:
    """What targets have shown, and what can be asked of it."""

    def __init__(self) -> None:
        self._taken: list[dict[str, Any]] = []
        self.now = 0.0

    def take(self, text: str, instance: str = "one") -> None:
        """*text* is what the operator *instance* shows now; empty if it does not answer."""
        self._taken.append({"at": self.now, "labels": {"instance": instance, "job": "sandyard"}, "text": text})

    def live(self, seconds: float, metrics: Metrics | None, act: Callable[[], None] = lambda: None) -> None:
        """Time passes; at each step *act* does what happens in it, and *metrics* are scraped; None: nobody answers."""
        for _ in range(round(seconds / STEP_SECONDS)):
            act()
            self.now += STEP_SECONDS
            self.take(generate_latest(metrics.registry).decode() if metrics is not None else "")

    def ask(
        self, expressions: Sequence[str], step_seconds: float = STEP_SECONDS, start: float = 0
    ) -> list[list[Series]]:
        """What each of *expressions* has been, at every step.

        Raises
        ------
        AssertionError
            Prometheus does not understand one of them.
        """
        queries = [{"expr": text, "start": start, "end": self.now, "step": step_seconds} for text in expressions]
        program = tools.ensure(["promql"])["promql"] / "promql"
        done = subprocess.run(
            [str(program)], input=json.dumps({"scrapes": self._taken, "queries": queries}), text=True,
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [[_series(item) for item in answer] for answer in json.loads(done.stdout)]

    def firing(self, alerts: Sequence[Alert]) -> dict[str, list[tuple[float, float]]]:
        """From when to when each of *alerts* fired, in seconds; those that never did are left out."""
        found = {}
        for alert, answer in zip(alerts, self.ask([alert.expression for alert in alerts]), strict=True):
            spans = [span for series in answer for span in _spans(series, alert.patience)]
            if spans:
                found[alert.name] = sorted(spans)
        return found


def _series(item: Mapping[str, Any]) -> Series:
    return Series(item["labels"], [(at, value) for at, value in item["points"] if value is not None])


def _spans(series: Series, patience: float) -> list[tuple[float, float]]:
    """When an expression had a value at every step for so long; it fires from then on."""
    spans: list[tuple[float, float]] = []
    for at, _ in series.points:
        if spans and at - spans[-1][1] <= STEP_SECONDS:
            spans[-1] = (spans[-1][0], at)
        else:
            spans.append((at, at))
    return [(start + patience, end) for start, end in spans if end - start >= patience]
