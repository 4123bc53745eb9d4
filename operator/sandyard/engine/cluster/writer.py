"""The one way by which the engine writes, and reads what no watch shows.

Each write first asks whether this process may still act (`NotLeader`): a leader that was
stopped and continued must find out before it writes, not after.  And each waits for its turn,
by how urgent it is.
"""

from __future__ import annotations

import email.utils
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sandyard.engine.loops.turns import Turns, Urgency
from sandyard.kube import errors, remotecommand, replies
from sandyard.kube.client import Client
from sandyard.kube.paths import Resource, kind_of, namespace_of

__all__ = ["Listed", "NotLeader", "RunInPod", "Take", "Writer"]

# What is done with a page of a list.
Take = Callable[[list[dict[str, Any]]], Awaitable[None]]
# What `sandyard.kube.remotecommand.run` is.
RunInPod = Callable[..., Awaitable[remotecommand.Completed]]


@dataclass
class Listed:
    """Objects of a kind, as far as they could be read.

    Attributes
    ----------
    refused
        Namespaces that are left out: nothing may be read in them, or they are gone.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


class NotLeader(errors.NotConnected):
    """This process is not, or no longer, the one that acts: the request was not sent."""


class Writer:
    """Requests by path. Each write raises `NotLeader` when another process may be the active one."""

    def __init__(
        self, client: Client, may_write: Callable[[], bool], run_in_pod: RunInPod, turns: Turns
    ) -> None:  # fmt: skip
        self._client = client
        self._turns = turns
        self._may_write = may_write
        self._run_in_pod = run_in_pod

    async def read(self, path: str) -> dict[str, Any] | None:
        """Read an object from the API server itself; None if it is not there."""
        found = await self.ask(path)
        return replies.named(found, f"GET {path}", path.rpartition("/")[2]) if found is not None else None

    async def ask(self, path: str) -> dict[str, Any] | None:
        """What the API server says of itself at *path*; None if there is nothing."""
        try:
            return await self._client.get(path)
        except errors.ApiError as error:
            if error.not_found:
                return None
            raise

    def server_time(self) -> float | None:
        """The API server's time at its last answer, in seconds since the epoch; None: it has told none."""
        try:
            return email.utils.parsedate_to_datetime(self._client.server_date).timestamp()
        except ValueError:
            return None

    async def items(
        self, resource: Resource, namespaces: Sequence[str], params: Mapping[str, str] | None = None
    ) -> Listed:
        """All objects of a kind in *namespaces*, or everywhere when that is empty, as `each_page`."""
        found: list[dict[str, Any]] = []

        async def take(page: list[dict[str, Any]]) -> None:
            found.extend(page)

        return Listed(found, await self.each_page(resource, namespaces, take, params))

    async def each_page(
        self, resource: Resource, namespaces: Sequence[str], take: Take, params: Mapping[str, str] | None = None
    ) -> set[str]:
        """Hand all objects of a kind in *namespaces*, or everywhere when that is empty, to *take*, page by page.

        A namespace that is refused costs nobody else anything.

        Returns
        -------
        set of str
            Namespaces that are left out: nothing may be read in them, or they are gone.

        Raises
        ------
        ApiError
            All of them are refused, or something else is wrong.
        """
        refused: set[str] = set()
        for namespace in namespaces or (None,):
            try:
                async for page in self._client.items_by_page(resource.path(namespace), params):
                    await take(page)
            except errors.ApiError as error:
                if namespace is None or not error.forbidden or len(refused) == len(namespaces) - 1:
                    raise
                refused.add(namespace)
        return refused

    async def create(self, path: str, body: Mapping[str, Any], urgency: Urgency = Urgency.START) -> None:
        """POST an object to the collection at *path*."""
        async with self._turn("POST", path, urgency):
            await self._client.create(path, body, brief=True)

    async def change(self, path: str, body: Mapping[str, Any], urgency: Urgency = Urgency.START) -> None:
        """Merge *body* into the object at *path*; what it is then nobody asks: to tell it costs both sides."""
        async with self._turn("PATCH", path, urgency):
            await self._client.merge_patch(path, body, brief=True)

    async def patch(self, path: str, body: Mapping[str, Any], urgency: Urgency = Urgency.START) -> dict[str, Any]:
        """Merge *body* into the object at *path*; returns it as it is then."""
        async with self._turn("PATCH", path, urgency):
            return await self._client.merge_patch(path, body)

    async def json_patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Carry out *operations* on the object at *path*; returns it as it is then."""
        async with self._turn("PATCH", path, Urgency.START):
            return await self._client.json_patch(path, operations)

    async def delete(
        self, path: str, uid: str, version: str | None = None, urgency: Urgency = Urgency.TEARDOWN
    ) -> bool:  # fmt: skip
        """Delete that very object; False if it is gone already, or no longer of that *version*."""
        try:
            async with self._turn("DELETE", path, urgency):
                await self._client.delete(path, uid=uid, version=version, brief=True)
        except errors.ApiError as error:
            # 409: another object has that name by now, so this one is gone; or it has changed.
            if error.not_found or error.conflict:
                return False
            raise
        return True

    async def exec(
        self, path: str, command: Sequence[str], *, container: str, stdin: bytes, timeout_seconds: float
    ) -> remotecommand.Completed:
        """Run *command* in a container of the pod at *path*."""
        self._check()
        return await self._run_in_pod(
            self._client, path, command, container=container, stdin=stdin, timeout_seconds=timeout_seconds
        )

    @asynccontextmanager
    async def _turn(self, verb: str, path: str, urgency: Urgency) -> AsyncIterator[None]:
        """A turn of this process, if it is still the active one when that comes."""
        self._check()
        async with self._turns.turn(f"{verb} {kind_of(path)}", namespace_of(path), urgency):
            self._check()
            yield

    def _check(self) -> None:
        if not self._may_write():
            raise NotLeader("another operator may be the active one by now")
