"""Claims by hand: two Sandboxes, a few pods, and an API server whose every reply is a move of the game.

Coroutines are driven without an event loop, so that thousands of orders can be played.
"""

from __future__ import annotations

import functools
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.engine.claims.claims import Claims
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.writer import NotLeader
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.state import records
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from tests.unit import objects

__all__ = ["OUTCOMES", "ClaimWorld", "Move"]

# What happens, to whom, and how it ends.
Move = tuple[str, ...]
OUTCOMES = ("200", "409", "403", "422", "500", "500 written", "lost", "lost written", "unconnected", "fenced")
SANDBOXES = ("s1", "s2")
PODS = ("p1", "p2")
_PARSED = records.pool({
    "metadata": {"name": "pool", "namespace": "ns", "uid": "pool", "resourceVersion": "1",
                 "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"template": {"image": "python:3.11"}},
}, objects.PROBE)  # fmt: skip
assert isinstance(_PARSED, records.PoolRecord)
_POOL = _PARSED


@dataclass
class Request:
    """A request that waits for its reply."""

    verb: str
    pod: str
    version: int = 0

    def __await__(self) -> Generator[Request, Any, Any]:
        return (yield self)


@dataclass
class ServerPod:
    """A pod as the API server has it."""

    version: int = 1
    owner: str | None = None


class Wakes:
    """A queue whose keys wait until somebody takes them."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def add(self, key: str) -> None:
        self.keys.add(key)


@dataclass
class ClaimWorld:
    """What there is, and the moves that can be made."""

    made: int = 0
    server: dict[str, ServerPod] = field(default_factory=dict)
    living: set[str] = field(default_factory=lambda: set(SANDBOXES))
    running: dict[str, tuple[Coroutine[Any, Any, Any], Request]] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)
    seen: dict[str, Any] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store = Store(Clock())
        self.queues = SimpleNamespace(sandboxes=Wakes(), pools=Wakes())
        metrics = SimpleNamespace(claim_conflicts=SimpleNamespace(inc=lambda: None))
        self.claims = Claims(
            self.store, cast("Pods", self), cast("Queues", self.queues), cast("Metrics", metrics), Clock()
        )
        self.record = _POOL
        self.store.put_pool(self.record)
        self.queues.sandboxes.keys |= self.living

    # The API server's answers about pods

    async def claim(self, pod: Any, _sandbox: Any, _labels: Any, _terms: str) -> None:
        await Request("claim", pod.metadata.uid, int(pod.metadata.resource_version))

    async def read(self, _namespace: str, name: str) -> Any:
        return await Request("get", name.removeprefix("name-"))

    async def outdate(self, found: Any) -> None:
        await Request("outdate", found["metadata"]["uid"], int(found["metadata"]["resourceVersion"]))

    # Moves

    def moves(self) -> list[Move]:
        """Everything that can happen now."""
        possible: list[Move] = [("work", uid) for uid in sorted(self.queues.sandboxes.keys) if uid not in self.running]
        for uid, (_, request) in self.running.items():
            possible += [
                ("reply", uid, outcome) for outcome in (OUTCOMES if request.verb == "claim" else ("200", "500"))
            ]
        possible += [("pod gone", uid) for uid in self.server]
        possible += [("watch", uid) for uid in sorted(self.stale)]
        possible += [("ended", uid) for uid in sorted(self.living) if uid not in self.running]
        possible += [("sandbox gone", uid) for uid in sorted(self.living)]
        if self.made < len(PODS):
            possible.append(("pod ready",))
        if self.queues.pools.keys and "pool" in self.store.pools:
            possible.append(("serve",))
        if "pool" in self.store.pools:
            possible.append(("pool gone",))
        return possible

    def play(self, move: Move) -> None:
        """Make one move, and check what must hold after each."""
        kind, *rest = move
        getattr(self, "_" + kind.replace(" ", "_"))(*rest)
        for uid in self.server:
            owner = self.store.reserved_for(uid)
            if owner is not None:
                claim = self.claims.of(owner)
                under_way = claim is not None and claim.pod_uid == uid
                assert under_way or self.server[uid].owner == owner or owner not in self.living, f"{uid} is lost"

    def _work(self, uid: str) -> None:
        self.queues.sandboxes.keys.discard(uid)
        if self._has_pod(uid):
            self.served.add(uid)
        if uid not in self.living or uid in self.served:
            return
        if "pool" not in self.store.pools:
            self.claims.forget(uid)
            return
        sandbox: Any = SimpleNamespace(uid=uid, name=uid)
        self._go(uid, self.claims.claim(sandbox, self.record), None)

    def _reply(self, uid: str, outcome: str) -> None:
        job, request = self.running.pop(uid)
        pod = self.server.get(request.pod)
        if request.verb == "get":
            if outcome == "500":
                self._go(uid, job, errors.ApiError(500, {"message": "busy"}))
                return
            labels = {names.LABEL_SANDBOX_UID: pod.owner} if pod is not None and pod.owner else {}
            found = None
            if pod is not None:
                metadata = {"uid": request.pod, "labels": labels, "resourceVersion": str(pod.version)}
                found = {"metadata": metadata}
            self._go(uid, job, found)
            return
        if request.verb == "outdate":
            self._go(uid, job, self._outdated(request, pod, outcome))
            return
        error: Exception | None = {
            "403": errors.ApiError(403, {}), "422": errors.ApiError(422, {}), "409": errors.ApiError(409, {}),
            "500": errors.ApiError(500, {}), "500 written": errors.ApiError(500, {}),
            "lost": errors.TransportError("lost"), "lost written": errors.TransportError("lost"),
            "unconnected": errors.NotConnected("refused"), "fenced": NotLeader("fenced"),
        }.get(outcome)  # fmt: skip
        if outcome == "200" or outcome.endswith("written"):
            if pod is None:
                error = error or errors.ApiError(404, {})
            elif pod.version != request.version:
                error = error or errors.ApiError(409, {})
            else:
                assert pod.owner is None, f"{request.pod} is handed out twice"
                pod.owner = uid
                pod.version += 1
                self.stale.add(request.pod)
        elif outcome == "409" and pod is not None:
            pod.version += 1
            self.stale.add(request.pod)
        self._go(uid, job, error)

    def _outdated(self, request: Request, pod: ServerPod | None, outcome: str) -> Exception | None:
        if outcome == "500" or pod is None:
            return errors.ApiError(500 if pod is not None else 404, {})
        if pod.version != request.version:
            return errors.ApiError(409, {})
        pod.version += 1
        self.stale.add(request.pod)
        return None

    def _go(self, uid: str, job: Coroutine[Any, Any, Any], reply: Any) -> None:
        try:
            request = job.throw(reply) if isinstance(reply, Exception) else job.send(reply)
            self.running[uid] = (job, request)
        except StopIteration as done:
            if done.value is not None:
                self.served.add(uid)
        except (errors.ApiError, errors.TransportError):
            # The queue brings it back.
            self.queues.sandboxes.add(uid)

    def _pod_ready(self) -> None:
        self.made += 1
        uid = f"p{self.made}"
        self.server[uid] = ServerPod()
        self._watch(uid)

    def _pod_gone(self, uid: str) -> None:
        owner = self.server.pop(uid).owner
        self._watch(uid)
        if owner in self.served:
            # Its Sandbox fails with it.
            self._ended(owner)

    def _watch(self, uid: str) -> None:
        self.stale.discard(uid)
        before, known = self.seen.pop(uid, None), self.server.get(uid)
        after = None
        if known is not None:
            if known.owner:
                self.queues.sandboxes.add(known.owner)
            after = self.seen[uid] = _pod(uid, known.version, known.owner)
        self.store.pod_changed(before, after)
        self.claims.pod_changed(before, after)
        self.queues.pools.add("pool")

    def _serve(self) -> None:
        self.queues.pools.keys.clear()
        self.claims.serve("pool")

    def _ended(self, uid: str) -> None:
        self.living.discard(uid)
        self.claims.forget(uid)

    def _sandbox_gone(self, uid: str) -> None:
        self._ended(uid)

    def _pool_gone(self) -> None:
        for claim in self.claims.waiters("pool"):
            self.queues.sandboxes.add(claim.sandbox_uid)
        self.store.remove_pool("pool")

    def _has_pod(self, uid: str) -> bool:
        return any(not entry.claim_under_way for entry in self.store.pods.of_sandbox(uid))

    # The end

    def settle(self) -> None:
        """No more faults, a pod for everybody: each Sandbox that lives has one, and no pod is lost."""
        if "pool" not in self.store.pools:
            self.store.put_pool(self.record)
            self.queues.sandboxes.keys |= self.living
        for _ in range(30):
            for uid in list(self.running):
                self.play(("reply", uid, "200"))
            for uid in list(self.stale):
                self.play(("watch", uid))
            if self.claims.waiting("pool") and not list(self.store.pools["pool"].warm()):
                self.play(("pod ready",))
            self.play(("serve",))
            for uid in sorted(self.queues.sandboxes.keys - self.running.keys()):
                self.play(("work", uid))
            if not (self.running or self.stale or self.queues.sandboxes.keys or self.claims.waiting("pool")):
                break
        assert not self.running
        for uid in self.living:
            owned = [name for name, pod in self.server.items() if pod.owner == uid]
            assert len(owned) == 1, f"{uid} has {owned or 'no pod, and waits for ever'}"
        free = {uid for uid, pod in self.server.items() if pod.owner is None}
        assert set(self.store.pools["pool"].warm()) == free, "a pod is lost to claims"


@functools.cache
def _pod(uid: str, version: int, owner: str | None) -> Pod:
    labels = {names.LABEL_TEMPLATE_HASH: _POOL.template_hash}
    if owner:
        labels[names.LABEL_SANDBOX_UID] = owner
    return objects.pod(uid, version=str(version), labels=labels)
