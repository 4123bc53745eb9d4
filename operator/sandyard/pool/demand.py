"""How many warm sandboxes a pool needs for the load that it sees (``spec.autoscale``).

While a substitute warms up, further claims arrive.  If they come at rate λ and a pod takes W
seconds from its creation to proven, their number in that time is a Poisson variable with mean
λ·W; a pool that holds its 99.9th percentile meets all but one in a thousand claims warm.
That is the base-stock level of a stock with Poisson demand and lead time W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["QUANTILE", "Demand", "poisson_quantile"]

QUANTILE: Final = 0.999
# The rate is measured over the last seconds, so that a burst is answered while it lasts; its
# peak is forgotten over minutes, so that the pool does not shrink between two bursts.
_RISE_SECONDS: Final = 10.0
_FALL_SECONDS: Final = 120.0
# Until a start has been measured.
_FIRST_WARM_UP_SECONDS: Final = 5.0
# Below this mean the percentile is 0: P(X = 0) > 0.999.
_NOTHING: Final = -math.log(QUANTILE)


@dataclass(frozen=True)
class Demand:
    """What has been measured of one pool; all times in seconds of one clock.

    Attributes
    ----------
    recent
        Claims a second over the last `_RISE_SECONDS`, at time `at`.
    peak
        The highest of those, slowly forgotten, at time `at`.
    warm_up_seconds
        Measured time from creation to proven; None: not measured yet.
    """

    at: float = 0.0
    recent: float = 0.0
    peak: float = 0.0
    warm_up_seconds: float | None = None

    def claimed(self, now: float) -> Demand:
        """One more claim has arrived."""
        old = self.at_time(now)
        recent = old.recent + 1.0 / _RISE_SECONDS
        return Demand(now, recent, max(old.peak, recent), self.warm_up_seconds)

    def started(self, seconds: float) -> Demand:
        """One more pod has proven itself, *seconds* after its creation.

        Kubernetes' own times have whole seconds, so less than one cannot be measured.
        """
        seconds = max(1.0, seconds)
        known = self.warm_up_seconds
        if known is None:
            return Demand(self.at, self.recent, self.peak, seconds)
        # Slower starts are believed sooner than faster ones.
        weight = 0.5 if seconds > known else 0.1
        return Demand(self.at, self.recent, self.peak, known + weight * (seconds - known))

    def at_time(self, now: float) -> Demand:
        """The same, seen at *now*: what lies back counts for less."""
        passed = max(0.0, now - self.at)
        recent = self.recent * math.exp(-passed / _RISE_SECONDS)
        # It falls more slowly, so it is never less.
        peak = self.peak * math.exp(-passed / _FALL_SECONDS)
        return Demand(max(now, self.at), recent, peak, self.warm_up_seconds)

    def mean(self, now: float) -> float:
        """Claims expected while one pod warms up, λ·W."""
        warm_up = _FIRST_WARM_UP_SECONDS if self.warm_up_seconds is None else self.warm_up_seconds
        return self.at_time(now).peak * warm_up

    def replicas(self, now: float, lowest: int, highest: int) -> int:
        """Warm sandboxes to keep, within the bounds."""
        return max(lowest, min(highest, poisson_quantile(self.mean(now))))

    def idle(self, now: float) -> bool:
        """Whether the load of the past asks for nothing any more."""
        return self.mean(now) <= _NOTHING


def poisson_quantile(mean: float, quantile: float = QUANTILE) -> int:
    """The smallest n with P(X <= n) >= *quantile*, for X Poisson with *mean*."""
    if mean > 400:
        # The normal approximation; its error is below one sandbox here.
        return math.ceil(mean + 3.0902 * math.sqrt(mean) + 1)
    term = total = math.exp(-mean)
    number = 0
    while total < quantile:
        number += 1
        term *= mean / number
        total += term
    return number
