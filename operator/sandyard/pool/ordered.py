"""Keys in the order of a weight, kept in order while they come and go."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

__all__ = ["Ordered"]


class Ordered:
    """A set of keys, each with a weight; iterates by weight, the lightest first.

    A change costs a binary search and the move of what lies behind it in one block: a few
    microseconds among ten thousand.
    """

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}
        self._sorted: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, key: object) -> bool:
        return key in self._weights

    def __iter__(self) -> Iterator[str]:
        return (key for _, key in self._sorted)

    def __reversed__(self) -> Iterator[str]:
        return (key for _, key in reversed(self._sorted))

    def put(self, key: str, weight: float) -> None:
        """Add *key*, or move it to its new place."""
        if self._weights.get(key) == weight:
            return
        self.drop(key)
        self._weights[key] = weight
        bisect.insort(self._sorted, (weight, key))

    def drop(self, key: str) -> None:
        """Remove *key* if it is there."""
        weight = self._weights.pop(key, None)
        if weight is not None:
            del self._sorted[bisect.bisect_left(self._sorted, (weight, key))]

    def weight(self, key: str) -> float:
        """The weight of *key*, which is there."""
        return self._weights[key]

    def place(self, key: str) -> int:
        """How many keys come before *key*, which is there."""
        return bisect.bisect_left(self._sorted, (self._weights[key], key))

    def before(self, key: str, weight: float) -> int:
        """How many keys come before *key* of that *weight*, which need not be there."""
        return bisect.bisect_left(self._sorted, (weight, key))

    def up_to(self, weight: float) -> int:
        """How many keys weigh *weight* or less."""
        return bisect.bisect_right(self._sorted, weight, key=_weight)

    def above(self, weight: float) -> float | None:
        """The least weight above *weight*, if there is one."""
        place = self.up_to(weight)
        return self._sorted[place][0] if place < len(self._sorted) else None

    def first(self) -> str | None:
        """The lightest key."""
        return self._sorted[0][1] if self._sorted else None


def _weight(entry: tuple[float, str]) -> float:
    return entry[0]
