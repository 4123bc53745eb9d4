"""When a Sandbox expires."""

from __future__ import annotations

from sandyard.api import model
from sandyard.api.sandbox import Lifetime

__all__ = ["expires_at"]


def expires_at(lifetime: Lifetime | None, ready_at: float | None) -> float | None:
    """Seconds since the epoch; None for never, or not yet known.

    ``seconds`` counts from Ready, so it says nothing before; ``deadline`` always holds.  The
    earlier of both wins.
    """
    if lifetime is None:
        return None
    limits = []
    if lifetime.seconds is not None and ready_at is not None:
        limits.append(ready_at + lifetime.seconds)
    if lifetime.deadline is not None:
        limits.append(model.seconds(lifetime.deadline))
    return min(limits, default=None)
