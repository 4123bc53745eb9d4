"""Pools whose size follows the clock: which entry holds when, in whose time zone, and what the operator does then."""

from __future__ import annotations

import datetime
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.api import model
from sandyard.api.pool import PoolSpec
from sandyard.api.sizing import ScheduledSize
from sandyard.pool import schedule
from tests.unit.simulation import World

OFFICE = [{"cron": "0 7 * * 1-5", "replicas": 20}, {"cron": "30 18 * * *", "replicas": 2}]


def entries(*made: dict[str, Any]) -> list[ScheduledSize]:
    return [ScheduledSize.model_validate(item) for item in made]


def when(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("now", "replicas", "until"),
    [
        ("2026-01-05T06:59:59Z", 2, "2026-01-05T07:00:00Z"),  # a Monday
        ("2026-01-05T07:00:00Z", 20, "2026-01-05T18:30:00Z"),
        ("2026-01-05T07:00:59Z", 20, "2026-01-05T18:30:00Z"),
        ("2026-01-05T18:29:59Z", 20, "2026-01-05T18:30:00Z"),
        ("2026-01-05T18:30:00Z", 2, "2026-01-06T07:00:00Z"),
        ("2026-01-10T12:00:00Z", 2, "2026-01-10T18:30:00Z"),  # a Saturday
    ],
)
def test_the_entry_that_began_last_holds_until_another_begins(now: str, replicas: int, until: str) -> None:
    assert schedule.at(entries(*OFFICE), when(now)) == schedule.Window(replicas, when(until))


def test_of_entries_of_the_same_minute_the_last_in_the_list_holds() -> None:
    both = entries({"cron": "0 7 * * *", "replicas": 9}, {"cron": "0 7 * * *", "replicas": 1})
    found = schedule.at(both, when("2026-01-05T12:00:00Z"))
    assert found is not None and found.replicas == 1


def test_an_entry_goes_by_its_own_time_zone() -> None:
    two = entries({"cron": "0 7 * * *", "timeZone": "Asia/Tokyo", "replicas": 1}, {"cron": "0 7 * * *", "replicas": 2})
    for now, replicas in (("2026-01-05T06:59:00Z", 1), ("2026-01-05T07:00:00Z", 2), ("2026-01-05T22:00:00Z", 1)):
        found = schedule.at(two, when(now))
        assert found is not None and found.replicas == replicas


@pytest.mark.parametrize(
    ("day", "begins"),
    [
        ("2026-03-28", "2026-03-28T01:30:00Z"),
        ("2026-03-29", "2026-03-29T01:00:00Z"),  # 02:30 is skipped: the hour's end
        ("2026-03-30", "2026-03-30T00:30:00Z"),
        ("2026-10-25", "2026-10-25T00:30:00Z"),  # 02:30 is there twice: the first
    ],
)
def test_days_on_which_clocks_change_begin_an_entry_once(day: str, begins: str) -> None:
    two = entries({"cron": "30 2 * * *", "timeZone": "Europe/Berlin", "replicas": 5},
                  {"cron": "0 12 * * *", "timeZone": "Europe/Berlin", "replicas": 1})  # fmt: skip
    start = when(f"{day}T00:00:00Z")
    sizes = [schedule.at(two, start + 600 * at) for at in range(60)]
    changes = [start + 600 * at for at in range(1, 60) if sizes[at - 1].replicas < sizes[at].replicas]  # type: ignore[union-attr]
    assert changes == [when(begins)]


