"""One operator process that a test drives: its queues, its view of the cluster, its clock and its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import orjson

from sandyard.api import names
from sandyard.api.objects import EndpointSlice, Generic, NetworkPolicy, Pod
from sandyard.engine import compose
from sandyard.engine.cluster.writer import NotLeader
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Handler
from sandyard.engine.process import settings
from sandyard.engine.process.metrics import Metrics
from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.lease import Lease
from tests.unit.simulated_api import ApiServer, Event
from tests.unit.simulated_wire import Connection

__all__ = ["START", "Process", "SimClock", "SimQueue"]

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

    def call_later(self, _seconds: float, callback: Callable[[], None]) -> asyncio.Handle:
        return asyncio.get_running_loop().call_soon(callback)


class SimQueue:
    """A work queue that the test drives; the same promises as the real one."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock, self.active = name, clock, True
        self.waiting: dict[str, None] = {}
        self.later: dict[str, float] = {}
        self.busy: set[str] = set()
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

    def take(self, most: int) -> list[str]:
        """The next keys; one that is being handled waits until that is over."""
        keys = [key for key in self.waiting if key not in self.busy][:most]
        for key in keys:
            del self.waiting[key]
        self.busy.update(keys)
        return keys


class SimLease:
    """The lease is whose the world says; *mine* is asked at each write."""

    def __init__(self, mine: Callable[[], bool]) -> None:
        self._mine = mine

    @property
    def valid(self) -> bool:
        return self._mine()

    async def acquire(self) -> None:
        return


class Process:
    """An operator that has just become the leader: everything is learnt from a LIST.

    Attributes
    ----------
    refused
        Handlers that ended because this process is no longer the leader.
    """

    def __init__(
        self, api: ApiServer, loop: asyncio.AbstractEventLoop, leader: Callable[[], Process], **given: Any
    ) -> None:
        self.api = api
        self.refused = 0
        self._loop = loop
        self._unfinished: set[asyncio.Task[None]] = set()
        self._seen: dict[str, Pod] = {}
        self._policies: dict[str, Generic] = {}
        clock = SimClock(api.now)

        def leads() -> bool:
            return leader() is self

        self.connection = Connection(api, leads)
        outside = compose.Outside(
            client=cast("Client", self.connection),
            lease=cast("Lease", SimLease(leads)),
            connections=(),
            run_in_pod=self.connection.exec,
            clock=clock,
            queue=lambda name, *_: SimQueue(name, clock),
        )
        wanted = settings.Settings(leader_election=True, probe_image="operator:1", restarting=True, **given)
        self.metrics = Metrics()
        self.operator = compose.compose(outside, wanted, self.metrics, _lease_lost)

    def begin(self) -> None:
        """List everything, and lead."""
        self._run([self.operator.leadership.begin()])
        self.api.events.clear()
        self.operator.work.policies.endpoints_changed(None, _API_SERVERS)
        for body in self.api.all("pods"):
            self._show_pod(Event("ADDED", "pods", body))
        for body in self.api.all("networkpolicies"):
            self._show_policy(Event("ADDED", "networkpolicies", body))
        self._run([self.operator.work.sweep.listing.take_in()])

    def kill(self) -> None:
        """SIGKILL: what it was doing stops where it is, and nothing more is sent."""
        self.connection.dead = True
        for task in self._unfinished:
            task.cancel()
        if self._unfinished:
            self._loop.run_until_complete(asyncio.wait(self._unfinished))

    def stop(self) -> None:
        """SIGSTOP: what has been sent takes place, and nothing more for now."""
        while self.connection.sending:
            self._run([], 1)

    # What its watches show

    def show(self, event: Event) -> None:
        """Show the operator one event."""
        if event.resource == "pods":
            self._show_pod(event)
        elif event.resource == "networkpolicies":
            self._show_policy(event)
        elif event.resource == names.SANDBOXES:
            self.operator.intake.sandbox_event(event.kind, event.body)
        elif event.resource == names.POOLS:
            self.operator.intake.pool_event(event.kind, event.body)

    def _show_pod(self, event: Event) -> None:
        pod = msgspec.json.decode(orjson.dumps(event.body), type=Pod)
        before = self._seen.pop(pod.metadata.uid, None)
        if event.kind == "DELETED" or names.LABEL_STATE not in pod.metadata.labels:
            # The watch has a selector: without that label a pod is gone for it.
            self.operator.intake.pod_changed(before or pod, None)
            return
        self._seen[pod.metadata.uid] = pod
        self.operator.intake.pod_changed(before, pod)

    def _show_policy(self, event: Event) -> None:
        if names.LABEL_POLICY not in (event.body["metadata"].get("labels") or {}):
            self._show_foreign(event)
            return
        item = msgspec.json.decode(orjson.dumps(event.body), type=Generic)
        before = self._policies.pop(item.metadata.name, None)
        if event.kind == "DELETED":
            self.operator.work.policies.policy_changed(before or item, None)
            return
        self._policies[item.metadata.name] = item
        self.operator.work.policies.policy_changed(before, item)

    def _show_foreign(self, event: Event) -> None:
        item = msgspec.json.decode(orjson.dumps(event.body), type=NetworkPolicy)
        gone = event.kind == "DELETED"
        self.operator.intake.foreign_policy_changed(item if gone else None, None if gone else item)

    # At work

    @property
    def queues(self) -> list[SimQueue]:
        return [queue for queue in self.operator.queues.all if isinstance(queue, SimQueue)]

    def work(self, most: int, turns: int | None = None) -> int:
        """Handle up to *most* keys of each queue, at the same time.

        Parameters
        ----------
        turns
            Leave off after so many turns of the event loop; what is under way goes on at the
            next call, and much may happen before. None: finish it.

        Returns
        -------
        int
            Number of keys that were taken up, or had been left under way.
        """
        jobs = []
        self.operator.work.timers.fire_due(self.api.now())
        for queue, handler in self.operator.work.handlers:
            assert isinstance(queue, SimQueue)
            queue.ripen(queue.clock.monotonic())
            jobs += [self._handle(queue, handler, key) for key in queue.take(most)]
        moved = len(jobs) + len(self._unfinished)
        self._run(jobs, turns)
        return moved

    def sweep(self) -> None:
        """One pass of the sweep."""
        self._run([self._guarded(self.operator.work.sweep.run_once())])

    async def _handle(self, queue: SimQueue, handler: Handler, key: str) -> None:
        try:
            await handler(key)
        except NotLeader:
            self.refused += 1
        except (errors.ApiError, errors.TransportError):
            queue.failures_total += 1
            queue.add_after(key, 0.2)
        finally:
            queue.busy.discard(key)

    async def _guarded(self, job: Awaitable[Any]) -> None:
        try:
            await job
        except NotLeader:
            self.refused += 1
        except (errors.ApiError, errors.TransportError):
            pass

    def _run(self, jobs: list[Any], turns: int | None = None) -> None:
        async def together() -> None:
            self._unfinished.update(asyncio.create_task(job) for job in jobs)
            if turns is None:
                await asyncio.wait(self._unfinished)
            else:
                for _ in range(turns):
                    await asyncio.sleep(0)

        if not jobs and not self._unfinished:
            return
        self._loop.run_until_complete(together())
        done = {task for task in self._unfinished if task.done()}
        self._unfinished -= done
        for task in done:
            task.result()


def _lease_lost() -> None:
    raise AssertionError("nobody keeps the lease here")
