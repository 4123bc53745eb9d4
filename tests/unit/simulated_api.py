"""A simulated API server: objects, versions, preconditions, finalizers, owners, namespaces, watches."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandyard.api import model
from sandyard.kube import errors
from tests.unit.simulated_wire import Sent, copied
from tests.unit.simulated_witness import Witness

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
    """Objects with everything that Kubernetes does to them by itself.

    Attributes
    ----------
    faults
        What happens to the next writes, whatever they are (`simulated_wire.FAULTS`, or ``ok``).
    targeted
        The same for the next writes of one meaning (`simulated_wire.WRITES`).
    sent, met
        Writes that left an operator, and how often which of them met what.
    on_the_way
        Writes without a reply that have yet to take place.
    going
        Whether the namespace is being deleted: everything in it goes, and nothing is made.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock
        self.witness = Witness(self)
        self.requests: Counter[str] = Counter()
        self.met: Counter[tuple[str, str]] = Counter()
        self.sent: list[Sent] = []
        self.on_the_way: list[Callable[[], Any]] = []
        self.objects: dict[Key, dict[str, Any]] = {}
        self.events: dict[str, deque[Event]] = defaultdict(deque)
        self.faults: deque[str] = deque()
        self.targeted: dict[str, deque[str]] = defaultdict(deque)
        self.frozen: set[str] = set()
        # Kubelets that know no rule for restarts.
        self.deaf_nodes = False
        self.going = False
        self.dice = random.Random(0)
        self._version = 100

    def fault_for(self, what: str) -> str:
        """What happens to the next write that means *what*."""
        if what == "event":
            return "ok"
        if self.targeted[what]:
            return self.targeted[what].popleft()
        return self.faults.popleft() if self.faults else "ok"

    def no_more_faults(self) -> None:
        """From now on every write is answered."""
        self.faults.clear()
        self.targeted.clear()

    def arrive(self) -> None:
        """What was on its way takes place, or is refused; nobody hears of it."""
        on_the_way, self.on_the_way = self.on_the_way, []
        for act in on_the_way:
            try:
                act()
            except errors.ApiError:
                continue

    # What happens to objects

    def create(self, resource: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object, unless there is one of that name."""
        if (resource, body["metadata"]["name"]) in self.objects:
            raise errors.ApiError(409, {"reason": "AlreadyExists", "message": "exists"})
        if self.going:
            message = f"namespace {NAMESPACE} is being terminated"
            raise errors.ApiError(403, {"reason": "Forbidden", "message": message})
        return self.put(resource, body)

    def put(self, resource: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object."""
        body = copied(body)
        metadata = body["metadata"]
        self._version += 1
        metadata.update(uid=f"{resource}-{self._version}", resourceVersion=str(self._version), generation=1,
                        namespace=NAMESPACE, creationTimestamp=model.timestamp(self.now())[:19] + "Z")  # fmt: skip
        body.setdefault("status", {})
        self.objects[resource, metadata["name"]] = body
        self.witness.made(resource, body)
        self._show("ADDED", resource, body)
        if resource == "pods":
            self._make_claims(body)
        return copied(body)

    def change(self, resource: str, name: str, changes: dict[str, Any]) -> None:
        """Merge *changes* into an object, as its controller or a user."""
        self.patch((resource, name), changes, status="status" in changes, by="others")

    def remove(
        self, key: Key, uid: str | None = None, version: str | None = None, *, by: str = "others"
    ) -> dict[str, Any]:
        """Delete an object: at once, or by a mark if something holds it."""
        body = self.find(key)
        if uid is not None and body["metadata"]["uid"] != uid:
            raise errors.ApiError(409, {"reason": "Conflict", "message": "uid"})
        if version is not None and body["metadata"]["resourceVersion"] != version:
            raise errors.ApiError(409, {"reason": "Conflict", "message": "version"})
        if "deletionTimestamp" in body["metadata"]:
            return copied(body)
        self.witness.deleted(key[0], body, by)
        if key[0] == "pods" or body["metadata"].get("finalizers"):
            body["metadata"]["deletionTimestamp"] = model.timestamp(self.now())[:19] + "Z"
            self._bump(key[0], body)
        else:
            self._drop(key)
        return copied(body)

    def remove_namespace(self) -> None:
        """Delete the namespace: everything in it is asked to go."""
        self.going = True
        for key in [key for key in self.objects if key[0] != "events"]:
            if key in self.objects:
                self.remove(key)

    def touch(self, key: Key) -> None:
        """Somebody else changes something that does not matter: whoever saw it before has an old version."""
        if key in self.objects:
            self._bump(key[0], self.objects[key])

    def finish(self, name: str) -> None:
        """The kubelet reports that a deleted pod is gone."""
        self._drop(("pods", name))

    def all(self, resource: str) -> list[dict[str, Any]]:
        """Every object of a kind."""
        return [body for (kind, _), body in self.objects.items() if kind == resource]

    def find(self, key: Key) -> dict[str, Any]:
        """The object itself, or 404."""
        if key not in self.objects:
            raise errors.ApiError(404, {"reason": "NotFound", "message": "not found"})
        return self.objects[key]

    def patch(self, key: Key, body: dict[str, Any], *, status: bool, by: str) -> dict[str, Any]:
        """Merge *body* into an object, if it is the one that is meant."""
        found = self.find(key)
        wanted = body.get("metadata", {})
        if wanted.get("uid", found["metadata"]["uid"]) != found["metadata"]["uid"]:
            raise errors.ApiError(409, {"reason": "Conflict", "message": "uid"})
        version = wanted.get("resourceVersion")
        if version is not None and version != found["metadata"]["resourceVersion"]:
            raise errors.ApiError(409, {"reason": "Conflict", "message": "version"})
        before = copied(found)
        if status:
            _merge(found["status"], body["status"])
        else:
            _merge(found["metadata"], {k: v for k, v in wanted.items() if k not in ("uid", "resourceVersion")})
            if "spec" in body:
                _merge(found["spec"], body["spec"])
        if found == before:
            return copied(found)
        if found.get("spec") != before.get("spec"):
            found["metadata"]["generation"] += 1
        self.witness.changed(key[0], before, found, by)
        self._bump(key[0], found)
        if "deletionTimestamp" in found["metadata"] and not found["metadata"].get("finalizers") and key[0] != "pods":
            self._drop(key)
        return copied(found)

    # What Kubernetes does by itself

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
                if ("persistentvolumeclaims", name) not in self.objects:
                    self.witness.breaks("a pod starts without its workspace")

    def _collect_garbage(self, uid: str) -> None:
        """Claims go with the last of their owners."""
        for claim in self.all("persistentvolumeclaims"):
            owners = [owner for owner in claim["metadata"]["ownerReferences"] if owner["uid"] != uid]
            if not owners:
                self._drop(("persistentvolumeclaims", claim["metadata"]["name"]))
            elif owners != claim["metadata"]["ownerReferences"]:
                claim["metadata"]["ownerReferences"] = owners
                self._bump("persistentvolumeclaims", claim)

    def _bump(self, resource: str, body: dict[str, Any]) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._show("MODIFIED", resource, body)

    def _drop(self, key: Key) -> None:
        body = self.objects.pop(key)
        self._version += 1
        self._show("DELETED", key[0], body)
        if key[0] in ("pods", "sandboxes"):
            self._collect_garbage(body["metadata"]["uid"])

    def _show(self, kind: str, resource: str, body: dict[str, Any]) -> None:
        self.events[resource].append(Event(kind, resource, copied(body)))


def _merge(target: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copied(value)
