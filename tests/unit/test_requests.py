"""What the client sends, and what it understands of the answers; where it finds the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from sandyard.engine.cluster.writer import Writer
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.turns import Turns
from sandyard.kube import client as kube_client
from sandyard.kube import config, errors, remotecommand
from sandyard.kube.client import Client
from sandyard.kube.config import ClusterConfig


class Server:
    """Notes what is asked and gives the same answer each time."""

    def __init__(self, status: int = 200, body: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.body = body if body is not None else {"metadata": {"uid": "u1", "name": "a"}}
        self.headers = headers
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.asked.append(
            (request.method, request.path, dict(request.query), dict(request.headers), json.loads(text or "null"))
        )
        if isinstance(self.body, str):
            return web.Response(text=self.body, status=self.status, headers=self.headers)
        return web.json_response(self.body, status=self.status, headers=self.headers)


@contextlib.asynccontextmanager
async def served(server: Server, **fields: Any) -> AsyncIterator[Client]:
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with Client(ClusterConfig(f"http://127.0.0.1:{runner.addresses[0][1]}", **fields)) as client:
            yield client
    finally:
        await runner.cleanup()


async def test_a_delete_names_the_very_object_and_waits_for_nothing() -> None:
    server = Server()
    async with served(server) as client:
        await client.delete("/api/v1/namespaces/ns/pods/a", uid="u1")
        await client.delete("/api/v1/namespaces/ns/pods/a")
    first, second = (asked[4] for asked in server.asked)
    assert first == {"propagationPolicy": "Background", "preconditions": {"uid": "u1"}}
    assert "preconditions" not in second


async def test_each_write_says_what_kind_of_body_it_has() -> None:
    server = Server()
    async with served(server) as client:
        await client.create("/x", {"a": 1})
        await client.replace("/x", {"a": 1})
        await client.merge_patch("/x", {"a": None})
        await client.json_patch("/x", [{"op": "test"}])
    assert [(asked[0], asked[3]["Content-Type"], asked[4]) for asked in server.asked] == [
        ("POST", "application/json", {"a": 1}),
        ("PUT", "application/json", {"a": 1}),
        ("PATCH", "application/merge-patch+json", {"a": None}),
        ("PATCH", "application/json-patch+json", [{"op": "test"}]),
    ]


async def test_who_wants_to_know_no_more_than_that_a_write_took_place_is_told_metadata_alone() -> None:
    server = Server()
    async with served(server) as client:
        for brief in (False, True):
            await client.create("/x", {"a": 1}, brief=brief)
            await client.merge_patch("/x", {"a": None}, brief=brief)
            await client.delete("/x", brief=brief)
    accepted = [asked[3]["Accept"] for asked in server.asked]
    assert accepted[:3] == ["application/json"] * 3
    # A server that knows no metadata answers with the object.
    assert set(accepted[3:]) == {"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"}


_OTHERS = ({}, {"kind": "Status", "status": "Failure"}, {"metadata": {}}, {"metadata": "a"},
           {"metadata": {"uid": "u2", "name": "b"}})  # fmt: skip


@pytest.mark.parametrize("body", _OTHERS)
@pytest.mark.parametrize("write", ["create", "replace", "merge_patch", "delete"])
async def test_an_answer_about_something_else_does_not_say_that_a_write_took_place(write: str, body: Any) -> None:
    """Whoever is between us and the API server may say 200 to anything: a claim would be believed, a lease held."""
    own = {"metadata": {"uid": "u1", "name": "a"}}
    async with served(Server(body=body)) as client:
        sent = client.delete("/x/a", uid="u1") if write == "delete" else getattr(client, write)("/x/a", own)
        with pytest.raises(errors.TransportError, match="something else"):
            await sent


@pytest.mark.parametrize("body", [{"metadata": {"uid": "u1"}}, {"kind": "Status", "status": "Success"}])
async def test_a_delete_is_answered_by_the_object_or_by_a_word_that_it_is_gone(body: Any) -> None:
    async with served(Server(body=body)) as client:
        assert await client.delete("/x/a", uid="u1") == body


@pytest.mark.parametrize("body", [{}, {"kind": "Status"}, {"metadata": {"name": "b", "uid": "u1"}}])
async def test_an_answer_about_something_else_is_not_the_object_that_was_asked_for(body: Any) -> None:
    async with served(Server(body=body)) as client:
        writer = Writer(client, lambda: True, remotecommand.run, Turns(Clock()))
        with pytest.raises(errors.TransportError, match="something else"):
            await writer.read("/api/v1/namespaces/ns/pods/a")


_LISTS = ({}, {"kind": "Status"}, {"items": {"a": 1}}, {"items": "a"}, {"items": ["a"]}, {"items": [{}]},
          {"items": [{"metadata": {"name": "a"}}]})  # fmt: skip


@pytest.mark.parametrize("body", _LISTS)
async def test_an_answer_that_is_no_list_is_not_an_empty_one(body: Any) -> None:
    async with served(Server(body=body)) as client:
        with pytest.raises(errors.TransportError, match="no list of objects"):
            await client.items("/x")


@pytest.mark.parametrize("body", [{"items": []}, {"items": None, "metadata": {}}])
async def test_a_list_may_be_empty(body: Any) -> None:
    async with served(Server(body=body)) as client:
        assert await client.items("/x") == []


async def test_a_list_keeps_its_selector_on_every_page() -> None:
    server = Server(body={"metadata": {"continue": "next"}, "items": [{"n": 1}]})
    async with served(server) as client:
        pages = client.pages("/api/v1/pods", {"labelSelector": "a=b"})
        await anext(pages)
        server.body = {"metadata": {}, "items": []}
        await anext(pages)
        with pytest.raises(StopAsyncIteration):
            await anext(pages)
    first, second = (asked[2] for asked in server.asked)
    assert first == {"labelSelector": "a=b", "limit": "500"}
    assert second == {"labelSelector": "a=b", "limit": "500", "continue": "next"}


async def test_a_watch_asks_for_bookmarks_and_goes_on_from_its_version() -> None:
    server = Server(body='{"type": "A"}\n\n{"type": "B"}\n')
    async with served(server) as client:
        lines = [line async for line in client.watch("/w", {"resourceVersion": "7"}, inactivity_seconds=5)]
    assert [json.loads(line)["type"] for line in lines] == ["A", "B"]
    assert server.asked[0][2] == {"resourceVersion": "7", "watch": "1", "allowWatchBookmarks": "true"}


@pytest.mark.parametrize(
    ("status", "body", "flags"),
    [
        (404, {"reason": "NotFound"}, {"not_found"}),
        (409, {"reason": "Conflict"}, {"conflict"}),
        (409, {"reason": "AlreadyExists"}, {"conflict", "already_exists"}),
        (410, {"reason": "Expired"}, {"gone"}),
        (422, {"reason": "AlreadyExists"}, set()),
        (500, "no json at all", set()),
        (503, [1], set()),
    ],
)
async def test_a_refusal_is_of_one_kind(status: int, body: Any, flags: set[str]) -> None:
    async with served(Server(status, body)) as client:
        with pytest.raises(errors.ApiError) as caught:
            await client.get("/x")
    assert caught.value.status == status
    assert {name for name in ("not_found", "conflict", "already_exists", "gone") if getattr(caught.value, name)} == (
        flags
    )
    assert caught.value.retry_after_seconds is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("86400", 30.0), ("²", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)],
)
async def test_how_long_to_wait_is_taken_from_the_server_where_it_is_a_number(
    header: str, seconds: float | None
) -> None:
    async with served(Server(429, {}, {"Retry-After": header})) as client:
        with pytest.raises(errors.ApiError) as caught:
            await client.get("/x")
    assert caught.value.retry_after_seconds == seconds


async def test_a_token_is_read_again_before_it_can_expire(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, server, now = tmp_path / "token", Server(), 1000.0
    token.write_text("one\n")
    monkeypatch.setattr(config.time, "monotonic", lambda: now)  # type: ignore[attr-defined]
    held = ClusterConfig("http://x", token_file=token)
    assert held.authorization() == "Bearer one"
    token.write_text("two\n")
    now += 59
    assert held.authorization() == "Bearer one", "not at each request"
    now += 2
    assert held.authorization() == "Bearer two"
    async with served(server, token_file=token) as client:
        await client.get("/x")
    assert server.asked[0][3]["Authorization"] == "Bearer two"


async def test_an_api_server_with_a_certificate_of_another_authority_is_trusted_once_its_file_says_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(config.time, "monotonic", lambda: now)  # type: ignore[attr-defined]
    token, authority, keys = tmp_path / "token", tmp_path / "ca.crt", [tmp_path / "one", tmp_path / "two"]
    token.write_text("t")
    for folder in keys:
        make_keys(folder)
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(keys[0] / "crt", keys[0] / "key")
    authority.write_bytes((keys[0] / "crt").read_bytes())
    async with tls_server(shown) as address:
        held = ClusterConfig(address, ca_file=str(authority), token_file=token)
        async with Client(held) as client, Client(held) as another:
            await client.get("/x")
            shown.load_cert_chain(keys[1] / "crt", keys[1] / "key")
            for text in (b"", b"no certificate", (keys[0] / "crt").read_bytes()):
                authority.write_bytes(text)
                now += 61
                with pytest.raises(errors.NotConnected, match="CERTIFICATE_VERIFY_FAILED"):
                    await another.get("/x")
            authority.write_bytes((keys[1] / "crt").read_bytes())
            with pytest.raises(errors.NotConnected):
                await another.get("/x")
            now += 61
            assert await another.get("/x") == {}


def make_keys(folder: pathlib.Path) -> None:
    """A certificate (crt) for this machine, signed by itself, and its key."""
    folder.mkdir()
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=127.0.0.1 "
    words += "-addext subjectAltName=IP:127.0.0.1 -keyout key -out crt"
    subprocess.run(words.split(), cwd=folder, check=True, capture_output=True)


@contextlib.asynccontextmanager
async def tls_server(shown: ssl.SSLContext) -> AsyncIterator[str]:
    """One that answers {} over TLS; its address."""

    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.json_response({})

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=shown)
    await site.start()
    try:
        yield f"https://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


def test_no_credentials_are_sent_where_there_are_none() -> None:
    assert ClusterConfig("https://x").authorization() is None


@pytest.mark.parametrize(
    ("host", "server"), [("10.96.0.1", "https://10.96.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")]
)
def test_inside_a_pod_its_own_account_is_used(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, host: str, server: str
) -> None:
    for name, text in {"token": "t", "namespace": "mine\n", "ca.crt": ""}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(config, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    loaded = config.load()
    assert (loaded.server, loaded.namespace, loaded.ca_file) == (server, "mine", str(tmp_path / "ca.crt"))
    assert loaded.authorization() == "Bearer t"


def test_certificates_are_checked_unless_somebody_says_otherwise() -> None:
    strict = ClusterConfig("https://x").ssl_context()
    assert strict is not None
    assert strict.check_hostname
    assert strict.verify_mode.name == "CERT_REQUIRED"
    lax = ClusterConfig("https://x", verify=False).ssl_context()
    assert lax is not None
    assert lax.verify_mode.name == "CERT_NONE"
    assert ClusterConfig("http://x").ssl_context() is None


def test_a_socket_notices_a_cut_network() -> None:
    made = kube_client._socket(7.5, (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 1)))
    with made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, between, count = (
            made.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        )
        assert idle + between * count <= 10
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7500


@pytest.mark.parametrize("slow", ["_writes", "_watches"])
async def test_a_client_whose_end_is_given_up_leaves_no_connection_open(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await Client(ClusterConfig("http://127.0.0.1:1")).__aenter__()
    sessions = {name: getattr(client, name) for name in ("_writes", "_watches")}
    close, begun = sessions[slow].close, asyncio.Event()

    async def hang() -> None:
        await close()
        begun.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(sessions[slow], "close", hang)
    ending = asyncio.ensure_future(client.__aexit__())
    await begun.wait()
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert all(session.closed for session in sessions.values())
