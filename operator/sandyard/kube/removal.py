"""Deletes objects and waits until they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sandyard.kube import errors
from sandyard.kube.client import Client

__all__ = ["remove"]

_LOOK_SECONDS: Final = 0.3
_AT_ONCE: Final = 32


async def remove(
    client: Client,
    look: Callable[[], Awaitable[Mapping[str, dict[str, Any]]]],
    timeout_seconds: float,
    on_left: Callable[[int], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Delete what *look* finds, until it finds nothing.

    Parameters
    ----------
    look
        Returns what is to go: objects by their path.
    timeout_seconds
        How long to wait until all is gone.
    on_left
        Called with the number of objects that are left, after each look.

    Returns
    -------
    list
        What is still there when time is up.

    Raises
    ------
    ApiError
        The server refused a look or a delete.
    TransportError
        A look got no answer. A delete without an answer is repeated after the next look.
    """
    deadline = time.monotonic() + timeout_seconds
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def delete(path: str, body: dict[str, Any]) -> None:
        async with at_once:
            with contextlib.suppress(errors.TransportError):
                await _delete(client, path, body["metadata"]["uid"])

    while True:
        found = await look()
        on_left(len(found))
        if not found or time.monotonic() > deadline:
            return list(found.values())
        wanted = [(path, body) for path, body in found.items() if "deletionTimestamp" not in body["metadata"]]
        await asyncio.gather(*(delete(path, body) for path, body in wanted))
        await asyncio.sleep(_LOOK_SECONDS)


async def _delete(client: Client, path: str, uid: str) -> None:
    """Delete one object; another one of its name stays."""
    try:
        await client.delete(path, uid=uid)
    except errors.ApiError as error:
        if not (error.not_found or error.conflict):
            raise
