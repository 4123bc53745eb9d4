"""What kstatus makes of a custom resource: by it Flux, and Helm and kubectl's successors, judge health.

Its rules for kinds that it does not know (sigs.k8s.io/cli-utils, pkg/kstatus, README.md): a generation that is
not observed, or Reconciling, is in progress; Stalled has failed; then the condition Ready decides, if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["judge"]


def judge(body: Mapping[str, Any]) -> str:
    """``Terminating``, ``InProgress``, ``Failed`` or ``Current``."""
    status, metadata = body.get("status") or {}, body["metadata"]
    if "deletionTimestamp" in metadata:
        return "Terminating"
    if status.get("observedGeneration", metadata.get("generation", 0)) != metadata.get("generation", 0):
        return "InProgress"
    known = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
    if known.get("Reconciling") == "True":
        return "InProgress"
    if known.get("Stalled") == "True":
        return "Failed"
    return "Current" if known.get("Ready", "True") == "True" else "InProgress"
