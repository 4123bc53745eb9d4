"""The queue of one pool: claims without a pod, the oldest first."""

from __future__ import annotations

from collections.abc import Iterator

from sandyard.engine.claims.claim import Claim, State
from sandyard.pool.ordered import Ordered

__all__ = ["ClaimQueue"]


class ClaimQueue:
    """Who waits, in the order of arrival.

    A claim leaves the queue when it is granted a pod and comes back to its old place if
    nothing comes of that.
    """

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._order = Ordered()
        self._cold = 0

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Claim]:
        return (self._claims[uid] for uid in self._order)

    @property
    def cold(self) -> int:
        """How many of them asked for a start."""
        return self._cold

    @property
    def oldest(self) -> float | None:
        """Since when the claim that arrived first has waited; seconds of the monotonic clock."""
        first = self._order.first()
        return self._claims[first].since if first is not None else None

    def place(self, sandbox_uid: str) -> int:
        """How many claims come before that one; 0 if it is not in the queue."""
        return self._order.place(sandbox_uid) if sandbox_uid in self._order else 0

    def put(self, claim: Claim) -> None:
        """Follow *claim* after its state has changed."""
        uid = claim.sandbox_uid
        known = self._claims.pop(uid, None)
        if known is not None:
            self._order.drop(uid)
            self._cold -= known.cold
        if claim.state is State.WAITING:
            self._claims[uid] = claim
            self._order.put(uid, claim.number)
            self._cold += claim.cold
