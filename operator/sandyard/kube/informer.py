"""Keeps a local copy of one kind of object: LIST, then WATCH, for as long as it lives.

Only LIST and WATCH write the copy.  A re-list replaces it as a whole and reports what has
disappeared meanwhile as deleted, so that nobody holds on to ghosts.  Versions only ever go
forward: what is shown again, or late, changes nothing.  Nothing that the API server does ends
the loop: errors are retried with a jittered backoff.
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
from sandyard.kube.backoff import Pace
from sandyard.kube.client import Client

__all__ = ["Informer"]

_log = logging.getLogger(__name__)
# One of its own: whoever has given Python's common one a seed finds it as it was.
_RANDOM: Final = random.Random()
# The server ends a stream after so many seconds, and shortly before sends a bookmark: taking it
# up again from there costs it next to nothing, and shows that somebody is there.
_WATCH_SECONDS: Final = 10
_WATCH_SPREAD_SECONDS: Final = 4
_INACTIVITY_SECONDS: Final = 16.0
# A list from before what is known already comes from a server that lags behind, and the next
# one will not; unless etcd was restored from a backup, and then it is true.
_MOST_OLD_LISTS: Final = 4


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
    watch_seconds
        After how long the server is to end a stream; a few more are added by chance.
    inactivity_seconds
        Silence after which a stream counts as dead.
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
        inactivity_seconds: float = _INACTIVITY_SECONDS,
        watch_seconds: int = _WATCH_SECONDS,
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
        # Up to where all changes have been taken in, and whether the watch can begin there.
        self._version = ""
        self._listed = False
        self._old_lists = 0
        self.synced = asyncio.Event()
        # Listed, or refused at least once.
        self.answered = asyncio.Event()
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
        pace = Pace()
        while True:
            await pace.wait()
            started = time.monotonic()
            problem: Exception | None = None
            try:
                if not self._listed:
                    await self._list()
                await self._watch()
            except watch.Expired:
                self._listed = False
            except (errors.ApiError, errors.TransportError, *watch.SENSELESS) as error:
                problem = error
                if watch.lost(error):
                    self._listed = False
                self._refused(error)
            pace.ended(time.monotonic() - started, problem)
            if problem is not None:
                pace.tell(_log, self._path, problem)

    async def _list(self) -> None:
        self.relists += 1
        version = ""
        seen: dict[str, T] = {}
        async for page in watch.list_pages(self._client, self._path, self._params):
            version = page.version
            for raw in page.items:
                if (item := self._decode(raw)) is not None:
                    seen[item.metadata.uid] = item
        self._refuse_old(version)
        for uid in [uid for uid in self._objects if uid not in seen]:
            self._report(self._objects.pop(uid), None)
        for uid, item in seen.items():
            before = self._objects.get(uid)
            if before is None or before.metadata.resource_version != item.metadata.resource_version:
                self._objects[uid] = item
                self._report(before, item)
        self._version, self._listed = version, True
        self.last_event_at = time.monotonic()
        if not self.synced.is_set():
            self.synced.set()
            self.answered.set()
            if self._on_synced is not None:
                self._on_synced()

    def _refused(self, error: Exception) -> None:
        """Whoever refuses is not silent."""
        if isinstance(error, errors.ApiError):
            self.last_event_at = time.monotonic()
            if error.forbidden:
                self.answered.set()

    def _refuse_old(self, version: str) -> None:
        """Take no list from before what is known, unless all are.

        Raises
        ------
        TransportError
            The list of *version* is old.
        """
        if not watch.older(version, self._version) or self._old_lists >= _MOST_OLD_LISTS:
            self._old_lists = 0
            return
        self._old_lists += 1
        raise errors.TransportError(f"the list is of version {version}, and {self._version} is known already")

    async def _watch(self) -> None:
        seconds = self._watch_seconds + _RANDOM.randrange(_WATCH_SPREAD_SECONDS)
        params = {**self._params, "timeoutSeconds": str(seconds)}
        async for event in watch.watch_objects(
            self._client, self._path, params, self._version, inactivity_seconds=self._inactivity_seconds
        ):
            self.last_event_at = time.monotonic()
            uid, version = watch.identity(event)
            if version == self._version or watch.older(version, self._version):
                # Shown again.
                continue
            if event.type != "BOOKMARK":
                self._take_in(event, uid)
            self._version = version or self._version

    def _take_in(self, event: watch.Event, uid: str) -> None:
        if event.type == "DELETED":
            # Nothing but its UID matters any more, whatever else there is about it.
            before = self._objects.pop(uid, None)
            if before is not None:
                self._report(before, None)
            return
        item = self._decode(event.object)
        if item is not None:
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
