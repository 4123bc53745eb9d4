"""Says on a Sandbox which request about it fails again and again, and takes that back once all goes well.

Whatever a pass was about, it ends at the first request that fails, and its key comes back later.  What
lasts for seconds is told: who waits for something should not have to read the operator's log.
"""

from __future__ import annotations

import logging

from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queue
from sandyard.engine.sandboxes.reporting import Reporting
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.sandboxes.view import Views
from sandyard.engine.sandboxes.write import SandboxWriter
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.pool.hindrances import STALLED_SECONDS, TELL_AFTER_SECONDS
from sandyard.sandbox import acquire, phase
from sandyard.sandbox.status import Status
from sandyard.sandbox.view import SandboxView, UnreadableView

__all__ = ["Telling"]

_log = logging.getLogger(__name__)
_LEAST_SECONDS = 0.1


class Telling:
    """What keeps the operator from doing what a Sandbox asks for."""

    def __init__(
        self, store: Store, queue: Queue, views: Views, writer: SandboxWriter, reporting: Reporting, clock: Clock
    ) -> None:
        self._store = store
        self._queue = queue
        self._views = views
        self._writer = writer
        self._reporting = reporting
        self._clock = clock

    async def failed(self, run: Run, error: errors.ApiError | errors.TransportError, began: float) -> None:
        """A pass that *began* then (monotonic seconds) has ended with *error*."""
        if isinstance(error, errors.NotConnected):
            # Nobody is there who could be told, or another process acts.
            return
        entry, now = run.entry, self._clock.monotonic()
        entry.hindered_since = entry.hindered_since or began
        waits = entry.hindered_since + TELL_AFTER_SECONDS - now
        if waits > 0 and _pause(error) < TELL_AFTER_SECONDS:
            self._queue.add_after(run.sandbox.uid, waits)
            return
        entry.hindered = _told(error)
        if self._store.sandboxes.get(run.sandbox.uid) is not entry:
            return
        self._reporting.hindered(entry, entry.hindered)
        view = self._views.of(run)
        stalled = _is_refused(error) or now - entry.hindered_since >= STALLED_SECONDS
        await self._write(run, _status(view, entry.hindered, stalled=stalled))
        left = acquire.left_seconds(view) if isinstance(view, SandboxView) else None
        if left is not None:
            # Whoever waits for a pod gives up in time, however long the pause is by then.
            self._queue.add_after(run.sandbox.uid, max(_LEAST_SECONDS, left))

    async def went_well(self, run: Run) -> None:
        """A pass has come to its end."""
        run.entry.hindered_since, run.entry.hindered = 0.0, ""
        if not run.sandbox.deleting and phase.is_hindered(run.sandbox.status):
            await self._write(run, phase.unhindered(self._views.of(run).facts()))

    async def _write(self, run: Run, status: Status | None) -> None:
        if status is None:
            return
        try:
            await self._writer.status(run.sandbox, status)
        except (errors.ApiError, errors.TransportError) as error:
            # There is an Event all the same, and another attempt with the next failure.
            _log.info("not told", extra={"sandbox": run.sandbox.name, "error": str(error)})


def _told(error: errors.ApiError | errors.TransportError) -> str:
    """What is said of *error*."""
    if isinstance(error, errors.ApiError):
        return f"the API server answers {error}; it is asked again"
    return f"no answer of the API server; it is asked again: {error}"


def _pause(error: Exception) -> float:
    """Seconds that the API server asks to wait."""
    return (error.retry_after_seconds or 0.0) if isinstance(error, errors.ApiError) else 0.0


def _is_refused(error: Exception) -> bool:
    """Whether somebody has to do something: the same will be refused again."""
    return isinstance(error, errors.ApiError) and error.refused


def _status(view: SandboxView | UnreadableView, why: str, *, stalled: bool) -> Status | None:
    """The status that says *why*; None where that would hide how the Sandbox has ended."""
    if view.deleting:
        return phase.terminating(view.facts(), why)
    return None if view.status.ended else phase.hindered(view.facts(), why, stalled=stalled)
