"""What kubectl prints, with what differs from run to run replaced: ages, times, UIDs, names of pods, measurements."""

from __future__ import annotations

import re

__all__ = ["descriptions", "events", "same", "table"]

_UID = "3148f4b5-0000-4000-8000-000000000000"
# In the order in which they are put in place.
_REPLACED = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", _UID),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\b", "2026-01-01T00:00:00Z"),
    (r"\b\d\d-\d\d \d\d:\d\dZ", "01-01 00:10Z"),
    (r"\b(test|nodeless)-[0-9a-f]{8}\b", "team"),
    (r"\b([a-z][a-z-]*)-[0-9a-f]{8}\b", r"\1-3148f4b5"),
    (r"(?m)^(\s*Resource Version:\s+).*", r"\g<1>1234"),
    (r"(?m)^(\s*Template Hash:\s+).*", r"\g<1>5d41402a"),
    (r"\b\d+ failed starts in a row\b", "3 failed starts in a row"),
    (r"(?m) +$", ""),
)
_COLUMNS = re.compile(r" {2,}|\t")


def same(text: str) -> str:
    """The text without what differs from run to run, and without spaces at the ends of lines."""
    for pattern, replacement in _REPLACED:
        text = re.sub(pattern, replacement, text)
    return text


def table(text: str) -> str:
    """The table of `kubectl get`; its last column is the age."""
    lines = [re.sub(r"\S+$", "AGE" if at == 0 else "1m", line) for at, line in enumerate(text.rstrip().splitlines())]
    return same("\n".join(lines))


def descriptions(text: str) -> list[str]:
    """What `kubectl describe` says of each object, its Events without their ages and in the order of their reasons."""
    return [_description(one) for one in re.split(r"\n\n\n(?=Name:)", text.rstrip())]


def events(text: str) -> str:
    """What `kubectl events` says, without ages, in the order of objects and reasons."""
    if not text.strip():
        return "No events found."
    rows = [_COLUMNS.split(line.strip())[1:] for line in text.rstrip().splitlines()]
    return same(_aligned([rows[0], *_once(sorted(rows[1:], key=lambda row: (row[2], row)))]))


def _description(text: str) -> str:
    body, mark, told = text.rstrip().partition("\nEvents:")
    if re.search(r"(?m)^ +Phase: +Failed$", body):
        # One that fails at once is told before its node is seen, or after.
        body = re.sub(r"(?m)^ +Node Name:.*\n", "", body)
    rows = [_COLUMNS.split(line.strip()) for line in told.strip().splitlines()]
    if not mark or len(rows) < 3:
        return same(body + mark + told)
    rows = [["Type", "Reason", "From", "Message"], *_once(sorted([row[0], row[1], *row[3:]] for row in rows[2:]))]
    return same(f"{body}\nEvents:\n{_aligned(rows, '  ')}")


def _once(rows: list[list[str]]) -> list[list[str]]:
    """How often the same was told is a matter of time."""
    return [row for at, row in enumerate(rows) if at == 0 or list(map(same, row)) != list(map(same, rows[at - 1]))]


def _aligned(rows: list[list[str]], indent: str = "") -> str:
    """The rows as columns, each as wide as its widest cell; once what differs in it is replaced."""
    cells = [[same(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in cells if at < len(row)) for at in range(len(cells[0]))]
    return "\n".join(
        indent + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in cells
    )
