"""Of each queue's workers one namespace gets a share: what hangs there holds up nobody else."""

from __future__ import annotations

import asyncio

import pytest

from sandyard.engine.loops.queues import Queues
from sandyard.engine.loops.workqueue import WorkQueue
from tests.unit.simulation import World

QUEUES = ("sandboxes", "pools", "pool_status", "errands", "restarts")


@pytest.mark.parametrize("name", QUEUES)
async def test_a_namespace_all_of_whose_requests_hang_holds_up_no_other(name: str) -> None:
    queues = Queues.make(WorkQueue, *[lambda key: key.partition("/")[0]] * 3)
    queue, served = getattr(queues, name), asyncio.Event()

    async def handle(key: str) -> None:
        if key.startswith("hangs/"):
            await asyncio.Event().wait()
        served.set()

    queue.active = True
    running = asyncio.create_task(queue.run(handle))
    for number in range(2000):
        queue.add(f"hangs/{number}")
    await asyncio.sleep(0)
    queue.add("other/1")
    async with asyncio.timeout(5):
        await served.wait()
    running.cancel()
    await asyncio.wait({running})


def test_keys_are_told_apart_by_the_namespaces_of_what_they_name(world: World) -> None:
    asked = {}

    def queue(name: str, _workers: int, group: object, _most: int) -> WorkQueue:
        asked[name] = group
        return WorkQueue(name, 1)

    store = world.operator.work.store
    Queues.make(queue, store.sandboxes.namespace_of, store.pools.namespace_of, store.pods.namespace_of)
    world.claim("s1")
    world.prompt(4)
    uids = {
        "sandboxes": next(iter(store.sandboxes)), "pools": next(iter(store.pools)),
        "pool-status": next(iter(store.pools)), "errands": next(iter(store.sandboxes)),
        "restarts": next(iter(store.pods)),
    }  # fmt: skip
    for name, uid in uids.items():
        group = asked[name]
        assert callable(group)
        assert (group(uid), group("gone")) == ("ns", ""), name
