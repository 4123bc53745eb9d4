"""Tables and other forms of objects, for terminals and pipes: the same text for both, no colours."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import yaml

from sandyard.api import conditions, names, rfc3339

__all__ = [
    "BACKGROUND",
    "CONDITIONS",
    "CONTEXTS",
    "DESCRIPTION",
    "EVENTS",
    "FINDINGS",
    "POOLS",
    "PROCESSES",
    "SANDBOXES",
    "USAGE",
    "Column",
    "Columns",
    "age",
    "everywhere",
    "fields",
    "seen",
    "show",
    "table",
]

_LONGEST_COMMAND = 60


@dataclass(frozen=True)
class Column:
    """A column of a table; *wide* ones are shown on request."""

    title: str
    value: Callable[[Mapping[str, Any]], object]
    wide: bool = False


Columns = Sequence[Column]


def age(seconds: float) -> str:
    """A time span as kubectl writes it: ``42s``, ``5m``, ``3h``, ``2d``."""
    for unit, length, most in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172800)):
        if seconds < most:
            return f"{max(0, int(seconds / length))}{unit}"
    return f"{int(seconds / 86400)}d"


def table(items: Sequence[Mapping[str, Any]], columns: Columns, *, wide: bool = False) -> str:
    """Rows of *items* under the titles, as wide as need be."""
    shown = [column for column in columns if wide or not column.wide]
    rows = [[column.title for column in shown]]
    # A cluster's text may hold anything; a terminal would obey it.
    rows += [[conditions.printable(str(column.value(item) or "")) for column in shown] for item in items]
    widths = [max(len(row[place]) for row in rows) for place in range(len(shown))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def show(found: Any, form: str | None, columns: Columns) -> None:
    """Print an object or a list of them, as a table or as *form* has it."""
    items = found if isinstance(found, list) else [found]
    if form == "json":
        click.echo(json.dumps(_document(found), indent=2))
    elif form == "yaml":
        click.echo(yaml.safe_dump(json.loads(json.dumps(_document(found))), sort_keys=False), nl=False)
    elif form == "name":
        for item in items:
            click.echo(conditions.printable(item["metadata"]["name"]))
    else:
        click.echo(table(items, columns, wide=form == "wide"))


def everywhere(columns: Columns, all_namespaces: bool) -> Columns:
    """The columns of a list of all namespaces."""
    return (
        (Column("NAMESPACE", lambda item: item["metadata"].get("namespace")), *columns) if all_namespaces else columns
    )


def fields(item: Mapping[str, Any], columns: Columns) -> str:
    """What columns say of one object, a line each; what is empty is left out."""
    said = [(one.title.capitalize(), conditions.printable(str(one.value(item) or ""))) for one in columns]
    return "\n".join(f"{f'{title}:':<12}{value}" for title, value in said if value)


def seen(event: Mapping[str, Any]) -> float:
    """When an event was last seen, in seconds since the epoch."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"),
             event["metadata"].get("creationTimestamp"))  # fmt: skip
    return next((at for at in map(rfc3339.moment, times) if at is not None), 0.0)


def _document(found: Any) -> Any:
    if isinstance(found, list):
        return {"apiVersion": "v1", "kind": "List", "items": found}
    return {"apiVersion": names.API_VERSION, **found} if "metadata" in found else found


