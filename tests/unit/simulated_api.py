"""A simulated API server: objects, versions, preconditions, finalizers, watches, and faults on demand."""

from __future__ import annotations

import asyncio
import copy
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandyard.api import model, names
from sandyard.kube import errors, remotecommand

__all__ = ["NAMESPACE", "ApiServer", "Event", "Key"]

NAMESPACE = "ns"
Key = tuple[str, str]


@dataclass
class Event:
    """What a watch will show, sooner or later."""

    kind: str
    resource: str
    body: dict[str, Any]


class ApiServer:
    """Objects, versions, preconditions, finalizers and watches; faults on demand.

    Attributes
    ----------
    faults
        What happens to the next writes: ``ok``, ``conflict``, ``refused``, ``unconnected``,
        ``lost`` (never arrives), ``unanswered`` (takes place, but no reply).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.requests: Counter[str] = Counter()
        self.objects: dict[Key, dict[str, Any]] = {}
        self.events: dict[str, deque[Event]] = defaultdict(deque)
        self.faults: deque[str] = deque()
        self.owners: dict[str, str] = {}
        self.frozen: set[str] = set()
        self.dice = random.Random(0)
        self._version = 100

    # What the operator's client does

    async def get(self, path: str, _params: Any = None) -> dict[str, Any]:
        await self._turns()
        return copy.deepcopy(self._find(_key(path)))

    async def items(self, path: str, params: Any = None) -> list[dict[str, Any]]:
        await self._turns()
        wanted = (params or {}).get("labelSelector")
        return [
            copy.deepcopy(body)
            for body in self.all(path.rpartition("/")[2])
            if wanted is None or wanted in (body["metadata"].get("labels") or {})
        ]

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            key = (path.rpartition("/")[2], body["metadata"]["name"])
            self.requests[f"create {key[0]}"] += 1
            if key in self.objects:
                raise errors.ApiError(409, {"reason": "AlreadyExists", "message": "exists"})
            return self.put(key[0], body)

        return await self._write(make, body.get("kind") == "Event")

    async def merge_patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._write(lambda: self._patch(_key(path), body, path.endswith("/status")))

    async def json_patch(self, path: str, body: list[dict[str, Any]]) -> dict[str, Any]:
        changes = {op["path"].split("/")[1]: op["value"] for op in body if op["path"] == "/spec"}
        return await self._write(lambda: self._patch(_key(path), changes, False))

    async def delete(self, path: str, *, uid: str | None = None) -> dict[str, Any]:
        return await self._write(lambda: self.remove(_key(path), uid))

    async def exec(
        self, _client: Any, path: str, _command: Any, *, stdin: bytes, **_options: Any
    ) -> remotecommand.Completed:
        """Stop or continue the processes of a pod."""
        stop = b"signal=STOP" in stdin

        def act() -> dict[str, Any]:
            body = self._find(_key(path))
            (self.frozen.add if stop else self.frozen.discard)(body["metadata"]["uid"])
            return {}

        await self._write(act)
        return remotecommand.Completed(
            remotecommand.Exit(0), f"sandyard: {'stopped' if stop else 'running'} 3\n".encode(), b"", False
        )

    # What happens to objects

    def put(self, resource: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object."""
        body = copy.deepcopy(body)
        metadata = body["metadata"]
        self._version += 1
        metadata.update(uid=f"{resource}-{self._version}", resourceVersion=str(self._version), generation=1,
                        namespace=NAMESPACE, creationTimestamp=model.timestamp(self._clock())[:19] + "Z")  # fmt: skip
        body.setdefault("status", {})
        self.objects[resource, metadata["name"]] = body
        self._tell("ADDED", resource, body)
        if resource == "pods":
            self._make_claims(body)
        return copy.deepcopy(body)

    def change(self, resource: str, name: str, changes: dict[str, Any]) -> None:
        """Merge *changes* into an object, as its controller or a user."""
        self._patch((resource, name), changes, "status" in changes)

    def remove(self, key: Key, uid: str | None = None) -> dict[str, Any]:
        """Delete an object: at once, or by a mark if something holds it."""
        body = self._find(key)
        if uid is not None and body["metadata"]["uid"] != uid:
            raise errors.ApiError(409, {"reason": "Conflict", "message": "uid"})
        if "deletionTimestamp" in body["metadata"]:
            return copy.deepcopy(body)
        if key[0] == "pods" or body["metadata"].get("finalizers"):
            body["metadata"]["deletionTimestamp"] = model.timestamp(self._clock())[:19] + "Z"
            self._bump(key[0], body)
        else:
            self._drop(key)
        return copy.deepcopy(body)

    def finish(self, name: str) -> None:
        """The kubelet reports that a deleted pod is gone."""
        self._drop(("pods", name))

    def all(self, resource: str) -> list[dict[str, Any]]:
        """Every object of a kind."""
        return [body for (kind, _), body in self.objects.items() if kind == resource]

    def _patch(self, key: Key, body: dict[str, Any], status: bool) -> dict[str, Any]:
        found = self._find(key)
        wanted = body.get("metadata", {})
        if wanted.get("uid", found["metadata"]["uid"]) != found["metadata"]["uid"]:
            raise errors.ApiError(409, {"reason": "Conflict", "message": "uid"})
        version = wanted.get("resourceVersion")
        if version is not None and version != found["metadata"]["resourceVersion"]:
            raise errors.ApiError(409, {"reason": "Conflict", "message": "version"})
        before = copy.deepcopy(found)
        if status:
            _merge(found["status"], body["status"])
        else:
            _merge(found["metadata"], {k: v for k, v in wanted.items() if k not in ("uid", "resourceVersion")})
            if "spec" in body:
                _merge(found["spec"], body["spec"])
        if found == before:
            return copy.deepcopy(found)
        if found.get("spec") != before.get("spec"):
            found["metadata"]["generation"] += 1
        self._watch_owner(before, found)
        self._bump(key[0], found)
        if "deletionTimestamp" in found["metadata"] and not found["metadata"].get("finalizers") and key[0] != "pods":
            self._drop(key)
        return copy.deepcopy(found)

    def _make_claims(self, pod: dict[str, Any]) -> None:
        """What Kubernetes does for ephemeral volumes: a claim that its pod owns."""
        for volume in pod["spec"].get("volumes", ()):
            if "ephemeral" in volume:
                name = f"{pod['metadata']['name']}-{volume['name']}"
                labels = volume["ephemeral"]["volumeClaimTemplate"]["metadata"]["labels"]
                owner = {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
                metadata = {"name": name, "labels": labels, "ownerReferences": [owner]}
                self.put("persistentvolumeclaims", {"metadata": metadata, "spec": {}})
            elif "persistentVolumeClaim" in volume:
                name = volume["persistentVolumeClaim"]["claimName"]
                assert ("persistentvolumeclaims", name) in self.objects, "a pod starts without its workspace"

    def _collect_garbage(self, uid: str) -> None:
        """Claims go with the last of their owners."""
        for claim in self.all("persistentvolumeclaims"):
            owners = [owner for owner in claim["metadata"]["ownerReferences"] if owner["uid"] != uid]
            if not owners:
                self._drop(("persistentvolumeclaims", claim["metadata"]["name"]))
            elif owners != claim["metadata"]["ownerReferences"]:
                claim["metadata"]["ownerReferences"] = owners
                self._bump("persistentvolumeclaims", claim)

    def _watch_owner(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """The promise itself: a pod belongs to one Sandbox, from its claim to its end."""
        owner = (after["metadata"].get("labels") or {}).get(names.LABEL_SANDBOX_UID)
        if owner is None:
            return
        uid = after["metadata"]["uid"]
        assert self.owners.setdefault(uid, owner) == owner, "a pod was handed out twice"
        claimed_now = names.LABEL_SANDBOX_UID not in (before["metadata"].get("labels") or {})
        assert not (claimed_now and "deletionTimestamp" in after["metadata"]), "a pod that is going was handed out"

    def _find(self, key: Key) -> dict[str, Any]:
        if key not in self.objects:
            raise errors.ApiError(404, {"reason": "NotFound", "message": "not found"})
        return self.objects[key]

    def _bump(self, resource: str, body: dict[str, Any]) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._tell("MODIFIED", resource, body)

    def _drop(self, key: Key) -> None:
        body = self.objects.pop(key)
        self._version += 1
        self._tell("DELETED", key[0], body)
        if key[0] in ("pods", "sandboxes"):
            self._collect_garbage(body["metadata"]["uid"])

    def _tell(self, kind: str, resource: str, body: dict[str, Any]) -> None:
        self.events[resource].append(Event(kind, resource, copy.deepcopy(body)))

    async def _write(self, act: Callable[[], dict[str, Any]], trivial: bool = False) -> dict[str, Any]:
        await self._turns()
        self.requests["write"] += 1
        fault = "ok" if trivial or not self.faults else self.faults.popleft()
        if fault == "conflict":
            raise errors.ApiError(409, {"reason": "Conflict", "message": "somebody else was faster"})
        if fault == "refused":
            raise errors.ApiError(500, {"reason": "InternalError", "message": "etcd is busy"})
        if fault == "unconnected":
            raise errors.NotConnected("connection refused")
        if fault == "lost":
            raise errors.TransportError("the connection broke")
        reply = act()
        await self._turns()
        if fault == "unanswered":
            raise errors.TransportError("no reply")
        return reply

    async def _turns(self) -> None:
        """Let others go first, so that handlers interleave."""
        for _ in range(self.dice.randrange(3)):
            await asyncio.sleep(0)


def _key(path: str) -> Key:
    parts = path.split("/")
    return (parts[-3], parts[-2]) if parts[-1] == "status" else (parts[-2], parts[-1])


def _merge(target: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)
