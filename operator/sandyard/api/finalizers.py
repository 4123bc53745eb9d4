"""Who still holds an object that is on its way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandyard.api import names

__all__ = ["held_by_others"]


def held_by_others(metadata: Mapping[str, Any]) -> list[str]:
    """Finalizers of others that alone hold a Sandbox or pool: nothing of ours is left on it.

    Empty while it has not been asked to go, or our own finalizer is on.
    """
    finalizers = metadata.get("finalizers") or []
    if "deletionTimestamp" not in metadata or names.FINALIZER in finalizers:
        return []
    return list(finalizers)
