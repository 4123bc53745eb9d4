from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.api.reasons import Reason
from sandyard.kube import backoff as pauses
from sandyard.kube import errors
from sandyard.pool.backoff import Backoff


def test_a_refused_pod_is_tried_again_within_twenty_seconds() -> None:
    backoff = Backoff()
    for _ in range(20):
        backoff = backoff.fail(Reason.QUOTA_EXCEEDED, "exceeded quota", 100, 0.999)
    assert backoff.active(100)
    assert backoff.until - 100 <= 20


def test_a_broken_pod_costs_a_handful_in_half_an_hour() -> None:
    now, pods, backoff = 0.0, 2, Backoff()
    backoff = backoff.fail(Reason.PROBE_FAILED, "", now, 0).fail(Reason.PROBE_FAILED, "", now, 0)
    while backoff.until < 1800:
        now = backoff.until
        backoff = backoff.fail(Reason.PROBE_FAILED, "", now, 0)
        pods += 1
    assert pods <= 10


def test_success_forgives() -> None:
    backoff = Backoff().fail(Reason.PROBE_FAILED, "x", 0, 0.5).succeed()
    assert backoff.failures == 0
    assert not backoff.active(0)
    assert backoff.reason is Reason.PROBE_FAILED, "what failed last is still told"


@given(st.integers(1, 60), st.floats(0, 0.999))
def test_the_wait_grows_and_is_bounded(failures: int, jitter: float) -> None:
    backoff = Backoff()
    for _ in range(failures):
        backoff = backoff.fail(Reason.ERROR, "", 0, jitter)
    assert 0 < backoff.until <= 750


async def test_a_watch_waits_as_a_server_asks_and_not_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(pauses.asyncio, "sleep", sleep)
    for asked in (4.0, 86400.0):
        pace = pauses.Pace()
        pace.ended(10.0, errors.ApiError(429, {"message": "later"}, asked))
        await pace.wait()
    assert waited[0] == 4.0
    assert 4.0 < waited[1] <= 10
