"""How many writes may be under way at once, from how long they take."""

from __future__ import annotations

from sandyard.engine.loops.turns import Limit


def played(limit: Limit, seconds: float, count: int = 500) -> int:
    for _ in range(count):
        limit.took("PATCH pods", seconds, limit.value)
    return limit.value


def test_the_limit_grows_while_writes_take_no_longer() -> None:
    assert played(Limit(), 0.01) == 64


def test_the_limit_falls_to_few_where_they_take_ten_times_as_long() -> None:
    limit = Limit()
    limit.took("PATCH pods", 0.02, 1)
    assert played(limit, 0.2) <= 10


def test_the_limit_stays_where_nobody_needs_more() -> None:
    limit = Limit()
    before = limit.value
    for _ in range(500):
        limit.took("PATCH pods", 0.01, 1)
    assert limit.value == before


def test_too_many_requests_halve_the_limit() -> None:
    limit = Limit()
    before = limit.value
    limit.refused()
    assert limit.value == before // 2


def test_an_api_server_that_is_slower_for_good_is_found_out() -> None:
    limit = Limit()
    played(limit, 0.02)
    assert played(limit, 0.2, 100) <= 10
    assert played(limit, 0.2, 30_000) == 64
