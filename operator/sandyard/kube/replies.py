"""What an answer of status 200 says; one that makes no sense is no API server's, and proves nothing.

A proxy on the way, or a page that asks for a login, may say 200 to anything.
"""

from __future__ import annotations

from typing import Any

import orjson

from sandyard.kube import errors

__all__ = ["about", "items", "named", "parsed"]


def parsed(reply: bytes, what: str) -> dict[str, Any]:
    """The object in a reply that says that all went well.

    Raises
    ------
    TransportError
        It is none, so this is no reply of an API server's.
    """
    try:
        parsed = orjson.loads(reply)
    except orjson.JSONDecodeError as error:
        raise errors.TransportError(f"{what}: the reply makes no sense: {error}") from error
    if not isinstance(parsed, dict):
        raise errors.TransportError(f"{what}: the reply is no object")
    return parsed


def about(reply: dict[str, Any], what: str, *, uid: str | None = None, name: str | None = None) -> dict[str, Any]:
    """The reply to a write, which shows the object that was written: with *uid* or *name*, where these are known.

    Raises
    ------
    TransportError
        It shows something else, so it is no API server's: whether the write took effect is not known.
    """
    metadata = reply.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    if not found.get("uid") or uid not in (None, found["uid"]) or name not in (None, found.get("name")):
        raise errors.TransportError(f"{what}: the reply is about something else")
    return reply


def named(reply: dict[str, Any], what: str, name: str) -> dict[str, Any]:
    """The reply to a read, which shows the object of that *name*.

    Raises
    ------
    TransportError
        It shows something else.
    """
    metadata = reply.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") != name:
        raise errors.TransportError(f"{what}: the reply is about something else")
    return reply


def items(reply: dict[str, Any], what: str) -> list[dict[str, Any]]:
    """The objects of a list.

    Raises
    ------
    TransportError
        It is no list of objects: that would look as if nothing were there.
    """
    found = reply.get("items", False)
    found = [] if found is None else found
    if not isinstance(found, list) or not all(_is_object(item) for item in found):
        raise errors.TransportError(f"{what}: the reply is no list of objects")
    return found


def _is_object(item: Any) -> bool:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("uid"), str)
