"""What befalls a watch: cut lines, silence, replays, servers that lag behind, objects that make no sense."""

from __future__ import annotations

import asyncio
import itertools
import pathlib
import time
from typing import Any

import pytest
from aiohttp import web

from sandyard.api.objects import Generic
from sandyard.handlers import settings as kopf_settings
from sandyard.kube import errors, watch
from sandyard.kube.client import Client
from sandyard.kube.config import ClusterConfig
from sandyard.kube.informer import Informer
from tests.unit.test_kube import Script, informed, serve, thing, until

NOTICED_SECONDS = 20


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": thing(name, version)}


BREAKS: dict[str, Any] = {
    "silent": "hang",
    "error": {"type": "ERROR", "object": {"code": 500, "message": "etcd is busy"}},
    "reset": "reset",
    "half a line": "half",
}


class Breaking(Script):
    """Streams whose last entry is one of `BREAKS` end that way; a text that is none is sent as a line."""

    async def watch(self, request: web.Request) -> web.StreamResponse:
        if not self.streams or not isinstance(self.streams[0], list):
            return await super().watch(request)
        self.resumed_from.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        for item in self.streams.pop(0):
            if item == "hang":
                await asyncio.sleep(30)
            elif item in ("reset", "half"):
                if item == "half":
                    await response.write(b'{"type": "ADDED", "object": {"metad')
                assert request.transport is not None
                request.transport.abort()
            else:
                await response.write((item if isinstance(item, str) else web.json_response(item).text).encode() + b"\n")
        return response


@pytest.mark.parametrize("how", BREAKS)
async def test_a_watch_that_breaks_is_taken_up_where_it_broke(how: str) -> None:
    script = Breaking()
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[event("ADDED", "b", 7), event("DELETED", "a", 8), BREAKS[how]], "hang"]
    async with informed(script) as (informer, changes):
        await until(lambda: len(script.resumed_from) >= 2)
        assert script.resumed_from[:2] == ["4", "8"]
        assert [item.metadata.name for item in informer] == ["b"]
        assert changes == [(None, "a"), (None, "b"), ("a", None)]
        assert script.lists == 1


@pytest.mark.parametrize(
    "again",
    [event("ADDED", "a", 3), event("MODIFIED", "b", 5), event("ADDED", "b", 7), event("MODIFIED", "b", 7)],
    ids=["one that is gone", "older", "newest", "the same"],
)
async def test_what_is_shown_again_changes_nothing(again: dict[str, Any]) -> None:
    script = Script()
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[event("ADDED", "b", 7), event("DELETED", "a", 8)], [again, event("ADDED", "c", 9)]]
    async with informed(script) as (informer, changes):
        await until(lambda: (None, "c") in changes)
        assert changes == [(None, "a"), (None, "b"), ("a", None), (None, "c")]
        found = informer.get("b")
        assert found is not None
        assert found.metadata.resource_version == "7"


async def test_a_list_from_before_what_is_known_is_not_believed() -> None:
    script = Script()
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[event("ADDED", "b", 7)], 410]
    async with informed(script) as (_, changes):
        await until(lambda: script.lists >= 3)
        assert (None, "b") in changes
        script.items, script.version = [thing("a", 3), thing("b", 7)], 7
        await until(lambda: script.resumed_from[-1] == "7" and len(script.resumed_from) >= 3)
        assert changes == [(None, "a"), (None, "b")], "nothing was taken for gone"


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [("3", "4", True), ("4", "4", False), ("10", "9", False), ("9", "10", True), ("", "4", False), ("a", "b", False)],
)
def test_versions_are_older_by_their_numbers_and_none_is_older_than_itself(
    version: str, than: str, expected: bool
) -> None:
    """A list of the version that is known already says what there is: in a quiet cluster no other follows."""
    assert watch.older(version, than) is expected


async def test_a_cluster_that_was_restored_from_a_backup_is_believed_after_a_while() -> None:
    script = Script()
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[event("ADDED", "b", 7)], 410]
    async with informed(script) as (_, changes):
        await until(lambda: ("b", None) in changes)
        assert script.resumed_from[-1] == "4" or script.lists > 2


@pytest.mark.parametrize("line", ["{not json", "[]", '"text"', '{"type": 5}', "\x00\x01", '{"type": "ADDED"}'])
async def test_a_line_that_makes_no_sense_ends_no_watch_and_hides_no_change(line: str) -> None:
    """Nobody knows what it was to say, so everything is listed anew."""
    script = Breaking()
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[event("ADDED", "b", 5), line], *(["hang"])]
    async with informed(script) as (_, changes):
        await until(lambda: (None, "b") in changes)
        script.items, script.version = [thing("b", 5), thing("hidden", 6)], 6
        await until(lambda: (None, "hidden") in changes and ("a", None) in changes)
        assert script.lists == 2


async def test_an_odd_object_is_not_asked_for_again() -> None:
    script = Script()
    odd = {"metadata": {"name": 5, "uid": "odd", "resourceVersion": "9"}}
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[{"type": "MODIFIED", "object": odd}], 500, "hang"]
    async with informed(script) as _:
        await until(lambda: len(script.resumed_from) >= 3)
        assert script.resumed_from[:3] == ["4", "9", "9"]


