"""A small language for what an object may look like, read in two ways: checked here, and written as CEL.

Kubernetes has no closed schema for a Pod, and two lists of rules, one in Python and one in an
admission policy, drift apart: what stands in one table holds in both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

__all__ = ["ANYTHING", "AnyOf", "Each", "Fields", "Is", "Keys", "Matches", "Named", "NamesAre", "OneOf", "Range",
           "Rule", "StartsWith", "Words"]  # fmt: skip


class Rule(Protocol):
    """What a value must be."""

    def check(self, value: Any, path: str) -> Iterator[str]:
        """What is wrong with *value*, which stands at *path*; nothing when the rule is kept."""

    def cel(self, value: str) -> str:
        """The same as a CEL expression: true when *value*, an expression, keeps the rule."""


@dataclass(frozen=True)
class _Anything:
    """Whatever the API server takes there."""

    def check(self, value: Any, path: str) -> Iterator[str]:
        del value, path
        yield from ()

    def cel(self, value: str) -> str:
        del value
        return "true"


ANYTHING: Final = _Anything()


@dataclass(frozen=True)
class Is:
    """Exactly this value, with all that is in it."""

    expected: Any

    def check(self, value: Any, path: str) -> Iterator[str]:
        # True is 1 to Python, and nowhere else.
        if value != self.expected or isinstance(value, bool) != isinstance(self.expected, bool):
            yield f"{path} must be {json.dumps(self.expected)}"

    def cel(self, value: str) -> str:
        return f"{value} == {json.dumps(self.expected)}"


@dataclass(frozen=True)
class OneOf:
    """One of these values; or any other, when *none*."""

    expected: Sequence[str | bool]
    none: bool = False

    def check(self, value: Any, path: str) -> Iterator[str]:
        if (value in self.expected) is self.none:
            yield f"{path} must {'not ' if self.none else ''}be one of {', '.join(map(json.dumps, self.expected))}"

    def cel(self, value: str) -> str:
        found = f"{value} in {json.dumps(list(self.expected))}"
        return f"!({found})" if self.none else found


@dataclass(frozen=True)
class Range:
    """A whole number from *least* to *most*."""

    least: int
    most: int = 2**31 - 1

    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            yield f"{path} must be a number from {self.least} to {self.most}"

    def cel(self, value: str) -> str:
        return f"{value} >= {self.least} && {value} <= {self.most}"


@dataclass(frozen=True)
class Matches:
    """Text that the expression (RE2, and Python's too) matches from its beginning to its end."""

    pattern: str

    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            yield f"{path} must match {self.pattern}"

    def cel(self, value: str) -> str:
        return f"{value}.matches({json.dumps(f'^(?:{self.pattern})$')})"


@dataclass(frozen=True)
class StartsWith:
    """Text that begins with one of these; or with none of them, when *none*."""

    prefixes: Sequence[str]
    none: bool = False

    def check(self, value: Any, path: str) -> Iterator[str]:
        if str(value).startswith(tuple(self.prefixes)) is self.none:
            yield f"{path} must {'not ' if self.none else ''}begin with {' or '.join(self.prefixes)}"

    def cel(self, value: str) -> str:
        begins = _any(f"{value}.startsWith({json.dumps(prefix)})" for prefix in self.prefixes)
        return f"!({begins})" if self.none else f"({begins})"


@dataclass(frozen=True)
class Keys:
    """A map with these keys, and others that begin with one of *prefixes*.

    One of *prefixes* may stand for a list: a variable of the policy, or an expression that Helm fills in.
    """

    known: Sequence[str]
    prefixes: Sequence[str]

    def check(self, value: Any, path: str) -> Iterator[str]:
        for key in value:
            if key not in self.known and not key.startswith(tuple(self.prefixes)):
                yield f"{path}: {key} must not be set"

    def cel(self, value: str) -> str:
        key = _variable(value)
        listed = [prefix for prefix in self.prefixes if prefix.startswith(("{{", "variables."))]
        literal = [prefix for prefix in self.prefixes if prefix not in listed]
        lists = [*([json.dumps(literal)] if literal else []), *listed]
        begins = f"({' + '.join(lists) or '[]'}).exists(b, {key}.startsWith(b))"
        return f"{value}.all({key}, {key} in {json.dumps(list(self.known))} || {begins})"


@dataclass(frozen=True)
class NamesAre:
    """A list of objects whose names, in their order, are one of these lists."""

    expected: Sequence[Sequence[str]]

    def check(self, value: Any, path: str) -> Iterator[str]:
        found = [item.get("name") for item in value]
        if found not in [list(names) for names in self.expected]:
            yield f"{path} must be {' or '.join(', '.join(names) for names in self.expected)}, in this order"

    def cel(self, value: str) -> str:
        item = _variable(value)
        return f"{value}.map({item}, {item}['name']) in {json.dumps([list(names) for names in self.expected])}"


@dataclass(frozen=True)
class Words:
    """A command that begins with *first*, in this order; each further word, if any, matches *further*."""

    first: Sequence[str]
    further: str

    def check(self, value: Any, path: str) -> Iterator[str]:
        words = value if isinstance(value, list) else []
        if words[: len(self.first)] != list(self.first):
            yield f"{path} must begin with {' '.join(self.first)}"
        for word in words[len(self.first) :]:
            if not isinstance(word, str) or not re.fullmatch(self.further, word):
                yield f"{path}: {word!r} must match {self.further}"

    def cel(self, value: str) -> str:
        word = _variable(value)
        count = len(self.first)
        begins = " && ".join(f"{value}[{at}] == {json.dumps(text)}" for at, text in enumerate(self.first))
        # A word of the beginning may not come again further on: the last of two options would hold.
        once = f"{value}.filter({word}, !{Matches(self.further).cel(word)}).size() == {count}"
        return f"{value}.size() >= {count} && {begins} && {once}"


@dataclass(frozen=True)
class Each:
    """A list of such values."""

    rule: Rule

    def check(self, value: Any, path: str) -> Iterator[str]:
        for at, item in enumerate(value):
            yield from self.rule.check(item, f"{path}[{at}]")

    def cel(self, value: str) -> str:
        item = _variable(value)
        return f"{value}.all({item}, {self.rule.cel(item)})"


@dataclass(frozen=True)
class Named:
    """A list of objects, each with a name of the table, and as its name has it."""

    rules: Mapping[str, Rule]

    def check(self, value: Any, path: str) -> Iterator[str]:
        for item in value:
            name = item.get("name")
            rule = self.rules.get(name)
            if rule is None:
                yield f"{path}[{name}] must not be there"
            else:
                yield from rule.check(item, f"{path}[{name}]")

    def cel(self, value: str) -> str:
        item = _variable(value)
        cases = [f"{item}['name'] == '{name}' && {rule.cel(item)}" for name, rule in self.rules.items()]
        return f"{value}.all({item}, {_any(cases)})"


@dataclass(frozen=True)
class AnyOf:
    """At least one of the rules is kept."""

    rules: Sequence[Rule]

    def check(self, value: Any, path: str) -> Iterator[str]:
        found = [list(rule.check(value, path)) for rule in self.rules]
        if all(found):
            yield from min(found, key=len)

    def cel(self, value: str) -> str:
        return f"({_any(rule.cel(value) for rule in self.rules)})"


@dataclass(frozen=True)
class Fields:
    """An object.

    Attributes
    ----------
    required, optional
        Fields and what they must be.
    closed
        Whether any other field is refused.
    """

    required: Mapping[str, Rule] = field(default_factory=dict)
    optional: Mapping[str, Rule] = field(default_factory=dict)
    closed: bool = True

    def check(self, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{path} must be an object"
            return
        known = {**self.required, **self.optional}
        given = {key: item for key, item in value.items() if item is not None}
        if self.closed:
            yield from (f"{path}.{key} must not be set" for key in given if key not in known)
        yield from (f"{path}.{key} must be set" for key in self.required if key not in given)
        for key, rule in known.items():
            if key in given:
                yield from rule.check(given[key], f"{path}.{key}")

    def cel(self, value: str) -> str:
        key = _variable(value)
        parts = []
        if self.closed:
            parts.append(f"{value}.all({key}, {key} in {json.dumps([*self.required, *self.optional])})")
        parts += [f"{name!r} in {value}" for name in self.required]
        parts += [rule.cel(f"{value}[{name!r}]") for name, rule in self.required.items() if rule is not ANYTHING]
        parts += [
            f"(!({name!r} in {value}) || {_grouped(rule.cel(f'{value}[{name!r}]'))})"
            for name, rule in self.optional.items()
            if rule is not ANYTHING
        ]
        return " && ".join(parts) or "true"


def _variable(value: str) -> str:
    """A name for the items of *value*: a comprehension inside another needs one of its own."""
    outer = re.match(r"([a-z])(?=\[|$)", value)
    return chr(ord(outer[1]) + 1) if outer else "a"


def _any(expressions: Iterable[str]) -> str:
    return " || ".join(f"({expression})" for expression in expressions)


def _grouped(expression: str) -> str:
    return f"({expression})" if " && " in expression else expression