def _status(field: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda item: item.get("status", {}).get(field)


def _ready(field: str) -> Callable[[Mapping[str, Any]], object]:
    def value(item: Mapping[str, Any]) -> object:
        found = {entry["type"]: entry for entry in item.get("status", {}).get("conditions") or ()}
        return found.get("Ready", {}).get(field, "")

    return value


def _why(field: str) -> Callable[[Mapping[str, Any]], object]:
    """Of Ready; what is at rest as it was asked to be has only Reconciling."""

    def value(item: Mapping[str, Any]) -> object:
        found = {entry["type"]: entry for entry in item.get("status", {}).get("conditions") or ()}
        return (found.get("Ready") or found.get("Reconciling") or {}).get(field, "")

    return value


def _age(item: Mapping[str, Any]) -> str:
    return age(time.time() - rfc3339.seconds(item["metadata"]["creationTimestamp"]))


def _left(item: Mapping[str, Any]) -> str:
    expires = item.get("status", {}).get("expiresAt")
    return age(rfc3339.seconds(expires) - time.time()) if expires else ""


NAMESPACE = Column("NAMESPACE", lambda item: item["metadata"].get("namespace"))
SANDBOXES: Columns = (
    Column("NAME", lambda item: item["metadata"]["name"]),
    Column("PHASE", lambda item: item.get("status", {}).get("phase", "Pending")),
    Column("REASON", _why("reason")),
    Column("START", _status("start")),
    Column("POOL", _status("poolName")),
    Column("POD", _status("podName")),
    Column("EXPIRES", _left),
    Column("AGE", _age),
    Column("IP", _status("podIP"), wide=True),
    Column("NODE", _status("nodeName"), wide=True),
    Column("MESSAGE", _why("message"), wide=True),
)
DESCRIPTION: Columns = (
    *SANDBOXES,
    NAMESPACE,
    Column("LABELS", lambda item: ", ".join(f"{key}={value}" for key, value in
                                            (item["metadata"].get("labels") or {}).items())),
    Column("ENDED", lambda item: (_status("lastTermination")(item) or {}).get("reason")),
)  # fmt: skip
EVENTS: Columns = (
    Column("SEEN", lambda item: age(time.time() - seen(item))),
    Column("TYPE", lambda item: item.get("type")),
    Column("REASON", lambda item: item.get("reason")),
    Column("OBJECT", lambda item: f"{item['involvedObject'].get('kind')}/{item['involvedObject'].get('name')}"),
    Column("MESSAGE", lambda item: item.get("message")),
)
POOLS: Columns = (
    Column("NAME", lambda item: item["metadata"]["name"]),
    Column("DESIRED", lambda item: str(item["spec"].get("replicas", ""))),
    Column("WARM", lambda item: str(item.get("status", {}).get("replicas", 0))),
    Column("STARTING", lambda item: str(item.get("status", {}).get("starting", 0))),
    Column("CLAIMED", lambda item: str(item.get("status", {}).get("claimed", 0))),
    Column("READY", _ready("status")),
    Column("REASON", _why("reason")),
    Column("AGE", _age),
    Column("IMAGE", lambda item: item["spec"]["template"]["image"], wide=True),
    Column("MESSAGE", _why("message"), wide=True),
)


def _usage(field: str, scale: float = 1) -> Callable[[Mapping[str, Any]], object]:
    def value(item: Mapping[str, Any]) -> object:
        found = item["usage"].get(field)
        return "" if found is None else f"{found / scale:.2f}" if scale == 1 else f"{found / scale:.0f}Mi"

    return value


USAGE: Columns = (
    Column("NAME", lambda item: item["metadata"]["name"]),
    Column("CPU", _usage("cpu_cores")),
    Column("MEMORY", _usage("memory_bytes", 2**20)),
    Column("DISK", _usage("disk_used_bytes", 2**20)),
    Column("DISK-SIZE", _usage("disk_total_bytes", 2**20), wide=True),
    Column("SOURCE", lambda item: item["usage"]["source"]),
)
PROCESSES: Columns = (
    Column("PID", lambda item: str(item["pid"])),
    Column("PARENT", lambda item: str(item["parent"])),
    Column("STATE", lambda item: item["state"]),
    Column("CPU", lambda item: f"{item['cpu_seconds']:.1f}s"),
    Column("MEMORY", lambda item: f"{item['memory_bytes'] / 2**20:.1f}Mi"),
    Column("COMMAND", lambda item: _short(item["command"])),
)
BACKGROUND: Columns = (
    Column("ID", lambda item: item["id"]),
    Column("PID", lambda item: str(item["pid"])),
    Column("STATE", lambda item: "Running" if item["exit_code"] is None else "Ended"),
    Column("EXIT", lambda item: "" if item["exit_code"] is None else str(item["exit_code"])),
    Column("AGE", lambda item: age(time.time() - item["started_at"])),
    Column("COMMAND", lambda item: _short(item["command"])),
)
CONTEXTS: Columns = (
    Column("ID", lambda item: item["id"]),
    Column("LANGUAGE", lambda item: item["language"]),
    Column("STATE", lambda item: "Running" if item["exit_code"] is None else "Ended"),
    Column("EXIT", lambda item: "" if item["exit_code"] is None else str(item["exit_code"])),
    Column("AGE", lambda item: age(time.time() - item["started_at"])),
    Column("CWD", lambda item: _short(item["cwd"])),
)
CONDITIONS: Columns = (
    Column("TYPE", lambda item: item["type"]),
    Column("STATUS", lambda item: item["status"]),
    Column("REASON", lambda item: item.get("reason")),
    Column("MESSAGE", lambda item: item.get("message")),
)
FINDINGS: Columns = (
    Column("RESULT", lambda item: item["result"]),
    Column("WHAT", lambda item: item["name"]),
    Column("DETAIL", lambda item: item["detail"]),
)


def _short(command: str) -> str:
    """A command on one line of a table."""
    text = " ".join(command.split())
    return text if len(text) <= _LONGEST_COMMAND else f"{text[: _LONGEST_COMMAND - 3]}..."
