"""``status`` of a Sandbox as one typed value: read once from the object, and written from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sandyard.api import model
from sandyard.api.reasons import Phase, Reason, Start
from sandyard.api.status import BaseStatus

__all__ = ["Status", "read", "until"]

_ENDED = (Phase.EXPIRED, Phase.SUCCEEDED, Phase.FAILED)
_HELD = (Reason.PAUSED, Reason.PAUSING, Reason.RESUMING, Reason.NOT_PAUSED, Reason.PAUSE_FAILED)


class Status(BaseStatus, frozen=True, rename="camel", kw_only=True, gc=False):
    """What has been said of a Sandbox; the fields are those of `sandyard.api.sandbox.SandboxStatus`.

    Times are kept as they are written, so that one that does not change is not written anew.
    """

    phase: Phase | None = None
    start: Start | None = None
    pool_name: str | None = None
    pod_name: str | None = None
    pod_uid: str | None = msgspec.field(name="podUID", default=None)
    pod_ip: str | None = msgspec.field(name="podIP", default=None)
    node_name: str | None = None
    runtime: str | None = None
    claimed_at: str | None = None
    ready_at: str | None = None
    expires_at: str | None = None
    expires: str | None = None
    last_activity_at: str | None = None
    activity_source: str | None = None
    workspace_claim: str | None = None
    resumed_at: str | None = None
    restarts: int | None = None
    replacements: int | None = None
    last_termination: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether the sandbox has ended for good."""
        return self.phase in _ENDED

    @property
    def running(self) -> bool:
        """Whether its present pod has been Ready."""
        return bool(self.ready_at and self.claimed_at)

    @property
    def held(self) -> bool:
        """Whether some of its processes may be stopped: they must be continued before it is Ready."""
        found = self.told
        return found is not None and found.get("reason") in _HELD

    @property
    def being_suspended(self) -> bool:
        """Whether its pod is on its way out, and only its pod."""
        found = self.told
        return found is not None and found.get("reason") == Reason.SUSPENDING

    @property
    def being_replaced(self) -> bool:
        """Whether its pod was lost, and the fresh one may not start yet."""
        found = self.told
        lost = found is not None and found.get("reason") in (Reason.POD_LOST, Reason.EVICTED)
        return lost and self.phase is Phase.STARTING and self.pod_uid is None

    @property
    def suspended_on_request(self) -> bool:
        """Whether it is suspended because somebody asked for it, not because its time was over."""
        found = self.told
        return self.phase is Phase.SUSPENDED and found is not None and found.get("reason") == Reason.SUSPENDED

    @property
    def ready_seconds(self) -> float | None:
        """When it became Ready, in seconds since the epoch."""
        return model.moment(self.ready_at)

    @property
    def resumed_seconds(self) -> float | None:
        """When it last began to resume, or its pod was lost, in seconds since the epoch."""
        return model.moment(self.resumed_at)

    @property
    def active_seconds(self) -> float | None:
        """When it was last used, in seconds since the epoch."""
        return model.moment(self.last_activity_at)


def until(at: float | None, now: float) -> dict[str, str | None]:
    """The fields that say when it expires, *at* in seconds since the epoch; None: never."""
    if at is None:
        return {"expires_at": None, "expires": None}
    return {"expires_at": model.timestamp(at), "expires": model.short(at, now)}


def read(content: Mapping[str, Any]) -> Status:
    """The status in an object.

    Raises
    ------
    ValueError
        It is none that an operator has written.
    """
    try:
        return msgspec.convert(content, Status)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
