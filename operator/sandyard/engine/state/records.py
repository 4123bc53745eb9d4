"""Sandboxes and pools as the API server has sent them: parsed once, never changed, replaced by newer versions only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pydantic

from sandyard.api import model, names
from sandyard.api.pool import PoolSpec
from sandyard.api.sandbox import SandboxSpec
from sandyard.podspec import bound_table, pod
from sandyard.podspec.bounds import Policy
from sandyard.pool import status as pool_statuses
from sandyard.pool.status import PoolStatus
from sandyard.sandbox import status as statuses
from sandyard.sandbox.status import Status

__all__ = [
    "AnyPool",
    "AnySandbox",
    "PoolRecord",
    "SandboxRecord",
    "UnreadablePool",
    "UnreadableSandbox",
    "changed_by_others",
    "spec_of",
    "waited_seconds",
]


@dataclass(frozen=True, kw_only=True)
class _Record:
    """The parts that all kinds share."""

    namespace: str
    name: str
    uid: str
    version: int
    generation: int
    created_at: float
    deletion_timestamp: str | None
    finalizers: tuple[str, ...]

    @property
    def deleting(self) -> bool:
        """Whether somebody has asked it to go."""
        return self.deletion_timestamp is not None


@dataclass(frozen=True, kw_only=True)
class _AnySandbox(_Record):
    status: Status = field(default_factory=Status)
    stamp: str = ""

    @property
    def owner(self) -> pod.Owner:
        """This Sandbox as an owner of pods."""
        return pod.Owner(names.SANDBOX_KIND, self.name, self.uid)


@dataclass(frozen=True, kw_only=True)
class SandboxRecord(_AnySandbox):
    """A Sandbox.

    Attributes
    ----------
    stamp
        When a client says that it was last used: the annotation, as it stands.
    """

    spec: SandboxSpec

    @property
    def pool_name(self) -> str | None:
        """Name of the pool that it asks for."""
        return self.spec.pool_ref.name if self.spec.pool_ref else None


@dataclass(frozen=True, kw_only=True)
class UnreadableSandbox(_AnySandbox):
    """A Sandbox that makes no sense to this operator; its status says so, and it can be torn down."""

    invalid: str


AnySandbox = SandboxRecord | UnreadableSandbox
_DEFAULT: Final = Policy()


@dataclass(frozen=True, kw_only=True)
class _AnyPool(_Record):
    status: PoolStatus = field(default_factory=PoolStatus)

    @property
    def owner(self) -> pod.Owner:
        """This pool as an owner of pods."""
        return pod.Owner(names.POOL_KIND, self.name, self.uid)


@dataclass(frozen=True, kw_only=True)
class PoolRecord(_AnyPool):
    """A pool.

    Attributes
    ----------
    template_hash
        Hash of what a pod of its present template is made from; pods carry it as a label.
    beyond
        What it asks for beyond the bounds of its namespace; empty if that is nothing.
    no_restart
        Why its pods are deleted although it asks for them to be restarted.
    """

    spec: PoolSpec
    template_hash: str
    beyond: str = ""
    no_restart: str = ""

    @property
    def restarts(self) -> bool:
        """Whether its used pods are restarted for the next Sandbox."""
        return self.spec.recycle == "Restart" and not self.no_restart


@dataclass(frozen=True, kw_only=True)
class UnreadablePool(_AnyPool):
    """A pool that makes no sense to this operator; its status says so, and it can be deleted."""

    invalid: str


AnyPool = PoolRecord | UnreadablePool


def spec_of(pool: AnyPool | None) -> PoolSpec | None:
    """The spec of *pool*, if there is a pool and it can be read."""
    return pool.spec if isinstance(pool, PoolRecord) else None


def waited_seconds(sandbox: AnySandbox, now: float) -> float:
    """How long *sandbox* has waited for its pod at *now* (seconds since the epoch), by what stands in it.

    One that nobody has looked at yet has all its time before it.
    """
    status = sandbox.status
    if not status.conditions or status.running:
        return 0.0
    began = model.moment(status.resumed_at) or sandbox.created_at
    # Times of creation have whole seconds.
    return max(0.0, now - began - 1.0)


def changed_by_others(before: AnySandbox | AnyPool, after: AnySandbox | AnyPool) -> bool:
    """Whether the reply to our own write shows a change of somebody else's.

    It is no news any more when the watch shows it, so who has written wakes the object.
    """
    stamps = (getattr(before, "stamp", ""), getattr(after, "stamp", ""))
    return before.generation != after.generation or before.deleting != after.deleting or stamps[0] != stamps[1]


def sandbox(body: Mapping[str, Any]) -> AnySandbox:
    """Parse a Sandbox as the API server sent it."""
    common = _common(body)
    common["stamp"] = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_ACTIVITY, "")
    try:
        common["status"] = statuses.read(body.get("status") or {})
    except ValueError as error:
        return UnreadableSandbox(**common, invalid=f"status: {error}")
    try:
        return SandboxRecord(**common, spec=SandboxSpec.model_validate(body.get("spec") or {}))
    except pydantic.ValidationError as error:
        return UnreadableSandbox(**common, invalid=_explain(error))


def pool(body: Mapping[str, Any], probe: pod.Probe, policy: Policy = _DEFAULT, no_restart: str = "") -> AnyPool:
    """Parse a SandboxPool as the API server sent it; *no_restart* says why no pod can be restarted here."""
    common = {**_common(body), "status": pool_statuses.read(body.get("status") or {})}
    try:
        spec = PoolSpec.model_validate(body.get("spec") or {})
    except pydantic.ValidationError as error:
        return UnreadablePool(**common, invalid=_explain(error))
    restart = spec.recycle == "Restart" and not no_restart
    return PoolRecord(
        **common, spec=spec, template_hash=pod.template_hash(spec.template, probe, spec.warm.probe, restart=restart),
        beyond="; ".join(bound_table.beyond(body["spec"], policy.of(common["namespace"]))),
        no_restart=no_restart if spec.recycle == "Restart" else "",
    )  # fmt: skip


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
    }


def _explain(error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in ("spec", *first["loc"]))
    return f"{where}: {first['msg']}"
