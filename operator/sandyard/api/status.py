"""What the statuses of all kinds have in common, as typed values: read once from an object, and written from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from sandyard.api import conditions
from sandyard.api.reasons import Condition

__all__ = ["BaseStatus"]

S = TypeVar("S", bound="BaseStatus")


class BaseStatus(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """A status that ends in conditions; a field that is None is not written."""

    observed_generation: int | None = None
    conditions: tuple[dict[str, Any], ...] = ()

    def condition(self, kind: Condition) -> Mapping[str, Any] | None:
        """The condition of type *kind*, if it is there."""
        return conditions.find(self.conditions, kind)

    @property
    def told(self) -> Mapping[str, Any] | None:
        """The condition that says how it goes: Ready, or Reconciling where nothing is to become Ready."""
        return self.condition(Condition.READY) or self.condition(Condition.RECONCILING)

    def same(self: S, other: S) -> bool:
        """Whether both say the same; nothing needs to be written then."""
        return conditions.same(msgspec.to_builtins(self), msgspec.to_builtins(other))

    def dump(self: S, before: S | None = None) -> dict[str, Any]:
        """As it is written over *before*: what that had and this has not is removed."""
        content = {key: value for key, value in msgspec.to_builtins(self).items() if value is not None}
        if before is not None:
            old = msgspec.to_builtins(before)
            content |= {key: None for key, value in old.items() if value is not None and key not in content}
        content["conditions"] = list(self.conditions)
        return content
