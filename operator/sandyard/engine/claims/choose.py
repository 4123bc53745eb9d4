"""Who gets which pod: the claim that has waited the longest, the pod that has been warm the longest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sandyard.engine.claims.claim import Claim

__all__ = ["choose"]


def choose(waiting: Iterable[Claim], warm: Iterable[str]) -> Iterator[tuple[Claim, str]]:
    """Pairs of a claim and the UID of its pod, for as long as there are both.

    Parameters
    ----------
    waiting
        Claims without a pod, the oldest first: nobody overtakes.
    warm
        Pods that may be handed out, the one first that has been warm the longest.
    """
    return zip(waiting, warm, strict=False)
