"""An API server that is busy, restarts or fails for a moment: the client asks again where that is no harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandyard.client import Cluster, errors
from sandyard.client.session import cluster as session_cluster
from sandyard.client.session.cluster import SANDBOXES
from sandyard.kube.config import ClusterConfig

pytestmark = pytest.mark.timeout(60)
CUT = 0
BODY = {"metadata": {"name": "s", "uid": "u", "resourceVersion": "1"}}


class Server:
    """Answers by the next of *says* (a status; CUT: the connection breaks), and well once there is none."""

    def __init__(self) -> None:
        self.says: list[int] = []
        self.asked: list[str] = []
        self.watching = asyncio.Event()
        self.breaks = asyncio.Event()
        self.application = web.Application()
        self.application.router.add_route("*", "/{path:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch"):
            response = web.StreamResponse()
            await response.prepare(request)
            self.watching.set()
            await self.breaks.wait()
            self.breaks.clear()
            return response
        self.asked.append(request.method)
        status = self.says.pop(0) if self.says else 200
        if status == CUT:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if status != 200:
            return web.json_response({"reason": "Why", "message": "no"}, status=status, headers={"Retry-After": "0"})
        one = request.path.endswith("/s") or request.method == "POST"
        return web.json_response(BODY if one else {"metadata": {"resourceVersion": "1"}, "items": [BODY]})


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Server, Cluster]]:
    monkeypatch.setattr(session_cluster, "_FIRST_PAUSE_SECONDS", 0.01)
    made = Server()
    async with TestServer(made.application) as listening:
        async with Cluster(config=ClusterConfig(str(listening.make_url("")).rstrip("/"))) as cluster:
            yield made, cluster
        made.breaks.set()


def calls(cluster: Cluster) -> Iterator[tuple[str, Any]]:
    yield "GET", lambda: cluster.get(SANDBOXES, "default", "s")
    yield "GET", lambda: cluster.items(SANDBOXES, "default")
    yield "PATCH", lambda: cluster.patch(SANDBOXES, "default", "s", {})
    yield "DELETE", lambda: cluster.delete(SANDBOXES, "default", "s")


@pytest.mark.parametrize("status", [CUT, 408, 429, 500, 502, 503, 504])
async def test_what_may_be_done_twice_is_done_again(server: tuple[Server, Cluster], status: int) -> None:
    made, cluster = server
    for method, call in calls(cluster):
        made.says, made.asked = [status, status], []
        await call()
        assert made.says == [] and set(made.asked) == {method}
        made.says, made.asked = [status] * 12, []
        with pytest.raises(errors.Unavailable):
            await call()
        # A connection that was open already and breaks is opened anew by the HTTP library, too.
        assert set(made.asked) == {method} and 3 <= len(made.asked) <= (6 if status == CUT else 3)


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
async def test_a_refusal_is_one(server: tuple[Server, Cluster], status: int) -> None:
    made, cluster = server
    for method, call in calls(cluster):
        made.says, made.asked = [status], []
        with pytest.raises(errors.SandboxError):
            await call()
        assert made.asked == [method]


async def test_what_is_created_is_created_once(server: tuple[Server, Cluster]) -> None:
    made, cluster = server

    async def create(*says: int) -> list[str]:
        made.says, made.asked = list(says), []
        found = await cluster.create(SANDBOXES, "default", BODY)
        assert found["metadata"]["uid"] == "u"
        return made.asked

    # A server with too much to do has done nothing.
    assert await create(429, 429) == ["POST"] * 3
    # One that fails may have created it all the same: look, and never ask twice.
    for status in (CUT, 500, 503, 504):
        assert await create(status) == ["POST", "GET"]
        with pytest.raises(errors.Unavailable):
            await create(status, 404)
        assert made.asked == ["POST", "GET"]
    with pytest.raises(errors.InvalidArgument):
        await create(422)
    assert made.asked == ["POST"]


@pytest.mark.parametrize("status", [CUT, 429, 500, 503])
async def test_who_follows_an_object_waits_for_a_server_that_restarts(
    server: tuple[Server, Cluster], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    made, cluster = server
    monkeypatch.setattr(session_cluster, "_LONGEST_PAUSE_SECONDS", 0.02)
    # At its first look, and at the one after a watch has broken.
    made.says = [status] * 6
    async with asyncio.timeout(20), cluster.follow(SANDBOXES, "default", "s") as states:
        assert (await anext(states))["metadata"]["uid"] == "u"
        assert made.says == []
        following = asyncio.ensure_future(anext(states))
        await made.watching.wait()
        made.says = [status] * 6
        made.breaks.set()
        assert (await following)["metadata"]["uid"] == "u"
        assert made.says == []


async def test_who_follows_an_object_does_not_wait_for_ever(
    server: tuple[Server, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, cluster = server
    monkeypatch.setattr(session_cluster, "_LONGEST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(session_cluster, "_LOST_SECONDS", 0.2)
    made.says = [503] * 1000
    async with asyncio.timeout(20), cluster.follow(SANDBOXES, "default", "s") as states:
        with pytest.raises(errors.Unavailable):
            await anext(states)
    assert len(made.asked) > 3
    made.says, made.asked = [403], []
    async with cluster.follow(SANDBOXES, "default", "s") as states:
        with pytest.raises(errors.Unauthorized):
            await anext(states)
    assert made.asked == ["GET"]
