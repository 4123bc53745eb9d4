"""The life of one Sandbox: get a pod, follow it, expire, hand over to teardown.

``reconcile`` is level-triggered: it looks at what is there and does what is missing, so it
makes no difference whether it is called by an event, after a crash, or twice.
"""

from __future__ import annotations

from sandyard.api import model, names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.api.reasons import Phase, Reason, Start
from sandyard.api.template import Template
from sandyard.engine import setups
from sandyard.engine.claims.claims import Claims
from sandyard.engine.lifetimes import Lifetimes
from sandyard.engine.parts import Parts
from sandyard.engine.pausing import Pausing
from sandyard.engine.provide import Provider
from sandyard.engine.reaching import Reaching
from sandyard.engine.records import SandboxRecord
from sandyard.engine.refill import Refill
from sandyard.engine.suspending import Suspending
from sandyard.engine.teardown import Teardown
from sandyard.engine.telling import Telling
from sandyard.pod import observe, termination
from sandyard.sandbox import phase

__all__ = ["Sandboxes"]


class Sandboxes:
    """All Sandboxes of this operator."""

    def __init__(
        self, parts: Parts, claims: Claims, refill: Refill, provider: Provider, lifetimes: Lifetimes,
        pausing: Pausing, suspending: Suspending, reaching: Reaching, teardown: Teardown, telling: Telling,
    ) -> None:  # fmt: skip
        self._parts = parts
        self._store = parts.store
        self._gateway = parts.gateway
        self._recorder = parts.recorder
        self._metrics = parts.metrics
        self._claims = claims
        self._refill = refill
        self._provider = provider
        self._lifetimes = lifetimes
        self._pausing = pausing
        self._suspending = suspending
        self._reaching = reaching
        self._teardown = teardown
        self._telling = telling
        self._queues = parts.queues
        self._clock = parts.clock

    def forget(self, sandbox: SandboxRecord) -> None:
        """The Sandbox is gone."""
        self._claims.forget(sandbox.uid)
        self._teardown.forget(sandbox.uid)
        self._provider.forget(sandbox)
        self._lifetimes.forget(sandbox.uid)

    async def reconcile(self, uid: str) -> None:
        """Do what is to be done for one Sandbox."""
        sandbox = self._store.sandboxes.get(uid)
        if sandbox is None:
            return
        before = (phase.ended(sandbox.status), phase.running(sandbox.status))
        await self._step(sandbox)
        if before != (phase.ended(sandbox.status), phase.running(sandbox.status)):
            # What it now lives by (its lifetime from Ready, its time after the end) was not known
            # before, and our own write comes back as no news.
            self._queues.sandboxes.add_after(uid, 0)

    async def _step(self, sandbox: SandboxRecord) -> None:
        if sandbox.deleting:
            await self._claims.settle(sandbox)
            self._claims.forget(sandbox.uid)
            self._lifetimes.forget(sandbox.uid)
            self._provider.forget(sandbox)
            await self._teardown.reconcile(sandbox)
            return
        if names.FINALIZER not in sandbox.finalizers:
            written = await self._gateway.add_finalizer(sandbox)
            if self._store.merge_sandbox(sandbox, written):
                self._queues.sandboxes.add(sandbox.uid)
        if sandbox.spec is None:
            status = phase.failed(self._telling.facts(sandbox), Reason.INVALID_SPEC, sandbox.invalid)
            await self._telling.write(sandbox, status)
            return
        if await self._lifetimes.enforce(sandbox) or await self._suspending.enforce(sandbox):
            return
        pod = await self._own_pod(sandbox)
        if pod is not None:
            # A claim that was given up for lost may take place after all, when it waits for another.
            self._claims.forget(sandbox.uid)
            await self._follow(sandbox, pod)
        elif phase.ended(sandbox.status):
            await self._keep_ended(sandbox)
        elif sandbox.status.get("podUID"):
            await self._lost(sandbox)
        else:
            provided = await self._provider.provide(sandbox)
            if provided is not None:
                try:
                    await self._hand_out(sandbox, provided.pod, provided.start)
                finally:
                    # Not before the Sandbox is Ready: the substitute's start must not get in its way.
                    self._refill.claimed(provided.pool, warm=provided.start is Start.WARM)

    # Following a pod

    async def _hand_out(self, sandbox: SandboxRecord, pod: Pod, start: Start) -> None:
        """The second write of a claim: Ready."""
        now = self._clock.now()
        proof = observe.proof_of(pod)
        assert proof is not None
        first = not sandbox.status.get("readyAt")
        resumed = not first and not sandbox.status.get("claimedAt")
        facts = self._telling.facts(sandbox, now=now, ready_at=now)
        status = phase.ready(facts, pod, start, proof, setup=observe.setup_ended(pod))
        refused = self._refused(sandbox, pod)
        if refused is not None:
            status = phase.refused_state(status, *refused)
        await self._telling.write(sandbox, status)
        if resumed:
            self._recorder.tell(sandbox, Event.RESUMED, f"in a new pod, {pod.metadata.name}, with its workspace")
        if not first:
            return
        kind = sandbox.status.get("start") or start.value
        self._metrics.claims.labels("ready", kind).inc()
        self._metrics.claim_seconds.labels(kind).observe(self._clock.monotonic() - sandbox.seen_at)
        self._recorder.tell(sandbox, Event.READY, f"{kind} start: pod {pod.metadata.name}")

    def _refused(self, sandbox: SandboxRecord, pod: Pod) -> tuple[Reason, str] | None:
        """What it asks for and cannot have, though it runs."""
        if self._pausing.refused(sandbox):
            message = "pausing is switched off in this installation (pausing.enabled of the chart)"
            return Reason.PAUSING_DISABLED, message
        assert sandbox.spec is not None
        if sandbox.spec.desired_state == "Suspended":
            message = "desiredState Suspended: its pool's template has no workspace.persistent, nothing would be kept"
            return Reason.NOT_PERSISTENT, message
        network = self._reaching.refused(sandbox, pod)
        return (Reason.EGRESS_NOT_ALLOWED, network) if network else None

    async def _own_pod(self, sandbox: SandboxRecord) -> Pod | None:
        """The Sandbox's pod; should it have two (a claim cut off and repeated), only one is kept."""
        # A pod that is set aside for a claim under way is not the Sandbox's yet.
        pods = [pod for pod in self._store.pods_of_sandbox(sandbox.uid) if not self._store.under_way(pod.metadata.uid)]
        if not pods:
            return None
        named = sandbox.status.get("podUID")
        pods.sort(key=lambda pod: (pod.metadata.uid != named, pod.metadata.creation_timestamp, pod.metadata.uid))
        for surplus in pods[1:]:
            await self._telling.delete_pod(surplus)
        return pods[0]

    async def _follow(self, sandbox: SandboxRecord, pod: Pod) -> None:
        if phase.ended(sandbox.status):
            await self._keep_ended(sandbox)
            if self._useless(sandbox):
                await self._telling.delete_pod(pod)
            return
        facts = self._telling.facts(sandbox)
        was_ready = phase.running(sandbox.status)
        ended = termination.of(pod) if was_ready or _main_ended(pod) else None
        if ended is not None:
            if await self._telling.write(sandbox, phase.finished(facts, pod, ended)):
                self._metrics.ended.labels(ended["reason"]).inc()
                told = f"{ended['reason']}, exit code {ended.get('exitCode')}"
                self._recorder.tell(sandbox, Event.FINISHED, told)
            return
        if pod.metadata.deletion_timestamp is not None:
            await self._fail_lost(sandbox, f"pod {pod.metadata.name} is being deleted, not by Sandyard")
            return
        if not was_ready and not (observe.is_ready(pod) and observe.proof_of(pod) is not None):
            await self._starting(sandbox, pod, facts)
            return
        generation = sandbox.generation
        await self._reaching.enforce(sandbox, pod)
        if was_ready:
            await self._suspending.keep(sandbox, pod)
        if was_ready and await self._pausing.enforce(sandbox, pod):
            # A probe that gets no answer from a paused sandbox says nothing about its health.
            return
        if sandbox.generation != generation:
            # Its spec changed while we waited: the status must not call seen what nobody has acted on.
            self._queues.sandboxes.add(sandbox.uid)
            return
        if observe.is_ready(pod):
            await self._ready(sandbox, pod)
        else:
            await self._not_ready(sandbox, pod, facts)

    def _useless(self, sandbox: SandboxRecord) -> bool:
        """Whether the pod of an ended Sandbox has to go: nobody can use it, or its time is over."""
        if sandbox.status["phase"] == Phase.EXPIRED:
            return True
        if not sandbox.status.get("readyAt") and not sandbox.status.get("lastTermination"):
            return True
        at = self._telling.expiry(sandbox).at
        return at is not None and at <= self._clock.now()

    async def _ready(self, sandbox: SandboxRecord, pod: Pod) -> None:
        if observe.proof_of(pod) is None:
            return
        born_before = model.seconds(pod.metadata.creation_timestamp) < sandbox.created_at
        first = not sandbox.status.get("readyAt")
        await self._hand_out(sandbox, pod, Start.WARM if born_before else Start.COLD)
        if first:
            took = self._clock.now() - model.seconds(pod.metadata.creation_timestamp)
            self._metrics.start_seconds.observe(max(0.0, took))

    async def _not_ready(self, sandbox: SandboxRecord, pod: Pod, facts: phase.Facts) -> None:
        why = observe.sickness(pod)
        if await self._telling.write(sandbox, phase.not_ready(facts, pod, why.reason, why.message)):
            self._recorder.tell(sandbox, Event.NOT_READY, f"{why.reason.value}: {why.message}")

    async def _starting(self, sandbox: SandboxRecord, pod: Pod, facts: phase.Facts) -> None:
        pool = self._store.pools.get(pod.metadata.labels.get(names.LABEL_POOL_UID, ""))
        patience = self._provider.start_patience(sandbox, pool)
        age = self._clock.now() - model.seconds(pod.metadata.creation_timestamp)
        trouble = observe.trouble(pod)
        template = self._store.template_of(sandbox)
        if template is not None and template.setup is not None and await self._setting_up(sandbox, pod, template):
            return
        if trouble is not None and pod.status.phase == "Failed":
            await self._telling.give_up(sandbox, trouble.reason, trouble.message)
            self._queues.sandboxes.add_after(sandbox.uid, 0.01)
            return
        if age >= patience:
            reason = trouble.reason if trouble else Reason.START_TIMEOUT
            why = f": {trouble.message}" if trouble else ""
            await self._telling.give_up(sandbox, reason, f"not ready within {patience} s{why}")
            self._queues.sandboxes.add_after(sandbox.uid, 0.01)
            return
        if trouble is not None:
            status = phase.starting(facts, pod, trouble.reason, trouble.message, stalled=True)
        else:
            status = phase.starting(facts, pod, Reason.STARTING, f"starting pod {pod.metadata.name}", stalled=False)
        await self._telling.write(sandbox, status)
        wait = await self._parts.nudges.consider(pod)
        self._queues.sandboxes.add_after(
            sandbox.uid, max(0.1, min(patience - age, wait if wait is not None else patience))
        )

    async def _setting_up(self, sandbox: SandboxRecord, pod: Pod, template: Template) -> bool:
        """Follow the setup; says whether it took too long and the Sandbox has been given up."""
        assert template.setup is not None
        if observe.setup_open(pod):
            await self._parts.setups.close(pod, template)
        left = setups.seconds_left(pod, template.setup, self._clock.now())
        if left is None:
            return False
        self._queues.sandboxes.add_after(sandbox.uid, max(0.1, left))
        if left > 0:
            return False
        await self._telling.give_up(sandbox, Reason.SETUP_FAILED, setups.overdue(template.setup))
        return True

    async def _lost(self, sandbox: SandboxRecord) -> None:
        """It had a pod, and the pod is not in sight: look at the cluster itself before giving up."""
        found = await self._gateway.get_pod(sandbox.namespace, sandbox.status["podName"])
        if found is not None and found["metadata"]["uid"] == sandbox.status["podUID"]:
            self._queues.sandboxes.add_after(sandbox.uid, 0.2)
            return
        await self._fail_lost(sandbox, f"pod {sandbox.status['podName']} is gone")

    async def _fail_lost(self, sandbox: SandboxRecord, message: str) -> None:
        if await self._telling.write(sandbox, phase.failed(self._telling.facts(sandbox), Reason.POD_LOST, message)):
            self._metrics.ended.labels(Reason.POD_LOST.value).inc()
            self._recorder.tell(sandbox, Event.POD_LOST, message)

    async def _keep_ended(self, sandbox: SandboxRecord) -> None:
        """An ended Sandbox stays as it is and waits for nothing; only a changed spec is acknowledged."""
        self._claims.forget(sandbox.uid)
        self._provider.forget(sandbox)
        if sandbox.status.get("observedGeneration") != sandbox.generation:
            await self._telling.write(sandbox, {**sandbox.status, "observedGeneration": sandbox.generation})


def _main_ended(pod: Pod) -> bool:
    return observe.proof_of(pod) is not None and any(
        status.name == names.CONTAINER and status.state.terminated is not None
        for status in pod.status.container_statuses
    )
