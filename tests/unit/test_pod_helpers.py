"""What is done for a pod beside its claim: waking its kubelet once, closing what its setup had open; timers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, cast

import pytest

from sandyard.api import names
from sandyard.engine.cluster.kubelet_resync import KubeletResync
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.setup_network import SetupNetwork
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.timers import Timers
from sandyard.engine.state.pods import PodEntry
from sandyard.kube import errors
from tests.unit import objects
from tests.unit.simulation import World


class Asked:
    """Pods of a cluster that answers as it is told to."""

    def __init__(self, *replies: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        self.replies = list(replies)

    async def touch(self, _pod: Any) -> None:
        self.calls.append({"touched": True})

    async def relabel_network(self, pod: Any, labels: Mapping[str, Any], annotations: Mapping[str, str]) -> Any:
        self.calls.append({**labels, **annotations})
        reply = self.replies.pop(0) if self.replies else pod
        if isinstance(reply, Exception):
            raise reply
        return reply


class Time(Clock):
    at = 100.0

    def monotonic(self) -> float:
        return self.at


def overdue() -> PodEntry:
    """A pod whose proof has ended and that is not ready."""
    return PodEntry(objects.pod(ready=False))


async def test_a_kubelet_is_woken_once_when_its_pod_is_overdue() -> None:
    asked, clock = Asked(), Time()
    resync = KubeletResync(cast("Pods", asked), clock)
    entry = overdue()
    assert await resync.consider(entry) == pytest.approx(1.0)
    assert asked.calls == []
    clock.at += 1.5
    for _ in range(3):
        assert await resync.consider(entry) is None
        clock.at += 10
    assert len(asked.calls) == 1


@pytest.mark.parametrize(
    "fields",
    [{}, {"message": "", "ready": False}, {"ready": False, "deletion": "2026-01-01T00:00:00Z"},
     {"ready": False, "containers": [{"name": "sandbox", "state": {"waiting": {"reason": "ErrImagePull"}}}]}],
    ids=["ready", "not-proven", "going", "in-trouble"],
)  # fmt: skip
async def test_a_pod_that_is_not_overdue_wakes_no_kubelet(fields: dict[str, Any]) -> None:
    asked, clock = Asked(), Time()
    entry = PodEntry(objects.pod(**fields))
    resync = KubeletResync(cast("Pods", asked), clock)
    for _ in range(3):
        assert await resync.consider(entry) is None
        clock.at += 10
    assert asked.calls == []


def proven(world: World, name: str) -> None:
    """The proof of a pod has ended, and its main container has yet to start."""
    ended = {"exitCode": 0, "message": objects.proof()}
    parts = [part["name"] for part in world.api.objects["pods", name]["spec"]["initContainers"]]
    world.api.change("pods", name, {"status": {
        "phase": "Pending",
        "initContainerStatuses": [{"name": part, "state": {"terminated": ended}} for part in parts],
    }})  # fmt: skip


def woken(world: World) -> list[str]:
    """Pods whose kubelets were woken."""
    touched = [write for write in world.api.sent if names.ANNOTATION_TOUCHED in write.body.get("metadata", {}).get(
        "annotations", ()) and write.what == "network"]  # fmt: skip
    return [write.name for write in touched]


@pytest.mark.parametrize("own", [False, True])
def test_the_kubelet_of_an_overdue_pod_is_woken_whosever_it_is(own: bool) -> None:
    world = World()
    if own:
        world.prompt(4)
        metadata = {"name": "s1", "finalizers": [names.FINALIZER]}
        world.api.put("sandboxes", {"metadata": metadata, "spec": {"template": {"image": "a"}}})
    for _ in range(2):
        world.catch_up()
        world.work(1000)
    proves = world.pods()[-1]["metadata"]["name"]
    proven(world, proves)
    for _ in range(6):
        assert woken(world) == []
        world.catch_up()
        world.work(1000)
        world.now += 0.2
    for _ in range(6):
        world.catch_up()
        world.work(1000)
        world.now += 0.2
    assert woken(world) == [proves]
    world.close()


CLOSED = {names.LABEL_ALLOW: None, names.LABEL_EGRESS: names.EGRESS_NONE, names.ANNOTATION_SETUP: names.SETUP_CLOSING}


async def test_a_setups_network_is_closed_and_then_marked_so() -> None:
    asked = Asked()
    await SetupNetwork(cast("Pods", asked)).close(PodEntry(objects.pod()), objects.template())
    assert asked.calls == [CLOSED, {names.ANNOTATION_SETUP: names.SETUP_CLOSED}]


async def test_a_network_that_was_closed_after_its_proof_is_never_marked_closed() -> None:
    ended = objects.pod(init=[{"name": names.CLOSED_CONTAINER, "state": {"terminated": {"exitCode": 0}}}])
    asked = Asked(ended)
    await SetupNetwork(cast("Pods", asked)).close(PodEntry(objects.pod()), objects.template())
    assert asked.calls == [CLOSED]


async def test_closing_is_tried_again_when_it_has_failed_and_not_while_it_is_done() -> None:
    asked = Asked(errors.TransportError("cut off"))
    entry = PodEntry(objects.pod())
    closing = SetupNetwork(cast("Pods", asked))
    with pytest.raises(errors.TransportError):
        await closing.close(entry, objects.template())
    await closing.close(entry, objects.template())
    await closing.close(entry, objects.template())
    assert asked.calls == [CLOSED, CLOSED, {names.ANNOTATION_SETUP: names.SETUP_CLOSED}]


async def test_a_timer_that_is_set_earlier_than_all_others_does_not_wait_for_them() -> None:
    fired: list[str] = []
    timers = Timers(fired.append, Clock())
    timers.set("late", time.time() + 25)
    task = asyncio.create_task(timers.run())
    try:
        for _ in range(3):
            await asyncio.sleep(0)
        timers.set("early", time.time() + 0.05)
        async with asyncio.timeout(10):
            while not fired:
                await asyncio.sleep(0.01)
        assert fired == ["early"]
    finally:
        task.cancel()
        await asyncio.wait({task})
