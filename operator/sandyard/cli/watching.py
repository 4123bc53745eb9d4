"""What `sandyard pool watch` shows: pools with their figures, worked out of two lists at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandyard.api import conditions, rfc3339
from sandyard.cli.tables import age

__all__ = ["Row", "Watch", "line", "screen"]

_WINDOW_SECONDS = 60.0
_NARROWEST = 40
_TITLES = ("POOL", "READY", "WARM", "START", "CLAIMED", "QUEUE", "RATE", "P50", "P99", "FAILED", "REASON")
_FIRST, _LAST = 16, 20
Object = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One pool.

    Attributes
    ----------
    rate
        Claims a second, over the last minute that was watched.
    p50, p99
        Seconds from a Sandbox's creation to Ready, of those that are there; None without any.
    failed
        Sandboxes of the pool that are there and have failed.
    """

    name: str
    ready: str
    warm: str
    starting: int
    claimed: int
    queue: int
    rate: float
    p50: float | None
    p99: float | None
    failed: int
    reason: str

    @property
    def cells(self) -> tuple[str, ...]:
        """As text, in the order of the titles."""
        return (conditions.printable(self.name), self.ready, self.warm, str(self.starting), str(self.claimed),
                str(self.queue), f"{self.rate:.1f}/s", _seconds(self.p50), _seconds(self.p99), str(self.failed),
                conditions.printable(self.reason))  # fmt: skip


@dataclass
class Watch:
    """Remembers what pools had handed out before, to tell how many claims there are a second."""

    _handed_out: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def look(self, pools: Iterable[Object], sandboxes: Iterable[Object], now: float) -> list[Row]:
        """The rows at *now* (seconds of any clock that only goes on)."""
        by_pool: dict[tuple[str, str], list[Object]] = {}
        for item in sandboxes:
            name = item.get("spec", {}).get("poolRef", {}).get("name")
            if name:
                by_pool.setdefault((item["metadata"].get("namespace", ""), name), []).append(item)
        return [self._row(pool, by_pool.get(_key(pool), []), now) for pool in pools]

    def _row(self, pool: Object, sandboxes: list[Object], now: float) -> Row:
        status, phases = pool.get("status") or {}, Counter(_phase(item) for item in sandboxes)
        known = {item["type"]: item for item in status.get("conditions") or ()}
        waits = sorted(wait for wait in map(_waited, sandboxes) if wait is not None)
        wanted = (status.get("schedule") or {}).get("replicas", pool["spec"].get("replicas", 1))
        return Row(
            name=pool["metadata"]["name"],
            ready=known.get("Ready", {}).get("status", "-"),
            warm=f"{status.get('replicas', 0)}/{(status.get('autoscale') or {}).get('replicas', wanted)}",
            starting=status.get("starting", 0),
            claimed=status.get("claimed", 0),
            queue=phases["Pending"],
            rate=self._rate(pool, status.get("warmHits", 0) + status.get("coldStarts", 0), now),
            p50=_share(waits, 0.5),
            p99=_share(waits, 0.99),
            failed=phases["Failed"],
            reason=(known.get("Reconciling") or known.get("Ready") or {}).get("reason", ""),
        )

    def _rate(self, pool: Object, handed_out: int, now: float) -> float:
        seen = self._handed_out.setdefault(pool["metadata"].get("uid", ""), [])
        if seen and handed_out < seen[-1][1]:
            seen.clear()
        seen.append((now, handed_out))
        while len(seen) > 2 and seen[1][0] <= now - _WINDOW_SECONDS:
            seen.pop(0)
        (since, before), (until, after) = seen[0], seen[-1]
        return (after - before) / (until - since) if until > since else 0.0


def screen(rows: Iterable[Row], width: int, height: int, *, title: str) -> str:
    """All rows as a screen of so many columns and lines; what does not fit is counted."""
    made = list(rows)
    room = max(1, height - 4)
    table = [_TITLES, *(row.cells for row in made[:room])]
    widths = [min(max(len(row[at]) for row in table), _FIRST if at == 0 else _LAST) for at in range(len(_TITLES))]
    lines = [title, "", *(_fit("  ".join(_cut(cell, wide) for cell, wide in zip(row, widths, strict=True)), width)
                          for row in table)]  # fmt: skip
    if len(made) > room:
        lines.append(f"... and {len(made) - room} more")
    return "\n".join(lines)


def line(row: Row, at: float | None = None) -> str:
    """One pool as a line for a pipe; *at* is seconds since the epoch."""
    moment = time.strftime("%H:%M:%S", time.gmtime(time.time() if at is None else at))
    pairs = zip((title.lower() for title in _TITLES[1:]), row.cells[1:], strict=True)
    return f"{moment}Z {row.cells[0]} " + " ".join(f"{title}={cell or '-'}" for title, cell in pairs)


def _key(pool: Object) -> tuple[str, str]:
    return pool["metadata"].get("namespace", ""), pool["metadata"]["name"]


def _phase(sandbox: Object) -> str:
    return str((sandbox.get("status") or {}).get("phase", "Pending"))


def _waited(sandbox: Object) -> float | None:
    """Seconds from its creation to Ready; the API server tells creations in whole seconds."""
    ready = rfc3339.moment((sandbox.get("status") or {}).get("readyAt"))
    made = rfc3339.moment(sandbox["metadata"].get("creationTimestamp"))
    return None if ready is None or made is None else max(0.0, ready - made - 1)


def _share(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def _seconds(value: float | None) -> str:
    """Under a second is all that can be said of what is fast."""
    return "-" if value is None else "<1s" if value < 1 else age(value)


def _cut(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}~"


def _fit(text: str, width: int) -> str:
    text = text.rstrip()
    width = max(width, _NARROWEST)
    return text if len(text) <= width else f"{text[: width - 1]}~"
