"""Keeps a local copy of one kind of object: LIST, then WATCH, for as long as it lives.

Only LIST and WATCH write the copy.  A re-list replaces it as a whole and reports what has
disappeared meanwhile as deleted, so that nobody holds on to ghosts.  Nothing that the API
server does ends the loop: errors are retried with a jittered backoff.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import msgspec

from sandyard.kube import errors
from sandyard.kube.client import Client

__all__ = ["Informer"]

_log = logging.getLogger(__name__)


class _Metadata(Protocol):
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


class _HasMetadata(Protocol):
    @property
    def metadata(self) -> _Metadata: ...


T = TypeVar("T", bound=_HasMetadata)


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMeta
    items: list[msgspec.Raw]


class _Bookmark(msgspec.Struct, frozen=True):
    metadata: _ListMeta


class _Status(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""
    reason: str = ""


class _TooOld(Exception):
    """The version to resume from is no longer known: list again."""


class Informer(Generic[T]):
    """A cache of the objects at *path*, with a callback for each change.

    Parameters
    ----------
    client, path, params
        What to list and watch, for example with a ``labelSelector``.
    inactivity_seconds
        Silence after which the stream counts as dead; bookmarks come about once a minute.
    kind
        Structure that objects are decoded to.
    on_change
        Called with (before, after); before is None for a new object, after is None for a
        deleted one. It must not block.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        kind: type[T],
        on_change: Callable[[T | None, T | None], None],
        *,
        params: dict[str, str] | None = None,
        inactivity_seconds: float = 100,
        watch_seconds: int = 270,
        on_synced: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._path = path
        self._params = params or {}
        self._decoder = msgspec.json.Decoder(kind)
        self._on_change = on_change
        self._inactivity_seconds = inactivity_seconds
        self._watch_seconds = watch_seconds
        self._on_synced = on_synced
        self._objects: dict[str, T] = {}
        self.synced = asyncio.Event()
        self.relists = 0
        self.last_event_at = time.monotonic()

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, uid: str) -> T | None:
        """The object with that UID, as last seen."""
        return self._objects.get(uid)

    async def run(self) -> None:
        """List and watch until cancelled."""
        version: str | None = None
        delay = 0.05
        while True:
            started = time.monotonic()
            try:
                if version is None:
                    version = await self._list()
                version = await self._watch(version)
                delay = 0.05
            except _TooOld:
                version = None
            except (errors.ApiError, errors.TransportError, msgspec.MsgspecError) as error:
                if isinstance(error, errors.ApiError) and error.gone:
                    version = None
                _log.warning("watch interrupted", extra={"path": self._path, "error": str(error)})
                if time.monotonic() - started > 30:
                    delay = 0.05
                await asyncio.sleep(delay * random.uniform(0.5, 1.5))
                delay = min(delay * 2, 5.0)

    async def _list(self) -> str:
        self.relists += 1
        version = ""
        seen: dict[str, T] = {}
        async for page in self._client.pages(self._path, self._params):
            parsed = msgspec.json.decode(page, type=_List)
            version = parsed.metadata.resource_version
            for raw in parsed.items:
                item = self._decoder.decode(raw)
                seen[item.metadata.uid] = item
        for uid in [uid for uid in self._objects if uid not in seen]:
            self._on_change(self._objects.pop(uid), None)
        for uid, item in seen.items():
            before = self._objects.get(uid)
            if before is None or before.metadata.resource_version != item.metadata.resource_version:
                self._objects[uid] = item
                self._on_change(before, item)
        self.last_event_at = time.monotonic()
        if not self.synced.is_set():
            self.synced.set()
            if self._on_synced is not None:
                self._on_synced()
        return version

    async def _watch(self, version: str) -> str:
        seconds = self._watch_seconds + random.randrange(30)
        params = {**self._params, "resourceVersion": version, "timeoutSeconds": str(seconds)}
        async for line in self._client.watch(self._path, params, inactivity_seconds=self._inactivity_seconds):
            self.last_event_at = time.monotonic()
            event = msgspec.json.decode(line, type=_Event)
            if event.type == "BOOKMARK":
                version = msgspec.json.decode(event.object, type=_Bookmark).metadata.resource_version
                continue
            if event.type == "ERROR":
                status = msgspec.json.decode(event.object, type=_Status)
                if status.code == 410:
                    raise _TooOld
                raise errors.ApiError(status.code, {"reason": status.reason, "message": status.message})
            item = self._decoder.decode(event.object)
            version = item.metadata.resource_version
            self._apply(event.type, item)
        return version

    def _apply(self, kind: str, item: T) -> None:
        uid = item.metadata.uid
        if kind == "DELETED":
            before = self._objects.pop(uid, None)
            if before is not None:
                self._on_change(before, None)
            return
        before = self._objects.get(uid)
        self._objects[uid] = item
        self._on_change(before, item)
