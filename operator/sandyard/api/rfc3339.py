"""Times as Kubernetes writes them: RFC 3339.

Apart from the models: the client and the command line need times, and pydantic would be a third of their start.
"""

from __future__ import annotations

import datetime

__all__ = ["seconds", "timestamp"]


def timestamp(moment: float) -> str:
    """RFC 3339 in UTC with microseconds; *moment* in seconds since the epoch."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time.

    Raises
    ------
    ValueError
        *text* is not a time with a zone.
    """
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()
