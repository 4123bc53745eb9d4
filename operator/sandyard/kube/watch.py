"""LIST and WATCH of a collection; objects stay encoded, so that each reader decodes what it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec

from sandyard.kube import errors
from sandyard.kube.client import Client

__all__ = ["SENSELESS", "Event", "Expired", "Listing", "identity", "list_pages", "lost", "older", "watch_objects"]

# What a line or a list raises that nobody can read; the last one by its depth.
SENSELESS: Final = (ValueError, msgspec.MsgspecError, RecursionError)


class Event(msgspec.Struct, frozen=True):
    """A change: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: msgspec.Raw


class Listing(msgspec.Struct, frozen=True):
    """A page of objects, and the resource version to watch from."""

    version: str
    items: list[msgspec.Raw]


class Expired(errors.ApiError):
    """The server no longer knows the version that a watch is at: list again."""


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Page(msgspec.Struct, frozen=True):
    metadata: _Metadata
    items: list[msgspec.Raw]


class _AnyMetadata(msgspec.Struct, frozen=True, rename="camel"):
    uid: object = ""
    resource_version: object = ""


class _Any(msgspec.Struct, frozen=True):
    metadata: _AnyMetadata


class _Status(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""
    reason: str = ""


_ANY = msgspec.json.Decoder(_Any)


async def list_pages(client: Client, path: str, params: Mapping[str, str]) -> AsyncIterator[Listing]:
    """LIST the collection at *path*, page by page; all pages have one version.

    Raises
    ------
    ApiError, TransportError
        The server refused, or gave no answer.
    """
    async for page in client.pages(path, params):
        decoded = msgspec.json.decode(page, type=_Page)
        yield Listing(decoded.metadata.resource_version, decoded.items)


async def watch_objects(
    client: Client, path: str, params: Mapping[str, str], version: str, *, inactivity_seconds: float
) -> AsyncIterator[Event]:
    """WATCH the collection at *path* from *version* on, until the server ends the stream.

    Raises
    ------
    Expired
        The stream says that its version is too old.
    ApiError
        The server refused the watch (410: the version is too old), or the stream says so.
    TransportError
        The connection broke, or stayed silent for *inactivity_seconds*.
    """
    query = {**params, "resourceVersion": version}
    async for line in client.watch(path, query, inactivity_seconds=inactivity_seconds):
        event = msgspec.json.decode(line, type=Event)
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object, type=_Status)
            kind = Expired if status.code == 410 else errors.ApiError
            raise kind(status.code, {"reason": status.reason, "message": status.message})
        yield event


def identity(event: Event) -> tuple[str, str]:
    """UID and resource version of what an event is about, however odd it is otherwise; empty where it has none."""
    try:
        metadata = _ANY.decode(event.object).metadata
    except SENSELESS:
        return "", ""
    found = (metadata.uid, metadata.resource_version)
    uid, version = (value if isinstance(value, str) else "" for value in found)
    return uid, version


def older(version: str, than: str) -> bool:
    """Whether *version* is from before *than*; no if they cannot be compared.

    Versions of one kind of object are numbers that grow (KEP-5504).
    """
    numbers = version.isdecimal() and than.isdecimal()
    return numbers and int(version) < int(than)


def lost(error: Exception) -> bool:
    """Whether the watch cannot be taken up where it was: only a new list says what there is."""
    if isinstance(error, errors.ApiError):
        # A version from the future: etcd was restored from a backup.
        return error.gone or "too large resource version" in error.message.lower()
    # A line that cannot be read may have been any change.
    return isinstance(error, SENSELESS)
