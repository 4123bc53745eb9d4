"""The README of a chart: every value with its default, and what it means, as values.yaml says it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

__all__ = ["Value", "page", "values"]

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][\w./-]*):(?P<rest>.*)$")
_END = "<!-- End of what is generated. -->"
_BEGIN = "<!-- Generated from values.yaml and values.schema.json by hack/generate. -->"


@dataclass(frozen=True)
class Value:
    """One value, or a group of them.

    Attributes
    ----------
    told
        The comment above it.
    group
        Whether it has values of its own; `default` says nothing then.
    """

    path: str
    told: str
    default: Any
    group: bool


def values(text: str) -> Iterator[Value]:
    """Every value of a values.yaml, in its order."""
    loaded = yaml.safe_load(text)
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        found = _KEY.match(line)
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
        elif found is None:
            comment = []
        else:
            indent = len(found["indent"])
            parents = [(depth, key) for depth, key in parents if depth < indent]
            path = [*(key for _, key in parents), found["key"]]
            default = functools.reduce(lambda part, key: part[key], path, loaded)
            group = isinstance(default, dict) and bool(default) and not found["rest"].strip()
            yield Value(".".join(path), " ".join(comment), default, group)
            parents.append((indent, found["key"]))
            comment = []


def page(old: str, text: str, schema: dict[str, Any]) -> str:
    """*old*, a chart's README, with its table of values as it should be."""
    lines = ["| value | type | default | |", "| --- | --- | --- | --- |"]
    for value in values(text):
        told = value.told.replace("|", "\\|")
        if value.group:
            lines += [f"| **`{value.path}`** | | | {told} |"] if told else []
            continue
        default = "" if value.default is None else f"`{json.dumps(value.default, ensure_ascii=False)}`"
        lines.append(
            f"| `{value.path}` | {_type(schema, value.path)} | {default.replace('|', chr(92) + '|')} | {told} |"
        )
    before, _, rest = old.partition(_BEGIN)
    return before + "\n".join([_BEGIN, *lines, _END]) + rest.partition(_END)[2]


def _type(schema: dict[str, Any], path: str) -> str:
    """What the schema lets a value be, in a word or two."""
    part = schema
    for key in path.split("."):
        part = _resolved(schema, part).get("properties", {}).get(key, {})
    part = _resolved(schema, part)
    if "enum" in part:
        return ", ".join(f"`{word}`" for word in part["enum"] if word != "")
    kinds = part.get("type", "")
    return " or ".join(kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null")


def _resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    target = functools.reduce(lambda found, key: found[key], part["$ref"].removeprefix("#/").split("/"), schema)
    return _resolved(schema, {**target, **{key: value for key, value in part.items() if key != "$ref"}})
