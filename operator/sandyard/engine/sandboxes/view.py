"""Gathers what the decision about a Sandbox goes by."""

from __future__ import annotations

from sandyard.api import names
from sandyard.engine.claims.claims import Claims
from sandyard.engine.loops.clock import Clock
from sandyard.engine.process.settings import Settings
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.state.pods import PodEntry
from sandyard.engine.state.records import AnySandbox, PoolRecord, SandboxRecord
from sandyard.engine.state.store import Store
from sandyard.sandbox import expiry
from sandyard.sandbox.expiry import Terms
from sandyard.sandbox.view import Claim, PoolFacts, SandboxView, UnreadableView

__all__ = ["Views"]


class Views:
    """Makes views of Sandboxes as they are at this moment."""

    def __init__(self, store: Store, claims: Claims, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._pausing = settings.pausing
        self._busy_cores = settings.idle_cpu_cores
        self._policy = settings.policy
        self._claims = claims

    def of(self, run: Run) -> SandboxView | UnreadableView:
        """The Sandbox of *run*, with what the run has found out."""
        sandbox, entry = run.sandbox, run.entry
        claim = self._claim(run)
        waits = claim.open or entry.waits_for_pool or bool(entry.waits_for_room)
        guarded = names.FINALIZER in sandbox.finalizers
        if not isinstance(sandbox, SandboxRecord):
            return UnreadableView(
                now=self._clock.now(), generation=sandbox.generation, status=sandbox.status,
                deleting=sandbox.deleting, guarded=guarded, claim=claim, waits=waits, hindered=entry.hindered,
                answers=run.answers,
                invalid=sandbox.invalid,
            )  # fmt: skip
        pool, entries = self._store.pool_of(sandbox), self._pods(sandbox)
        bounds = self._policy.of(sandbox.namespace)
        return SandboxView(
            now=self._clock.now(),
            generation=sandbox.generation,
            status=sandbox.status,
            deleting=sandbox.deleting,
            guarded=guarded,
            claim=claim,
            waits=waits,
            hindered=entry.hindered,
            pods=tuple(pod.pod for pod in entries),
            answers=run.answers,
            pool_name=sandbox.pool_name,
            namespace=sandbox.namespace,
            created_at=sandbox.created_at,
            spec=sandbox.spec,
            pool=self._pool(run, pool),
            astray=entries[0].astray if entries else {},
            terms=self._terms(sandbox, pool, bounds.max_lifetime_seconds),
            stamp=sandbox.stamp,
            noted_stamp=entry.noted_stamp,
            waited_seconds=self._clock.monotonic() - entry.waits_since,
            last_refusal=entry.start_refused,
            exposure=self._store.exposures.of(sandbox.namespace),
            bounds=bounds,
            older=self._store.sandboxes.older(sandbox) if bounds.max_sandboxes else 0,
            pausing=self._pausing,
            busy_cores=self._busy_cores,
        )

    def _pods(self, sandbox: AnySandbox) -> list[PodEntry]:
        """Its pods, the one that its status names first."""
        # A pod that is set aside for a claim under way is not the Sandbox's yet.
        entries = [entry for entry in self._store.pods.of_sandbox(sandbox.uid) if not entry.claim_under_way]
        named = sandbox.status.pod_uid
        return sorted(
            entries, key=lambda entry: (entry.uid != named, entry.pod.metadata.creation_timestamp, entry.uid)
        )  # fmt: skip

    def _claim(self, run: Run) -> Claim:
        uid = run.sandbox.uid
        claim = self._claims.of(uid)
        if claim is None:
            return Claim()
        # Its place is asked for only where the status shows it.
        ahead = self._claims.place(uid) if run.answers.claim_tried else 0
        # Its wait may have begun before it joined, and before this process.
        since = min(claim.since, run.entry.waits_since)
        return Claim(self._clock.monotonic() - since, ahead, open=True)

    def _pool(self, run: Run, pool: PoolRecord | None) -> PoolFacts | None:
        if pool is None:
            return None
        if not run.answers.claim_tried or run.answers.start is not None:
            return PoolFacts(
                pool.name, pool.spec, pool.template_hash, pool.deleting, beyond=pool.beyond, created_at=pool.created_at
            )  # fmt: skip
        entry = self._store.pools[pool.uid]
        trouble = entry.failure()
        failure = (trouble.reason, trouble.message) if trouble is not None else None
        return PoolFacts(
            pool.name, pool.spec, pool.template_hash, pool.deleting, entry.memory.at_maximum, failure,
                pool.beyond, pool.created_at,
        )  # fmt: skip

    def _terms(self, sandbox: SandboxRecord, pool: PoolRecord | None, most_seconds: int) -> Terms:
        """What its pool says about lifetimes; of the time of the claim when the pool is gone."""
        if pool is not None:
            return expiry.terms_of(pool.spec, most_seconds=most_seconds)
        pods = self._store.pods_of_sandbox(sandbox.uid)
        annotation = pods[0].metadata.annotations.get(names.ANNOTATION_TERMS, "") if pods else ""
        return expiry.terms_of(None, annotation, most_seconds)
