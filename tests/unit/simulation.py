"""The whole operator against a simulated API server: stale watches, conflicts, lost replies, crashes.

Nothing here waits: time is a number that the test moves, and every reply comes at once or
never. The operator's own code runs unchanged, from what its watches show to what its client
sends; only the queues and the wire are played.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandyard.api import names
from tests.unit import simulated_node as node
from tests.unit.simulated_api import ApiServer
from tests.unit.simulated_process import START, Process, SimClock, SimQueue
from tests.unit.simulated_witness import condition

if TYPE_CHECKING:
    from sandyard.engine.engine import Engine

__all__ = ["SHAPES", "SimClock", "SimQueue", "World", "until"]

# Kinds of pools, by what is special about their templates and their pods' lives.
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "open": {"template": {"network": {"egress": "Internet"}}},
    "persistent": {"template": {"workspace": {"persistent": {"size": "1Gi"}}}},
    "setup": {"template": {"setup": {"command": ["make"], "network": {"egress": "Internet"}}}},
    "restart": {"recycle": "Restart", "restart": {"maxUses": 3}},
}


@dataclass
class World:
    """A cluster with one pool, and an operator that may crash or be replaced."""

    maximum: int = 6
    persistent: bool = False
    shape: str = "plain"
    action: str = "ColdStart"
    wait_seconds: int = 80000
    settings: dict[str, Any] = field(default_factory=dict)
    now: float = START
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        self.shape = "persistent" if self.persistent else self.shape
        self.persistent = self.shape == "persistent"
        self.api = ApiServer(lambda: self.now)
        self.crashes = 0
        self.replaced: list[Process] = []
        self.numbers = itertools.count(1)
        self.make_pool()
        self.start()

    def make_pool(self) -> None:
        """A platform team makes the pool (anew)."""
        self.api.put("sandboxpools", {
            "metadata": {"name": "pool", "finalizers": [names.FINALIZER]},
            "spec": {"replicas": 2, "maxSandboxes": self.maximum, **SHAPES[self.shape], "template": self.template("a"),
                     "whenEmpty": {"action": self.action, "waitSeconds": self.wait_seconds}},
        })  # fmt: skip

    def template(self, image: str) -> dict[str, Any]:
        """The pool's template."""
        return {"image": image, **SHAPES[self.shape].get("template", {})}

    @property
    def pool(self) -> dict[str, Any] | None:
        """The pool, if it is there and stays."""
        body = self.api.objects.get(("sandboxpools", "pool"))
        return body if body is not None and "deletionTimestamp" not in body["metadata"] else None

    def __str__(self) -> str:
        """What is there, for the message of a failed test."""
        lines = []
        for (resource, name), body in sorted(self.api.objects.items()):
            if resource in ("events", "networkpolicies"):
                continue
            found = [(kind, condition(body, kind)) for kind in ("Ready", "Stalled")]
            reasons = [f"{kind}={c['status']}/{c.get('reason')}" for kind, c in found if c is not None]
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
        # By hand: mocks would take most of the time of these tests.
        kept = secrets.token_hex, random.random
        secrets.token_hex = lambda _size=None: f"{next(self.numbers):08x}"  # type: ignore[assignment]
        random.random = lambda: 0.5  # type: ignore[assignment]
        try:
            yield
        finally:
            secrets.token_hex, random.random = kept  # type: ignore[assignment]

    # Operator processes

    @property
    def operator(self) -> Engine:
        """The engine of the leader."""
        return self.leader.operator

    @property
    def queues(self) -> list[SimQueue]:
        """The work queues of the leader."""
        return self.leader.queues

    def start(self) -> None:
        """A new operator process leads: everything is learnt from a LIST."""
        with self.dice():
            self.leader = Process(self.api, self.loop, lambda: self.leader, **self.settings)
            self.leader.begin()

    def crash(self) -> None:
        """SIGKILL and a new process."""
        self.crashes += 1
        self.api.no_more_faults()
        with self.dice():
            self.leader.kill()
        self.start()

    def replace(self) -> None:
        """The leader was stopped for longer than its lease: another leads, and the old one is continued."""
        with self.dice():
            self.leader.stop()
        self.replaced.append(self.leader)
        self.now += 12
        self.start()

    def close(self) -> None:
        """End every process."""
        with self.dice():
            for process in (*self.replaced, self.leader):
                process.kill()
        self.loop.close()

    def old_leaders_work(self, most: int = 6) -> None:
        """Who does not know yet that it leads no more goes on with what it had to do."""
        with self.dice():
            for process in self.replaced:
                process.work(most)

    def deliver(self, resource: str, count: int = 1) -> None:
        """Show the operator the next *count* events of a kind."""
        events = self.api.events[resource]
        for _ in range(min(count, len(events))):
            self.leader.show(events.popleft())

    def catch_up(self) -> None:
        """Show the operator everything that has happened."""
        for resource in list(self.api.events):
            self.deliver(resource, 1000)

    def work(self, most: int = 6, turns: int | None = None) -> int:
        """Handle up to *most* keys of each queue, at the same time; leave off after *turns*, if given."""
        with self.dice():
            return self.leader.work(most, turns)

    def sweep(self) -> None:
        """One pass of the sweep."""
        with self.dice():
            self.leader.sweep()

    # Kubelet and users

    def start_pod(self, name: str, *, well: bool = True) -> None:
        """A pod's probe reports, and the pod is ready or has failed (its setup comes before)."""
        node.start_pod(self.api, name, well=well)

    def report(self, name: str, reason: str) -> None:
        """The kubelet or the scheduler reports why a pod makes no progress."""
        node.report(self.api, name, reason)

    def claim(self, name: str, **spec: Any) -> None:
        """A user makes a Sandbox."""
        self.api.put("sandboxes", {
            "metadata": {"name": name, "finalizers": [names.FINALIZER]},
            "spec": {"poolRef": {"name": "pool"}, **spec},
        })  # fmt: skip

    def pods(self, *, going: bool | None = None) -> list[dict[str, Any]]:
        """All pods; *going* chooses those that are (not) being deleted."""
        found = self.api.all("pods")
        return [pod for pod in found if going is None or ("deletionTimestamp" in pod["metadata"]) is going]

    def free(self) -> list[dict[str, Any]]:
        """Pods of the present pool that are nobody's and stay."""
        uid = self.pool["metadata"]["uid"] if self.pool else None
        labels = [(pod, pod["metadata"]["labels"]) for pod in self.pods(going=False)]
        return [pod for pod, label in labels
                if label.get(names.LABEL_POOL_UID) == uid and names.LABEL_SANDBOX_UID not in label]  # fmt: skip

    # Longer stretches

    def live(self, seconds: float, react: Callable[[dict[str, Any]], None], step: float = 1.0) -> None:
        """Let time pass with a prompt watch; *react* plays the kubelet for each new pod."""
        end = self.now + seconds
        while self.now < end:
            self.catch_up()
            self.work(1000)
            for pod in self.pods():
                if "deletionTimestamp" in pod["metadata"]:
                    self.api.finish(pod["metadata"]["name"])
                elif not pod["status"]:
                    react(pod)
            self.now += step

    def prompt(self, rounds: int, step: float = 0.3) -> int:
        """Watches, operator and kubelets do what there is to do, without delay; returns how much was done."""
        moved = 0
        for _ in range(rounds):
            self.catch_up()
            moved += self.work(1000)
            for name in node.starting(self.api):
                self.start_pod(name)
                moved += 1
            for pod in self.pods(going=True):
                self.api.finish(pod["metadata"]["name"])
                moved += 1
            self.now += step
        return moved

    def settle(self, steps: int = 400) -> None:
        """No more faults: deliver everything and work until nothing moves any more."""
        self.api.no_more_faults()
        self.api.arrive()
        for pod in self.pods(going=False):
            ready = condition(pod, "Ready")
            if pod["status"].get("phase") == "Running" and ready and ready["status"] != "True":
                node.heal_pod(self.api, pod["metadata"]["name"])
        quiet = 0
        for _ in range(steps):
            moved = self.prompt(1, 0.0)
            quiet = 0 if moved or any(self.api.events.values()) else quiet + 1
            # Timers far ahead: back-offs, expectations, the sweep.
            self.now += 2.0 if moved else 40.0
            if quiet == 3:
                self.sweep()
            if quiet > 9:
                return


def until(world: World, check: Any, seconds: float, step: float = 0.2) -> float:
    """Seconds until *check* holds, with everything else prompt."""
    began = world.now
    while not check():
        assert world.now - began < seconds, f"not within {seconds} s\n{world}"
        world.prompt(1, step)
    return world.now - began
