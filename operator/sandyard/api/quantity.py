"""Kubernetes quantities (``250m``, ``512Mi``, ``1.5G``, ``1e3``) as exact numbers."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final

__all__ = ["PATTERN", "between", "parse"]

# The grammar of k8s.io/apimachinery/pkg/api/resource, without a sign: no size is negative.
PATTERN: Final = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|e[0-9]{1,2})?$"
# What others write may be smaller: the metrics API counts in billionths of a core.
_PARTS = re.compile(r"^([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|e[0-9]{1,2})?$")
_SCALE: Final[dict[str | None, Fraction]] = {
    None: Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTP", start=1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTP", start=1)},
}


def parse(text: str | int) -> Fraction:
    """Turn a quantity into its number.

    Raises
    ------
    ValueError
        *text* is not a quantity, or has a sign.
    """
    match = _PARTS.match(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 250m, 1 or 512Mi")
    number, suffix = match.groups()
    if suffix is not None and suffix.startswith("e"):
        return Fraction(number) * Fraction(10 ** int(suffix[1:]))
    return Fraction(number) * _SCALE[suffix]


def between(low: str, high: str, default_unit: str) -> dict[str, Any]:
    """Extra schema of a quantity field: the bounds as a CEL rule with its remedy."""
    rule = (
        "isQuantity(string(self)) && "
        f"quantity(string(self)).compareTo(quantity('{low}')) >= 0 && "
        f"quantity(string(self)).compareTo(quantity('{high}')) <= 0"
    )
    message = f"must be a quantity from {low} to {high}, for example {default_unit}"
    return {"x-kubernetes-validations": [{"rule": rule, "message": message}]}
