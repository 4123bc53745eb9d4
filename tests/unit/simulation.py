"""The whole operator against a simulated API server: stale watches, conflicts, lost replies, crashes.

Nothing here waits: time is a number that the test moves, and every reply comes at once or
never. The operator's own code runs unchanged, from what its watches show to what its client
sends; only the queues and the wire are played.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import msgspec
import orjson

from sandyard.api import model, names
from sandyard.api.objects import Generic, Pod
from sandyard.engine import operator as operators
from sandyard.engine import settings
from sandyard.kube import errors, exec  # noqa: A004 - Kubernetes' own word
from sandyard.kube.config import ClusterConfig
from tests.unit import objects

__all__ = ["ApiServer", "SimQueue", "World"]

NAMESPACE = "ns"
Key = tuple[str, str]
START = 1_800_000_000.0


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
        What happens to the next writes: ``ok``, ``conflict``, ``refused``, ``lost`` (never
        arrives), ``unanswered`` (takes place, but no reply).
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

    async def items(self, path: str, _params: Any = None) -> list[dict[str, Any]]:
        await self._turns()
        return [
            copy.deepcopy(body) for (resource, _), body in self.objects.items() if resource == path.rpartition("/")[2]
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

    async def exec(self, pod: Pod, _command: Any, stdin: bytes, _seconds: float) -> exec.Completed:
        """Stop or continue the processes of a pod."""
        stop = b"signal=STOP" in stdin

        def act() -> dict[str, Any]:
            body = self.objects.get(("pods", pod.metadata.name))
            if body is None or body["metadata"]["uid"] != pod.metadata.uid:
                raise errors.ApiError(404, {"reason": "NotFound", "message": "no such pod"})
            (self.frozen.add if stop else self.frozen.discard)(pod.metadata.uid)
            return {}

        await self._write(act)
        return exec.Completed(exec.Exit(0), f"sandyard: {'stopped' if stop else 'running'} 3\n".encode(), b"", False)

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


class SimQueue:
    """A work queue that the test drives; the same promises as the real one."""

    def __init__(self, name: str, handler: Callable[[str], Awaitable[None]], *_options: Any) -> None:
        self.name, self.handler, self.active = name, handler, True
        self.waiting: dict[str, None] = {}
        self.later: dict[str, float] = {}
        self.failures_total = 0

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, key: str) -> None:
        self.waiting[key] = None

    def add_after(self, key: str, seconds: float) -> None:
        if seconds <= 0:
            self.add(key)
        else:
            due = time.monotonic() + seconds
            self.later[key] = min(due, self.later.get(key, due))

    def ripen(self, now: float) -> None:
        """Queue what is due."""
        for key in [key for key, due in self.later.items() if due <= now]:
            del self.later[key]
            self.add(key)


@dataclass
class World:
    """A cluster with one pool, and an operator that may crash."""

    maximum: int = 6
    now: float = START
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        self.api = ApiServer(lambda: self.now)
        self.crashes = 0
        self.numbers = itertools.count(1)
        template = {"image": "a"}
        self.api.put("sandboxpools", {
            "metadata": {"name": "pool", "finalizers": [names.FINALIZER]},
            "spec": {"replicas": 2, "maxSandboxes": self.maximum, "template": template,
                     "whenEmpty": {"action": "ColdStart", "waitSeconds": 80000}},
        })  # fmt: skip
        self.start()

    def __str__(self) -> str:
        """What is there, for the message of a failed test."""
        lines = []
        for (resource, name), body in sorted(self.api.objects.items()):
            if resource in ("events", "networkpolicies"):
                continue
            told = body["status"].get("conditions") or []
            reasons = [
                f"{c['type']}={c['status']}/{c.get('reason')}" for c in told if c["type"] in ("Ready", "Stalled")
            ]
            labels = body["metadata"].get("labels") or {}
            owner = labels.get(names.LABEL_SANDBOX_UID) or labels.get(names.LABEL_STATE, "")
            going = "going" if "deletionTimestamp" in body["metadata"] else ""
            phase = body["status"].get("phase", "")
            lines.append(f"{resource}/{name} {body['metadata']['uid']} {phase} {owner} {going} {' '.join(reasons)}")
        lines += [f"{queue.name}: {list(queue.waiting)} {queue.later}" for queue in self.queues]
        return "\n".join(lines)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """The operator's clocks show the world's time, and its dice are the world's."""
        with (
            mock.patch("time.time", return_value=self.now),
            mock.patch("time.monotonic", return_value=self.now - START + 1000),
            mock.patch("secrets.token_hex", side_effect=lambda _size: f"{next(self.numbers):08x}"),
            mock.patch("random.random", return_value=0.5),
        ):
            yield

    def start(self) -> None:
        """A new operator process: everything is learnt from a LIST."""
        with self.clock(), mock.patch.object(operators, "WorkQueue", SimQueue):
            config = ClusterConfig(server="http://simulated")
            wanted = settings.Settings(leader_election=False, probe_image="operator:1")
            self.operator = operators.Operator(config, wanted)
            self.operator.gateway._client = self.api  # type: ignore[assignment]
            self.operator.gateway.exec = self.api.exec  # type: ignore[method-assign]
            self.operator._leading = True
            self.seen: dict[str, Pod] = {}
            self.policies: dict[str, Generic] = {}
            self.api.events.clear()
            self.operator.policies._api_servers["kubernetes"] = ("203.0.113.7:6443",)
            for body in self.api.all("pods"):
                self._show_pod(Event("ADDED", "pods", body))
            for body in self.api.all("networkpolicies"):
                self._show_policy(Event("ADDED", "networkpolicies", body))
            self._run([self.operator._sweep.resync()])
            for queue, known in ((self.operator.pool_queue, self.operator.store.pools),
                                 (self.operator.sandbox_queue, self.operator.store.sandboxes)):  # fmt: skip
                for uid in known:
                    queue.add(uid)

    def crash(self) -> None:
        """SIGKILL and a new process."""
        self.crashes += 1
        self.api.faults.clear()
        self.start()

    # Watches

    def deliver(self, resource: str, count: int = 1) -> None:
        """Show the operator the next *count* events of a kind."""
        with self.clock():
            for _ in range(min(count, len(self.api.events[resource]))):
                event = self.api.events[resource].popleft()
                if resource == "pods":
                    self._show_pod(event)
                elif resource == "networkpolicies":
                    self._show_policy(event)
                elif resource == "sandboxes":
                    self.operator.sandbox_event(event.kind, event.body)
                elif resource == "sandboxpools":
                    self.operator.pool_event(event.kind, event.body)

    def _show_pod(self, event: Event) -> None:
        pod = msgspec.json.decode(orjson.dumps(event.body), type=Pod)
        before = self.seen.pop(pod.metadata.uid, None)
        if event.kind == "DELETED":
            self.operator._pod_changed(before or pod, None)
            return
        self.seen[pod.metadata.uid] = pod
        self.operator._pod_changed(before, pod)

    def _show_policy(self, event: Event) -> None:
        body = {**event.body, "spec": event.body["spec"]}
        item = msgspec.json.decode(orjson.dumps(body), type=Generic)
        before = self.policies.pop(item.metadata.name, None)
        if event.kind == "DELETED":
            self.operator.policies.policy_changed(before or item, None)
            return
        self.policies[item.metadata.name] = item
        self.operator.policies.policy_changed(before, item)

    # The operator at work

    @property
    def queues(self) -> list[SimQueue]:
        return [queue for queue in self.operator.queues if isinstance(queue, SimQueue)]

    def work(self, most: int = 6) -> int:
        """Handle up to *most* keys of each queue, at the same time."""
        with self.clock():
            jobs = []
            self.operator._timers.fire_due(self.now)
            for queue in self.queues:
                queue.ripen(time.monotonic())
                for key in list(queue.waiting)[:most]:
                    del queue.waiting[key]
                    jobs.append(self._handle(queue, key))
            self._run(jobs)
        return len(jobs)

    def sweep(self) -> None:
        """One pass of the sweep."""
        with self.clock():
            self._run([self._guarded(self.operator._sweep.run_once())])

    async def _handle(self, queue: SimQueue, key: str) -> None:
        try:
            await queue.handler(key)
        except (errors.ApiError, errors.TransportError):
            queue.failures_total += 1
            queue.add_after(key, 0.2)

    async def _guarded(self, job: Awaitable[Any]) -> None:
        try:
            await job
        except (errors.ApiError, errors.TransportError):
            pass

    def _run(self, jobs: list[Any]) -> None:
        async def together() -> None:
            await asyncio.gather(*jobs)

        self.loop.run_until_complete(together())

    # Kubelet and users

    def start_pod(self, name: str, *, well: bool = True) -> None:
        """A pod's probe reports, and the pod is ready or has failed."""
        moment = model.timestamp(self.now)[:19] + "Z"
        message = objects.proof() if well else objects.proof(network="Open", reached=["x"])
        ended = {"exitCode": int(not well), "message": message}
        self.api.change("pods", name, {"status": {
            "phase": "Running" if well else "Failed",
            "conditions": [{"type": "Ready", "status": str(well), "lastTransitionTime": moment}],
            "initContainerStatuses": [{"name": names.PROBE_CONTAINER, "state": {"terminated": ended}}],
        }})  # fmt: skip

    def claim(self, name: str, **spec: Any) -> None:
        """A user makes a Sandbox."""
        self.api.put("sandboxes", {
            "metadata": {"name": name, "finalizers": [names.FINALIZER]},
            "spec": {"poolRef": {"name": "pool"}, **spec},
        })  # fmt: skip

    def report(self, name: str, reason: str) -> None:
        """A pod gets stuck: its image, or no node has room for it."""
        status: dict[str, Any] = {"phase": "Pending"}
        if reason == "Unschedulable":
            condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": "0/1 nodes"}
            status["conditions"] = [condition]
        else:
            waiting = {"reason": reason, "message": "no such image"}
            status["containerStatuses"] = [{"name": names.CONTAINER, "state": {"waiting": waiting}}]
        self.api.change("pods", name, {"status": status})

    def live(self, seconds: float, react: Callable[[dict[str, Any]], None], step: float = 1.0) -> None:
        """Let time pass with a prompt watch; *react* plays the kubelet for each new pod."""
        end = self.now + seconds
        while self.now < end:
            for resource in list(self.api.events):
                self.deliver(resource, 1000)
            self.work(1000)
            for pod in self.pods():
                if "deletionTimestamp" in pod["metadata"]:
                    self.api.finish(pod["metadata"]["name"])
                elif not pod["status"]:
                    react(pod)
            self.now += step

    def pods(self, *, going: bool | None = None) -> list[dict[str, Any]]:
        """All pods; *going* chooses those that are (not) being deleted."""
        found = self.api.all("pods")
        return [pod for pod in found if going is None or ("deletionTimestamp" in pod["metadata"]) is going]

    def settle(self, steps: int = 400) -> None:
        """No more faults: deliver everything and work until nothing moves any more."""
        self.api.faults.clear()
        quiet = 0
        for _ in range(steps):
            for resource in list(self.api.events):
                self.deliver(resource, 1000)
            moved = self.work(1000)
            for pod in self.pods():
                name = pod["metadata"]["name"]
                if "deletionTimestamp" in pod["metadata"]:
                    self.api.finish(name)
                    moved += 1
                elif not pod["status"].get("phase"):
                    self.start_pod(name)
                    moved += 1
            quiet = 0 if moved or any(self.api.events.values()) else quiet + 1
            # Timers far ahead: back-offs, expectations, the sweep.
            self.now += 2.0 if moved else 40.0
            if quiet == 3:
                self.sweep()
            if quiet > 6:
                return


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
