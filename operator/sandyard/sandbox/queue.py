"""How a waiting claim's status shows its place in the queue."""

from __future__ import annotations

__all__ = ["place"]


def place(ahead: int) -> str:
    """In words; *ahead* is the number of claims before it.

    Exact for the first ten and coarser behind: each change of a message is a write, and a
    long queue that moves must not cost one for everybody in it.
    """
    if ahead < 10:
        return "next in the queue" if ahead == 0 else f"{ahead} ahead of it in the queue"
    step = 10 ** (len(str(ahead)) - 1)
    return f"more than {ahead // step * step} ahead of it in the queue"
