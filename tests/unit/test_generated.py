"""What is generated is what the models say: the definitions in the chart and in crds/."""

from __future__ import annotations

from typing import Annotated

import pydantic
import pytest
import yaml

from localcluster import paths
from sandyard.api import crd
from sandyard.api.model import ApiModel, rules


@pytest.mark.parametrize("folder", ["crds", "charts/sandyard/files/crds"])
@pytest.mark.parametrize("plural", ["sandboxes", "sandboxpools"])
def test_the_definitions_are_those_of_the_models(folder: str, plural: str) -> None:
    written = yaml.safe_load((paths.REPOSITORY / folder / f"{plural}.yaml").read_text())
    assert written == crd.definitions()[plural]


def test_rules_of_a_type_hold_wherever_it_is_used_beside_those_of_the_place() -> None:
    class Part(ApiModel):
        model_config = pydantic.ConfigDict(json_schema_extra=rules(("self.a > 0", "of the type")))
        a: Annotated[int, pydantic.Field(description="A number.")]

    class Whole(ApiModel):
        part: Annotated[Part, pydantic.Field(json_schema_extra=rules(("self.a < 9", "of the place")))]

    found = crd.structural(Whole)["properties"]["part"]["x-kubernetes-validations"]
    assert [rule["message"] for rule in found] == ["of the type", "of the place"]
