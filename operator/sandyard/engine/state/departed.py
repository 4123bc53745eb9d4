"""UIDs of objects that are gone: what was read before and arrives after brings nobody back."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["Departed"]

# Longer than any list takes to be read, and short enough that they never are many.
_KEPT_SECONDS = 300.0


class Departed:
    """Who has gone lately; a UID is never given twice. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        # A plain dict would search longer for the oldest each time.
        self._until: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, uid: object) -> bool:
        return uid in self._until

    def __len__(self) -> int:
        return len(self._until)

    def add(self, uid: str, now: float) -> None:
        """The object with that UID is gone."""
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        self._until.setdefault(uid, now + _KEPT_SECONDS)
