"""What befalls kopf's watches: whatever the API server says, nothing ends and nothing is missed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from sandyard.handlers import watching
from sandyard.kube import backoff, errors
from tests.unit.test_kube import serve

SOON_SECONDS = 30
DEEP = "[" * 700 + "]" * 700


def sandbox(name: str, version: int, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team", "uid": name, "resourceVersion": str(version)}
    return {"apiVersion": "sandyard.dev/v1alpha1", "kind": "Sandbox", "metadata": metadata, "spec": {}, **more}


class Noted:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.gone: set[str] = set()
        # Versions that the replies to our own writes have shown.
        self.replied: dict[str, int] = {}

    def known(self, uid: str, version: int) -> bool:
        return version <= self.replied.get(uid, 0)

    def sandbox_event(self, kind: str | None, body: Any) -> None:
        metadata = body["metadata"]
        self.versions[metadata["name"]] = metadata["resourceVersion"]
        if kind == "DELETED":
            self.gone.add(metadata["name"])

    def pool_event(self, kind: str | None, body: Any) -> None: ...


class Server:
    """One whose Sandboxes change; lists and streams answer as `lists` and `streams` have it, then soundly.

    An answer is a status, a text that is sent as it is, or a function of the request.
    """

    def __init__(self) -> None:
        self.sandboxes = {"a": sandbox("a", 5)}
        self.version = 5
        self.lists: list[Any] = []
        self.streams: list[Any] = []
        self.listed = 0
        self.resumed_from: list[str] = []
        self.history: list[dict[str, Any]] = []

    def change(self, name: str, kind: str = "MODIFIED") -> None:
        self.version += 1
        self.sandboxes[name] = sandbox(name, self.version)
        self.history.append({"type": kind, "object": self.sandboxes[name]})
        if kind == "DELETED":
            del self.sandboxes[name]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/sandboxes"):
            return await self._quiet(request)
        if "watch" in request.query:
            self.resumed_from.append(request.query["resourceVersion"])
            return await self._answer(request, self.streams.pop(0) if self.streams else self._follow)
        self.listed += 1
        return await self._answer(request, self.lists.pop(0) if self.lists else self._list)

    async def _answer(self, request: web.Request, answer: Any) -> web.StreamResponse:
        if callable(answer):
            found: web.StreamResponse = await answer(request)
            return found
        if isinstance(answer, int):
            headers = {"Retry-After": "1"} if answer == 429 else {}
            return web.json_response({"kind": "Status", "code": answer}, status=answer, headers=headers)
        body = answer if isinstance(answer, bytes) else answer.encode()
        return web.Response(body=body, content_type="application/json")

    async def _quiet(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        return await self._stay(await self._begun(request))

    async def _list(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"metadata": {"resourceVersion": str(self.version)}, "items": list(self.sandboxes.values())}
        )

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        response = await self._begun(request)
        seen = int(request.query["resourceVersion"])
        while True:
            for event in self.history:
                if int(event["object"]["metadata"]["resourceVersion"]) > seen:
                    seen = int(event["object"]["metadata"]["resourceVersion"])
                    await response.write(json.dumps(event).encode() + b"\n")
            await asyncio.sleep(0.01)

    async def _begun(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    async def _stay(self, response: web.StreamResponse) -> web.StreamResponse:
        await asyncio.sleep(60)
        return response


@contextlib.asynccontextmanager
async def watched(server: Server) -> AsyncIterator[Noted]:
    """Kopf, as the operator runs it, on *server*; it must still run at the end."""
    noted: Any = Noted()
    ready, stop = asyncio.Event(), asyncio.Event()
    async with serve(server.handle) as client:
        task = asyncio.create_task(watching.watch(noted, client, (), "me", ready, stop))
        try:
            yield noted
            assert not task.done(), task
        finally:
            # Asked to stop, it would wait for some seconds.
            task.cancel()
            await asyncio.wait({task}, timeout=5)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of some milliseconds: many forms one after the other."""
    monkeypatch.setattr(backoff, "_LONGEST_SECONDS", 0.01)
    monkeypatch.setattr(backoff, "_LONGEST_BUSY_SECONDS", 0.01)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while not check():
            await asyncio.sleep(0.01)


async def goes_on(server: Server, noted: Noted) -> None:
    """What happens from now on is seen."""
    server.change("later", "ADDED")
    await until(lambda: noted.versions.get("later") == str(server.version))


def status(code: Any, **more: Any) -> str:
    return json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": code, **more}}) + "\n"


