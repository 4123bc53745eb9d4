"""Who is asking: a kubeconfig that changes under a program that runs for long, and one that is none."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandyard.client import Cluster
from sandyard.client import errors as client_errors
from sandyard.client.session.cluster import SANDBOXES
from sandyard.kube import credentials, errors
from sandyard.kube.client import Client
from sandyard.kube.config import ClusterConfig

pytestmark = pytest.mark.timeout(60)
EXEC = "client.authentication.k8s.io/v1"


def plugin(folder: pathlib.Path, token: str, before: str = "", expires: str = "2999-01-01T00:00:00Z") -> None:
    said = {"apiVersion": EXEC, "kind": "ExecCredential", "status": {"token": token, "expirationTimestamp": expires}}
    (folder / "plugin").write_text(f"#!/bin/sh\n{before}\necho '{json.dumps(said)}'\n")
    (folder / "plugin").chmod(0o755)


def kubeconfig(folder: pathlib.Path, server: Any, user: Any, **more: Any) -> None:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        **more,
    }
    (folder / "kubeconfig").write_text(json.dumps(config))


class Server:
    """Knows one token."""

    def __init__(self) -> None:
        self.token = "one"
        self.refused = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            self.refused += 1
            return web.json_response({"reason": "Unauthorized", "message": "who?"}, status=401)
        if request.headers.get("Upgrade"):
            socket = web.WebSocketResponse(protocols=("p",))
            await socket.prepare(request)
            await socket.send_str(await request.text() or "hello")
            return socket
        return web.json_response({"metadata": {"uid": "u"}, "said": await request.text()})


@pytest.fixture
async def server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    made = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.answer)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    async with TestServer(application) as running:
        made.url = str(running.make_url("")).rstrip("/")
        yield made


async def everything(client: Client) -> None:
    """Each way to ask, at once."""

    async def watch() -> None:
        async for line in client.watch("/w", {}, inactivity_seconds=5):
            assert b"said" in line

    async def stream() -> None:
        async with client.websocket("/s", [], "p") as socket:
            assert await socket.receive_str() == "hello"

    posted = client.create("/p", {"some": "body"})
    found, *_ = await asyncio.gather(posted, client.get("/g"), watch(), stream())
    assert json.loads(found["said"]) == {"some": "body"}


USERS: dict[str, tuple[dict[str, Any], Callable[[pathlib.Path, str], None]]] = {
    "a token": ({"token": "one"}, lambda folder, url: kubeconfig(folder, url, {"token": "two"})),
    "a token's file": ({"tokenFile": "FOLDER/token"}, lambda folder, _: (folder / "token").write_text("two") and None),
    "a plugin": ({"exec": {"apiVersion": EXEC, "command": "FOLDER/plugin", "interactiveMode": "Never"}},
                 lambda folder, _: plugin(folder, "two")),
}  # fmt: skip


@pytest.mark.parametrize("kind", USERS)
async def test_who_is_refused_reads_the_kubeconfig_anew(server: Server, tmp_path: pathlib.Path, kind: str) -> None:
    user, rotate = USERS[kind]
    (tmp_path / "token").write_text("one")
    plugin(tmp_path, "one")
    kubeconfig(tmp_path, server.url, json.loads(json.dumps(user).replace("FOLDER", str(tmp_path))))
    async with Cluster() as cluster:
        await everything(cluster.client)
        assert server.refused == 0
        server.token = "two"
        rotate(tmp_path, server.url)
        await everything(cluster.client)
        assert 1 <= server.refused <= 4
        await everything(cluster.client)
        assert server.refused <= 4
        # Where there is nothing new, it is not looked for at each request.
        server.token = "three"
        refused = server.refused
        for _ in range(3):
            with pytest.raises(client_errors.Unauthorized, match="who"):
                await cluster.get(SANDBOXES, "default", "s")
        assert server.refused == refused + 3


async def test_a_kubeconfig_that_is_of_another_cluster_now_is_not_this_ones(
    server: Server, tmp_path: pathlib.Path
) -> None:
    kubeconfig(tmp_path, server.url, {"token": "one"})
    async with Cluster() as cluster:
        server.token = "two"
        kubeconfig(tmp_path, "http://127.0.0.1:9", {"token": "two"})
        with pytest.raises(client_errors.Unauthorized):
            await cluster.get(SANDBOXES, "default", "s")
        (tmp_path / "kubeconfig").write_text("{")
        with pytest.raises(client_errors.Unauthorized):
            await cluster.get(SANDBOXES, "default", "s")


async def test_a_plugin_that_does_not_answer_keeps_nobody_else(
    server: Server, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(tmp_path, "one", expires="2000-01-01T00:00:00Z")
    kubeconfig(tmp_path, server.url, USERS["a plugin"][0] | {
        "exec": {"apiVersion": EXEC, "command": str(tmp_path / "plugin"), "interactiveMode": "Never"}})  # fmt: skip
    monkeypatch.setattr(credentials, "_ANSWER_SECONDS", 0.3)
    async with Cluster() as cluster:
        plugin(tmp_path, "one", before="sleep 2", expires="2000-01-01T00:00:00Z")
        asking = asyncio.ensure_future(cluster.client.get("/g"))
        loop = asyncio.get_running_loop()
        longest, last = 0.0, loop.time()
        while not asking.done():
            await asyncio.sleep(0.01)
            longest, last = max(longest, loop.time() - last), loop.time()
        assert longest < 1.5
        with pytest.raises(errors.NotConnected, match="credential plugin has not answered"):
            await asking


NONE = {
    "nothing": b"", "no YAML": b"a: [1", "a list": b"[]", "a text": b"hello", "bytes": b"\0\xff",
    "no server": {"clusters": [{"name": "c", "cluster": {}}]},
    "no address": {"clusters": [{"name": "c", "cluster": {"server": "ht!tp://:::"}}]},
    "a number": {"clusters": [{"name": "c", "cluster": {"server": 5}}]},
    "no certificate": {"clusters": [{"name": "c", "cluster": {"server": "https://x",
                                                              "certificate-authority-data": "aGVsbG8="}}]},
    "no key": {"clusters": [{"name": "c", "cluster": {"server": "https://x"}}],
               "users": [{"name": "u", "user": {"client-certificate-data": "aGVsbG8=",
                                                "client-key-data": "aGVsbG8="}}]},
    "no token's file": {"users": [{"name": "u", "user": {"tokenFile": "/not/there"}}]},
}  # fmt: skip


@pytest.mark.parametrize("what", NONE.values(), ids=NONE)
async def test_a_kubeconfig_that_is_none_is_told_in_our_words(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, what: Any
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    if isinstance(what, bytes):
        (tmp_path / "kubeconfig").write_bytes(what)
    else:
        kubeconfig(tmp_path, "http://x", {}, **what)
    with pytest.raises(client_errors.Unauthorized, match=r"no usable kubeconfig|certificate of https://x"):
        await Cluster().__aenter__()


async def test_one_without_a_kubeconfig_is_refused_as_before(server: Server) -> None:
    async with Client(ClusterConfig(server.url)) as client:
        with pytest.raises(errors.ApiError, match="401"):
            await client.get("/g")
    assert server.refused == 1
