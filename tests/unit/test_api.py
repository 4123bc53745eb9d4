"""Quantities, the generated schema, and names."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.api import crd, quantity
from sandyard.api.model import ApiModel
from sandyard.api.template import Template
from tests.unit import objects


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("250m", Fraction(1, 4)), ("1.5", Fraction(3, 2)), ("512Mi", 512 * 2**20), ("1G", 10**9),
     ("1e3", 1000), (".5", Fraction(1, 2)), ("0.1Gi", Fraction(2**30, 10))],
)  # fmt: skip
def test_quantities_are_exact(text: str, number: Fraction) -> None:
    assert quantity.parse(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1 Gi", "512q", "1.2.3", "Mi", "1e", "٣"])
def test_what_is_not_a_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        quantity.parse(text)


@given(st.integers(0, 10**12), st.sampled_from(["", "m", "k", "Ki", "Mi", "Gi", "e3"]))
def test_every_number_with_a_suffix_is_a_quantity(number: int, suffix: str) -> None:
    assert quantity.parse(f"{number}{suffix}") >= 0


def test_integers_in_yaml_are_quantities_too_and_booleans_are_not() -> None:
    assert objects.template(resources={"cpu": 2}).resources.cpu == "2"
    with pytest.raises(pydantic.ValidationError):
        objects.template(resources={"cpu": True})


def walk(node: Any, where: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(where, node)]
    for name, child in node.get("properties", {}).items():
        found += walk(child, f"{where}.{name}")
    if "items" in node:
        found += walk(node["items"], f"{where}[]")
    if isinstance(node.get("additionalProperties"), dict):
        found += walk(node["additionalProperties"], f"{where}.*")
    return found


@pytest.mark.parametrize("plural", ["sandboxes", "sandboxpools"])
def test_the_schema_is_structural_described_and_bounded(plural: str) -> None:
    schema = crd.definitions()[plural]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for where, node in walk(schema):
        assert node.get("type") or node.get("x-kubernetes-int-or-string"), where
        assert not {"anyOf", "oneOf", "allOf", "$ref", "title", "const"} & set(node), where
        if where and not where.endswith(("[]", ".*", ".metadata")):
            assert node.get("description"), f"{where} has no description"
        if node.get("type") == "array":
            assert "maxItems" in node, f"{where} is not bounded"
        if node.get("type") == "string" and "enum" not in node and node.get("format") != "date-time":
            assert "maxLength" in node or where in (".apiVersion", ".kind"), f"{where} is not bounded"


def test_the_status_speaks_of_no_generation_until_the_operator_has_seen_the_object() -> None:
    for definition in crd.definitions().values():
        status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
        assert status["default"] == {}
        assert status["properties"]["observedGeneration"]["default"] == -1


def test_what_a_structural_schema_cannot_say_is_refused_at_generation() -> None:
    class Union(ApiModel):
        value: int | list[str]

    with pytest.raises(ValueError, match="Union"):
        crd.structural(Union)


def test_templates_know_their_defaults() -> None:
    template = Template(image="x")
    assert template.runtime_class_name == "gvisor"
    assert (template.user.uid, template.user.gid) == (1000, 1000)
    assert (template.resources.cpu, template.resources.memory) == ("1", "512Mi")
    assert template.network.egress == "None"
