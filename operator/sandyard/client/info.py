"""What is known of a Sandbox, and what it means for those who use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandyard.api import rfc3339
from sandyard.api.reasons import Phase, Reason
from sandyard.client.errors import (
    PoolExhausted,
    SandboxCreateError,
    SandboxDeleted,
    SandboxEnded,
    SandboxError,
    SandboxExpired,
    SandboxNotReady,
)

__all__ = ["SandboxInfo"]


class SandboxInfo(dict[str, Any]):
    """A Sandbox object as the API server returns it, ``info["status"]["phase"]``, and its most used parts by name."""

    @property
    def name(self) -> str:
        """Name of the Sandbox."""
        return str(self["metadata"]["name"])

    @property
    def phase(self) -> str:
        """``status.phase``."""
        return str(self.get("status", {}).get("phase", "Pending"))

    @property
    def namespace(self) -> str:
        """Namespace of the Sandbox."""
        return str(self["metadata"].get("namespace", ""))

    @property
    def pool_name(self) -> str | None:
        """The pool that the Sandbox is of; None: of a template of its own."""
        name = self.get("spec", {}).get("poolRef", {}).get("name")
        return str(name) if name is not None else None

    @property
    def pod_name(self) -> str | None:
        """Name of its pod; None while there is none."""
        return str(self.get("status", {}).get("podName") or "") or None

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the Sandbox."""
        return dict(self["metadata"].get("labels") or {})

    @property
    def created_at(self) -> float:
        """When the Sandbox was created, in seconds since the epoch."""
        return rfc3339.seconds(self["metadata"]["creationTimestamp"])

    @property
    def expires_at(self) -> float | None:
        """When the Sandbox expires, in seconds since the epoch; None: never."""
        expires = self.get("status", {}).get("expiresAt")
        return rfc3339.seconds(expires) if expires else None

    @property
    def stalled(self) -> bool:
        """Whether the Sandbox needs somebody's help to become what its spec says."""
        return self._condition("Stalled").get("status") == "True"

    @property
    def wanted(self) -> str:
        """``spec.desiredState``."""
        return str(self.get("spec", {}).get("desiredState", "Running"))

    @property
    def rests(self) -> bool:
        """Whether it is paused or suspended."""
        return self.phase in (Phase.PAUSED, Phase.SUSPENDED)

    @property
    def over(self) -> bool:
        """Whether it is suspended since its time is over: then it resumes when it gets more, and not when asked to."""
        return self.phase == Phase.SUSPENDED and self.reason("Ready") == Reason.EXPIRED

    def __repr__(self) -> str:
        """The most used parts; ``dict(info)`` shows all of it."""
        parts = {"name": self.name, "namespace": self.namespace, "phase": self.phase, "reason": self.reason("Ready"),
                 "pool_name": self.pool_name, "pod_name": self.pod_name, "expires_at": self.expires_at}  # fmt: skip
        return f"SandboxInfo({', '.join(f'{key}={value!r}' for key, value in parts.items() if value)})"

    __str__ = __repr__

    def status(self, kind: str) -> str:
        """``True``, ``False`` or ``Unknown``, of the condition of type *kind*; empty where there is none."""
        return str(self._condition(kind).get("status", ""))

    def reason(self, kind: str) -> str:
        """Reason of the condition of type *kind*; where nothing is to become Ready, that of Reconciling for Ready."""
        return str(self._told(kind).get("reason", ""))

    def message(self, kind: str) -> str:
        """Message of the condition of type *kind*, as `reason` has it."""
        return str(self._told(kind).get("message", ""))

    def trouble(self) -> SandboxError | None:
        """The error that says why the Sandbox will never be Ready (again); None while it may be."""
        reason = self.reason("Ready")
        text = f"Sandbox {self.name!r}: {reason}: {self.message('Ready')}"
        if self.phase == "Terminating" or "deletionTimestamp" in self["metadata"]:
            return SandboxDeleted(f"Sandbox {self.name!r} was deleted", sandbox=self.name)
        if self.phase == "Expired":
            return SandboxExpired(text, sandbox=self.name, reason=reason)
        if self.phase == "Failed" and not self.get("status", {}).get("lastTermination"):
            kind = PoolExhausted if reason == "PoolExhausted" else SandboxCreateError
            return kind(text, sandbox=self.name, reason=reason)
        if self.phase in ("Failed", "Succeeded"):
            ended = SandboxDeleted if reason == "PodLost" else SandboxEnded
            return ended(text, sandbox=self.name, reason=reason)
        return None

    def not_ready(self, why: str) -> SandboxNotReady:
        """The error for what it is not to be used for now."""
        reason = self.reason("Stalled") if self.stalled else self.reason("Ready")
        return SandboxNotReady(f"Sandbox {self.name!r} {why}", phase=self.phase, sandbox=self.name, reason=reason)

    def _told(self, kind: str) -> Mapping[str, Any]:
        return self._condition(kind) or (self._condition("Reconciling") if kind == "Ready" else {})

    def _condition(self, kind: str) -> Mapping[str, Any]:
        conditions: Sequence[Mapping[str, Any]] = self.get("status", {}).get("conditions") or ()
        return next((item for item in conditions if item["type"] == kind), {})
