"""The one way by which the engine writes: never by a process that is not the active one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from sandyard.engine.cluster.resources import PODS
from sandyard.engine.cluster.writer import NotLeader, Writer
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.turns import Turns, Urgency
from sandyard.kube import errors
from sandyard.kube.client import Client


class Sends:
    """A client that notes what it is asked to send, and lists one object for each path."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def items(self, path: str, _params: Any = None) -> list[dict[str, Any]]:
        return [{"path": path}]

    async def items_by_page(self, path: str, params: Any = None) -> AsyncIterator[list[dict[str, Any]]]:
        yield await self.items(path, params)

    async def run(self, *_: Any, **_options: Any) -> None:
        self.sent.append("exec")

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[None]]:
        async def send(*_: Any, **_options: Any) -> None:
            self.sent.append(verb)

        return send


def writer(client: Sends, *, leads: bool) -> Writer:
    return Writer(cast("Client", client), lambda: leads, cast("Any", client.run), Turns(Clock()))


CALLS: dict[str, Callable[[Writer], Awaitable[Any]]] = {
    "create": lambda it: it.create("/p", {}),
    "change": lambda it: it.change("/p", {}),
    "merge_patch": lambda it: it.patch("/p", {}),
    "json_patch": lambda it: it.json_patch("/p", []),
    "delete": lambda it: it.delete("/p", "uid"),
    "exec": lambda it: it.exec("/p", ["x"], container="c", stdin=b"", timeout_seconds=1),
}


@pytest.mark.parametrize("verb", CALLS)
async def test_a_process_that_is_not_the_active_one_sends_nothing(verb: str) -> None:
    client = Sends()
    with pytest.raises(NotLeader):
        await CALLS[verb](writer(client, leads=False))
    assert client.sent == []
    await CALLS[verb](writer(client, leads=True))
    assert client.sent == [{"change": "merge_patch"}.get(verb, verb)]


async def test_all_of_several_namespaces_are_listed() -> None:
    it = writer(Sends(), leads=False)
    assert [item["path"] for item in (await it.items(PODS, ["a", "b"])).items] == [PODS.path("a"), PODS.path("b")]
    assert [item["path"] for item in (await it.items(PODS, [])).items] == [PODS.path()]


class Refuses(Sends):
    """Refuses what is asked of some namespaces."""

    def __init__(self, **refused: int) -> None:
        super().__init__()
        self.refused = refused

    async def items(self, path: str, params: Any = None) -> list[dict[str, Any]]:
        for namespace, status in self.refused.items():
            if f"/{namespace}/" in path:
                raise errors.ApiError(status, {"reason": "Forbidden"})
        return await super().items(path, params)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_namespace_that_is_refused_costs_no_other(status: int) -> None:
    listed = await writer(Refuses(b=status), leads=False).items(PODS, ["a", "b", "c"])
    assert [item["path"] for item in listed.items] == [PODS.path("a"), PODS.path("c")]
    assert listed.refused == {"b"}


@pytest.mark.parametrize(
    ("refused", "namespaces"), [({"a": 403, "b": 403}, ["a", "b"]), ({"b": 500}, ["a", "b"]), ({"a": 403}, ["a"])]
)
async def test_what_is_wrong_with_all_of_them_is_told(refused: dict[str, int], namespaces: list[str]) -> None:
    with pytest.raises(errors.ApiError):
        await writer(Refuses(**refused), leads=False).items(PODS, namespaces)


async def test_who_is_replaced_while_a_write_waits_for_its_turn_sends_it_no_more() -> None:
    client, leads, turns = Sends(), [True], Turns(Clock())
    it = Writer(cast("Client", client), lambda: leads[0], cast("Any", client.run), turns)
    async with contextlib.AsyncExitStack() as others:
        for _ in range(turns.limit.value):
            await others.enter_async_context(turns.turn("PATCH pods", "ns", Urgency.CLAIM))
        waiting = asyncio.create_task(it.patch("/p", {}))
        while not len(turns):
            await asyncio.sleep(0)
        leads[0] = False
    with pytest.raises(NotLeader):
        await waiting
    assert client.sent == []
