"""Lists of conditions: made from decisions, merged so that transition times stay true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandyard.api import rfc3339
from sandyard.api.reasons import Condition, Reason

__all__ = ["Finding", "find", "merge", "same"]

_MESSAGE_LIMIT = 1024


@dataclass(frozen=True)
class Finding:
    """One condition as decided, without its history.

    Attributes
    ----------
    status
        True, False, or None for Unknown.
    """

    type: Condition
    status: bool | None
    reason: Reason
    message: str = ""


def merge(
    before: Iterable[Mapping[str, Any]], findings: Iterable[Finding], generation: int, now: float
) -> list[dict[str, Any]]:
    """Conditions for the status: *findings*, with the transition time of *before* where the status is the same."""
    known = {condition["type"]: condition for condition in before}
    merged = []
    for finding in findings:
        status = "Unknown" if finding.status is None else str(finding.status)
        old = known.get(finding.type.value)
        unchanged = old is not None and old.get("status") == status
        merged.append(
            {
                "type": finding.type.value,
                "status": status,
                "reason": finding.reason.value,
                "message": printable(finding.message),
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if old and unchanged else rfc3339.timestamp(now),
            }
        )
    return merged


def find(conditions: Iterable[Mapping[str, Any]] | None, kind: Condition) -> Mapping[str, Any] | None:
    """The condition of type *kind*, if it is there."""
    return next((condition for condition in conditions or () if condition.get("type") == kind.value), None)


def same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two statuses say the same; nothing needs to be written then."""
    return _meaning(left) == _meaning(right)


def printable(text: str) -> str:
    """*text* without control characters, bounded: messages may quote what a tenant controls.

    A terminal would obey escape sequences in them (CVE-2021-25743).
    """
    clean = "".join(c if c.isprintable() else " " for c in text[: _MESSAGE_LIMIT * 2])
    return clean if len(clean) <= _MESSAGE_LIMIT else clean[: _MESSAGE_LIMIT - 1] + "…"


def _meaning(status: Mapping[str, Any]) -> dict[str, Any]:
    meaning = {key: value for key, value in status.items() if value is not None and key != "conditions"}
    meaning["conditions"] = {
        condition["type"]: {key: condition.get(key) for key in ("status", "reason", "message", "observedGeneration")}
        for condition in status.get("conditions") or ()
    }
    return meaning
