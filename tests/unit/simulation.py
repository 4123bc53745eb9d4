"""The whole operator against a simulated API server: stale watches, conflicts, lost replies, crashes.

Nothing here waits: time is a number that the test moves, and every reply comes at once or
never. The operator's own code runs unchanged, from what its watches show to what its client
sends; only the queues and the wire are played.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from unittest import mock

import msgspec
import orjson

from sandyard.api import model, names
from sandyard.api.objects import EndpointSlice, Generic, Pod
from sandyard.engine import compose, settings
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Handler
from sandyard.engine.metrics import Metrics
from sandyard.kube import errors
from sandyard.kube.client import Client
from tests.unit import objects
from tests.unit.simulated_api import ApiServer, Event

__all__ = ["SimQueue", "World"]

START = 1_800_000_000.0
_API_SERVERS = msgspec.convert(
    {"metadata": {"name": "kubernetes", "uid": "slice", "resourceVersion": "1"},
     "endpoints": [{"addresses": ["203.0.113.7"]}], "ports": [{"port": 6443}]}, EndpointSlice,
)  # fmt: skip


class SimClock(Clock):
    """The world's time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def now(self) -> float:
        return self._now()

    def monotonic(self) -> float:
        return self._now() - START + 1000

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing here waits, not for {seconds} s either")


class SimQueue:
    """A work queue that the test drives; the same promises as the real one."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock, self.active = name, clock, True
        self.waiting: dict[str, None] = {}
        self.later: dict[str, float] = {}
        self.failures_total = 0

    @property
    def idle(self) -> bool:
        return not self.waiting

    async def run(self, handler: Handler) -> None:
        raise AssertionError(f"the test hands the keys to {handler}")

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, key: str) -> None:
        self.waiting[key] = None

    def add_after(self, key: str, seconds: float) -> None:
        if seconds <= 0:
            self.add(key)
        else:
            due = self.clock.monotonic() + seconds
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
    persistent: bool = False
    now: float = START
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        self.api = ApiServer(lambda: self.now)
        self.crashes = 0
        self.numbers = itertools.count(1)
        template = self.template("a")
        self.api.put("sandboxpools", {
            "metadata": {"name": "pool", "finalizers": [names.FINALIZER]},
            "spec": {"replicas": 2, "maxSandboxes": self.maximum, "template": template,
                     "whenEmpty": {"action": "ColdStart", "waitSeconds": 80000}},
        })  # fmt: skip
        self.start()

    def template(self, image: str) -> dict[str, Any]:
        """The pool's template."""
        workspace = {"workspace": {"persistent": {"size": "1Gi"}}} if self.persistent else {}
        return {"image": image, **workspace}

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
    def dice(self) -> Iterator[None]:
        """The operator's dice are the world's."""
        with (
            mock.patch("secrets.token_hex", side_effect=lambda _size: f"{next(self.numbers):08x}"),
            mock.patch("random.random", return_value=0.5),
        ):
            yield

    def start(self) -> None:
        """A new operator process: everything is learnt from a LIST."""
        with self.dice():
            wanted = settings.Settings(leader_election=False, probe_image="operator:1")
            clock = SimClock(lambda: self.now)
            outside = compose.Outside(
                client=cast("Client", self.api), lease=None, connections=(), run_in_pod=self.api.exec, clock=clock,
                queue=lambda name, _workers, _group: SimQueue(name, clock),
            )  # fmt: skip
            self.operator = compose.compose(outside, wanted, Metrics(), self._lease_lost)
            self._run([self.operator.leadership.begin()])
            self.seen: dict[str, Pod] = {}
            self.policies: dict[str, Generic] = {}
            self.api.events.clear()
            self.operator.policies.endpoints_changed(None, _API_SERVERS)
            for body in self.api.all("pods"):
                self._show_pod(Event("ADDED", "pods", body))
            for body in self.api.all("networkpolicies"):
                self._show_policy(Event("ADDED", "networkpolicies", body))
            self._run([self.operator.sweep.resync()])

    def _lease_lost(self) -> None:
        raise AssertionError("there is no lease to lose")

    def crash(self) -> None:
        """SIGKILL and a new process."""
        self.crashes += 1
        self.api.faults.clear()
        self.start()

    # Watches

    def deliver(self, resource: str, count: int = 1) -> None:
        """Show the operator the next *count* events of a kind."""
        with self.dice():
            for _ in range(min(count, len(self.api.events[resource]))):
                event = self.api.events[resource].popleft()
                if resource == "pods":
                    self._show_pod(event)
                elif resource == "networkpolicies":
                    self._show_policy(event)
                elif resource == "sandboxes":
                    self.operator.intake.sandbox_event(event.kind, event.body)
                elif resource == "sandboxpools":
                    self.operator.intake.pool_event(event.kind, event.body)

    def _show_pod(self, event: Event) -> None:
        pod = msgspec.json.decode(orjson.dumps(event.body), type=Pod)
        before = self.seen.pop(pod.metadata.uid, None)
        if event.kind == "DELETED":
            self.operator.intake.pod_changed(before or pod, None)
            return
        self.seen[pod.metadata.uid] = pod
        self.operator.intake.pod_changed(before, pod)

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
        return [queue for queue in self.operator.queues.all if isinstance(queue, SimQueue)]

    def work(self, most: int = 6) -> int:
        """Handle up to *most* keys of each queue, at the same time."""
        with self.dice():
            jobs = []
            self.operator.timers.fire_due(self.now)
            for queue, handler in self.operator.work:
                assert isinstance(queue, SimQueue)
                queue.ripen(queue.clock.monotonic())
                for key in list(queue.waiting)[:most]:
                    del queue.waiting[key]
                    jobs.append(self._handle(queue, handler, key))
            self._run(jobs)
        return len(jobs)

    def sweep(self) -> None:
        """One pass of the sweep."""
        with self.dice():
            self._run([self._guarded(self.operator.sweep.run_once())])

    async def _handle(self, queue: SimQueue, handler: Handler, key: str) -> None:
        try:
            await handler(key)
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
