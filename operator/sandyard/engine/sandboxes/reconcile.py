"""The life of a Sandbox: look at what there is, decide, carry it out.

``reconcile`` is level-triggered: it makes no difference whether it is called by an event, after
a crash, or twice.  What is decided, and in which order, stands in `sandyard.sandbox.decide`.
"""

from __future__ import annotations

import logging

from sandyard.api.reasons import Start
from sandyard.engine.claims.claims import Claims
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.loops.timers import Timers
from sandyard.engine.sandboxes.acquire import Acquire
from sandyard.engine.sandboxes.execute import Execute
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.sandboxes.telling import Telling
from sandyard.engine.sandboxes.view import Views
from sandyard.engine.state.sandboxes import SandboxEntry
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.sandbox import decide
from sandyard.sandbox.view import SandboxView

__all__ = ["Sandboxes"]

_log = logging.getLogger(__name__)
# A decision asks a handful of questions at most before it has an answer.
_MOST_STEPS = 16
_NO_ANSWER_SECONDS = 1.0


class Sandboxes:
    """All Sandboxes of this operator."""

    def __init__(
        self, store: Store, queues: Queues, timers: Timers, views: Views, execute: Execute, claims: Claims,
        acquire: Acquire, telling: Telling, clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._queue = queues.sandboxes
        self._pools = queues.pools
        self._views = views
        self._execute = execute
        self._claims = claims
        self._acquire = acquire
        self._timers = timers
        self._telling = telling
        self._clock = clock

    def forget(self, entry: SandboxEntry) -> None:
        """The Sandbox is gone."""
        uid = entry.record.uid
        self._claims.forget(uid)
        self._acquire.leave_queues(entry)
        self._timers.set(uid, None)

    async def reconcile(self, uid: str) -> None:
        """Do what is to be done for one Sandbox."""
        entry = self._store.sandboxes.get(uid)
        if entry is None or entry.record.namespace in self._store.unseen:
            return
        run = Run(entry)
        before, began = _mark(run), self._clock.monotonic()
        try:
            await self._steps(run)
        except (errors.ApiError, errors.TransportError) as error:
            await self._telling.failed(run, error, began)
            raise
        else:
            await self._telling.went_well(run)
        finally:
            if run.served is not None:
                # Not before the Sandbox is Ready: the substitute's start must not get in its way.
                run.served.served(warm=run.answers.start is Start.WARM)
                self._pools.add(run.served.uid)
        if _mark(run) != before:
            # What it now lives by (its lifetime from Ready, its time after the end) was not known
            # before, and our own write comes back as no news.
            self._queue.add(uid)

    async def _steps(self, run: Run) -> None:
        uid = run.sandbox.uid
        for _ in range(_MOST_STEPS):
            if self._store.sandboxes.get(uid) is not run.entry:
                return
            view = self._views.of(run)
            step = decide.decide(view)
            if isinstance(view, SandboxView):
                self._timers.set(uid, decide.wake_at(view))
            await self._execute.step(run, step)
            if not step.again:
                return
        _log.error("no decision", extra={"sandbox": run.sandbox.name, "rule": step.reason})
        self._queue.add_after(uid, _NO_ANSWER_SECONDS)


def _mark(run: Run) -> tuple[bool, bool]:
    return run.sandbox.status.ended, run.sandbox.status.running
