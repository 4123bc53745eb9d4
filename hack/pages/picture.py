"""A picture of `sandyard pool watch`, drawn by the program itself from pools that are made up here."""

from __future__ import annotations

import io
import re
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from sandyard.cli import watching

__all__ = ["pool_watch"]

_COLUMNS, _LINES = 80, 12
_CREATED: Final = "2026-01-01T00:00:00Z"
Object = dict[str, Any]


def pool_watch() -> str:
    """The screen as SVG, the same each time."""
    watch, before = watching.Watch(), _pools(claims=0)
    watch.look(before, [], 0.0)
    rows = watch.look(_pools(claims=60), _sandboxes(), 30.0)
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), color_system=None, force_terminal=False)
    console.print(Text(watching.screen(rows, _COLUMNS, _LINES, title="Pools in namespace team")))
    drawn = console.export_svg(title="sandyard pool watch", unique_id="watch")
    # It would fetch its font from elsewhere; whoever looks at it has one.
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def _pools(*, claims: int) -> list[Object]:
    return [
        _pool("go", 4, "True", "Ready", replicas=4, starting=0, claimed=1, warmHits=1),
        _pool("large-image", 2, "False", "ImagePullBackOff", replicas=0, starting=1, claimed=0),
        _pool("python", 20, "True", "Ready", replicas=17, starting=3, claimed=41, warmHits=900 + claims),
    ]


def _pool(name: str, size: int, ready: str, reason: str, **status: int) -> Object:
    conditions = [{"type": "Ready", "status": ready, "reason": reason},
                  {"type": "Reconciling", "status": "False", "reason": reason}]  # fmt: skip
    return {"metadata": {"name": name, "namespace": "team", "uid": name}, "spec": {"replicas": size},
            "status": {"coldStarts": 0, **status, "conditions": conditions}}  # fmt: skip


def _sandboxes() -> list[Object]:
    quick, slow = "2026-01-01T00:00:00.4Z", "2026-01-01T00:00:04Z"
    ready = [("python", "Ready", quick)] * 40 + [("python", "Ready", slow), ("go", "Ready", quick)]
    return [_sandbox(*one) for one in [*ready, ("python", "Failed", ""), ("large-image", "Pending", "")]]


def _sandbox(pool: str, phase: str, ready_at: str) -> Object:
    status = {"phase": phase, **({"readyAt": ready_at} if ready_at else {})}
    return {"metadata": {"name": "s", "namespace": "team", "creationTimestamp": _CREATED},
            "spec": {"poolRef": {"name": pool}}, "status": status}  # fmt: skip
