"""The operator's own check of bounds: the same cases as admission's, and forms that no API server lets through."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sandyard.api.network import Network
from sandyard.api.pool import PoolSpec
from sandyard.api.sandbox import SandboxSpec
from sandyard.podspec import bound_table, bounds
from sandyard.podspec.bounds import VALUES, Bounds, Policy
from sandyard.podspec.limit import Limit, Listed, Ranges, Words
from tests.support.bounds import CASES, NAMESPACES

POLICY = bounds.parse(json.dumps({"namespaces": NAMESPACES}))


def filled(made: dict[str, Any]) -> dict[str, Any]:
    """A spec with its defaults, as the API server has it."""
    kind = SandboxSpec if made["kind"] == "Sandbox" else PoolSpec
    content: dict[str, Any] = kind.model_validate(made["spec"]).model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    return content


@pytest.mark.parametrize("name", CASES)
def test_what_is_beyond_a_bound_is_told_with_field_and_bound_and_the_rest_is_let_through(name: str) -> None:
    case = CASES[name]
    found = bound_table.beyond(filled(case.made), POLICY.of(case.namespace))
    if not case.bound:
        assert found == []
        return
    assert any(told.startswith(f"spec.{case.field}: ") and f"policy.{case.bound} of" in told for told in found), found


def test_each_bound_has_a_case_that_breaks_it() -> None:
    assert {case.bound for case in CASES.values()} == {"", *VALUES}
    assert {row.bound for row in bound_table.ROWS} == set(VALUES)


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [("198.51.100.0/24", "198.51.100.7", "203.0.113.7"), ("198.51.100.7/32", "198.51.100.7", "198.51.100.8"),
     ("2001:db8::/64", "2001:db8::7", "2001:db8:0:1::7"), ("2001:db8::7/128", "2001:db8::7", "2001:db8::8")],
)  # fmt: skip
def test_a_name_server_is_one_address_within_the_ranges_that_are_allowed(allowed: str, good: str, bad: str) -> None:
    def beyond(address: str) -> list[str]:
        return bound_table.beyond({"template": {"dns": {"nameservers": [address]}}}, Bounds(nameservers=(allowed,)))

    assert beyond(good) == []
    assert len(beyond(bad)) == 1


def test_a_list_without_entries_lets_nothing_through_unless_it_says_so() -> None:
    assert not Listed().keeps("a", [])
    assert Listed(or_any=True).keeps("a", [])
    assert not Listed(or_any=True).keeps("a", ["b"])


def test_a_sentence_names_the_value_and_the_bound() -> None:
    made = {"template": {"resources": {"memory": "2Gi"}, "tolerations": [{"key": "a", "operator": "Exists"}]}}
    assert bound_table.beyond(made, Bounds(max_memory="1Gi", tolerations=("b",))) == [
        "spec.template.resources.memory: 2Gi is beyond policy.maxMemory of the chart (1Gi)",
        "spec.template.tolerations: a is beyond policy.tolerations of the chart (b)",
    ]


@pytest.mark.parametrize(
    "cidr",
    ["::ffff:10.0.0.0/104", "::ffff:0:0/96", "::ffff:169.254.169.254/128", "::a00:0/104", "nonsense", "",
     "10.0.0.0/33", "10.0.0.1/8"],
)  # fmt: skip
def test_an_address_in_disguise_is_no_public_one(cidr: str) -> None:
    assert not Ranges().keeps(cidr, ["public"])


def test_an_address_in_disguise_is_the_address() -> None:
    assert Ranges().keeps("::ffff:198.51.100.7/128", ["198.51.100.0/24"])
    assert not Ranges().keeps("::ffff:10.0.0.1/128", ["198.51.100.0/24"])


@pytest.mark.parametrize(
    ("entries", "good", "bad"),
    [
        ([], [], ["a", "*", ""]),
        (["*"], ["a", "a=b", "*"], []),
        (["a"], ["a", "a=b"], ["b", "ab", "A", "*"]),
        (["a=b"], ["a=b"], ["a", "a=c", "a=bc"]),
        (["a*"], ["a", "ab", "a=b"], ["b", "*"]),
        (["*", "!a"], ["b", "ab"], ["a", "a=b"]),
        (["*", "!a=b"], ["a=c", "b"], ["a=b", "a"]),
        (["*", "!x/*"], ["x", "y/a"], ["x/", "x/a=b"]),
        (["!a"], [], ["a", "b"]),
        (["!a", "a"], [], ["a"]),
    ],
)
def test_entries_let_through_what_they_say(entries: list[str], good: list[str], bad: list[str]) -> None:
    limit: Limit = Words()
    assert [word for word in good if not limit.keeps(word, entries)] == []
    assert [word for word in bad if limit.keeps(word, entries)] == []


def test_a_namespace_has_its_own_bounds_and_otherwise_those_of_everywhere() -> None:
    policy = bounds.parse('{"maxCpu": 4, "images": ["^a"], "allowRoot": true, "namespaces": '
                          '{"n": {"images": [], "allowRoot": false}}, "foreignNetworkPolicies": "Refuse"}')  # fmt: skip
    assert policy.of("other") == Bounds(max_cpu="4", images=("^a",), allow_root=True)
    assert policy.of("n") == Bounds(max_cpu="4")
    assert bounds.parse("{}") == Policy()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "must be an object"),
        ('{"images": ["("]}', "policy.images: "),
        ('{"images": "a"}', "policy.images: must be a list"),
        ('{"maxCpu": "much"}', "policy.maxCpu: "),
        ('{"maxCpu": -1}', "policy.maxCpu: "),
        ('{"cidrs": ["10.0.0.0/99"]}', "policy.cidrs: "),
        ('{"nameservers": ["private"]}', "policy.nameservers: "),
        ('{"allowRoot": "yes"}', "policy.allowRoot: 'yes' must be true or false"),
        ('{"maxSandboxes": true}', "policy.maxSandboxes: True must be a number"),
        ('{"maxSandboxes": -1}', "policy.maxSandboxes: -1 must be a number"),
        ('{"namespaces": {"a": {"maxTmp": "x"}}}', "policy.namespaces.a.maxTmp: "),
    ],
)
def test_a_bound_that_makes_no_sense_is_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        bounds.parse(text)


def test_a_network_of_ones_own_is_told_as_such() -> None:
    asked = Network.model_validate({"egress": "AllowList", "allow": [{"cidr": "10.0.0.0/8"}]})
    assert bound_table.network_beyond(asked, Bounds()).startswith(
        "spec.network.allow: 10.0.0.0/8 is beyond policy.cidrs"
    )
    assert bound_table.network_beyond(Network(egress="Internet"), Bounds()) == ""


@pytest.mark.parametrize("row", bound_table.ROWS, ids=lambda row: f"{row.field}-{row.bound}")
def test_who_has_none_of_the_fields_that_are_asked_for_is_within_every_bound(row: bound_table.Row) -> None:
    """Admission looks no further at such an object."""
    above = [path for path in bound_table.ASKED if f"{row.field}.".startswith(f"{path}.")]
    assert len(above) == 1
    assert bound_table.cel(above[0]) in row.items.cel
    # Beside it, everything.
    spec = {"poolRef": {"name": "p"}, "env": [], "lifetime": {"idleSeconds": 5}, "claimDefaults": {"lifetime": {}}}
    assert row.items.of(spec) == []
