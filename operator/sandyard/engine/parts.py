"""What every part of the engine works with, handed over as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sandyard.engine.events import Recorder
from sandyard.engine.gateway import Gateway
from sandyard.engine.metrics import Metrics
from sandyard.engine.nudges import Nudges
from sandyard.engine.policies import Policies
from sandyard.engine.settings import Settings
from sandyard.engine.setups import Setups
from sandyard.engine.store import Store
from sandyard.podspec.containers import Probe

__all__ = ["Parts"]


@dataclass(frozen=True)
class Parts:
    """The shared parts of one operator.

    Attributes
    ----------
    probe
        Returns how new pods prove their isolation; it follows the API server's addresses.
    """

    settings: Settings
    store: Store
    gateway: Gateway
    policies: Policies
    recorder: Recorder
    metrics: Metrics
    probe: Callable[[], Probe]
    nudges: Nudges
    setups: Setups
