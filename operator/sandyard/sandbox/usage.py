"""What the metrics API says of a pod, as far as idleness is concerned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandyard.api import model, names, quantity

__all__ = ["Usage", "read"]


@dataclass(frozen=True)
class Usage:
    """CPU use of the main container.

    Attributes
    ----------
    at
        End of the window that it was measured over, in seconds since the epoch.
    """

    cores: float
    at: float


def read(metrics: Mapping[str, Any] | None) -> Usage | None:
    """The use that a ``PodMetrics`` object shows; None where it says nothing that can be understood."""
    if metrics is None:
        return None
    try:
        containers = [item for item in metrics["containers"] if item["name"] == names.CONTAINER]
        cores = sum(float(quantity.parse(item["usage"]["cpu"])) for item in containers)
        return Usage(cores, model.seconds(metrics["timestamp"])) if containers else None
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None
