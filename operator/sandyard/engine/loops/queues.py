"""The engine's queues. To wake something is to add its key to one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Handler", "NamespaceOf", "Queue", "QueueFactory", "Queues"]

Handler = Callable[[str], Awaitable[None]]
# Of the object with that UID; empty when it is not known.
NamespaceOf = Callable[[str], str]
# They wait for their turn to write most of the time: too few, and claims would wait for one.
_SANDBOX_WORKERS = 1024
_SANDBOXES_OF_A_NAMESPACE = 256
# A namespace whose writes get no answer (a webhook that hangs) holds up its own pools, and nobody else's.
_POOL_WORKERS = 64
_POOLS_OF_A_NAMESPACE = 16
_STATUS_WORKERS = 16
_STATUSES_OF_A_NAMESPACE = 4
# Keys are namespaces.
_POLICY_WORKERS = 16
# They wait for others all the time; nobody's waiting takes more than a share.
_ERRAND_WORKERS = 64
_ERRANDS_OF_A_NAMESPACE = 8


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


class QueueFactory(Protocol):
    """Makes a queue."""

    def __call__(self, name: str, workers: int, group: Callable[[str], str], most_of_a_group: int, /) -> Queue:
        """Of that *name*; *group* says whose a key is, and at most so many of a group are handled at once."""


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
    errands
        UIDs of Sandboxes on whose behalf somebody is asked.
    restarts
        UIDs of pods that are to be restarted.
    """

    sandboxes: Queue
    pools: Queue
    pool_status: Queue
    policies: Queue
    errands: Queue
    restarts: Queue

    @property
    def all(self) -> tuple[Queue, ...]:
        """All of them."""
        return (self.sandboxes, self.pools, self.pool_status, self.policies, self.errands, self.restarts)

    @classmethod
    def make(cls, queue: QueueFactory, sandbox: NamespaceOf, pool: NamespaceOf, pod: NamespaceOf) -> Queues:
        """Queues of the kind that *queue* makes; keys take turns by the namespace of what they are the UID of."""
        return cls(
            sandboxes=queue("sandboxes", _SANDBOX_WORKERS, sandbox, _SANDBOXES_OF_A_NAMESPACE),
            pools=queue("pools", _POOL_WORKERS, pool, _POOLS_OF_A_NAMESPACE),
            pool_status=queue("pool-status", _STATUS_WORKERS, pool, _STATUSES_OF_A_NAMESPACE),
            policies=queue("policies", _POLICY_WORKERS, _one_group, _POLICY_WORKERS),
            errands=queue("errands", _ERRAND_WORKERS, sandbox, _ERRANDS_OF_A_NAMESPACE),
            restarts=queue("restarts", _ERRAND_WORKERS, pod, _ERRANDS_OF_A_NAMESPACE),
        )


def _one_group(_key: str) -> str:
    return ""
