"""The operator on a bench: its own queues and caches, a client that answers at once, no cluster.

What its watches would show is fed in as the informers do it, and what its client sends is taken
down.  Only the processor's time counts here, so nothing waits.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import msgspec

from sandyard.api import model, names
from sandyard.api.objects import EndpointSlice, Generic, Metadata, Pod
from sandyard.engine import compose
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queue
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.process.settings import Settings
from sandyard.engine.state.records import PoolRecord
from sandyard.kube.client import Client

__all__ = ["NAMESPACE", "Rig", "StillLoop"]

NAMESPACE = "bench"
_API_SERVERS = msgspec.convert(
    {"metadata": {"name": "kubernetes", "uid": "slice", "resourceVersion": "1"},
     "endpoints": [{"addresses": ["203.0.113.7"]}], "ports": [{"port": 6443}]}, EndpointSlice,
)  # fmt: skip
_PROOF = json.dumps({"version": 1, "runtime": "gvisor", "isolated": True, "kernel": "4.4.0", "network": "Enforced"})


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock is moved by hand: what the queues put off stays put off."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def time(self) -> float:
        return self.ahead


class AheadClock(Clock):
    """The system's time, and what the loop is ahead of it."""

    def __init__(self, loop: StillLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return super().monotonic() + self._loop.ahead

    def call_later(self, _seconds: float, callback: Callable[[], None]) -> asyncio.Handle:
        """At once: nobody moves this clock while a write waits for its turn."""
        return self._loop.call_soon(callback)


class InstantClient:
    """Answers every request at once, and remembers what was asked.

    Attributes
    ----------
    writes, reads
        Paths that were written to and read from since they were last cleared.
    created
        Pods that were created since they were last cleared.
    others
        Policies and Events that were created.
    """

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.reads: list[str] = []
        self.created: list[dict[str, Any]] = []
        self.others: list[dict[str, Any]] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self.versions = itertools.count(1_000_000)

    async def get(self, path: str, _params: Any = None) -> dict[str, Any]:
        self.reads.append(path)
        return self.bodies[path]

    async def merge_patch(self, path: str, body: dict[str, Any], **_options: Any) -> dict[str, Any]:
        self.writes.append(path)
        known = self.bodies.get(path.removesuffix("/status"))
        if known is None or "status" not in body:
            return body
        known["status"] = body["status"]
        known["metadata"]["resourceVersion"] = str(next(self.versions))
        return known

    async def create(self, path: str, body: dict[str, Any], **_options: Any) -> dict[str, Any]:
        self.writes.append(path)
        (self.created if path.endswith("/pods") else self.others).append(body)
        return body

    async def json_patch(self, path: str, _body: Any) -> dict[str, Any]:
        self.writes.append(path)
        return {}

    async def delete(self, path: str, **_options: Any) -> dict[str, Any]:
        self.writes.append(path)
        return {}


class Rig:
    """An operator with its pools, to be used inside a `StillLoop`."""

    def __init__(self, loop: StillLoop, meter: Callable[[], float] = time.process_time) -> None:
        self._loop = loop
        self._meter = meter
        self.client = InstantClient()
        settings = Settings(leader_election=False, probe_image="operator:1")
        outside = compose.Outside(cast("Client", self.client), lease=None, connections=(), clock=AheadClock(loop))
        self.operator = compose.compose(outside, settings, Metrics(), lambda: None)
        self.operator.work.policies.endpoints_changed(None, _API_SERVERS)
        self.pods: dict[str, Pod] = {}
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Rig:
        await self.operator.leadership.begin()
        for queue, handler in self.operator.work.handlers:
            queue.active = True
            self._tasks.append(asyncio.create_task(queue.run(handler)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for queue in self.operator.queues.all:
            queue.active = False
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    # The engine's entrances

    def show_pod(self, before: Pod | None, after: Pod | None) -> None:
        """A change of a pod, as its informer reports it."""
        self.operator.intake.pod_changed(before, after)

    @property
    def sandboxes(self) -> Queue:
        """The queue of Sandboxes."""
        return self.operator.queues.sandboxes

    def show_policies(self) -> None:
        """The policies that were created appear on the watch."""
        for body in self.client.others:
            metadata = {"uid": body["metadata"]["name"], "resourceVersion": "1", **body["metadata"]}
            item = Generic(msgspec.convert(metadata, Metadata), msgspec.Raw(msgspec.json.encode(body["spec"])))
            self.operator.work.policies.policy_changed(None, item)
        self.client.others.clear()

    @property
    def pools(self) -> Queue:
        """The queue of pools."""
        return self.operator.queues.pools

    @property
    def statuses(self) -> Queue:
        """The queue of pools whose status is to be written."""
        return self.operator.queues.pool_status

    @property
    def policies(self) -> Queue:
        """The queue of namespaces whose policies are to be looked at."""
        return self.operator.queues.policies

    # Time

    async def drain(self) -> None:
        """Let the queues finish what they have; what they put off stays put off."""
        while not all(queue.idle for queue in self.operator.queues.all):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Time passes, and what has become due is done."""
        self._loop.ahead += seconds
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.drain()

    async def cost(self, act: Callable[[], None]) -> float:
        """What *act* and everything that follows from it at once take: seconds of the processor, unless told else."""
        await self.drain()
        began = self._meter()
        act()
        await self.drain()
        return self._meter() - began

    # Objects

    def pool(self, name: str, **spec: Any) -> None:
        """A pool appears."""
        path = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.POOLS}/{name}"
        self.operator.intake.pool_event(
            "ADDED", self._object(path, name, {"template": {"image": "python:3.11"}, **spec})
        )

    def sandbox(self, name: str, pool: str, pod: Pod | None = None) -> None:
        """A Sandbox appears: a new one, or one that has *pod* already."""
        path = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.SANDBOXES}/{name}"
        body = self._object(path, name, {"poolRef": {"name": pool}})
        if pod is not None:
            now = model.timestamp(time.time())
            condition = {"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": now}
            body["status"] = {
                "phase": "Ready", "podName": pod.metadata.name, "podUID": pod.metadata.uid, "claimedAt": now,
                "readyAt": now, "observedGeneration": 1, "conditions": [condition],
            }  # fmt: skip
        self.operator.intake.sandbox_event("ADDED", body)

    def pod(self, pool: str, *, ready: bool = True, sandbox: str = "", body: dict[str, Any] | None = None) -> Pod:
        """A pod of *pool*; *body* is what was created, if the operator has created it."""
        number = next(self._numbers)
        record = self.operator.work.store.pools[f"uid-{pool}"].record
        assert isinstance(record, PoolRecord)
        labels = {names.LABEL_STATE: names.STATE_WARM, names.LABEL_EGRESS: names.EGRESS_NONE,
                  names.LABEL_POOL_UID: record.uid, names.LABEL_TEMPLATE_HASH: record.template_hash}  # fmt: skip
        if sandbox:
            labels |= {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: sandbox}
        owner = _owner(names.SANDBOX_KIND, sandbox) if sandbox else _owner(names.POOL_KIND, record.uid)
        name = body["metadata"]["name"] if body is not None else f"pod-{number:08}"
        moment = model.timestamp(time.time())[:19] + "Z"
        return msgspec.convert({
            "metadata": {
                "name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "resourceVersion": str(number),
                "creationTimestamp": moment, "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": {"nodeName": "node"},
            "status": _status(moment) if ready else {"phase": "Pending"},
        }, Pod)  # fmt: skip

    def add(self, pod: Pod) -> None:
        """*pod* appears on the watch, or is seen in a new version."""
        before = self.pods.get(pod.metadata.uid)
        self.pods[pod.metadata.uid] = pod
        self.show_pod(before, pod)

    def changed(self, pod: Pod, *, ready: bool = True, deleted: bool = False, sandbox: str = "") -> Pod:
        """*pod* in a later version."""
        moment = model.timestamp(time.time())[:19] + "Z"
        metadata = msgspec.to_builtins(pod.metadata)
        metadata["resourceVersion"] = str(next(self._numbers))
        if deleted:
            metadata["deletionTimestamp"] = moment
        if sandbox:
            metadata["labels"] |= {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: sandbox}
            metadata["ownerReferences"] = [_owner(names.SANDBOX_KIND, sandbox)]
        status = _status(moment) if ready else msgspec.to_builtins(pod.status)
        return msgspec.convert({"metadata": metadata, "spec": {"nodeName": "node"}, "status": status}, Pod)

    def remove(self, pod: Pod) -> None:
        """*pod* is gone."""
        self.show_pod(self.pods.pop(pod.metadata.uid), None)

    def _object(self, path: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        body = {
            "metadata": {
                "name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "generation": 1,
                "resourceVersion": str(next(self.client.versions)), "finalizers": [names.FINALIZER],
                "creationTimestamp": model.timestamp(time.time()),
            },
            "spec": spec,
            "status": {},
        }  # fmt: skip
        self.client.bodies[path] = body
        return body


def _owner(kind: str, uid: str) -> dict[str, str]:
    return {"kind": kind, "name": uid.removeprefix("uid-"), "uid": uid}


def _status(moment: str) -> dict[str, Any]:
    ended = {"exitCode": 0, "message": _PROOF}
    return {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": moment}],
        "initContainerStatuses": [{"name": names.PROBE_CONTAINER, "state": {"terminated": ended}}],
    }
