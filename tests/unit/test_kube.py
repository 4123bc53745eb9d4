"""Client and informer against a scripted server: dropped streams, expired versions, lost replies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from sandyard.api.objects import Generic
from sandyard.kube import backoff, config, errors
from sandyard.kube.client import Client
from sandyard.kube.config import ClusterConfig
from sandyard.kube.informer import Informer
from sandyard.kube.paths import Resource


def thing(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}, "spec": {}}


class Script:
    """Answers LIST from `items` and WATCH from a list of streams, each a list of events."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.version = 1
        self.streams: list[Any] = []
        self.lists = 0
        self.page_size = 2
        self.resumed_from: list[str] = []
        self.broken_pages: list[int] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self.watch(request)
        self.lists += 1
        start = int(request.query.get("continue") or 0)
        if start in self.broken_pages:
            self.broken_pages.remove(start)
            return web.json_response({"reason": "Expired", "message": "the list is too old"}, status=410)
        page = self.items[start : start + self.page_size]
        more = start + self.page_size
        metadata = {"resourceVersion": str(self.version)}
        if more < len(self.items):
            metadata["continue"] = str(more)
        return web.json_response({"metadata": metadata, "items": page})

    async def watch(self, request: web.Request) -> web.StreamResponse:
        self.resumed_from.append(request.query["resourceVersion"])
        stream = self.streams.pop(0) if self.streams else "hang"
        if isinstance(stream, int):
            return web.json_response({"reason": "Expired", "message": "too old"}, status=stream)
        response = web.StreamResponse()
        await response.prepare(request)
        if stream == "hang":
            await asyncio.sleep(30)
            return response
        for event in stream:
            line = json.dumps(event).encode() + b"\n"
            # In two pieces: a line may arrive in any number of chunks.
            await response.write(line[:7])
            await asyncio.sleep(0.01)
            await response.write(line[7:])
        return response


@contextlib.asynccontextmanager
async def serve(handler: Any) -> AsyncIterator[Client]:
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with Client(ClusterConfig(f"http://127.0.0.1:{port}"), timeout_seconds=0.5) as client:
            yield client
    finally:
        await runner.cleanup()


async def until(check: Any) -> None:
    async with asyncio.timeout(30):
        while not check():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def informed(script: Script) -> AsyncIterator[tuple[Informer[Generic], list[tuple[str | None, str | None]]]]:
    changes: list[tuple[str | None, str | None]] = []

    def note(before: Generic | None, after: Generic | None) -> None:
        changes.append((before and before.metadata.name, after and after.metadata.name))

    async with serve(script.handle) as client:
        informer = Informer(client, "/api/v1/things", Generic, note, inactivity_seconds=0.3)
        task = asyncio.create_task(informer.run())
        try:
            await asyncio.wait_for(informer.synced.wait(), 5)
            yield informer, changes
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_a_list_of_several_pages_is_taken_in_whole() -> None:
    script = Script()
    script.items = [thing(name, 1) for name in "abcde"]
    async with informed(script) as (informer, changes):
        assert len(informer) == 5
        assert changes == [(None, name) for name in "abcde"]


