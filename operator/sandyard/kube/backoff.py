"""Pauses between attempts: longer with each failure, and never in step with others'."""

from __future__ import annotations

import random
from typing import Final

__all__ = ["pause_seconds"]

# One of its own: whoever has given Python's common one a seed finds it as it was.
_RANDOM: Final = random.Random()


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
