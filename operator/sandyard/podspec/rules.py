"""The rules that every pod of ours must keep, checked once more before it is created.

Admission policies hold the same table (`sandyard.podspec.shape`) in the cluster; they can be
uninstalled, and a fault in the builder would then go unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandyard.api import names
from sandyard.podspec.shape import CLOSED_ORDER, Installation, rows

__all__ = ["violations"]


def violations(pod: Mapping[str, Any], installation: Installation) -> list[str]:
    """What is wrong with *pod*; empty when it may be created in *installation*."""
    root = _as_root(pod["spec"])
    if root and not installation.allow_root:
        return ["user.uid 0 needs policy.allowRoot in the operator's chart"]
    found = [wrong for row in rows(installation, root=root) for wrong in row.rule.check(row.of(pod), row.part)]
    return list(dict.fromkeys([*found, *_opened(pod)]))


def _as_root(spec: Mapping[str, Any]) -> bool:
    main = (container.get("securityContext") or {} for container in spec["containers"])
    said = (spec.get("securityContext") or {}).get("runAsNonRoot") is False
    return said and any(context.get("runAsUser") == 0 for context in main)


def _opened(pod: Mapping[str, Any]) -> list[str]:
    """What is open while a setup runs is marked, and proven closed after it; all other pods start closed."""
    before = tuple(container["name"] for container in pod["spec"].get("initContainers", ()))
    opened = pod["metadata"]["labels"].get(names.LABEL_EGRESS) != names.EGRESS_NONE
    marked = pod["metadata"].get("annotations", {}).get(names.ANNOTATION_SETUP) == names.SETUP_OPEN
    if (opened or marked) != (before == CLOSED_ORDER) or opened != marked:
        return ["a pod starts with egress None, or with its setup's, which is then proven closed"]
    return []
