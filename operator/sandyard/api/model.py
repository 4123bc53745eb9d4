"""The base of all API models and the types that several of them share."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic
from pydantic.alias_generators import to_camel

from sandyard.api import quantity
from sandyard.api.rfc3339 import moment, seconds, short, timestamp

__all__ = ["DNS_SUBDOMAIN", "LABEL_KEY", "LABEL_KEYS_RULE", "LABEL_KEY_RULE", "TEXT", "ApiModel", "ConditionStatus",
           "LabelValue", "Quantity", "Selector", "moment", "no_larger", "rules", "seconds", "short",
           "timestamp"]  # fmt: skip

DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class ApiModel(pydantic.BaseModel):
    """A part of an object as users write it: camelCase outside, snake_case inside.

    Unknown fields are ignored when an object is read (the API server has refused them
    already, and a newer CRD may know more than this operator).
    """

    model_config = pydantic.ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules for a model or a field, each (rule, message that names the remedy)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def _quantity(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError("a quantity is a string or an integer")
    quantity.parse(value)
    return str(value)


# In the CRD this is an int-or-string; the generator knows it by this marker.
Quantity = Annotated[
    str,
    pydantic.BeforeValidator(_quantity),
    pydantic.WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": quantity.PATTERN, "maxLength": 32}),
]


class ConditionStatus(ApiModel):
    """One condition, as metav1.Condition."""

    type: Annotated[str, pydantic.Field(max_length=316, description="Type of the condition.")]
    status: Annotated[
        str,
        pydantic.Field(json_schema_extra={"enum": ["True", "False", "Unknown"]}, description="True, False or Unknown."),
    ]
    reason: Annotated[str, pydantic.Field(max_length=1024, description="One word for programs.")]
    message: Annotated[str, pydantic.Field(max_length=32768, description="A sentence for people.")] = ""
    last_transition_time: Annotated[
        str, pydantic.Field(json_schema_extra={"format": "date-time"}, description="When the status last changed.")
    ]
    observed_generation: Annotated[
        int | None, pydantic.Field(ge=0, description="Generation of the spec that this condition speaks of.")
    ] = None


# What the API server takes as the key and the value of a label (apimachinery, validation.go).
_NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
LABEL_KEY = f"^({_DOMAIN}/)?{_NAME}$"
LABEL_VALUE = f"^({_NAME})?$"
# Nothing that runs takes a NUL in a word, and what ends up on a terminal has no business with the other
# control characters; tab and line breaks are text.
TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"

LabelValue = Annotated[str, pydantic.Field(max_length=63, pattern=LABEL_VALUE)]
# Its domain is no longer than a domain may be: no pattern says so.
LABEL_KEY_RULE = ("self.indexOf('/') <= 253", "must be a label key such as example.com/team")
LABEL_KEYS_RULE = (
    f"self.all(k, k.size() <= 317 && k.indexOf('/') <= 253 && k.matches('{LABEL_KEY}'))",
    "keys must be label keys such as example.com/team",
)


def no_larger(what: str, sizes: str, most: int, remedy: str) -> tuple[str, str]:
    """A CEL rule: the *sizes* (a list of numbers of bytes) of *what* are at most *most* in all."""
    return f"{sizes}.sum() <= {most}", f"{what} must have at most {most // 1024} KiB in all: {remedy}"


class SelectorRequirement(ApiModel):
    """One expression of a label selector."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            (
                "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : "
                "!has(self.values) || self.values.size() == 0",
                "In and NotIn need values, Exists and DoesNotExist have none",
            ),
        )
    )

    key: Annotated[
        str,
        pydantic.Field(
            min_length=1,
            max_length=317,
            pattern=LABEL_KEY,
            description="Label key.",
            json_schema_extra=rules(LABEL_KEY_RULE),
        ),
    ]
    operator: Annotated[
        str,
        pydantic.Field(
            json_schema_extra={"enum": ["In", "NotIn", "Exists", "DoesNotExist"]}, description="How to compare."
        ),
    ]
    values: Annotated[
        list[LabelValue] | None,
        pydantic.Field(max_length=32, description="Values for In and NotIn."),
    ] = None


class Selector(ApiModel):
    """A Kubernetes label selector; an empty one selects everything."""

    match_labels: Annotated[
        dict[str, LabelValue] | None,
        pydantic.Field(
            max_length=32,
            description="Labels that must be there with these values.",
            json_schema_extra=rules(LABEL_KEYS_RULE),
        ),
    ] = None
    match_expressions: Annotated[
        list[SelectorRequirement] | None, pydantic.Field(max_length=8, description="Further conditions on labels.")
    ] = None
