"""Claims a warm pod for a Sandbox, or starts one for it alone."""

from __future__ import annotations

from sandyard.api import names
from sandyard.api.reasons import Reason, Start
from sandyard.engine.claims.claims import Claims
from sandyard.engine.cluster import workspaces
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.cluster.starts import Starts, refusal
from sandyard.engine.cluster.workspaces import Workspaces
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queue
from sandyard.engine.loops.turns import Urgency
from sandyard.engine.sandboxes.pods import OwnPods, cold_pod_name
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.state.pools import PoolEntry
from sandyard.engine.state.records import PoolRecord, SandboxRecord
from sandyard.engine.state.sandboxes import SandboxEntry
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.podspec import network
from sandyard.podspec import pod as podspec
from sandyard.sandbox import expiry
from sandyard.sandbox.steps import ClaimWarmPod, StartPod
from sandyard.sandbox.view import Refusal

__all__ = ["Acquire"]

# After a refusal that may not be the last word.
_BUSY_SECONDS = 0.2


class Acquire:
    """Finds or starts a pod for Sandboxes that have none."""

    def __init__(
        self, store: Store, claims: Claims, policies: Policies, starts: Starts, own_pods: OwnPods,
        requests: Workspaces, pools: Queue, clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._claims = claims
        self._policies = policies
        self._starts = starts
        self._own_pods = own_pods
        self._workspaces = requests
        self._pools = pools
        self._clock = clock

    async def claim(self, run: Run, action: ClaimWarmPod) -> None:
        """Take a warm pod, or join the queue: the first of the two writes of a claim."""
        sandbox = run.sandbox
        run.learn(claim_tried=True)
        pool = self._store.pool_of(sandbox)
        if not isinstance(sandbox, SandboxRecord) or pool is None:
            return
        if run.entry.waits_for_room:
            # It was to have a pod of its own before its spec was changed.
            self.leave_queues(run.entry)
        if action.reach is not None:
            await self._policies.ensure(sandbox.namespace, action.reach)
        claim = self._claims.of(sandbox.uid)
        waited = claim is not None and claim.waited
        if claim is None:
            self._store.pools[pool.uid].arrived(self._clock.now())
        began = self._clock.monotonic()
        try:
            pod = await self._claims.claim(
                sandbox, pool, labels=network.labels(action.reach) if action.reach is not None else {},
                terms=expiry.terms_of(pool.spec).dump(), cold=action.cold, wait=action.wait,
            )  # fmt: skip
        except errors.ApiError as error:
            if error.unsure:
                raise
            again = not error.refused or self._claims.of(sandbox.uid) is not None
            busy = (error.retry_after_seconds or _BUSY_SECONDS) if again else None
            run.learn(claim_refused=Refusal(*refusal(error), retry_after_seconds=busy))
            return
        if pod is not None:
            run.served = self._store.pools.get(pool.uid)
            run.claim_seconds = began, self._clock.monotonic()
            run.learn(start=Start.COLD if waited else Start.WARM)

    def wait_for_pool(self, run: Run) -> None:
        """Its pool is not there, or paused: a change of that wakes it."""
        self._store.sandboxes.wait_for_pool(run.entry)

    async def stop_waiting(self, run: Run) -> None:
        """Give up every place in a queue; find out what became of a claim that was cut off."""
        sandbox, entry = run.sandbox, run.entry
        await self._claims.settle(sandbox)
        self._claims.forget(sandbox.uid)
        self.leave_queues(entry)
        entry.start_refused = None

    def leave_queues(self, entry: SandboxEntry) -> None:
        """The Sandbox is gone, or waits no more; who kept room for it can use that now."""
        self._leave_queue_for_room(entry)
        self._store.sandboxes.stop_waiting_for_pool(entry)

    def _leave_queue_for_room(self, entry: SandboxEntry) -> None:
        pool = self._store.pools.get(entry.waits_for_room)
        if pool is not None:
            pool.waiting_for_room.pop(entry.record.uid, None)
            self._pools.add(pool.uid)
        entry.waits_for_room = ""

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
        kept = self._store.pools[pool.uid]
        if not self._reserve_room(run.entry, pool, name):
            run.learn(no_room=True)
            return
        try:
            made = await self._start(run, sandbox, action, pool)
        except errors.TransportError:
            # It may exist: the room stays taken until the watch shows it or time is over.
            raise
        except BaseException:
            self._give_room_back(kept, name)
            raise
        if not made:
            self._give_room_back(kept, name)

    def _reserve_room(self, entry: SandboxEntry, pool: PoolRecord, pod_name: str) -> bool:
        """Whether ``maxSandboxes`` leaves room for the pod; if not, the Sandbox waits for some."""
        if entry.waits_for_room != pool.uid:
            self._leave_queue_for_room(entry)
        uid, now = entry.record.uid, self._clock.monotonic()
        if self._store.pools[pool.uid].reserve_room(pool.spec.max_sandboxes, uid, pod_name, now):
            entry.waits_for_room = ""
            return True
        entry.waits_for_room = pool.uid
        # A warm pod is given up for it.
        self._pools.add(pool.uid)
        return False

    def _give_room_back(self, pool: PoolEntry, pod_name: str) -> None:
        """The pod does not come: who waits for room can use that now."""
        pool.start_failed(pod_name)
        self._pools.add(pool.uid)

    async def _start(self, run: Run, sandbox: SandboxRecord, action: StartPod, pool: PoolRecord | None) -> bool:
        """Send the pod; says whether there is one now."""
        template = action.template
        unusable = await self._unusable_workspace(sandbox)
        if unusable:
            refused = Refusal(Reason.POD_REFUSED, unusable, final=True)
            run.learn(start_tried=True, start_refused=refused)
            return False
        try:
            await self._starts.ensure_policies(sandbox.namespace, template)
        except errors.ApiError as error:
            self._learn_refusal(run, error)
            return False
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
        wrong = [*self._starts.beyond(sandbox.namespace, template), *self._starts.violations(body)]
        if wrong:
            refused = Refusal(Reason.INVALID_TEMPLATE, "; ".join(wrong), final=True)
            run.learn(start_tried=True, start_refused=refused)
            return False
        try:
            await self._starts.create(body, Urgency.START)
        except errors.ApiError as error:
            if error.already_exists and await self._own_pods.is_there(sandbox, body["metadata"]["name"]):
                run.learn(start_tried=True)
                return True
            self._learn_refusal(run, error)
            return False
        run.entry.start_refused = None
        run.learn(start_tried=True)
        return True

    async def _unusable_workspace(self, sandbox: SandboxRecord) -> str:
        """Why the workspace that its status names is not mounted; empty if it may be, or there is none."""
        name = sandbox.status.workspace_claim
        if not name:
            return ""
        workspace = await self._workspaces.read(sandbox.namespace, name)
        if workspace is None or "deletionTimestamp" in workspace["metadata"]:
            # A pod that waits for it would get the next one of that name, whoever makes it.
            return (
                f"status.workspaceClaim: PersistentVolumeClaim {name!r} is gone, somebody has deleted it, and with it "
                "the files of this Sandbox: delete the Sandbox and make a new one"
            )
        if workspaces.belongs(workspace, sandbox):
            return ""
        return (
            f"status.workspaceClaim: PersistentVolumeClaim {name!r} is not this Sandbox's (label "
            f"{names.LABEL_SANDBOX_UID}); somebody has changed the status: delete the Sandbox and make a new one"
        )

    def _learn_refusal(self, run: Run, error: errors.ApiError) -> None:
        """What the API server has against the pod or its policies; what is wrong with the server itself is raised."""
        if not error.refused and not error.already_exists:
            raise error
        run.entry.start_refused = refusal(error)
        run.learn(start_tried=True, start_refused=Refusal(*run.entry.start_refused))
