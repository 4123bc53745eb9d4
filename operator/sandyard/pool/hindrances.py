"""Requests that fail again and again, by what they are for: what lasts is told.

That an API server is busy for a moment is no news, and says nothing about a pool's template.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["STALLED_SECONDS", "TELL_AFTER_SECONDS", "Hindrance", "Hindrances"]

# An API server that is restarted, or busy for a moment, is no news.
TELL_AFTER_SECONDS: Final = 2.0
# What fails for longer will not get better by itself.
STALLED_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Hindrance:
    """What fails: since when (seconds of the monotonic clock), the API server's words, and whether it refuses."""

    since: float
    message: str
    refused: bool


@dataclass
class Hindrances:
    """One for each kind of request that has failed since it last went well."""

    _found: dict[str, Hindrance] = field(default_factory=dict)

    def failed(self, what: str, message: str, now: float, *, refused: bool) -> None:
        """A request for *what* has failed."""
        known = self._found.get(what)
        self._found[what] = Hindrance(known.since if known is not None else now, message, refused)

    def went_well(self, what: str) -> None:
        """A request for *what* has been answered well, or none is needed any more."""
        self._found.pop(what, None)

    def told(self, now: float) -> tuple[str, bool]:
        """What lasts long enough to be told, and whether somebody has to do something; empty if nothing does."""
        for what, found in self._found.items():
            lasts = now - found.since
            if lasts >= TELL_AFTER_SECONDS:
                return f"{what}: {found.message}", found.refused or lasts >= STALLED_SECONDS
        return "", False
