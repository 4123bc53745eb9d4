"""One pass over one Sandbox."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sandyard.engine.state.pools import PoolEntry
from sandyard.engine.state.records import AnySandbox
from sandyard.engine.state.sandboxes import SandboxEntry
from sandyard.sandbox.view import Answers

__all__ = ["Run"]


@dataclass
class Run:
    """What a pass has found out and done so far.

    Attributes
    ----------
    served
        The pool that has given it a warm pod in this pass.
    claim_seconds
        When its claim began and when its pod was written, in this pass; seconds of the monotonic clock.
    """

    entry: SandboxEntry
    answers: Answers = Answers()
    served: PoolEntry | None = None
    claim_seconds: tuple[float, float] | None = None

    @property
    def sandbox(self) -> AnySandbox:
        """The Sandbox in its newest version."""
        return self.entry.record

    def learn(self, **answers: Any) -> None:
        """Keep what an action has found out."""
        self.answers = dataclasses.replace(self.answers, **answers)
