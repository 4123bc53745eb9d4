"""How long a pool waits after failed starts: jittered, capped, reset by success."""

from __future__ import annotations

from dataclasses import dataclass

from sandyard.api.reasons import Reason

__all__ = ["Backoff"]

# A refused create costs one request, a pod that starts and fails costs a node real work: the
# first may be tried again soon (putting it right then heals within seconds), the second not.
_REFUSED = frozenset({Reason.QUOTA_EXCEEDED, Reason.RUNTIME_CLASS_MISSING, Reason.POD_REFUSED, Reason.INVALID_TEMPLATE})
_REFUSED_CAP_SECONDS = 15.0
_FAILED_CAP_SECONDS = 600.0
_BASE_SECONDS = 3.0


@dataclass(frozen=True)
class Backoff:
    """Failures in a row of one pool and template.

    Attributes
    ----------
    failures
        Failed starts since the last good one.
    until
        Time before which nothing is started.
    """

    failures: int = 0
    until: float = float("-inf")
    reason: Reason | None = None
    message: str = ""
    at: float = 0.0

    def fail(self, reason: Reason, message: str, now: float, jitter: float) -> Backoff:
        """One more failure at *now*; *jitter* is random in [0, 1)."""
        failures = self.failures + 1
        cap = _REFUSED_CAP_SECONDS if reason in _REFUSED else _FAILED_CAP_SECONDS
        delay = min(_BASE_SECONDS * 2 ** min(failures, 16), cap) * (0.75 + 0.5 * jitter)
        return Backoff(failures, max(self.until, now + delay), reason, message, now)

    def succeed(self) -> Backoff:
        """A pod turned ready."""
        return Backoff(reason=self.reason, message=self.message, at=self.at) if self.failures else self

    def active(self, now: float) -> bool:
        """Whether starts are held back at *now*."""
        return now < self.until
