"""``status`` of a pool as one typed value: read once from the object, and written from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sandyard.api.status import BaseStatus

__all__ = ["AutoscaleFigures", "LastFailure", "PoolStatus", "ScheduleFigures", "read"]


class LastFailure(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """The latest failure to start a pod."""

    reason: str
    message: str = ""
    time: str


class AutoscaleFigures(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """What has been measured, as text with two digits, and the size that follows from it."""

    claims_per_second: str
    warm_up_seconds: str
    replicas: int


class ScheduleFigures(msgspec.Struct, frozen=True, rename="camel", kw_only=True, gc=False):
    """The size that the schedule asks for, and until when."""

    replicas: int
    until: str


class PoolStatus(BaseStatus, frozen=True, rename="camel", kw_only=True, gc=False):
    """What has been said of a pool; the fields are those of `sandyard.api.pool.PoolStatus`."""

    replicas: int | None = None
    starting: int | None = None
    claimed: int | None = None
    terminating: int | None = None
    unhealthy: int | None = None
    outdated: int | None = None
    warm_hits: int | None = None
    cold_starts: int | None = None
    reused: int | None = None
    selector: str | None = None
    template_hash: str | None = None
    last_failure: LastFailure | None = None
    schedule: ScheduleFigures | None = None
    autoscale: AutoscaleFigures | None = None


def read(content: Mapping[str, Any]) -> PoolStatus:
    """The status in an object; one that no operator has written counts as none: all of it can be learnt anew."""
    try:
        return msgspec.convert(content, PoolStatus)
    except msgspec.ValidationError:
        return PoolStatus()