async def test_events_are_followed_and_bookmarks_move_the_version_on() -> None:
    script = Script()
    script.items = [thing("a", 1)]
    script.streams = [
        [
            {"type": "ADDED", "object": thing("b", 2)},
            {"type": "MODIFIED", "object": thing("a", 3)},
            {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
            {"type": "DELETED", "object": thing("b", 10)},
        ]
    ]
    async with informed(script) as (informer, changes):
        await until(lambda: len(changes) == 4)
        assert changes == [(None, "a"), (None, "b"), ("a", "a"), ("b", None)]
        assert len(informer) == 1
        assert script.lists == 1, "a stream that ends is resumed, not listed again"


@pytest.mark.parametrize("gone", [410, [{"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}]])
async def test_what_disappeared_while_the_watch_was_down_is_reported_as_deleted(gone: Any) -> None:
    script = Script()
    script.items = [thing("a", 1), thing("b", 1)]
    script.streams = [[{"type": "ADDED", "object": thing("c", 2)}], gone]
    async with informed(script) as (informer, changes):
        script.items = [thing("b", 1), thing("d", 5)]
        await until(lambda: (None, "d") in changes)
        assert ("a", None) in changes
        assert ("c", None) in changes
        assert {item.metadata.name for item in informer} == {"b", "d"}
        assert changes.count((None, "b")) == 1


@pytest.mark.parametrize(
    ("last", "version"),
    [({"type": "ADDED", "object": thing("b", 7)}, "7"),
     ({"type": "DELETED", "object": thing("a", 8)}, "8"),
     ({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}, "9")],
)  # fmt: skip
async def test_a_watch_is_resumed_from_what_was_seen_last(last: dict[str, Any], version: str) -> None:
    """From an earlier version everything would be told twice, from none what happened meanwhile would be missing."""
    script = Script()
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[last], 500, "hang"]
    async with informed(script) as (_, _changes):
        await until(lambda: len(script.resumed_from) >= 3)
        assert script.resumed_from[:3] == ["4", version, version]
        assert script.lists == 1


async def test_after_a_new_list_the_watch_starts_from_its_version() -> None:
    script = Script()
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[{"type": "ADDED", "object": thing("b", 7)}], 410]
    async with informed(script) as (informer, changes):
        script.items, script.version = [thing("a", 12)], 20
        await until(lambda: "20" in script.resumed_from)
        assert script.resumed_from == ["4", "7", "20"]
        # Who has gone is reported before who is new, and what has changed with what it was.
        assert changes[2:] == [("b", None), ("a", "a")]
        found = informer.get("a")
        assert found is not None
        assert found.metadata.resource_version == "12"


async def test_half_a_list_is_no_list() -> None:
    """A page that has expired takes the pages before it along: nothing is reported as deleted that is there."""
    script = Script()
    script.items = [thing(name, 1) for name in "abcde"]
    script.streams = [410]
    script.broken_pages = [4]
    async with informed(script) as (informer, changes):
        script.broken_pages = [2]
        await until(lambda: len(script.resumed_from) >= 2)
        assert len(informer) == 5
        assert changes == [(None, name) for name in "abcde"]


async def test_a_deletion_of_what_was_never_seen_is_no_news() -> None:
    script = Script()
    script.items = [thing("a", 1)]
    script.streams = [[{"type": "DELETED", "object": thing("x", 2)}, {"type": "ADDED", "object": thing("b", 3)}]]
    async with informed(script) as (_, changes):
        await until(lambda: (None, "b") in changes)
        assert changes == [(None, "a"), (None, "b")]


async def test_errors_and_silence_do_not_end_the_watch() -> None:
    script = Script()
    script.streams = [500, "hang", [{"type": "ERROR", "object": {"code": 500}}], [{"type": "ADDED",
                      "object": thing("late", 2)}]]  # fmt: skip
    async with informed(script) as (_, changes):
        await until(lambda: (None, "late") in changes)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many failures before it each pause was for; they are short."""
    failures: list[int] = []

    def pause_seconds(count: int, _first: float, _longest: float) -> float:
        failures.append(count)
        return 0.001

    monkeypatch.setattr(backoff, "pause_seconds", pause_seconds)
    return failures


async def test_failures_in_a_row_wait_longer_each_time_and_so_do_streams_that_end_at_once(pauses: list[int]) -> None:
    script = Script()
    script.streams = [500, 410, [], 500, [{"type": "ADDED", "object": thing("late", 2)}]]
    async with informed(script) as (_, changes):
        await until(lambda: (None, "late") in changes)
    assert pauses[:4] == [0, 1, 2, 3]


async def test_a_stream_that_has_held_for_seconds_forgives_what_was_before(pauses: list[int]) -> None:
    pace = backoff.Pace()
    for seconds in (0.0, 0.0, 9.0, 0.0):
        pace.ended(seconds, errors.TransportError("cut off"))
    pace.ended(9.0)
    pace.ended(0.0)
    assert pauses == [0, 1, 0, 1, 0]


async def test_nobody_waits_longer_than_the_outage_and_three_seconds() -> None:
    for error in (errors.TransportError("refused"), errors.ApiError(500, {}), errors.ApiError(503, {}, 1.0)):
        longest = max(backoff.pause_seconds(30, 1.0, backoff.longest_seconds(error), jitter=1.0), 1.0)
        assert longest < 3


async def test_nobody_begins_before_everything_that_was_listed_is_known() -> None:
    script, early = Script(), list[bool]()
    script.items = [thing(name, 1) for name in ("a", "b", "c")]
    async with serve(script.handle) as client:
        informer = Informer(client, "/api/v1/things", Generic, lambda *_: early.append(informer.synced.is_set()))
        task = asyncio.create_task(informer.run())
        await asyncio.wait_for(informer.synced.wait(), 5)
        task.cancel()
        await asyncio.wait({task})
    assert early == [False] * 3


ODD = {"metadata": {"name": 5, "uid": ["x"], "resourceVersion": "2"}}


async def test_an_object_that_makes_no_sense_keeps_nobody_from_the_others() -> None:
    script = Script()
    script.items = [ODD, thing("a", 1), ODD]
    script.streams = [[{"type": "ADDED", "object": ODD}, {"type": "ADDED", "object": thing("b", 3)}]]
    async with informed(script) as (informer, changes):
        await until(lambda: (None, "b") in changes)
        assert {item.metadata.name for item in informer} == {"a", "b"}
        assert informer.relists == 1


async def test_a_mistake_about_one_object_does_not_end_the_watch_of_all() -> None:
    script, seen = Script(), list[str]()
    script.items = [thing("bad", 1), thing("a", 1)]
    script.streams = [[{"type": "MODIFIED", "object": thing("bad", 2)}, {"type": "DELETED", "object": thing("bad", 3)},
                       {"type": "ADDED", "object": thing("b", 4)}]]  # fmt: skip

    def note(before: Generic | None, after: Generic | None) -> None:
        item = after or before
        assert item is not None
        if item.metadata.name == "bad":
            raise RuntimeError("nobody had thought of this one")
        seen.append(item.metadata.name)

    async with serve(script.handle) as client:
        informer = Informer(client, "/api/v1/things", Generic, note, inactivity_seconds=0.3)
        task = asyncio.create_task(informer.run())
        try:
            await until(lambda: seen == ["a", "b"])
            assert not task.done()
            assert script.lists == 1
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_a_refusal_is_told_with_its_reason() -> None:
    async def refuse(_request: web.Request) -> web.Response:
        body = {"reason": "AlreadyExists", "message": "pods 'a' already exists"}
        return web.json_response(body, status=409, headers={"Retry-After": "3"})

    async with serve(refuse) as client:
        with pytest.raises(errors.ApiError) as caught:
            await client.create("/api/v1/namespaces/ns/pods", {})
    assert caught.value.already_exists
    assert caught.value.conflict
    assert caught.value.retry_after_seconds == 3
    assert "pods 'a'" in str(caught.value)


async def test_no_reply_is_not_a_refusal() -> None:
    async def silent(_request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async with serve(silent) as client:
        with pytest.raises(errors.TransportError) as caught:
            await client.get("/version")
    assert not isinstance(caught.value, errors.NotConnected)


async def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with Client(ClusterConfig(server=f"http://127.0.0.1:{taken.getsockname()[1]}")) as client:
            with pytest.raises(errors.NotConnected):
                await client.create("/api/v1/namespaces/ns/pods", {})


async def test_requests_are_observed_by_verb_and_resource() -> None:
    seen: list[tuple[str, str, str]] = []

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"metadata": {"uid": "a"}, "items": []})

    async with serve(answer) as client:
        client._observer = lambda verb, resource, code, _seconds: seen.append((verb, resource, code))
        await client.get(Resource("v1", "pods").path("ns", "a"))
        await client.merge_patch(Resource("sandyard.dev/v1alpha1", "sandboxes").path("ns", "a", "status"), {})
        await client.items(Resource("v1", "pods").path())
    assert seen == [("GET", "pods", "200"), ("PATCH", "sandboxes/status", "200"), ("LIST", "pods", "200")]


async def test_a_request_without_a_reply_is_observed_as_an_error() -> None:
    seen: list[str] = []

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serve(cut) as client:
        client._observer = lambda _verb, _resource, code, _seconds: seen.append(code)
        with pytest.raises(errors.TransportError):
            await client.merge_patch("/api/v1/namespaces/ns/pods/a", {})
    assert seen == ["error"]


def test_paths() -> None:
    pods = Resource("v1", "pods")
    assert pods.path() == "/api/v1/pods"
    assert pods.path("ns", "a", "status") == "/api/v1/namespaces/ns/pods/a/status"
    assert Resource("apps/v1", "deployments").path("ns") == "/apis/apps/v1/namespaces/ns/deployments"


def test_the_token_of_a_kubeconfig_is_used(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1/"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(json.dumps(content))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    loaded = config.load()
    assert loaded.server == "http://127.0.0.1:1"
    assert loaded.authorization() == "Bearer secret"


def test_no_kubeconfig_is_told_with_the_remedy(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(errors.ConfigError, match="KUBECONFIG"):
        config.load()
