"""The language of the table of pods: what each of its words lets through."""

from __future__ import annotations

from typing import Any

import pytest

from sandyard.podspec.schema import (
    ANYTHING,
    AnyOf,
    Each,
    Fields,
    Is,
    Keys,
    Matches,
    Named,
    NamesAre,
    OneOf,
    Range,
    Rule,
    StartsWith,
    Words,
)


def kept(rule: Rule, value: Any) -> bool:
    return not list(rule.check(value, "x"))


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (ANYTHING, [None, 1, {}], []),
        (Is({"a": 1}), [{"a": 1}], [{"a": 2}, {"a": 1, "b": 1}, None]),
        (OneOf(["a", "b"]), ["a"], ["c", None, ""]),
        (Range(1, 3), [1, 3], [0, 4, True, "1", 1.5, None]),
        (Matches("a+"), ["a", "aa"], ["", "ab", "a\n", "ba", None]),
        (StartsWith(["a:", "a@"]), ["a:1", "a@1"], ["a", "ab:1", ""]),
        (StartsWith(["system-"], none=True), ["mine"], ["system-x"]),
        (Keys(["a"], ["b/"]), [{}, {"a": 1, "b/c": 1}], [{"c": 1}, {"b": 1}]),
        (Keys(["a"], []), [{"a": 1}], [{"b/c": 1}]),
        (NamesAre([["a"], ["a", "b"]]), [[{"name": "a"}]], [[], [{"name": "b"}], [{"name": "b"}, {"name": "a"}]]),
        (Words(["a", "-x"], "-y=.*"), [["a", "-x"], ["a", "-x", "-y=1"]],
         [["a"], ["-x", "a"], ["a", "-x", "-x"], ["a", "-x", "z"], "a -x", ["a", "-x", 1]]),
        (Each(Range(1)), [[], [1, 2]], [[0], [1, 0]]),
        (Named({"a": ANYTHING, "b": Fields({"name": ANYTHING})}), [[], [{"name": "a", "x": 1}, {"name": "b"}]],
         [[{"name": "c"}], [{"name": "b", "x": 1}], [{}]]),
        (AnyOf([Is(1), Is(2)]), [1, 2], [3]),
        (Fields({"a": Is(1)}, {"b": Is(2)}), [{"a": 1}, {"a": 1, "b": 2}, {"a": 1, "c": None}],
         [{}, {"a": 2}, {"a": 1, "b": 3}, {"a": 1, "c": 1}, {"a": None}, [], "a"]),
        (Fields({"a": Is(1)}, closed=False), [{"a": 1, "c": 1}], [{"c": 1}]),
    ],
)  # fmt: skip
def test_each_word_lets_through_what_it_says(rule: Rule, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not kept(rule, value)] == []
    assert [value for value in bad if kept(rule, value)] == []


def test_yes_and_no_are_no_numbers() -> None:
    assert not kept(Is(True), 1)
    assert not kept(Is(0), False)


def test_a_name_within_a_comprehension_is_never_that_of_the_one_around_it() -> None:
    rule = Each(Fields({"a": Each(Fields({"b": Each(Range(1))}))}))
    expression = rule.cel("variables.x")
    for variable in "abc":
        assert expression.count(f".all({variable}, ") >= 1
    assert "variables.x.all(a, a.all(b, " in expression
    assert "a['a'].all(b, b.all(c, " in expression
    assert "b['b'].all(c, c >= 1" in expression