STATUSES = (400, 401, 403, 404, 406, 409, 410, 415, 422, 429, 500, 502, 503, 504)
BAD_LINES = {
    **{f"ERROR {code}": status(code) for code in (*STATUSES, 0, None, "410", True)},
    "ERROR without a code": '{"type": "ERROR", "object": {}}\n',
    "ERROR without an object": '{"type": "ERROR"}\n',
    "ERROR that is a text": '{"type": "ERROR", "object": "etcd is busy"}\n',
    "a version from the future": status(504, message="Too large resource version: 9, current: 5"),
    "no JSON": "{not json\n",
    "a list": "[]\n",
    "null": "null\n",
    "a page of a proxy": "<html>Bad gateway</html>\n",
    "no type": '{"object": {}}\n',
    "a type that is no text": '{"type": 5, "object": {}}\n',
    "a type of its own": json.dumps({"type": "RENAMED", "object": sandbox("a", 6)}) + "\n",
    "no object": '{"type": "ADDED"}\n',
    "an object that is none": '{"type": "ADDED", "object": 7}\n',
    "a bookmark without a version": '{"type": "BOOKMARK", "object": {"metadata": {}}}\n',
    "a bookmark at no version": '{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "x&y"}}}\n',
    "deeper than anybody reads": '{"type": "ADDED", "object": ' + "[" * 100_000 + "\n",
    "bytes that are no text": b'{"type": "ADDED", "object": {"metadata": {"name": "\xff\xfe"}}}\n',
    "zeros": b"\0\0\0\n",
    "half a line": '{"type": "ADDED", "object": {"metad',
    "nothing": "",
}


@pytest.mark.usefixtures("quick")
async def test_a_stream_that_ends_badly_ends_nothing_and_hides_nothing() -> None:
    server = Server()
    server.streams = list(BAD_LINES.values())
    async with watched(server) as noted:
        await until(lambda: noted.versions.get("a") == "5")
        server.change("a")
        await until(lambda: not server.streams and noted.versions.get("a") == "6")
        await goes_on(server, noted)


@pytest.mark.usefixtures("quick")
async def test_what_is_refused_is_asked_for_again() -> None:
    server = Server()
    server.streams, server.lists = list(STATUSES), list(STATUSES)
    async with watched(server) as noted:
        await until(lambda: not server.streams and noted.versions.get("a") == "5")
        await goes_on(server, noted)


BAD_LISTS = {
    "nothing": "",
    "no JSON": "<html>",
    "null": "null",
    "a list": "[]",
    "no metadata": '{"items": []}',
    "metadata that are none": '{"metadata": null, "items": []}',
    "no version": '{"metadata": {}, "items": []}',
    "a version that is a number": '{"metadata": {"resourceVersion": 5}, "items": []}',
    "items that are none": '{"metadata": {"resourceVersion": "5"}, "items": 7}',
    "half": '{"metadata": {"resourceVersion": "5"}, "items": [{"metadata"',
    "deeper than anybody reads": "[" * 100_000,
}


@pytest.mark.usefixtures("quick")
async def test_a_list_that_makes_no_sense_is_asked_for_again() -> None:
    server = Server()
    server.lists = list(BAD_LISTS.values())
    async with watched(server) as noted:
        await until(lambda: noted.versions.get("a") == "5")
        await goes_on(server, noted)


def with_metadata(**more: Any) -> dict[str, Any]:
    made = sandbox("odd", 6)
    made["metadata"] = {name: value for name, value in {**made["metadata"], **more}.items() if value is not ...}
    return made


ODD_OBJECTS: dict[str, Any] = {
    "null": None,
    "a number": 7,
    "empty": {},
    "without metadata": {"metadata": None},
    "without a UID": with_metadata(uid=...),
    "with a list for its UID": with_metadata(uid=[]),
    "without a name": with_metadata(name=...),
    "with a number for its namespace": with_metadata(namespace=5),
    "with labels that are a text": with_metadata(labels="a=b"),
    "with a label that is none": with_metadata(labels={"a": {}}),
    "with annotations that are a list": with_metadata(annotations=[1]),
    "with a finalizer that is none": with_metadata(finalizers=[{}]),
    "with a date that is none": with_metadata(deletionTimestamp=[]),
    "with a list for its spec": sandbox("odd", 6, spec=[]),
    "with a text for its status": sandbox("odd", 6, status="Ready"),
}


