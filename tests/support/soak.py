"""Short and long forms of the same test: few cases in `make test`, many in `make soak`.

This is the only place that reads ``SANDYARD_SOAK`` and ``SANDYARD_SEED``.
"""

from __future__ import annotations

import os
import random

__all__ = ["long_form", "rounds", "seconds", "seed"]


def long_form() -> bool:
    """Whether this run is a soak (``SANDYARD_SOAK=1``)."""
    return os.environ.get("SANDYARD_SOAK", "") not in ("", "0")


def rounds(*, short: int, long: int) -> int:
    """Number of cases: *short* in `make test`, *long* in `make soak`."""
    return long if long_form() else short


def seconds(*, short: float, long: float) -> float:
    """How long to go on, in seconds: *short* in `make test`, *long* in `make soak`."""
    return long if long_form() else short


def seed() -> int:
    """Return a seed that is another one in each run, so that many short runs cover what one long run does.

    It is printed, and pytest shows what a failed test has printed: ``SANDYARD_SEED=<number>`` repeats the run.
    """
    text = os.environ.get("SANDYARD_SEED", "")
    number = int(text) if text else random.SystemRandom().randrange(2**32)
    print(f"SANDYARD_SEED={number} repeats this test's choices", flush=True)
    return number
