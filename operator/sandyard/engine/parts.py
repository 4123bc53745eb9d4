"""What every part of the engine works with, handed over as one."""

from __future__ import annotations

from dataclasses import dataclass

from sandyard.engine.events import Recorder
from sandyard.engine.gateway import Gateway
from sandyard.engine.isolation import Isolation
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.metrics import Metrics
from sandyard.engine.nudges import Nudges
from sandyard.engine.policies import Policies
from sandyard.engine.pool_memory import Memories
from sandyard.engine.settings import Settings
from sandyard.engine.setups import Setups
from sandyard.engine.store import Store

__all__ = ["Parts"]


@dataclass(frozen=True)
class Parts:
    """The shared parts of one operator."""

    settings: Settings
    clock: Clock
    queues: Queues
    store: Store
    memories: Memories
    gateway: Gateway
    policies: Policies
    recorder: Recorder
    metrics: Metrics
    isolation: Isolation
    nudges: Nudges
    setups: Setups
