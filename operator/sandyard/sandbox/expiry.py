"""When a Sandbox expires, why, and when an ended one is deleted. Times are seconds since the epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pydantic

from sandyard.api import model, untrusted
from sandyard.api.lifetime import Lifetime, SandboxLifetime
from sandyard.api.pool import PoolSpec
from sandyard.api.reasons import Condition, Reason
from sandyard.sandbox.status import Status

__all__ = ["NEVER", "Expiry", "Terms", "activity", "deleted_at", "expiry", "terms_of"]


@dataclass(frozen=True)
class Terms:
    """What the pool, and the installation, say about the lifetimes of Sandboxes.

    Attributes
    ----------
    most_seconds
        Of every Sandbox of the namespace (``policy.maxLifetimeSeconds`` of the chart); 0: no bound.
    """

    default: SandboxLifetime | None = None
    max_seconds: int | None = None
    most_seconds: int = 0

    @property
    def longest_seconds(self) -> int | None:
        """What no Sandbox can exceed; None: no bound."""
        return min((most for most in (self.max_seconds, self.most_seconds or None) if most is not None), default=None)

    def effective(self, own: Lifetime | None) -> SandboxLifetime | None:
        """The Sandbox's own lifetime, or the pool's default as a whole."""
        return own if own is not None else self.default

    def dump(self) -> str:
        """As text for an annotation: a pod keeps the terms that it was claimed under; empty if there are none."""
        content: dict[str, Any] = {}
        if self.default is not None:
            content["lifetime"] = self.default.model_dump(mode="json", by_alias=True, exclude_none=True)
        if self.max_seconds is not None:
            content["maxLifetimeSeconds"] = self.max_seconds
        return json.dumps(content, sort_keys=True) if content else ""


@dataclass(frozen=True)
class Expiry:
    """The earliest limit.

    Attributes
    ----------
    at
        None: never, or not known before the sandbox is Ready.
    """

    at: float | None
    reason: Reason = Reason.EXPIRED
    message: str = ""


NEVER = Expiry(None)


def terms_of(pool: PoolSpec | None, annotation: str = "", most_seconds: int = 0) -> Terms:
    """The terms of *pool*; of the pod's *annotation* when the pool is gone."""
    if pool is not None:
        return Terms(pool.claim_defaults.lifetime, pool.max_lifetime_seconds, most_seconds)
    content = untrusted.fields(annotation)
    most = content.get("maxLifetimeSeconds")
    try:
        default = SandboxLifetime.model_validate(content["lifetime"]) if "lifetime" in content else None
    except pydantic.ValidationError:
        default = None
    return Terms(default, most if isinstance(most, int) else None, most_seconds)


def expiry(
    own: Lifetime | None, terms: Terms, ready_at: float | None, active_at: float | None = None, *,
    idle_counts: bool = True,
) -> Expiry:  # fmt: skip
    """The earliest of all limits that hold.

    ``seconds``, ``idleSeconds`` and both kinds of ``maxLifetimeSeconds`` count from Ready, so they
    say nothing before; ``deadline`` always holds.  One that is suspended on request has no
    means to be active: its idle time does not count.
    """
    lifetime = terms.effective(own)
    limits: list[Expiry] = []
    if ready_at is not None and terms.max_seconds is not None:
        text = f"maxLifetimeSeconds of its pool ({terms.max_seconds} s) is over"
        limits.append(Expiry(ready_at + terms.max_seconds, Reason.EXPIRED, text))
    if ready_at is not None and terms.most_seconds:
        text = f"policy.maxLifetimeSeconds of the operator's chart ({terms.most_seconds} s) is over"
        limits.append(Expiry(ready_at + terms.most_seconds, Reason.EXPIRED, text))
    if lifetime is not None and ready_at is not None:
        if lifetime.seconds is not None:
            text = f"its lifetime ({lifetime.seconds} s) is over"
            limits.append(Expiry(ready_at + lifetime.seconds, Reason.EXPIRED, text))
        if lifetime.idle_seconds is not None and idle_counts:
            text = f"it was idle for {lifetime.idle_seconds} s"
            limits.append(Expiry(max(ready_at, active_at or 0.0) + lifetime.idle_seconds, Reason.IDLE, text))
    if own is not None and own.deadline is not None:
        limits.append(_deadline(own.deadline))
    return min(limits, key=lambda limit: limit.at or 0.0, default=NEVER)


def _deadline(text: str) -> Expiry:
    at = model.moment(text)
    if at is None:
        # What cannot be read exempts nobody.
        return Expiry(0.0, Reason.EXPIRED, f"its deadline {text!r} is no time such as 2030-01-31T12:00:00Z")
    return Expiry(at, Reason.EXPIRED, f"its deadline {text} is over")


def activity(stamp: str, known: float | None, now: float) -> float | None:
    """When it was last used, after a client has stamped it; *known* is what was known before.

    A stamp in the future counts as *now*, one in the past of what is known as nothing: nobody
    lives longer by writing a later date.
    """
    written = model.moment(stamp)
    if written is None:
        return known
    stamped = min(written, now)
    return stamped if known is None else max(stamped, known)


def deleted_at(own: Lifetime | None, terms: Terms, status: Status) -> float | None:
    """When an ended Sandbox is to be deleted (``secondsAfterFinished``); None: never, or it has not ended."""
    lifetime = terms.effective(own)
    if lifetime is None or lifetime.seconds_after_finished is None:
        return None
    finished = status.condition(Condition.FINISHED)
    if finished is None or finished.get("status") != "True":
        return None
    return (model.moment(finished.get("lastTransitionTime")) or 0.0) + lifetime.seconds_after_finished
