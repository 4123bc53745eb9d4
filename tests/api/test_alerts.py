"""Each alert of the chart fires in its own trouble and at no other time, by Prometheus' own engine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pages import dashboard
from sandyard.engine.process.metrics import Metrics
from tests.support import chart, promql
from tests.support.promql import Alert, Scrapes

HOUR = 3600.0
POOL = ("team", "python")


@functools.cache
def alerts() -> tuple[Alert, ...]:
    (group,) = chart.one(chart.render({"metrics.rules.enabled": True}), "PrometheusRule")["spec"]["groups"]
    return tuple(Alert.of(rule) for rule in group["rules"])


@dataclass
class Operator:
    """An operator whose metrics move as those of a real one do."""

    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.metrics.leader.set(1)
        self.metrics.pool_backing_off.labels(*POOL).set(0)
        self.metrics.teardown_stuck.set(0)

    def usual(self, claims: int = 30, seconds: float = 0.03) -> None:
        """A step in which all is well: claims of warm pods, one of a cold one, refill, ends."""
        for _ in range(claims):
            self.claim("Warm", seconds)
            self.metrics.pod_starts.labels("created").inc()
            self.metrics.start_seconds.observe(4)
            self.metrics.teardown_seconds.observe(0.3)
        self.claim("Cold", 4)
        self.metrics.pool_pods.labels(*POOL, "warm").set(10)
        self.metrics.pool_waiting.labels(*POOL).set(0)
        self.metrics.oldest_claim.clear()

    def claim(self, start: str, seconds: float, result: str = "ready") -> None:
        self.metrics.claims.labels(result, start).inc()
        if result == "ready":
            self.metrics.observe_claim(start, seconds, (("queue", seconds / 3),), None)


def test_a_good_day_is_a_quiet_one() -> None:
    scrapes, operator = Scrapes(), Operator()
    scrapes.live(HOUR, operator.metrics, operator.usual)
    # What comes now and then, and is nobody's trouble: one failed start, a claim that fails, a leftover or two.
    for _ in range(3):
        operator.metrics.pod_starts.labels("failed").inc()
        operator.claim("Cold", 0, "ImagePullBackOff")
        operator.metrics.sweep_removed.labels("pods").inc()
        operator.metrics.oldest_claim.labels(*POOL).set(20)
        scrapes.live(HOUR / 2, operator.metrics, operator.usual)
    # Nights are without claims; and an operator begins from nothing when it is restarted.
    scrapes.live(HOUR, operator.metrics)
    scrapes.live(60, None)
    after = Operator()
    scrapes.live(HOUR, after.metrics, after.usual)
    assert scrapes.firing(alerts()) == {}


def stuck(operator: Operator) -> None:
    operator.metrics.teardown_stuck.set(1)


def leftovers(operator: Operator) -> None:
    operator.metrics.sweep_removed.labels("pods").inc(2)


def starts_fail(operator: Operator) -> None:
    operator.metrics.pod_starts.labels("failed").inc()


def backing_off(operator: Operator) -> None:
    operator.metrics.pool_backing_off.labels(*POOL).set(1)


def claims_fail(operator: Operator) -> None:
    for _ in range(4):
        operator.claim("Cold", 0, "StartTimeout")


def claims_slow(operator: Operator) -> None:
    for _ in range(2):
        operator.claim("Warm", 8)


def claims_wait(operator: Operator) -> None:
    operator.metrics.oldest_claim.labels(*POOL).set(400)


TROUBLES: dict[str, Callable[[Operator], None]] = {
    "SandyardTeardownStuck": stuck,
    "SandyardLeftovers": leftovers,
    "SandyardPoolCannotStart": starts_fail,
    "SandyardPoolBackingOff": backing_off,
    "SandyardClaimsFail": claims_fail,
    "SandyardClaimsSlow": claims_slow,
    "SandyardClaimsWait": claims_wait,
}


@pytest.mark.parametrize("name", TROUBLES)
def test_an_alert_fires_in_its_own_trouble_and_ends_with_it(name: str) -> None:
    scrapes, operator = Scrapes(), Operator()
    scrapes.live(HOUR / 2, operator.metrics, operator.usual)
    began = scrapes.now

    def trouble() -> None:
        operator.usual()
        TROUBLES[name](operator)

    scrapes.live(HOUR, operator.metrics, trouble)
    ended = scrapes.now
    operator.metrics.teardown_stuck.set(0)
    operator.metrics.pool_backing_off.labels(*POOL).set(0)
    scrapes.live(2 * HOUR, operator.metrics, operator.usual)
    found = scrapes.firing(alerts())
    assert set(found) == {name}
    ((first, last),) = found[name]
    assert began < first <= began + HOUR / 2
    assert ended - promql.STEP_SECONDS <= last < ended + 1.5 * HOUR


@pytest.mark.parametrize("standby", [False, True], ids=["none is there", "all stand by"])
def test_an_alert_tells_that_nobody_is_active(standby: bool) -> None:
    scrapes, operator = Scrapes(), Operator()
    scrapes.live(HOUR, operator.metrics, operator.usual)
    operator.metrics.leader.set(0)
    scrapes.live(HOUR / 2, operator.metrics if standby else None)
    ended = scrapes.now
    operator.metrics.leader.set(1)
    scrapes.live(HOUR / 2, operator.metrics, operator.usual)
    ((first, last),) = scrapes.firing(alerts())["SandyardNoLeader"]
    assert HOUR + 120 <= first <= HOUR + 180
    assert ended - promql.STEP_SECONDS <= last <= ended


def test_every_alert_is_tried() -> None:
    assert {alert.name for alert in alerts()} == {*TROUBLES, "SandyardNoLeader"}


def test_every_graph_of_the_dashboard_shows_what_there_was() -> None:
    scrapes, operator = Scrapes(), Operator()
    metrics = operator.metrics

    def everything() -> None:
        operator.usual()
        for trouble in TROUBLES.values():
            trouble(operator)
        metrics.ended.labels("Completed").inc()
        metrics.expired.labels("Lifetime", "Delete").inc()
        metrics.observe_request("PATCH", "pods", "200", 0.01)
        metrics.queue_length.labels("sandboxes").set(1)
        metrics.sandboxes.labels("Ready").set(3)

    scrapes.live(HOUR / 2, metrics, everything)
    queries = [query for panel in dashboard.PANELS for query, _ in panel.queries]
    asked = [dashboard.concrete(query) for query in queries]
    for query, answer in zip(queries, scrapes.ask(asked), strict=True):
        assert answer, query
        assert all(series.points for series in answer), query
