"""Claims a warm pod for a Sandbox, or starts one for it alone."""

from __future__ import annotations

from typing import Any

from sandyard.api import names
from sandyard.api.reasons import Reason, Start
from sandyard.engine.claims.claims import Claims
from sandyard.engine.parts import Parts
from sandyard.engine.pools.reconcile import Refill, refusal
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.state.records import AnySandbox, PoolRecord, SandboxRecord
from sandyard.kube import errors
from sandyard.podspec import containers, network, rules
from sandyard.podspec import pod as podspec
from sandyard.sandbox import expiry
from sandyard.sandbox.steps import ClaimWarmPod, StartPod
from sandyard.sandbox.view import Refusal

__all__ = ["Acquire"]


class Acquire:
    """Finds or starts a pod for Sandboxes that have none."""

    def __init__(self, parts: Parts, claims: Claims, refill: Refill) -> None:
        self._store = parts.store
        self._pods = parts.pods
        self._policies = parts.policies
        self._isolation = parts.isolation
        self._metrics = parts.metrics
        self._memories = parts.memories
        self._queue = parts.queues.pools
        self._allow_root = parts.settings.allow_root
        self._claims = claims
        self._refill = refill

    async def claim(self, run: Run, action: ClaimWarmPod) -> None:
        """Take a warm pod, or join the queue: the first of the two writes of a claim."""
        sandbox = run.sandbox
        run.learn(claim_tried=True)
        pool = self._store.pool_of(sandbox)
        if not isinstance(sandbox, SandboxRecord) or pool is None:
            return
        if run.entry.waits_for_room:
            # It was to have a pod of its own before its spec was changed.
            self.forget(sandbox)
            run.entry.waits_for_room = False
        if action.reach is not None:
            await self._policies.ensure(sandbox.namespace, action.reach)
        claim = self._claims.of(sandbox.uid)
        waited = claim is not None and claim.waited
        if claim is None:
            self._refill.arrived(pool)
        pod = await self._claims.claim(
            sandbox, pool, labels=network.labels(action.reach) if action.reach is not None else {},
            terms=expiry.terms_of(pool.spec).dump(), cold=action.cold, wait=action.wait,
        )  # fmt: skip
        if pod is not None:
            run.served = pool
            run.learn(start=Start.COLD if waited else Start.WARM)

    async def stop_waiting(self, run: Run) -> None:
        """Give up every place in a queue; find out what became of a claim that was cut off."""
        sandbox, entry = run.sandbox, run.entry
        await self._claims.settle(sandbox)
        self._claims.forget(sandbox.uid)
        self.forget(sandbox)
        entry.waits_for_room = False
        entry.start_refused = None

    def forget(self, sandbox: AnySandbox) -> None:
        """The Sandbox is gone, or waits no more; who kept room for it can use that now."""
        pool_uid = self._memories.stop_waiting_for_room(sandbox.uid)
        if pool_uid is not None:
            self._queue.add(pool_uid)
        self._store.stop_waiting_for_pool(sandbox)

    async def start(self, run: Run, action: StartPod) -> None:
        """Start a pod for the Sandbox alone, within its pool's maxSandboxes."""
        sandbox = run.sandbox
        pool = self._store.pool_of(sandbox) if action.from_pool else None
        if not isinstance(sandbox, SandboxRecord) or (action.from_pool and pool is None):
            run.learn(start_tried=True)
            return
        if pool is None:
            await self._start(run, sandbox, action, None)
            return
        name = _name(sandbox)
        run.entry.waits_for_room = not self._refill.reserve_room(pool, sandbox.uid, name)
        if run.entry.waits_for_room:
            run.learn(no_room=True)
            return
        try:
            made = await self._start(run, sandbox, action, pool)
        except errors.TransportError:
            # It may exist: the room stays taken until the watch shows it or time is over.
            raise
        except BaseException:
            self._refill.own_start_failed(pool, name)
            raise
        if not made:
            self._refill.own_start_failed(pool, name)

    async def _start(self, run: Run, sandbox: SandboxRecord, action: StartPod, pool: PoolRecord | None) -> bool:
        """Send the pod; says whether there is one now."""
        template = action.template
        await self._policies.ensure(sandbox.namespace, *containers.reaches(template))
        body = podspec.build(
            template,
            name=_name(sandbox),
            namespace=sandbox.namespace,
            owner=sandbox.owner,
            probe=self._isolation.probe(),
            pool=pool.owner if pool else None,
            sandbox=sandbox.owner,
            env=sandbox.spec.env or (),
            health=pool.spec.warm.probe if pool else None,
            terms=expiry.terms_of(pool.spec).dump() if pool else "",
            workspace=sandbox.status.workspace_claim or "",
        )
        wrong = rules.violations(body, allow_root=self._allow_root)
        if wrong:
            refused = Refusal(Reason.INVALID_TEMPLATE, "; ".join(wrong), final=True)
            run.learn(start_tried=True, start_refused=refused)
            return False
        try:
            await self._pods.create(body)
        except errors.ApiError as error:
            if error.already_exists and await self._is_ours(sandbox, body):
                run.learn(start_tried=True)
                return True
            if error.status not in (403, 409, 422, 400):
                raise
            run.entry.start_refused = refusal(error)
            run.learn(start_tried=True, start_refused=Refusal(*run.entry.start_refused))
            return False
        run.entry.start_refused = None
        self._metrics.pod_starts.labels("created").inc()
        run.learn(start_tried=True)
        return True

    async def _is_ours(self, sandbox: SandboxRecord, body: dict[str, Any]) -> bool:
        found = await self._pods.read(sandbox.namespace, body["metadata"]["name"])
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        return bool(labels.get(names.LABEL_SANDBOX_UID) == sandbox.uid)

    async def unseen_pod(self, sandbox: AnySandbox) -> bool:
        """Whether a pod of its own exists that the watch has not shown yet; it is deleted.

        A Sandbox that is deleted right after its cold start was sent would otherwise be let
        go with a pod on the way. Claimed pods are always seen first: they were warm before.
        """
        if sandbox.status.pod_uid or _only_claims(sandbox):
            return False
        name = _name(sandbox)
        found = await self._pods.read(sandbox.namespace, name)
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        if found is None or labels.get(names.LABEL_SANDBOX_UID) != sandbox.uid:
            return False
        await self._pods.delete(sandbox.namespace, name, found["metadata"]["uid"])
        return True


def _only_claims(sandbox: AnySandbox) -> bool:
    """Whether no pod was ever started for it alone."""
    if not isinstance(sandbox, SandboxRecord) or sandbox.status.workspace_claim:
        return False
    spec = sandbox.spec
    return spec.template is None and not spec.env and spec.network is None


def _name(sandbox: AnySandbox) -> str:
    return podspec.cold_pod_name(sandbox.owner, sandbox.status.restarts or 0)
