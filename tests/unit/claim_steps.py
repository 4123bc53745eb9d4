"""What tests of claims do and look at in a simulated world."""

from __future__ import annotations

import random
from typing import Any

from sandyard.api import names
from tests.unit.simulated_wire import Sent
from tests.unit.simulation import World

__all__ = ["SlowDice", "owner", "sent", "status", "work"]


class SlowDice(random.Random):
    """Each request takes ten turns of the event loop."""

    def randrange(self, *_range: Any) -> int:
        return 10


def sent(world: World, what: str) -> list[Sent]:
    """The writes of one kind, in their order."""
    return [write for write in world.api.sent if write.what == what]


def status(world: World, name: str) -> dict[str, Any]:
    """A Sandbox's status."""
    return dict(world.api.objects["sandboxes", name]["status"])


def owner(world: World, pod: str) -> str | None:
    """UID of the Sandbox that has a pod."""
    found = world.api.objects["pods", pod]["metadata"]["labels"].get(names.LABEL_SANDBOX_UID)
    return str(found) if found else None


def work(world: World, rounds: int = 1) -> None:
    """Watches and operator, but no kubelet."""
    for _ in range(rounds):
        world.catch_up()
        world.work(1000)
        world.now += 0.3