@given(
    st.lists(
        st.sampled_from(["* * * * *", "*/7 3 * * *", "0 0 1 * *", "5 4 29 2 *", "0 12 * * 0"]), min_size=1, max_size=4
    ),
    st.floats(0, 4e9),
)
def test_a_window_ends_after_it_is_asked_for(lines: list[str], now: float) -> None:
    made = entries(*({"cron": line, "replicas": at} for at, line in enumerate(lines)))
    found = schedule.at(made, now)
    assert found is not None and found.until > now
    assert schedule.at([], now) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cron": "61 * * * *"}, "no cron line"),
        ({"cron": "0 0 31 2 *"}, "no cron line"),
        # What a line can say, and no day ever is: the fifth Monday of a month on its 1st or 17th.
        ({"cron": "0 0 */16 * 1#5"}, "such a day never comes, or hardly ever"),
        # Every 28 years.
        ({"cron": "0 0 * 2 1#5"}, "such a day never comes, or hardly ever"),
        ({"cron": "0 0 29 2 */7"}, "such a day never comes, or hardly ever"),
        ({"cron": "0 0 1 1 *\u2003*"}, "cron"),
        ({"cron": "\u0660 0 1 1 *"}, "cron"),
        ({"cron": "@daily"}, "cron"),
        ({"cron": "0 0 * * * *"}, "cron"),
        ({"cron": ""}, "cron"),
        ({"timeZone": "Mars/Olympus"}, "no time zone such as"),
        ({"timeZone": "../../etc/passwd"}, "timeZone"),
        ({"timeZone": "/etc/localtime"}, "no time zone"),
        ({"replicas": -1}, "replicas"),
    ],
)
def test_what_cannot_be_read_is_told_with_an_example(change: dict[str, Any], told: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=told):
        PoolSpec.model_validate({"template": {"image": "a"}, "schedule": [{**OFFICE[0], **change}]})


def desired(world: World) -> int:
    free = [pod for pod in world.pods(going=False) if pod["metadata"]["labels"]["sandyard.dev/state"] == "warm"]
    return len(free)


def test_a_pool_grows_and_shrinks_by_the_clock_and_says_until_when() -> None:
    world = World(maximum=20)
    try:
        minute = datetime.datetime.fromtimestamp(world.now + 600, datetime.UTC)
        later = minute + datetime.timedelta(minutes=10)
        lines = [(minute, 5), (later, 1)]
        sizes = [{"cron": f"{at.minute} {at.hour} * * *", "replicas": size} for at, size in lines]
        world.api.change("sandboxpools", "pool", {"spec": {"schedule": sizes}})
        world.prompt(30)
        assert desired(world) == 1, "yesterday's last entry"
        world.now = minute.replace(second=0).timestamp() + 1
        world.prompt(60)
        assert desired(world) == 5
        told = world.pool["status"]["schedule"]  # type: ignore[index]
        assert (told["replicas"], model.seconds(told["until"])) == (
            5,
            later.replace(second=0, microsecond=0).timestamp(),
        )
        world.now = later.replace(second=0).timestamp() + 1
        world.prompt(60)
        assert desired(world) == 1
    finally:
        world.close()


def test_with_autoscale_the_schedule_is_the_fewest_that_the_demand_may_leave() -> None:
    world = World(maximum=20)
    try:
        at = {"cron": "* * * * *", "replicas": 4}
        world.api.change("sandboxpools", "pool", {"spec": {"schedule": [at], "autoscale": {"maxReplicas": 3}}})
        world.prompt(40)
        assert desired(world) == 3, "no more than maxReplicas"
        world.api.change("sandboxpools", "pool", {"spec": {"autoscale": {"maxReplicas": 9}}})
        world.prompt(40)
        assert desired(world) == 4
    finally:
        world.close()


def _settle(world: World) -> None:
    """Until what was expected of creates and deletes is forgotten."""
    for _ in range(3):
        world.prompt(30)
        world.now += 60


def test_a_pool_with_a_schedule_is_looked_at_again_when_nothing_else_happens() -> None:
    world = World(maximum=20)
    try:
        _settle(world)
        assert world.pool is not None
        later, uid = world.operator.queues.pools.later, world.pool["metadata"]["uid"]  # type: ignore[attr-defined]
        assert uid not in later
        world.api.change("sandboxpools", "pool", {"spec": {"schedule": OFFICE}})
        _settle(world)
        assert uid in later
    finally:
        world.close()
