"""The size of a pool that follows its demand."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.pool.demand import QUANTILE, Demand, poisson_quantile


@given(st.floats(0.0001, 390))
def test_the_percentile_is_the_smallest_number_that_is_enough(mean: float) -> None:
    def below(n: int) -> float:
        return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(n + 1))

    found = poisson_quantile(mean)
    assert below(found) >= QUANTILE - 1e-9
    assert found == 0 or below(found - 1) < QUANTILE + 1e-9


def test_the_percentile_does_not_jump_where_the_approximation_begins() -> None:
    assert abs(poisson_quantile(400.5) - poisson_quantile(399.5)) <= 3


def test_an_idle_pool_asks_for_nothing() -> None:
    assert Demand().replicas(0.0, 0, 100) == 0
    assert Demand().replicas(0.0, 2, 100) == 2
    assert Demand().idle(0.0)


def test_one_claim_asks_for_some_and_is_forgotten_in_minutes() -> None:
    demand = Demand().started(2.0).claimed(0.0)
    assert demand.replicas(0.0, 0, 100) >= 1
    assert demand.replicas(60.0, 0, 100) >= 1, "slow to fall"
    assert demand.replicas(1200.0, 0, 100) == 0
    assert demand.idle(1200.0)


@pytest.mark.parametrize(("rate", "warm_up"), [(0.2, 2.0), (1.0, 3.0), (5.0, 3.0), (20.0, 2.0)])
def test_a_steady_load_sees_no_cold_start(rate: float, warm_up: float) -> None:
    """Simulated: Poisson arrivals, each taken pod replaced after its warm-up, for an hour after a minute."""
    rng = random.Random(7)
    now, demand, cold, served = 0.0, Demand().started(warm_up), 0, 0
    warm, arriving = 0, []
    while now < 3600:
        now += rng.expovariate(rate)
        warm += sum(at <= now for at in arriving)
        arriving = [at for at in arriving if at > now]
        demand = demand.claimed(now)
        if now > 60:
            served += 1
            cold += warm == 0
        warm = max(0, warm - 1)
        missing = demand.replicas(now, 0, 1000) - warm - len(arriving)
        arriving += [now + warm_up] * max(0, missing)
    assert cold <= max(2, 0.002 * served), f"{cold} of {served} were cold"


def test_a_burst_is_answered_while_it_lasts() -> None:
    demand = Demand().started(2.0)
    for number in range(20):
        demand = demand.claimed(number / 10)
    assert demand.replicas(2.0, 0, 100) >= 5


def test_slower_starts_are_believed_sooner_than_faster_ones() -> None:
    demand = Demand().started(2.0)
    assert demand.started(10.0).warm_up_seconds == 6.0
    assert demand.started(1.0).warm_up_seconds == pytest.approx(1.9)
    assert Demand().started(0.0).warm_up_seconds == 1.0


def test_the_bounds_hold() -> None:
    demand = Demand().started(10.0)
    for number in range(100):
        demand = demand.claimed(number / 50)
    assert demand.replicas(2.0, 0, 7) == 7
