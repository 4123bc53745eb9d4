"""How a Sandbox gets its pod: a warm one of its pool, one that starts for it, or a place in the line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandyard.api import names
from sandyard.api.events import Event
from sandyard.api.network import Network
from sandyard.api.objects import Pod
from sandyard.api.reasons import Reason, Start
from sandyard.api.template import Template
from sandyard.engine.claims.claims import Claims
from sandyard.engine.parts import Parts
from sandyard.engine.records import PoolRecord, SandboxRecord
from sandyard.engine.refill import Refill, refusal
from sandyard.engine.telling import Telling
from sandyard.kube import errors
from sandyard.podspec import containers, network, rules
from sandyard.podspec import pod as podspec
from sandyard.podspec.network import Reach
from sandyard.sandbox import expiry, phase, queue

__all__ = ["Provided", "Provider", "not_allowed"]

# A claim that waits says so, but not before it has had a chance to be served at once.
_TELL_AFTER_SECONDS = 0.5
_REFRESH_SECONDS = 5.0
_COLD_START_SECONDS = 300


@dataclass(frozen=True)
class Provided:
    """A pod that has been claimed and can be handed out."""

    pod: Pod
    start: Start
    pool: PoolRecord


class Provider:
    """Finds or starts a pod for Sandboxes that have none."""

    def __init__(self, parts: Parts, claims: Claims, refill: Refill, telling: Telling) -> None:
        self._parts = parts
        self._store = parts.store
        self._gateway = parts.gateway
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._claims = claims
        self._refill = refill
        self._telling = telling
        self._refused: dict[str, tuple[Reason, str]] = {}
        self._memories = parts.memories
        self._queues = parts.queues
        self._clock = parts.clock

    def forget(self, sandbox: SandboxRecord) -> None:
        """The Sandbox is gone."""
        self._refused.pop(sandbox.uid, None)
        self._leave_room(sandbox.uid)
        self._store.stop_waiting_for_pool(sandbox)

    def _leave_room(self, sandbox_uid: str) -> None:
        """It no longer waits for room to start a pod of its own; who kept room for it can use that now."""
        pool_uid = self._memories.stop_waiting_for_room(sandbox_uid)
        if pool_uid is not None:
            self._queues.pools.add(pool_uid)

    async def provide(self, sandbox: SandboxRecord) -> Provided | None:
        """One step towards a pod; the pod, if it has one now that can be handed out."""
        assert sandbox.spec is not None
        if sandbox.spec.template is not None:
            await self._start_own(sandbox, _with_network(sandbox.spec.template, sandbox.spec.network), None)
            return None
        pool_name = sandbox.pool_name
        assert pool_name is not None
        pool = self._store.pool_named(sandbox.namespace, pool_name)
        if pool is None or pool.deleting or pool.spec is None:
            self._claims.forget(sandbox.uid)
            reason = Reason.POOL_NOT_FOUND
            message = f"there is no SandboxPool {pool_name!r} in namespace {sandbox.namespace!r} (yet)"
            await self._park(sandbox, reason, message, deadline=sandbox.spec.wait_seconds)
            return None
        if pool.spec.paused:
            self._claims.forget(sandbox.uid)
            message = f"SandboxPool {pool_name!r} is paused (spec.paused)"
            await self._park(sandbox, Reason.PAUSED, message, deadline=self._patience(sandbox, pool))
            return None
        return await self._from_pool(sandbox, pool)

    async def _from_pool(self, sandbox: SandboxRecord, pool: PoolRecord) -> Provided | None:
        assert sandbox.spec is not None and pool.spec is not None
        template, own = pool.spec.template, sandbox.spec.network
        refused = not_allowed(own, pool)
        if refused:
            await self._telling.give_up(sandbox, Reason.EGRESS_NOT_ALLOWED, refused)
            return None
        resumed = bool(sandbox.status.get("workspaceClaim"))
        if resumed or sandbox.spec.env or (own is not None and not network.widens(template.network, own)):
            await self._start_from_pool(sandbox, pool, _with_network(template, own))
            return None
        self._leave_room(sandbox.uid)
        if own is not None:
            await self._parts.policies.ensure(sandbox.namespace, Reach(own, template.dns))
        return await self._claim(sandbox, pool)

    async def _start_from_pool(self, sandbox: SandboxRecord, pool: PoolRecord, template: Template) -> None:
        assert pool.spec is not None
        if await self._claims.settle(sandbox) is not None:
            self._queues.sandboxes.add(sandbox.uid)
            return
        # It may have waited for a warm pod before its network was changed.
        self._claims.forget(sandbox.uid)
        name = _name(sandbox)
        if self._refill.take_room(pool, sandbox.uid, name):
            try:
                made = await self._start_own(sandbox, template, pool)
            except errors.TransportError:
                # It may exist: the room stays taken until the watch shows it or time is over.
                raise
            except BaseException:
                self._refill.own_start_failed(pool, name)
                raise
            if not made:
                self._refill.own_start_failed(pool, name)
        elif pool.spec.when_empty.action == "Reject":
            await self._reject(sandbox, f"SandboxPool {pool.name!r} has reached maxSandboxes")
        else:
            message = f"SandboxPool {pool.name!r} has reached maxSandboxes"
            await self._wait(sandbox, pool, Reason.MAX_SANDBOXES, message, self._clock.monotonic() - sandbox.seen_at)

    async def _claim(self, sandbox: SandboxRecord, pool: PoolRecord) -> Provided | None:
        assert pool.spec is not None and sandbox.spec is not None
        claim = self._claims.of(sandbox.uid)
        waited = claim is not None and claim.waited
        opened = network.labels(Reach(sandbox.spec.network, pool.spec.template.dns)) if sandbox.spec.network else {}
        terms = expiry.terms_of(pool.spec).dump()
        action = pool.spec.when_empty.action
        if claim is None:
            self._refill.arrived(pool)
        pod = await self._claims.claim(
            sandbox, pool, labels=opened, terms=terms, cold=action == "ColdStart", wait=action != "Reject"
        )
        if pod is None:
            if action == "Reject":
                await self._reject(sandbox, f"no warm sandbox in SandboxPool {pool.name!r}")
            else:
                await self._still_waiting(sandbox, pool)
            return None
        return Provided(pod, Start.COLD if waited else Start.WARM, pool)

    async def _reject(self, sandbox: SandboxRecord, message: str) -> None:
        self._leave_room(sandbox.uid)
        await self._telling.give_up(sandbox, Reason.POOL_EXHAUSTED, f"{message}, and whenEmpty.action is Reject")

    async def _still_waiting(self, sandbox: SandboxRecord, pool: PoolRecord) -> None:
        claim = self._claims.of(sandbox.uid)
        if claim is None:
            # Taken off the queue meanwhile: try again.
            self._queues.sandboxes.add_after(sandbox.uid, 0.01)
            return
        waited = self._clock.monotonic() - claim.since
        if waited < _TELL_AFTER_SECONDS and not sandbox.status.get("conditions"):
            self._queues.sandboxes.add_after(sandbox.uid, _TELL_AFTER_SECONDS - waited)
            return
        failure = self._refill.failure(pool)
        place = queue.place(self._claims.place(sandbox.uid))
        if failure is not None:
            await self._wait(sandbox, pool, failure.reason, failure.message, waited, stalled=True)
        elif self._refill.at_maximum(pool):
            message = f"SandboxPool {pool.name!r} has reached maxSandboxes; waiting for one to be deleted ({place})"
            await self._wait(sandbox, pool, Reason.MAX_SANDBOXES, message, waited)
        else:
            message = f"no warm sandbox in SandboxPool {pool.name!r}; waiting for one to turn ready ({place})"
            await self._wait(sandbox, pool, Reason.WAITING, message, waited)

    async def _wait(
        self, sandbox: SandboxRecord, pool: PoolRecord, reason: Reason, message: str, waited: float,
        *, stalled: bool = False,
    ) -> None:  # fmt: skip
        """Say why it waits, or give up when its time is over."""
        patience = self._patience(sandbox, pool)
        if waited >= patience:
            self._claims.forget(sandbox.uid)
            self._leave_room(sandbox.uid)
            ended = reason if stalled else Reason.POOL_EXHAUSTED
            text = f"no sandbox within {patience} s (waitSeconds): {message}"
            await self._telling.give_up(sandbox, ended, text)
            return
        status = phase.pending(self._telling.facts(sandbox), reason, message, stalled=stalled)
        await self._telling.write(sandbox, status)
        self._queues.sandboxes.add_after(sandbox.uid, min(patience - waited, _REFRESH_SECONDS))

    async def _park(self, sandbox: SandboxRecord, reason: Reason, message: str, *, deadline: int | None) -> None:
        self._store.wait_for_pool(sandbox)
        waited = self._clock.monotonic() - sandbox.seen_at
        if deadline is not None and waited >= deadline:
            text = f"no sandbox within {deadline} s (waitSeconds): {message}"
            await self._telling.give_up(sandbox, reason, text)
            return
        if await self._telling.write(
            sandbox, phase.pending(self._telling.facts(sandbox), reason, message, stalled=True)
        ):
            self._recorder.tell(sandbox, Event.WAITING, f"{reason.value}: {message}")
        if deadline is not None:
            self._queues.sandboxes.add_after(sandbox.uid, deadline - waited)

    def _patience(self, sandbox: SandboxRecord, pool: PoolRecord) -> int:
        assert sandbox.spec is not None and pool.spec is not None
        return sandbox.spec.wait_seconds or pool.spec.when_empty.wait_seconds

    async def _start_own(self, sandbox: SandboxRecord, template: Template, pool: PoolRecord | None) -> bool:
        """Start a pod for this Sandbox alone; says whether there is one now."""
        assert sandbox.spec is not None
        waited = self._clock.monotonic() - sandbox.seen_at
        patience = self.start_patience(sandbox, pool)
        if waited >= patience:
            reason, why = self._refused.get(sandbox.uid, (Reason.START_TIMEOUT, "no pod could be made"))
            await self._telling.give_up(sandbox, reason, f"not started within {patience} s: {why}")
            return False
        await self._parts.policies.ensure(sandbox.namespace, *containers.reaches(template))
        body = podspec.build(
            template,
            name=_name(sandbox),
            namespace=sandbox.namespace,
            owner=sandbox.owner,
            probe=self._parts.isolation.probe(),
            pool=pool.owner if pool else None,
            sandbox=sandbox.owner,
            env=sandbox.spec.env or (),
            health=pool.spec.warm.probe if pool and pool.spec else None,
            terms=expiry.terms_of(pool.spec).dump() if pool else "",
            claim=sandbox.status.get("workspaceClaim") or "",
        )
        wrong = rules.violations(body, allow_root=self._parts.settings.allow_root)
        if wrong:
            await self._telling.give_up(sandbox, Reason.INVALID_TEMPLATE, "; ".join(wrong))
            return False
        try:
            await self._gateway.create_pod(body)
        except errors.ApiError as error:
            if error.already_exists and await self._is_ours(sandbox, body):
                return True
            if error.status not in (403, 409, 422, 400):
                raise
            reason, message = refusal(error)
            self._refused[sandbox.uid] = (reason, message)
            await self._telling.write(
                sandbox, phase.pending(self._telling.facts(sandbox), reason, message, stalled=True)
            )
            self._recorder.tell(sandbox, Event.WAITING, f"{reason.value}: {message}")
            self._queues.sandboxes.add_after(sandbox.uid, min(_REFRESH_SECONDS, max(0.1, patience - waited)))
            return False
        self._refused.pop(sandbox.uid, None)
        self._metrics.pod_starts.labels("created").inc()
        return True

    async def _is_ours(self, sandbox: SandboxRecord, body: dict[str, Any]) -> bool:
        found = await self._gateway.get_pod(sandbox.namespace, body["metadata"]["name"])
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        return bool(labels.get(names.LABEL_SANDBOX_UID) == sandbox.uid)

    def start_patience(self, sandbox: SandboxRecord, pool: PoolRecord | None) -> int:
        """Seconds that a start for this Sandbox alone may take."""
        assert sandbox.spec is not None
        if sandbox.spec.wait_seconds is not None:
            return sandbox.spec.wait_seconds
        if pool and pool.spec:
            return pool.spec.startup.timeout_seconds
        setup = sandbox.spec.template.setup if sandbox.spec.template is not None else None
        return _COLD_START_SECONDS + (setup.timeout_seconds if setup is not None else 0)

    async def unseen_pod(self, sandbox: SandboxRecord) -> bool:
        """Whether a pod of its own exists that the watch has not shown yet; it is deleted.

        A Sandbox that is deleted right after its cold start was sent would otherwise be let
        go with a pod on the way. Claimed pods are always seen first: they were warm before.
        """
        if sandbox.status.get("podUID"):
            return False
        spec = sandbox.spec
        resumed = bool(sandbox.status.get("workspaceClaim"))
        if spec is not None and spec.template is None and not spec.env and spec.network is None and not resumed:
            return False
        name = _name(sandbox)
        found = await self._gateway.get_pod(sandbox.namespace, name)
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        if found is None or labels.get(names.LABEL_SANDBOX_UID) != sandbox.uid:
            return False
        await self._gateway.delete_pod(sandbox.namespace, name, found["metadata"]["uid"])
        return True


def not_allowed(own: Network | None, pool: PoolRecord) -> str:
    """Why a Sandbox of *pool* may not have the network *own*; empty if it may."""
    assert pool.spec is not None
    allowed = pool.spec.allowed_egress
    allowed = [pool.spec.template.network.egress] if allowed is None else allowed
    if own is None or own.egress in allowed:
        return ""
    return (
        f"spec.network.egress: SandboxPool {pool.name!r} allows {', '.join(allowed) or 'none'}, not {own.egress}; "
        "ask for one of these, or for allowedEgress of the pool to include it"
    )


def _name(sandbox: SandboxRecord) -> str:
    return podspec.cold_pod_name(sandbox.owner, sandbox.status.get("restarts") or 0)


def _with_network(template: Template, own: Network | None) -> Template:
    return template if own is None else template.model_copy(update={"network": own})
