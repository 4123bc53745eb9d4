"""What the engine remembers of each Sandbox and pool: parsed once, replaced by newer versions only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import pydantic

from sandyard.api import model, names
from sandyard.api.pool import PoolSpec
from sandyard.api.sandbox import SandboxSpec
from sandyard.podspec import pod

__all__ = ["PoolRecord", "SandboxRecord"]


@dataclass
class _Record:
    """The parts that both kinds share.

    Attributes
    ----------
    stamp
        When a client says that a Sandbox was last used: the annotation, as it stands.
    seen_at
        When this process first saw it; seconds of the monotonic clock, set by the store.
    """

    namespace: str
    name: str
    uid: str
    version: int
    generation: int
    created_at: float
    deletion_timestamp: str | None
    finalizers: tuple[str, ...]
    status: dict[str, Any]
    invalid: str = ""
    stamp: str = ""
    seen_at: float = 0.0

    @property
    def deleting(self) -> bool:
        """Whether somebody has asked it to go."""
        return self.deletion_timestamp is not None

    def merge_reply(self, newer: Self) -> bool:
        """Become what a reply to our own write shows; says whether others have changed it too."""
        if newer.uid != self.uid or newer.version <= self.version:
            return False
        others = newer.generation != self.generation or newer.deleting != self.deleting or newer.stamp != self.stamp
        seen_at = self.seen_at
        for item in fields(self):
            setattr(self, item.name, getattr(newer, item.name))
        self.seen_at = seen_at
        return others


@dataclass
class SandboxRecord(_Record):
    """A Sandbox; `spec` is None when it could not be parsed (`invalid` says why)."""

    spec: SandboxSpec | None = None

    @property
    def pool_name(self) -> str | None:
        """Name of the pool that it asks for."""
        return self.spec.pool_ref.name if self.spec and self.spec.pool_ref else None

    @property
    def owner(self) -> pod.Owner:
        """This Sandbox as an owner of pods."""
        return pod.Owner("Sandbox", self.name, self.uid)


@dataclass
class PoolRecord(_Record):
    """A pool; `spec` is None when it could not be parsed."""

    spec: PoolSpec | None = None
    template_hash: str = ""

    @property
    def owner(self) -> pod.Owner:
        """This pool as an owner of pods."""
        return pod.Owner("SandboxPool", self.name, self.uid)


def sandbox(body: Mapping[str, Any]) -> SandboxRecord:
    """Parse a Sandbox as the API server sent it."""
    common = _common(body)
    common["stamp"] = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_ACTIVITY, "")
    try:
        return SandboxRecord(**common, spec=SandboxSpec.model_validate(body.get("spec") or {}))
    except pydantic.ValidationError as error:
        return SandboxRecord(**common, invalid=_explain(error))


def pool(body: Mapping[str, Any], probe: pod.Probe) -> PoolRecord:
    """Parse a SandboxPool as the API server sent it."""
    common = _common(body)
    try:
        spec = PoolSpec.model_validate(body.get("spec") or {})
    except pydantic.ValidationError as error:
        return PoolRecord(**common, invalid=_explain(error))
    return PoolRecord(**common, spec=spec, template_hash=pod.template_hash(spec.template, probe, spec.warm.probe))


def _common(body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = body["metadata"]
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        # Versions of one object are comparable numbers (KEP-5504).
        "version": int(metadata["resourceVersion"]),
        "generation": metadata.get("generation") or 0,
        "created_at": model.seconds(metadata["creationTimestamp"]),
        "deletion_timestamp": metadata.get("deletionTimestamp"),
        "finalizers": tuple(metadata.get("finalizers") or ()),
        "status": dict(body.get("status") or {}),
    }


def _explain(error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in ("spec", *first["loc"]))
    return f"{where}: {first['msg']}"
