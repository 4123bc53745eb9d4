"""The engine's queues. To wake something is to add its key to one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Handler", "Queue", "QueueFactory", "Queues"]

Handler = Callable[[str], Awaitable[None]]
_CLAIM_WORKERS = 48
_POOL_WORKERS = 16
_OTHER_WORKERS = 4


class Queue(Protocol):
    """What the engine needs of a queue of keys; `sandyard.engine.loops.workqueue` is the real one."""

    @property
    def name(self) -> str:
        """For metrics and logs."""

    active: bool
    failures_total: int

    def __len__(self) -> int:
        """Count the keys that wait."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs."""

    def add(self, key: str) -> None:
        """Handle *key* soon."""

    def add_after(self, key: str, seconds: float) -> None:
        """Handle *key* after *seconds*, or earlier if it is due earlier already."""

    async def run(self, handler: Handler) -> None:
        """Hand keys to *handler* until cancelled."""


# The queue's name, its number of workers, and the group of a key.
QueueFactory = Callable[[str, int, Callable[[str], str]], Queue]


@dataclass(frozen=True)
class Queues:
    """All queues of one engine; their handlers come when they run.

    Attributes
    ----------
    sandboxes, pools
        UIDs of objects that are to be reconciled.
    pool_status
        UIDs of pools whose status may have to be written.
    policies
        Namespaces whose NetworkPolicies may have to change.
    """

    sandboxes: Queue
    pools: Queue
    pool_status: Queue
    policies: Queue

    @property
    def all(self) -> tuple[Queue, ...]:
        """All of them."""
        return (self.sandboxes, self.pools, self.pool_status, self.policies)

    @classmethod
    def make(cls, queue: QueueFactory, namespace_of: Callable[[str], str]) -> Queues:
        """Queues of the kind that *queue* makes; Sandboxes take turns by their namespace."""
        return cls(
            sandboxes=queue("sandboxes", _CLAIM_WORKERS, namespace_of),
            pools=queue("pools", _POOL_WORKERS, _one_group),
            pool_status=queue("pool-status", _OTHER_WORKERS, _one_group),
            policies=queue("policies", _OTHER_WORKERS, _one_group),
        )


def _one_group(_key: str) -> str:
    return ""
