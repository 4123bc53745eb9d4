"""What every part of the engine works with, handed over as one."""

from __future__ import annotations

from dataclasses import dataclass

from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.isolation import Isolation
from sandyard.engine.cluster.kubelet_resync import KubeletResync
from sandyard.engine.cluster.objects import Objects
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.cluster.setup_network import SetupNetwork
from sandyard.engine.cluster.workspaces import Workspaces
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queues
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.process.settings import Settings
from sandyard.engine.state.pool_memory import Memories
from sandyard.engine.state.store import Store

__all__ = ["Parts"]


@dataclass(frozen=True)
class Parts:
    """The shared parts of one operator."""

    settings: Settings
    clock: Clock
    queues: Queues
    store: Store
    memories: Memories
    pods: Pods
    objects: Objects
    workspaces: Workspaces
    policies: Policies
    recorder: Recorder
    metrics: Metrics
    isolation: Isolation
    kubelet_resync: KubeletResync
    setup_network: SetupNetwork
