"""The one way by which the engine writes, and reads what no watch shows.

Each write first asks whether this process may still act (`NotLeader`): a leader that was
stopped and continued must find out before it writes, not after.
"""

from __future__ import annotations

import email.utils
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandyard.kube import errors, remotecommand
from sandyard.kube.client import Client, Resource

__all__ = ["Listed", "NotLeader", "RunInPod", "Writer"]

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

    def __init__(self, client: Client, may_write: Callable[[], bool], run_in_pod: RunInPod) -> None:
        self._client = client
        self._may_write = may_write
        self._run_in_pod = run_in_pod

    async def read(self, path: str) -> dict[str, Any] | None:
        """Read an object from the API server itself; None if it is not there."""
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
        """All objects of a kind in *namespaces*, or everywhere when that is empty.

        A namespace that is refused costs nobody else anything.

        Raises
        ------
        ApiError
            All of them are refused, or something else is wrong.
        """
        listed = Listed()
        for namespace in namespaces or (None,):
            try:
                listed.items += await self._client.items(resource.path(namespace), params)
            except errors.ApiError as error:
                if namespace is None or not error.forbidden or len(listed.refused) == len(namespaces) - 1:
                    raise
                listed.refused.add(namespace)
        return listed

    async def create(self, path: str, body: Mapping[str, Any]) -> None:
        """POST an object to the collection at *path*."""
        self._check()
        await self._client.create(path, body, brief=True)

    async def change(self, path: str, body: Mapping[str, Any]) -> None:
        """Merge *body* into the object at *path*; what it is then nobody asks: to tell it costs both sides."""
        self._check()
        await self._client.merge_patch(path, body, brief=True)

    async def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge *body* into the object at *path*; returns it as it is then."""
        self._check()
        return await self._client.merge_patch(path, body)

    async def json_patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Carry out *operations* on the object at *path*; returns it as it is then."""
        self._check()
        return await self._client.json_patch(path, operations)

    async def delete(self, path: str, uid: str, version: str | None = None) -> bool:
        """Delete that very object; False if it is gone already, or no longer of that *version*."""
        self._check()
        try:
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

    def _check(self) -> None:
        if not self._may_write():
            raise NotLeader("another operator may be the active one by now")
