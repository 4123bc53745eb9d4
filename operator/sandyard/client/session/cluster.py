"""One cluster, as the client uses it: requests that fail in the client's own words."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import msgspec

from sandyard.api import names
from sandyard.client.errors import (
    InvalidArgument,
    SandboxError,
    SandboxExists,
    SandboxNotFound,
    Unauthorized,
    Unavailable,
)
from sandyard.client.manifest import check_name
from sandyard.kube import config as kube_config
from sandyard.kube import errors, remotecommand, watch
from sandyard.kube.backoff import pause_seconds
from sandyard.kube.client import MERGE_PATCH, Client
from sandyard.kube.paths import Resource

__all__ = ["ALL_NAMESPACES", "EVENTS", "PODS", "POD_METRICS", "POOLS", "SANDBOXES", "Cluster", "explain"]

PODS = Resource("v1", "pods")
SANDBOXES = Resource(names.API_VERSION, names.SANDBOXES)
POOLS = Resource(names.API_VERSION, names.POOLS)
EVENTS = Resource("v1", "events")
POD_METRICS = Resource("metrics.k8s.io/v1beta1", "pods")
# In place of a namespace, for lists.
ALL_NAMESPACES = "*"
T = TypeVar("T")
_WATCH_SILENCE_SECONDS = 70.0
_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
# Of Retry-After; most API servers ask for one second.
_LONGEST_ASKED_SECONDS = 10.0
# So long a server that restarts may be away from those who follow an object.
_LOST_SECONDS = 60.0
# Kubernetes' version that closes the input of an exec.
_V5_SINCE = (1, 30)
# Where the API server's own words begin, in its answer to a field that it does not know.
_STRICT = "strict decoding error"
# Without an answer from the other side's network for so long, a connection is lost.
_SILENCE_SECONDS = 2.5


class Cluster:
    """A connection to one cluster; use it as an asynchronous context manager.

    Parameters
    ----------
    namespace
        Default: the namespace of the kubeconfig's context, or the pod's own.
    request_timeout
        Seconds that one request may take.
    connections
        Most requests at the same time.
    """

    def __init__(
        self, *, namespace: str | None = None, request_timeout: float = 30.0, connections: int = 64,
        config: kube_config.ClusterConfig | None = None,
    ) -> None:  # fmt: skip
        try:
            config = config or kube_config.load()
        except errors.ConfigError as error:
            raise Unauthorized(str(error)) from error
        self.namespace = namespace or config.namespace
        self.request_timeout = request_timeout
        self.exec_protocol = remotecommand.V5
        self._config = config
        self._connections = connections
        self.client = self._client()
        self.process = os.getpid()
        # Whether the end of the program has closed it, and not its owner.
        self.forgotten = False

    def _client(self) -> Client:
        return Client(
            self._config, timeout_seconds=self.request_timeout, connections=self._connections,
            user_agent="sandyard-client", silence_seconds=_SILENCE_SECONDS,
        )  # fmt: skip

    async def reopen(self) -> None:
        """Open connections anew, of its own in a process that was forked: those of its parent are left alone."""
        self.client.abandon()
        self.client = self._client()
        self.process = os.getpid()
        self.forgotten = False
        await self._open()

    async def _open(self) -> None:
        try:
            await self.client.__aenter__()
        except errors.ConfigError as error:
            raise Unauthorized(str(error)) from error

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.__aexit__()

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """Read an object."""
        path = _path(resource, namespace, name)
        return await self._twice(lambda: self.client.get(path), name)

    async def items(
        self, resource: Resource, namespace: str, params: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """List the objects of a namespace or of `ALL_NAMESPACES`, across pages."""
        path = _path(resource, None if namespace == ALL_NAMESPACES else namespace)
        return await self._twice(lambda: self.client.items(path, params))

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; when no answer comes, look whether it was created."""
        name = str(body["metadata"]["name"])
        path = _path(resource, namespace, name)
        try:
            return await _again(lambda: self._strictly("POST", _path(resource, namespace), body, "application/json"),
                                _is_busy)  # fmt: skip
        except (errors.ApiError, errors.TransportError) as error:
            if not _is_unsure(error):
                raise explain(error, name) from error
            try:
                return await self.client.get(path)
            except (errors.ApiError, errors.TransportError) as looked:
                missing = isinstance(looked, errors.ApiError) and looked.not_found
                raise explain(error if missing else looked, name) from error

    async def patch(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge *body* into an object; to do so twice is harmless."""
        path = _path(resource, namespace, name)
        return await self._twice(lambda: self._strictly("PATCH", path, body, MERGE_PATCH), name)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str | None = None) -> bool:
        """Delete an object; False if it was gone before."""
        try:
            path = _path(resource, namespace, name)
            await self._twice(lambda: self.client.delete(path, uid=uid), name)
        except SandboxNotFound:
            return False
        except InvalidArgument as error:
            # Another object has that name by now.
            if error.reason == "Conflict":
                return False
            raise
        return True

    async def falls_back(self) -> bool:
        """Whether the server is older than exec's protocol v5; if so, execs use v4 from now on."""
        if self.exec_protocol != remotecommand.V5:
            return False
        try:
            version = await self.client.get("/version")
            older = (int(version["major"]), int(re.match(r"\d*", str(version["minor"]))[0])) < _V5_SINCE  # type: ignore[index]
        except (errors.ApiError, errors.TransportError, KeyError, ValueError):
            return False
        if older:
            self.exec_protocol = remotecommand.V4
        return older

    async def _strictly(self, method: str, path: str, body: Mapping[str, Any], kind: str) -> dict[str, Any]:
        """A write of which the server refuses fields that it does not know."""
        reply = await self.client.request(
            method, path, params={"fieldValidation": "Strict"}, body=msgspec.json.encode(body), content_type=kind
        )
        found: dict[str, Any] = msgspec.json.decode(reply)
        return found

    async def _twice(self, call: Callable[[], Awaitable[T]], name: str = "") -> T:
        """What may be done twice is done again when the server gives no answer, or cannot."""
        try:
            return await _again(call, _passes)
        except (errors.ApiError, errors.TransportError) as error:
            raise explain(error, name) from error

    @asynccontextmanager
    async def follow(self, resource: Resource, namespace: str, name: str) -> AsyncIterator[AsyncIterator[Any]]:
        """Iterate over the states of one object, the present one first; None once the object is gone."""
        states = self._states(resource, namespace, name)
        try:
            yield states
        finally:
            await states.aclose()  # type: ignore[attr-defined]

    async def _states(self, resource: Resource, namespace: str, name: str) -> AsyncIterator[dict[str, Any] | None]:
        selector = {"fieldSelector": f"metadata.name={name}"}
        path, uid = _path(resource, namespace), None
        heard, failures = time.monotonic(), 0
        while True:
            version, found = "", list[dict[str, Any]]()
            try:
                async for page in watch.list_pages(self.client, path, selector):
                    version = page.version
                    found += [msgspec.json.decode(raw) for raw in page.items]
            except (errors.TransportError, errors.ApiError) as error:
                # A server that restarts is back in a while.
                if not _passes(error) or time.monotonic() - heard > _LOST_SECONDS:
                    raise explain(error, name) from error
                await asyncio.sleep(_pause_seconds(error, failures))
                failures += 1
                continue
            failures = 0
            if not found or (uid is not None and found[0]["metadata"]["uid"] != uid):
                yield None
                return
            uid = found[0]["metadata"]["uid"]
            yield found[0]
            try:
                async for event in watch.watch_objects(
                    self.client, path, selector, version,
                    inactivity_seconds=_WATCH_SILENCE_SECONDS,
                ):  # fmt: skip
                    if event.type == "DELETED":
                        yield None
                        return
                    if event.type in ("ADDED", "MODIFIED"):
                        yield msgspec.json.decode(event.object)
            except (errors.TransportError, errors.ApiError):
                # Broken off or too old: look anew.
                await asyncio.sleep(_FIRST_PAUSE_SECONDS)
            heard = time.monotonic()


def _path(resource: Resource, namespace: str | None, name: str | None = None) -> str:
    """Where it is, by names that are some: what a program's user has typed leads nowhere else (``../``, ``?``)."""
    check_name("namespace", namespace)
    check_name("name", name)
    return resource.path(namespace, name)


async def _again(
    call: Callable[[], Awaitable[T]], passes: Callable[[errors.ApiError | errors.TransportError], bool]
) -> T:
    for attempt in range(_ATTEMPTS):
        try:
            return await call()
        except (errors.ApiError, errors.TransportError) as error:
            if attempt == _ATTEMPTS - 1 or not passes(error):
                raise
            await asyncio.sleep(_pause_seconds(error, attempt))
    raise AssertionError


def _is_busy(error: errors.ApiError | errors.TransportError) -> bool:
    """The server has done nothing, and asks to be asked later."""
    return isinstance(error, errors.ApiError) and error.status == 429


def _is_unsure(error: errors.ApiError | errors.TransportError) -> bool:
    """What was asked for may have been done, or not."""
    return isinstance(error, errors.TransportError) or error.unsure


def _passes(error: errors.ApiError | errors.TransportError) -> bool:
    """The same may go well a moment later."""
    return _is_busy(error) or _is_unsure(error)


def _pause_seconds(error: errors.ApiError | errors.TransportError, failures: int) -> float:
    asked = error.retry_after_seconds if isinstance(error, errors.ApiError) else None
    return max(
        pause_seconds(failures, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS), min(asked or 0.0, _LONGEST_ASKED_SECONDS)
    )


def explain(error: errors.ApiError | errors.TransportError, name: str = "") -> SandboxError:
    """The client's error for one of the API server's."""
    if isinstance(error, errors.TransportError):
        return Unavailable(f"no answer from the API server: {error}", sandbox=name)
    if error.status == 401:
        return Unauthorized(f"the API server does not know you: {error.message}", sandbox=name, reason=error.reason)
    if error.status == 404:
        return SandboxNotFound(error.message, sandbox=name, reason=error.reason)
    if error.already_exists:
        return SandboxExists(error.message, sandbox=name, reason=error.reason)
    if error.status == 403:
        return Unauthorized(error.message, sandbox=name, reason=error.reason)
    if error.status in (400, 405, 409, 422):
        # Of a patch the whole object stands before what is wrong with it.
        message = error.message[max(0, error.message.rfind(_STRICT)) :]
        return InvalidArgument(message, sandbox=name, reason=error.reason)
    return Unavailable(error.message or str(error), sandbox=name, reason=error.reason)
