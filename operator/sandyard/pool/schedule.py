"""How many warm sandboxes a pool keeps at which time of the day and week (``spec.schedule``).

Each entry sets the size from the minute of its cron line on, until another entry does. Lines are read by cronsim,
which follows Debian's cron: an hour that a time zone skips counts as its end, one that it has twice counts once.
"""

from __future__ import annotations

import datetime
import functools
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass

from cronsim import CronSim

from sandyard.api.sizing import ScheduledSize

__all__ = ["Window", "at"]

_MINUTE_SECONDS = 60


@dataclass(frozen=True)
class Window:
    """The size that holds now.

    Attributes
    ----------
    replicas
        Warm sandboxes to keep.
    until
        When the next entry comes; seconds since the epoch.
    """

    replicas: int
    until: float


def at(entries: Iterable[ScheduledSize], now: float) -> Window | None:
    """The window that *now* (seconds since the epoch) lies in; None without entries."""
    found = tuple((entry.cron, entry.time_zone, entry.replicas) for entry in entries)
    return _window(found, int(now // _MINUTE_SECONDS)) if found else None


@functools.lru_cache(maxsize=4096)
def _window(entries: tuple[tuple[str, str, int], ...], minute: int) -> Window:
    """Cron lines change nothing within a minute, and a pool asks several times a second."""
    now = minute * _MINUTE_SECONDS
    around = [_around(cron, zone, now) for cron, zone, _ in entries]
    # Of entries of the same minute the last in the list holds.
    _, place = max((last, place) for place, (last, _) in enumerate(around))
    return Window(entries[place][2], min(following for _, following in around))


def _around(cron: str, zone: str, now: int) -> tuple[float, float]:
    """When the line has begun last, the minute *now* included, and when it begins next.

    Backwards the hour that a time zone has twice is found twice, so it is only a start: from the time before the
    last one, lines are followed forwards.
    """
    back = CronSim(cron, datetime.datetime.fromtimestamp(now, zoneinfo.ZoneInfo(zone)), reverse=True)
    next(back)
    following = CronSim(cron, next(back))
    last = next(following).timestamp()
    while (after := next(following).timestamp()) <= now:
        last = after
    return last, after
