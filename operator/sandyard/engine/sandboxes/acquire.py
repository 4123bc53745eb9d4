"""Claims a warm pod for a Sandbox, or starts one for it alone."""

from __future__ import annotations

from sandyard.api.reasons import Reason, Start
from sandyard.engine.claims.claims import Claims
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.cluster.starts import Starts
from sandyard.engine.loops.queues import Queue
from sandyard.engine.pools.reconcile import Refill, refusal
from sandyard.engine.sandboxes.pods import OwnPods, cold_pod_name
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.state.pool_memory import Memories
from sandyard.engine.state.records import AnySandbox, PoolRecord, SandboxRecord
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.podspec import network
from sandyard.podspec import pod as podspec
from sandyard.sandbox import expiry
from sandyard.sandbox.steps import ClaimWarmPod, StartPod
from sandyard.sandbox.view import Refusal

__all__ = ["Acquire"]


class Acquire:
    """Finds or starts a pod for Sandboxes that have none."""

    def __init__(
        self, store: Store, memories: Memories, claims: Claims, refill: Refill, policies: Policies, starts: Starts,
        own_pods: OwnPods, pools: Queue,
    ) -> None:  # fmt: skip
        self._store = store
        self._memories = memories
        self._claims = claims
        self._refill = refill
        self._policies = policies
        self._starts = starts
        self._own_pods = own_pods
        self._pools = pools

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

    def wait_for_pool(self, run: Run) -> None:
        """Its pool is not there, or paused: a change of that wakes it."""
        self._store.wait_for_pool(run.sandbox)

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
            self._pools.add(pool_uid)
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
        name = cold_pod_name(sandbox)
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
        await self._starts.ensure_policies(sandbox.namespace, template)
        body = podspec.build(
            template,
            name=cold_pod_name(sandbox),
            namespace=sandbox.namespace,
            owner=sandbox.owner,
            probe=self._starts.probe(),
            pool=pool.owner if pool else None,
            sandbox=sandbox.owner,
            env=sandbox.spec.env or (),
            health=pool.spec.warm.probe if pool else None,
            terms=expiry.terms_of(pool.spec).dump() if pool else "",
            workspace=sandbox.status.workspace_claim or "",
        )
        wrong = self._starts.violations(body)
        if wrong:
            refused = Refusal(Reason.INVALID_TEMPLATE, "; ".join(wrong), final=True)
            run.learn(start_tried=True, start_refused=refused)
            return False
        try:
            await self._starts.create(body)
        except errors.ApiError as error:
            if error.already_exists and await self._own_pods.is_there(sandbox, body["metadata"]["name"]):
                run.learn(start_tried=True)
                return True
            if error.status not in (403, 409, 422, 400):
                raise
            run.entry.start_refused = refusal(error)
            run.learn(start_tried=True, start_refused=Refusal(*run.entry.start_refused))
            return False
        run.entry.start_refused = None
        run.learn(start_tried=True)
        return True