@pytest.mark.parametrize("where", ["list", "stream"])
async def test_an_odd_object_keeps_nobody_from_the_others(where: str) -> None:
    odd = [json.dumps(found) for found in ODD_OBJECTS.values()]
    odd.append(json.dumps(sandbox("odd", 6, spec={"x": "DEEP"})).replace('"DEEP"', DEEP))
    odd.append(json.dumps(sandbox("odd", 6, spec={"x": "N"})).replace('"N"', "9" * 5000))
    texts = [*odd, json.dumps(sandbox("sound", 7))]
    server = Server()
    if where == "list":
        server.lists = [f'{{"metadata": {{"resourceVersion": "5"}}, "items": [{", ".join(texts)}]}}']
    else:
        server.streams = ["".join(f'{{"type": "ADDED", "object": {text}}}\n' for text in texts)]
        # One of them makes kopf list again.
        server.sandboxes["sound"] = sandbox("sound", 7)
    server.version = 7
    async with watched(server) as noted:
        await until(lambda: noted.versions.get("sound") == "7")
        await goes_on(server, noted)


async def test_nine_seconds_of_errors_and_more_end_nothing() -> None:
    """More than kopf itself would bear, on lists and streams; then all is well within three seconds."""
    server = Server()
    loop = asyncio.get_running_loop()
    away = True

    async def busy(request: web.Request) -> web.StreamResponse:
        if away:
            return web.json_response({"kind": "Status", "code": 503}, status=503)
        return await (server._follow if "watch" in request.query else server._list)(request)

    async with watched(server) as noted:
        await until(lambda: bool(server.resumed_from))
        server.streams, server.lists = [410, *[busy] * 200], [busy] * 200
        server.change("a")
        until_away = loop.time() + 10
        while loop.time() < until_away:
            await asyncio.sleep(0.1)
        away = False
        began = loop.time()
        await until(lambda: noted.versions.get("a") == "6")
        assert loop.time() - began < 3


@pytest.mark.parametrize("answer", [410, status(500), ""], ids=["refused", "an error", "ended"])
async def test_whoever_answers_badly_each_time_is_not_asked_without_a_pause(answer: Any) -> None:
    server = Server()
    server.streams = [answer] * 1000
    async with watched(server) as noted:
        await until(lambda: noted.versions.get("a") == "5")
        async with asyncio.timeout(5):
            with contextlib.suppress(TimeoutError):
                await asyncio.sleep(2)
        assert len(server.resumed_from) + server.listed < 20


async def test_a_busy_server_is_asked_when_it_says() -> None:
    pace = backoff.Pace()
    pace.ended(0.0, errors.ApiError(429, {}, 2.5))
    began = asyncio.get_running_loop().time()
    await pace.wait()
    assert asyncio.get_running_loop().time() - began >= 2.5


async def test_a_broken_stream_is_taken_up_where_it_broke_and_lists_nothing() -> None:
    server = Server()
    event = json.dumps({"type": "ADDED", "object": sandbox("b", 6)})
    server.streams = [f"{event}\n{status(500)}"]
    server.change("b", "ADDED")
    server.history.clear()
    server.lists = ['{"metadata": {"resourceVersion": "5"}, "items": []}']
    async with watched(server) as noted:
        await until(lambda: noted.versions.get("b") == "6")
        await goes_on(server, noted)
    assert server.resumed_from[:2] == ["5", "6"]
    assert server.listed == 1


async def test_what_is_shown_again_is_not_told_again() -> None:
    server = Server()
    old = json.dumps({"type": "MODIFIED", "object": sandbox("a", 3)})
    server.streams = [f"{old}\n"]
    async with watched(server) as noted:
        await goes_on(server, noted)
        assert noted.versions["a"] == "5"
        assert "3" not in server.resumed_from


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.usefixtures("quick")
async def test_no_bytes_end_a_watch(seed: int) -> None:
    """Sound lines with some bytes changed, cut, doubled or swapped, many at a time."""
    chance = random.Random(seed)
    server = Server()
    event = json.dumps({"type": "MODIFIED", "object": sandbox("x", 6)}).encode()
    for _ in range(4):
        lines = [bytearray(event) for _ in range(50)]
        for line in lines:
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(line))
                match chance.randrange(3):
                    case 0:
                        line[at] = chance.randrange(256)
                    case 1:
                        del line[at : at + chance.randrange(20)]
                    case _:
                        line[at:at] = line[: chance.randrange(30)]
                line.extend(b"}")
        server.streams.append(b"\n".join(bytes(line) for line in lines))
    async with watched(server) as noted:
        await until(lambda: not server.streams)
        await goes_on(server, noted)


async def test_what_a_reply_has_told_is_not_told_again_and_hides_nothing() -> None:
    server = Server()
    async with watched(server) as noted:
        await until(lambda: noted.versions.get("a") == "5")
        noted.replied["a"] = 6
        server.change("a")
        await goes_on(server, noted)
        assert noted.versions["a"] == "5", "the echo of our own write"
        server.change("a")
        await until(lambda: noted.versions["a"] == "8")
        noted.replied["a"] = 9
        server.change("a", "DELETED")
        await until(lambda: "a" in noted.gone)
