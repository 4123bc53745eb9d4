"""The wire between one operator process and the simulated API server: what is sent, and what goes wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from sandyard.api import names
from sandyard.kube import errors, remotecommand
from tests.unit import simulated_node as node

if TYPE_CHECKING:
    from tests.unit.simulated_api import ApiServer, Key

__all__ = ["ANSWERS", "FAULTS", "WRITES", "Connection", "Sent", "copied"]

Json = TypeVar("Json")

_REFUSALS = {
    "conflict": (409, "Conflict", "somebody else was faster"),
    "forbidden": (403, "Forbidden", "an admission policy says no"),
    "invalid": (422, "Invalid", "it does not validate"),
    "throttled": (429, "TooManyRequests", "later, please"),
    "failing": (500, "InternalError", "etcd is busy"),
}
# With those that a test has to ask for by name.
ANSWERS = {
    **_REFUSALS,
    "bare conflict": (409, "Conflict", "try again"),
    "exists": (409, "AlreadyExists", "exists"),
    "bad": (400, "BadRequest", "no"),
    "missing": (404, "NotFound", "not found"),
    "large": (413, "RequestEntityTooLarge", "no"),
    "unavailable": (503, "ServiceUnavailable", "no"),
    "timeout": (504, "Timeout", "no"),
}
# Never sent; never arrives; takes place, but no reply; takes place much later, and no reply.
FAULTS = (*_REFUSALS, "unconnected", "lost", "unanswered", "late")

# What the operator writes, by what it means.
WRITES = (
    "claim", "ready", "status", "pool status", "create", "delete", "network", "return", "finalizer", "workspace",
    "policy", "exec", "expire", "request", "restart",
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """A write as it left an operator process; *what* is one of `WRITES`, or ``event``."""

    what: str
    name: str
    body: Any
    fault: str
    at: float


class Connection:
    """What an operator's client is to the operator.

    Parameters
    ----------
    may_write
        Whether its process is the leader at this moment: a write that is sent while it is not
        breaks a promise.
    """

    def __init__(self, server: ApiServer, may_write: Callable[[], bool]) -> None:
        self._server = server
        self._may_write = may_write
        self.dead = False
        self.server_date = ""
        self.sending = 0

    async def get(self, path: str, _params: Any = None) -> dict[str, Any]:
        await self._turns()
        return copied(self._server.find(_key(path)))

    async def items(self, path: str, params: Any = None) -> list[dict[str, Any]]:
        await self._turns()
        wanted = (params or {}).get("labelSelector")
        return [
            copied(body)
            for body in self._server.all(path.rpartition("/")[2])
            if wanted is None or wanted in (body["metadata"].get("labels") or {})
        ]

    async def items_by_page(self, path: str, params: Any = None) -> AsyncIterator[list[dict[str, Any]]]:
        yield await self.items(path, params)

    async def create(self, path: str, body: dict[str, Any], *, brief: bool = False) -> dict[str, Any]:
        resource = path.rpartition("/")[2]
        what = {"pods": "create", "networkpolicies": "policy"}.get(resource, "event")
        reply = await self._write(what, (resource, body["metadata"]["name"]), body,
                                  lambda: self._server.create(resource, body))  # fmt: skip
        return _told(reply, brief=brief)

    async def merge_patch(self, path: str, body: dict[str, Any], *, brief: bool = False) -> dict[str, Any]:
        key, status = _key(path), path.endswith("/status")
        reply = await self._write(_meaning(key, body), key, body,
                                  lambda: self._server.patch(key, body, status=status, by="operator"))  # fmt: skip
        return _told(reply, brief=brief)

    async def json_patch(self, path: str, body: list[dict[str, Any]]) -> dict[str, Any]:
        key = _key(path)
        changes: dict[str, Any] = {}
        for op in body:
            if op["path"] == "/spec":
                changes["spec"] = op["value"]
            elif op["path"] == "/metadata/labels":
                changes["metadata"] = {"labels": op["value"]}
        return await self._write("policy", key, body,
                                 lambda: self._server.patch(key, changes, status=False, by="operator"))  # fmt: skip

    async def delete(
        self, path: str, *, uid: str | None = None, version: str | None = None, brief: bool = False
    ) -> dict[str, Any]:
        key = _key(path)
        what = {"pods": "delete", "networkpolicies": "policy", "persistentvolumeclaims": "workspace"}
        reply = await self._write(what.get(key[0], "expire"), key, {"uid": uid, "version": version},
                                  lambda: self._server.remove(key, uid, version, by="operator"))  # fmt: skip
        return _told(reply, brief=brief)

    async def exec(
        self, _client: Any, path: str, _command: Any, *, stdin: bytes, **_options: Any
    ) -> remotecommand.Completed:
        """Stop or continue the processes of a pod, or have it restarted."""
        stop, key = b"signal=STOP" in stdin, _key(path)

        def act() -> dict[str, Any]:
            uid = self._server.find(key)["metadata"]["uid"]
            # A restart ends what was stopped.
            (self._server.frozen.add if stop else self._server.frozen.discard)(uid)
            if not stdin and not self._server.deaf_nodes:
                node.restart_pod(self._server, key[1])
            return {}

        await self._write("exec" if stdin else "restart", key, {}, act)
        if not stdin:
            # The container in which it runs is ended by it.
            raise errors.TransportError("the connection broke")
        text = f"sandyard: {'stopped' if stop else 'running'} 3"
        return remotecommand.Completed(remotecommand.Exit(0), f"{text}\n".encode(), b"", False)

    async def _write(self, what: str, key: Key, body: Any, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self.sending += 1
        try:
            return await self._send(what, key, body, act)
        finally:
            self.sending -= 1

    async def _send(self, what: str, key: Key, body: Any, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        server = self._server
        if self.dead:
            raise errors.NotConnected("this process is dead")
        if not self._may_write():
            server.witness.breaks(f"a write ({what} {key}) by a process that is no longer the leader")
        fault = server.fault_for(what)
        await self._turns()
        if fault == "late" and what not in ("claim", "delete"):
            # Nothing can guard the others against what was written meanwhile; the API server gives
            # up on a request whose client has gone, so they arrive soon or never.
            fault = "lost"
        server.sent.append(Sent(what, key[1], body, fault, server.now()))
        server.met[what, fault] += 1
        if what == "create":
            server.requests[f"create {key[0]}"] += 1
        server.requests["write"] += 1
        if fault == "conflict":
            server.touch(key)
        if fault in ANSWERS:
            code, reason, message = ANSWERS[fault]
            raise errors.ApiError(code, {"reason": reason, "message": message})
        if fault == "unconnected":
            raise errors.NotConnected("connection refused")
        if fault == "late":
            server.on_the_way.append(act)
        if fault in ("lost", "late"):
            raise errors.TransportError("the connection broke")
        reply = act()
        await self._turns()
        if fault == "unanswered":
            raise errors.TransportError("no reply")
        return reply

    async def _turns(self) -> None:
        """Let others go first, so that handlers interleave."""
        for _ in range(self._server.dice.randrange(3)):
            await asyncio.sleep(0)


def _meaning(key: Key, body: dict[str, Any]) -> str:
    """Which of `WRITES` a merge patch is."""
    if key[0] == "pods":
        labels = body["metadata"].get("labels") or {}
        if names.ANNOTATION_RESTART in (body["metadata"].get("annotations") or {}) and not labels:
            return "request"
        if names.LABEL_SANDBOX_UID not in labels:
            return "network"
        return "claim" if labels[names.LABEL_SANDBOX_UID] else "return"
    if "status" not in body:
        return "workspace" if key[0] == "persistentvolumeclaims" else "finalizer"
    if key[0] == names.POOLS:
        return "pool status"
    return "ready" if body["status"].get("phase") == "Ready" else "status"


def _key(path: str) -> Key:
    parts = path.split("/")
    return (parts[-3], parts[-2]) if parts[-1] == "status" else (parts[-2], parts[-1])


def copied(body: Json) -> Json:
    """*body* as it comes over a wire: what the receiver does to it changes nothing at the sender."""
    # `copy.deepcopy` would take half of the time of these tests.
    made: Json = orjson.loads(orjson.dumps(body))
    return made


def _told(reply: dict[str, Any], *, brief: bool) -> dict[str, Any]:
    """What comes back of *reply*: an API server that is asked for metadata tells no more."""
    return {"metadata": reply.get("metadata", {})} if brief else reply
