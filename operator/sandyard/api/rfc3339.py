"""Times as Kubernetes writes them: RFC 3339.

Apart from the models: the client and the command line need times, and pydantic would be a third of their start.
"""

from __future__ import annotations

import datetime

__all__ = ["moment", "seconds", "short", "timestamp"]

_FIRST = datetime.datetime(1, 1, 1, tzinfo=datetime.UTC).timestamp()
_LAST = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC).timestamp()
_YEAR_IS_CLEAR_SECONDS = 300 * 86400


def timestamp(at: float) -> str:
    """RFC 3339 in UTC with microseconds; *at* in seconds since the epoch, held within the years 1 to 9999."""
    held = min(max(at, _FIRST), _LAST)
    # strftime writes early years with fewer digits.
    return datetime.datetime.fromtimestamp(held, datetime.UTC).isoformat(timespec="microseconds")[:26] + "Z"


def short(at: float, now: float) -> str:
    """*at* in UTC in 12 characters or fewer, for a column: ``11-29 12:30Z``, or the date alone if it is far from *now*.

    Both in seconds since the epoch. Which year is meant is clear within 300 days only.
    """
    text = timestamp(at)
    return text[:10] if abs(at - now) > _YEAR_IS_CLEAR_SECONDS else f"{text[5:10]} {text[11:16]}Z"


def seconds(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time.

    Raises
    ------
    ValueError
        *text* is not a time with a zone.
    """
    found = datetime.datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return found.timestamp()


def moment(text: object) -> float | None:
    """Seconds since the epoch of a time that others have written; None if it is not one that we understand.

    Kubernetes takes times that Python has none of, such as those of the year 0.
    """
    try:
        return seconds(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None
