"""What is asked of others than the API server itself: of a kubelet by exec, of the metrics API.

They may take their time, and one whose shell or node hangs takes all of it.  So an errand has a queue
and workers of its own, of which no namespace gets more than a share: whoever waits for an answer
holds up no claim, and few errands of others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandyard.engine.loops.queues import Queues
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.state.sandboxes import Errand, SandboxTable

__all__ = ["Errands"]

Act = Callable[[], Awaitable[Mapping[str, Any]]]


@dataclass
class _Errand(Errand):
    """One errand: what it is, and how it is done."""

    act: Act


class Errands:
    """One errand for each Sandbox at most: a new one takes the place of the one before."""

    def __init__(self, sandboxes: SandboxTable, queues: Queues) -> None:
        self._sandboxes = sandboxes
        self._queues = queues

    def go(self, run: Run, what: tuple[str | bool, ...], act: Act) -> None:
        """Let *run* learn what *act* has found out; before that, that it is asked.

        Parameters
        ----------
        what
            Two errands that are the same have the same words.
        """
        entry = run.entry
        errand = entry.errand
        if errand is None or errand.what != what:
            entry.errand = _Errand(what, act=act)
            self._queues.errands.add(run.sandbox.uid)
        elif errand.answers is not None:
            entry.errand = None
            run.learn(**errand.answers)
            return
        run.learn(asked=True)

    async def run(self, uid: str) -> None:
        """Do the errand of one Sandbox, unless nobody waits for it any more."""
        entry = self._sandboxes.get(uid)
        errand = entry.errand if entry is not None and not entry.record.deleting else None
        if not isinstance(errand, _Errand) or errand.answers is not None:
            return
        errand.answers = await errand.act()
        self._queues.sandboxes.add(uid)