async def test_an_object_that_has_become_odd_is_gone_when_it_is_deleted() -> None:
    script = Script()
    odd = {"metadata": {"name": 5, "uid": "a", "resourceVersion": "9"}}
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[{"type": "MODIFIED", "object": odd}, {"type": "DELETED", "object": odd | {
        "metadata": odd["metadata"] | {"resourceVersion": "10"}}}]]  # fmt: skip
    async with informed(script) as (informer, changes):
        await until(lambda: ("a", None) in changes)
        assert len(informer) == 0


@pytest.mark.parametrize("reply", [b"<html>sorry</html>", b"[]", b"", b'{"metadata": 5, "items": []}', b'{"items": 1}'])
async def test_a_list_that_makes_no_sense_is_asked_for_again(reply: bytes) -> None:
    script, broken = Script(), [True]
    script.items = [thing("a", 1)]

    async def handle(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query and broken:
            broken.pop()
            return web.Response(body=reply, content_type="application/json")
        return await script.handle(request)

    async with serve(handle) as client:
        informer = Informer(client, "/api/v1/things", Generic, lambda *_: None)
        task = asyncio.create_task(informer.run())
        try:
            await asyncio.wait_for(informer.synced.wait(), 5)
            assert len(informer) == 1
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.mark.parametrize("reply", [b"<html>sorry</html>", b"[]", b"\xff\xfe", b""])
async def test_a_reply_that_makes_no_sense_is_none(reply: bytes) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=reply, content_type="application/json")

    async with serve(answer) as client:
        for ask in (client.get("/version"), client.create("/x", {}), client.items("/x"), client.delete("/x")):
            with pytest.raises(errors.TransportError):
                await ask


# Silence


async def test_every_watch_is_seen_to_live_or_taken_up_within_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is to end each stream, so that one that does not end is dead: ours and those of kopf."""
    asked: list[tuple[float, float]] = []

    async def watch_objects(_client: Any, _path: str, params: Any, _version: str, *, inactivity_seconds: float) -> Any:
        asked.append((float(params["timeoutSeconds"]), inactivity_seconds))
        raise errors.TransportError("enough")
        yield

    monkeypatch.setattr(watch, "watch_objects", watch_objects)
    informer = Informer(Client(ClusterConfig("http://nobody")), "/api/v1/things", Generic, lambda *_: None)
    for _ in range(50):
        with pytest.raises(errors.TransportError):
            await informer._watch()
    kopf = kopf_settings.configure().watching
    assert kopf.server_timeout is not None
    assert kopf.inactivity_timeout is not None
    asked.append((kopf.server_timeout, kopf.inactivity_timeout))
    for ends, dead in asked:
        assert ends + 2 <= dead < NOTICED_SECONDS - 2, "later than the server's own end, and in time"
        assert ends >= 10, "an idle watch costs a big API server a request in ten seconds at most"


async def test_silence_is_taken_up_from_where_it_began() -> None:
    script = Breaking()
    script.items, script.version = [thing("a", 3)], 4
    script.streams = [[event("ADDED", "b", 7), "hang"], [event("ADDED", "c", 8)]]
    started = time.monotonic()
    async with informed(script) as (_, changes):
        await until(lambda: (None, "c") in changes)
        assert script.resumed_from[1] == "7"
        assert script.lists == 1
        assert time.monotonic() - started < 5


# Credentials


def token_of(file: pathlib.Path) -> ClusterConfig:
    return ClusterConfig("http://nobody", token_file=file)


@pytest.mark.parametrize("fault", ["missing", "empty", "folder", "bytes"])
def test_a_token_that_cannot_be_read_for_a_moment_leaves_the_one_before(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    file, seconds = tmp_path / "token", itertools.count(1000, 100)
    monkeypatch.setattr("sandyard.kube.config.time.monotonic", lambda: float(next(seconds)))
    file.write_text("first\n")
    loaded = token_of(file)
    assert loaded.authorization() == "Bearer first"
    file.unlink()
    if fault == "empty":
        file.write_text("\n")
    elif fault == "folder":
        file.mkdir()
    elif fault == "bytes":
        file.write_bytes(b"\xff\xfe")
    assert loaded.authorization() == "Bearer first"
    file.rmdir() if fault == "folder" else file.unlink(missing_ok=True)
    file.write_text("second")
    assert loaded.authorization() == "Bearer second"


async def test_without_any_token_nothing_is_sent_and_the_watch_waits_for_one(tmp_path: pathlib.Path) -> None:
    script = Script()
    script.items = [thing("a", 1)]
    async with serve(script.handle) as client:
        client.config.token_file = tmp_path / "token"
        with pytest.raises(errors.NotConnected):
            await client.get("/version")
        informer = Informer(client, "/api/v1/things", Generic, lambda *_: None)
        task = asyncio.create_task(informer.run())
        try:
            await asyncio.sleep(0)
            assert script.lists == 0
            (tmp_path / "token").write_text("late")
            await asyncio.wait_for(informer.synced.wait(), 5)
        finally:
            task.cancel()
            await asyncio.wait({task})
