"""Whoever waits for an answer of a sandbox's shell, or of the metrics API, holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandyard.kube import remotecommand
from tests.unit.simulated_wire import Connection
from tests.unit.simulation import World


class Deaf:
    """Answers nothing until it is told to: `asked` says what for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = asyncio.Event()
        self.exec, self.get = Connection.exec, Connection.get

    async def hang(self, what: str) -> None:
        self.asked.append(what)
        await self.answer.wait()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Deaf:
    made = Deaf()

    async def run(self: Connection, client: Any, path: str, command: Any, **given: Any) -> remotecommand.Completed:
        await made.hang("stop" if b"STOP" in given["stdin"] else "go")
        return await made.exec(self, client, path, command, **given)

    async def get(self: Connection, path: str, params: Any = None) -> dict[str, Any]:
        if "metrics.k8s.io" in path:
            await made.hang("metrics")
        return await made.get(self, path, params)

    monkeypatch.setattr(Connection, "exec", run)
    monkeypatch.setattr(Connection, "get", get)
    return made


@pytest.fixture
def world(deaf: Deaf) -> Iterator[World]:
    """Three Sandboxes that are Ready."""
    made = World()
    for name in ("s1", "s2", "s3"):
        made.claim(name)
    made.settle()
    yield made
    made.close()


def turn(world: World, until: Callable[[], object]) -> None:
    for _ in range(100):
        if until():
            return
        world.catch_up()
        world.work(1000, turns=30)
        for name in [pod["metadata"]["name"] for pod in world.pods() if not pod["status"]]:
            world.start_pod(name)
        for pod in world.pods(going=True):
            world.api.finish(pod["metadata"]["name"])
        world.now += 0.1
    raise AssertionError(f"never\n{world}")


def status(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = world.api.objects["sandboxes", name]["status"]
    return found


def pause(world: World) -> None:
    for name in ("s1", "s2", "s3"):
        world.api.change("sandboxes", name, {"spec": {"desiredState": "Paused"}})


def idle(world: World) -> None:
    for name in ("s1", "s2", "s3"):
        world.api.change("sandboxes", name, {"spec": {"lifetime": {"idleSeconds": 10, "onExpiry": "Stop"}}})
    world.catch_up()
    world.work(1000)
    world.now += 15


@pytest.mark.parametrize(("ask", "what"), [(pause, "stop"), (idle, "metrics")])
def test_a_claim_does_not_wait_for_those_who_wait(
    world: World, deaf: Deaf, ask: Callable[[World], None], what: str
) -> None:
    ask(world)
    turn(world, lambda: deaf.asked.count(what) == 3)
    for _ in range(20):
        world.catch_up()
        world.work(1000, turns=30)
    claims = next(queue for queue in world.queues if queue.name == "sandboxes")
    assert not claims.busy
    world.claim("s4")
    turn(world, lambda: status(world, "s4").get("phase") == "Ready")
    assert deaf.asked == [what] * 3


def test_what_is_asked_while_nobody_answers_is_what_is_done(world: World, deaf: Deaf) -> None:
    """Paused and back again: the sandbox runs in the end, whenever its shell has heard of it."""
    pause(world)
    turn(world, lambda: deaf.asked)
    for name in ("s1", "s2", "s3"):
        world.api.change("sandboxes", name, {"spec": {"desiredState": "Running"}})
    turn(world, lambda: not any(world.api.events.values()))
    deaf.answer.set()
    world.settle()
    assert not world.api.frozen
    assert [status(world, name)["phase"] for name in ("s1", "s2", "s3")] == ["Ready"] * 3


def test_one_that_is_paused_is_paused_though_others_changed_it_meanwhile(world: World, deaf: Deaf) -> None:
    pause(world)
    turn(world, lambda: len(deaf.asked) == 3)
    for name in ("s1", "s2", "s3"):
        world.api.change("sandboxes", name, {"metadata": {"annotations": {"whatever": "x"}}})
    turn(world, lambda: not any(world.api.events.values()))
    deaf.answer.set()
    world.settle()
    assert deaf.asked == ["stop"] * 3
    assert [status(world, name)["phase"] for name in ("s1", "s2", "s3")] == ["Paused"] * 3


def test_a_sandbox_whose_shell_hangs_is_deleted_like_any_other(world: World, deaf: Deaf) -> None:
    pause(world)
    turn(world, lambda: len(deaf.asked) == 3)
    world.api.remove(("sandboxes", "s1"))
    turn(world, lambda: ("sandboxes", "s1") not in world.api.objects)
    deaf.answer.set()
    world.settle()


def test_a_new_process_asks_again(world: World, deaf: Deaf) -> None:
    pause(world)
    turn(world, lambda: len(deaf.asked) == 3)
    world.crash()
    deaf.answer.set()
    world.settle()
    assert [status(world, name)["phase"] for name in ("s1", "s2", "s3")] == ["Paused"] * 3
