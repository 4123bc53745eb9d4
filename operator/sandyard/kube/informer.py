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
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from sandyard.kube import errors, watch
from sandyard.kube.backoff import pause_seconds
from sandyard.kube.client import Client

__all__ = ["Informer"]

_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0
# What has held for so long was no failure at once.
_SOUND_SECONDS: Final = 30


class _Metadata(Protocol):
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


class _HasMetadata(Protocol):
    @property
    def metadata(self) -> _Metadata: ...


T = TypeVar("T", bound=_HasMetadata)


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
        failures = 0
        while True:
            started = time.monotonic()
            try:
                if version is None:
                    version = await self._list()
                version = await self._watch(version)
                failures = 0
            except watch.Expired:
                version = None
            except (errors.ApiError, errors.TransportError, msgspec.MsgspecError) as error:
                if isinstance(error, errors.ApiError) and error.gone:
                    version = None
                _log.warning("watch interrupted", extra={"path": self._path, "error": str(error)})
                if time.monotonic() - started > _SOUND_SECONDS:
                    failures = 0
                await asyncio.sleep(pause_seconds(failures, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS))
                failures += 1

    async def _list(self) -> str:
        self.relists += 1
        version = ""
        seen: dict[str, T] = {}
        async for page in watch.list_pages(self._client, self._path, self._params):
            version = page.version
            for raw in page.items:
                if (item := self._decode(raw)) is not None:
                    seen[item.metadata.uid] = item
        for uid in [uid for uid in self._objects if uid not in seen]:
            self._report(self._objects.pop(uid), None)
        for uid, item in seen.items():
            before = self._objects.get(uid)
            if before is None or before.metadata.resource_version != item.metadata.resource_version:
                self._objects[uid] = item
                self._report(before, item)
        self.last_event_at = time.monotonic()
        if not self.synced.is_set():
            self.synced.set()
            if self._on_synced is not None:
                self._on_synced()
        return version

    async def _watch(self, version: str) -> str:
        seconds = self._watch_seconds + random.randrange(30)
        params = {**self._params, "timeoutSeconds": str(seconds)}
        async for event in watch.watch_objects(
            self._client, self._path, params, version, inactivity_seconds=self._inactivity_seconds
        ):
            self.last_event_at = time.monotonic()
            if event.type == "BOOKMARK":
                version = watch.bookmark(event)
                continue
            item = self._decode(event.object)
            if item is not None:
                version = item.metadata.resource_version
                self._apply(event.type, item)
        return version

    def _apply(self, kind: str, item: T) -> None:
        uid = item.metadata.uid
        if kind == "DELETED":
            before = self._objects.pop(uid, None)
            if before is not None:
                self._report(before, None)
            return
        before = self._objects.get(uid)
        self._objects[uid] = item
        self._report(before, item)

    def _decode(self, raw: msgspec.Raw) -> T | None:
        """The object in *raw*; None if it makes no sense: one object keeps nobody from the others."""
        try:
            return self._decoder.decode(raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            _log.error("object left out", extra={"path": self._path, "error": str(error)})
            return None

    def _report(self, before: T | None, after: T | None) -> None:
        """Tell of a change; a mistake that one object brings to light does not end the watch of all."""
        try:
            self._on_change(before, after)
        except Exception:  # noqa: BLE001 - whatever one object brings to light
            metadata = (after or before).metadata  # type: ignore[union-attr]
            _log.exception("change not taken in", extra={"path": self._path, "uid": metadata.uid})
