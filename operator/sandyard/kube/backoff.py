"""Pauses between attempts: longer with each failure, and never in step with others'."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from sandyard.kube import errors

__all__ = ["Pace", "longest_seconds", "pause_seconds"]

# One of its own: whoever has given Python's common one a seed finds it as it was.
_RANDOM: Final = random.Random()
_FIRST_SECONDS: Final = 0.05
# Half as long again by chance: a server that was away is found within a second of its return.
_LONGEST_SECONDS: Final = 0.5
_LONGEST_BUSY_SECONDS: Final = 5.0
_SAME_NEWS: Final = 20
# Streams: one that breaks at once each time must not be asked for at once each time.
_SHORT_SECONDS: Final = 1.0
_SOUND_SECONDS: Final = 5.0


def pause_seconds(failures: int, first: float, longest: float, jitter: float | None = None) -> float:
    """How long to wait after so many failures before: *first* seconds, then twice as long each time.

    Parameters
    ----------
    longest
        Bound of the pause before jitter.
    jitter
        0 to 1 for half to one and a half times the pause; None: by chance.
    """
    share = _RANDOM.random() if jitter is None else jitter
    return min(first * 2.0 ** min(failures, 30), longest) * (0.5 + share)


def longest_seconds(error: Exception) -> float:
    """The longest pause after *error*: whoever is overloaded is spared, whoever is away is soon missed."""
    busy = isinstance(error, errors.ApiError) and error.status in (429, 504)
    return _LONGEST_BUSY_SECONDS if busy else _LONGEST_SECONDS


class Pace:
    """How fast one collection may be asked for again."""

    def __init__(self) -> None:
        self._failures = 0
        self._seconds = 0.0

    async def wait(self) -> None:
        """Return when the next request may be sent."""
        seconds, self._seconds = self._seconds, 0.0
        if seconds:
            await asyncio.sleep(seconds)

    def ended(self, seconds: float, error: Exception | None = None) -> None:
        """A request or a stream has ended after *seconds*, as it may or with *error*.

        After an error, and after a stream that ended at once, the next one waits: longer each time, or as
        the server asks.
        """
        if seconds >= _SOUND_SECONDS:
            self._failures = 0
        if error is None and seconds >= _SHORT_SECONDS:
            return
        longest = _LONGEST_SECONDS if error is None else longest_seconds(error)
        asked = error.retry_after_seconds if isinstance(error, errors.ApiError) else None
        self._seconds = max(
            pause_seconds(self._failures, _FIRST_SECONDS, longest), min(asked or 0.0, _LONGEST_BUSY_SECONDS)
        )
        self._failures += 1

    def tell(self, log: logging.Logger, path: str, error: Exception) -> None:
        """Log *error*, which has ended it: the first one, and some of those that follow."""
        level = logging.WARNING if self._failures % _SAME_NEWS == 1 else logging.DEBUG
        log.log(level, "watch interrupted", extra={"path": path, "error": str(error)})
