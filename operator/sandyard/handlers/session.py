"""What kopf has for a connection: answers that it can live with, whatever the API server says.

Left to itself, kopf ends the whole operator at an ERROR event, at a refused watch, at a line that
it cannot read and at a list that fails for some seconds, and asks again at once where a stream
ends at once.  All of that is told to it here in the two ways that it goes on from: a broken
stream, taken up where it broke, or a version that is too old, upon which it lists again.
"""

from __future__ import annotations

import logging
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Self

import aiohttp
import msgspec

from sandyard.api import names
from sandyard.kube import errors, watch
from sandyard.kube.backoff import Pace
from sandyard.kube.client import Client

__all__ = ["Session"]

_log = logging.getLogger(__name__)
# As in `sandyard.kube.informer`; kopf looks after it by itself as well.
_INACTIVITY_SECONDS: Final = 16.0
# Python reads and copies nested objects by recursion, of which it bears a few hundred.
_DEEPEST: Final = 100
_LIST_AGAIN: Final = b'{"type":"ERROR","object":{"code":410}}\n'


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """What kopf reads of an object without asking whether it is there."""

    uid: str
    name: str
    namespace: str
    resource_version: str
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    deletion_timestamp: str | None = None


class _Object(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: dict[str, Any] | None = None
    status: dict[str, Any] | None = None


class _ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str
    continue_: str | None = msgspec.field(name="continue", default=None)


class _Page(msgspec.Struct, frozen=True):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class Session:
    """Takes the place of an `aiohttp.ClientSession` in kopf; it reads, and writes nothing.

    Parameters
    ----------
    client
        Sends the requests, with its own credentials and connections.
    known
        Whether the object of a UID is known in a version, or a newer one: of our own writes most events tell nothing
        that their replies have not told.
    """

    def __init__(self, client: Client, known: Callable[[str, int], bool]) -> None:
        self.headers: dict[str, str] = {}
        self.closed = False
        self._client = client
        self._known = known
        self._paces: dict[str, Pace] = {}

    async def request(self, method: str, url: str, **_: Any) -> Answer:
        """Answer kopf's request for the path and query *url*.

        Raises
        ------
        aiohttp.ClientPayloadError
            There is no list now; kopf asks again from its beginning.
        """
        assert method.upper() == "GET", "kopf has nothing to write"
        parts = urllib.parse.urlsplit(url)
        if parts.path in _DISCOVERY:
            return Answer(body=_DISCOVERY[parts.path])
        query = dict(urllib.parse.parse_qsl(parts.query))
        pace = self._paces.setdefault(parts.path, Pace())
        if "watch" in query:
            return Answer(stream=self._watch(pace, parts.path, query))
        return Answer(body=await self._list(pace, parts.path, query))

    async def close(self) -> None:
        """Nothing: the client belongs to somebody else."""

    async def _list(self, pace: Pace, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        await pace.wait()
        try:
            page = msgspec.json.decode(await self._client.request("GET", path, params=query, verb="LIST"), type=_Page)
        except (errors.ApiError, errors.TransportError, *watch.SENSELESS) as error:
            pace.ended(0.0, error)
            pace.tell(_log, path, error)
            raise aiohttp.ClientPayloadError(f"LIST {path}: {error}") from error
        metadata = {"resourceVersion": page.metadata.resource_version, "continue": page.metadata.continue_}
        items = [_sound(raw, path) for raw in page.items or ()]
        return {"metadata": metadata, "items": [item for item in items if item is not None]}

    async def _watch(self, pace: Pace, path: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The lines of a stream; the last one may say that kopf has to list again."""
        await pace.wait()
        started = time.monotonic()
        problem: Exception | None = None
        try:
            async for line in self._events(path, query):
                yield line
        except (errors.ApiError, errors.TransportError, *watch.SENSELESS) as error:
            problem = error
        pace.ended(time.monotonic() - started, problem)
        if problem is None:
            return
        pace.tell(_log, path, problem)
        if not _can_be_resumed(problem):
            yield _LIST_AGAIN
            return
        raise aiohttp.ClientPayloadError(f"WATCH {path}: {problem}") from problem

    async def _events(self, path: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        latest = query.get("resourceVersion", "")
        async for event in watch.watch_objects(
            self._client, path, query, latest, inactivity_seconds=_INACTIVITY_SECONDS
        ):
            uid, version = watch.identity(event)
            if not version or version == latest or watch.older(version, latest):
                # Shown again.
                continue
            if event.type == "MODIFIED" and version.isdecimal() and self._known(uid, int(version)):
                continue
            text = _line(event, path)
            if text is not None:
                latest = version
                yield text


class Answer:
    """Takes the place of an `aiohttp.ClientResponse`: status 200 and a body, at once or as a stream."""

    status = 200

    def __init__(self, body: dict[str, Any] | None = None, stream: AsyncIterator[bytes] | None = None) -> None:
        self.closed = False
        self.content = self
        self._body = body
        self._stream = stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._stream is not None:
            await self._stream.aclose()  # type: ignore[attr-defined]

    async def json(self) -> dict[str, Any]:
        """The body."""
        assert self._body is not None
        return self._body

    def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        """The stream, line by line."""
        assert self._stream is not None
        return self._stream

    def close(self) -> None:
        """Note that nobody reads on; the stream ends with whoever reads it."""
        self.closed = True


def _line(event: watch.Event, path: str) -> bytes | None:
    """The event as one line; None if it is about an object that nobody can read.

    Raises
    ------
    ValueError
        Nobody knows what it is to say.
    """
    if event.type == "BOOKMARK":
        return b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"%s"}}}\n' % _version(event)
    if event.type not in ("ADDED", "MODIFIED", "DELETED"):
        raise ValueError(f"an event of type {event.type!r}")
    tree = _sound(event.object, path)
    if tree is None:
        return None
    # Who has written which field is as long as all the rest, and nobody here reads it.
    tree["metadata"].pop("managedFields", None)
    return b'{"type":"%s","object":%s}\n' % (event.type.encode(), msgspec.json.encode(tree))


def _version(event: watch.Event) -> bytes:
    _, version = watch.identity(event)
    if not version.isdecimal():
        raise ValueError(f"a bookmark at {version!r}")
    return version.encode()


def _sound(raw: msgspec.Raw, path: str) -> dict[str, Any] | None:
    """The object, which kopf can read; None, and a word in the log, if it cannot.

    What is left out here is found by the sweep, which says on the object what is wrong with it.
    """
    try:
        # Whatever this decoder takes, Python's own takes too.
        tree: dict[str, Any] = msgspec.json.decode(raw)
        msgspec.convert(tree, _Object)
        if _too_deep(tree):
            raise ValueError(f"more than {_DEEPEST} objects or lists within each other")
    except watch.SENSELESS as error:
        _log.error("object left out", extra={"path": path, "error": str(error)})
        return None
    return tree


def _too_deep(tree: Any) -> bool:
    level = [tree]
    for _ in range(_DEEPEST):
        inner = [node.values() if isinstance(node, dict) else node for node in level]
        level = [child for children in inner for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _can_be_resumed(error: Exception) -> bool:
    """Whether the same stream can be asked for again: the server was busy, or away."""
    if isinstance(error, errors.ApiError):
        return not watch.lost(error) and (error.status == 429 or error.status >= 500)
    return isinstance(error, errors.TransportError)


def _resource(plural: str, kind: str, *, namespaced: bool) -> dict[str, Any]:
    verbs = ["get", "list", "patch", "watch"]
    return {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced, "verbs": verbs}


def _group(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "versions": [{"version": version}], "preferredVersion": {"version": version}}


# kopf asks once, and never learns of what is not there then.  The engine waits until it is.
_DISCOVERY: Final[Mapping[str, dict[str, Any]]] = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [_resource("namespaces", "Namespace", namespaced=False)]},
    "/apis": {"groups": [_group(names.GROUP, names.VERSION)]},
    f"/apis/{names.GROUP}/{names.VERSION}": {
        "resources": [
            _resource(names.SANDBOXES, "Sandbox", namespaced=True),
            _resource(names.POOLS, "SandboxPool", namespaced=True),
        ]
    },
}
