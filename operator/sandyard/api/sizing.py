"""How many warm sandboxes a pool keeps: by the clock and by the demand, and what came of it."""

from __future__ import annotations

import datetime
import functools
import itertools
import zoneinfo
from typing import Annotated, Final

import cronsim
import pydantic
from pydantic import Field

from sandyard.api.model import ApiModel, rules

__all__ = ["Autoscale", "AutoscaleStatus", "ScheduleStatus", "ScheduledSize"]

_START: Final = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
# The rarest day of the calendar comes after eight years at the latest (29 February, around 2100).
_RAREST: Final = datetime.timedelta(days=8 * 366)
_LOOKS: Final = 3


class Autoscale(ApiModel):
    """Sizes the pool from demand, in place of replicas."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            ("self.minReplicas <= self.maxReplicas", "minReplicas must not exceed maxReplicas"),
        )
    )

    min_replicas: Annotated[int, Field(ge=0, le=10000, description="Fewest warm sandboxes.")] = 0
    max_replicas: Annotated[int, Field(ge=1, le=10000, description="Most warm sandboxes.")]


class ScheduledSize(ApiModel):
    """The size of a pool from some time of the day, week or month on."""

    cron: Annotated[
        str,
        Field(
            max_length=100,
            pattern=r"^[-*/,#A-Za-z0-9]+([ ]+[-*/,#A-Za-z0-9]+){4}$",
            description="When it begins: minute, hour, day of the month, month, day of the week, as in cron, such as "
            "0 7 * * 1-5. It holds until another entry begins.",
        ),
    ]
    time_zone: Annotated[
        str, Field(max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$", description="Such as Europe/Berlin.")
    ] = "UTC"
    replicas: Annotated[int, Field(ge=0, le=10000, description="Warm sandboxes to keep from then on.")]

    @pydantic.field_validator("cron")
    @classmethod
    def _readable(cls, line: str) -> str:
        trouble = _trouble(line)
        if trouble:
            raise ValueError(f"{line!r} is no cron line such as '0 7 * * 1-5': {trouble}")
        return line

    @pydantic.field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is no time zone such as Europe/Berlin or UTC") from error
        return name


@functools.lru_cache(maxsize=4096)
def _trouble(line: str) -> str:
    """What is wrong with a cron line; empty if that is nothing."""
    if len(line.split()) != 5:
        return "it has five fields with spaces between them"
    try:
        found = [_START, *itertools.islice(cronsim.CronSim(line, _START), _LOOKS)]
    except (cronsim.CronSimError, ValueError, AssertionError) as error:
        return str(error) or "it cannot be read"
    often = len(found) > _LOOKS and all(after - before <= _RAREST for before, after in itertools.pairwise(found))
    return "" if often else "such a day never comes, or hardly ever"


class AutoscaleStatus(ApiModel):
    """The figures behind the pool's size."""

    claims_per_second: Annotated[
        str, Field(max_length=32, description="Measured claim rate: quick to rise, slow to fall.")
    ]
    warm_up_seconds: Annotated[str, Field(max_length=32, description="Measured time from creating a pod to proven.")]
    replicas: Annotated[
        int,
        Field(
            ge=0,
            description="Warm sandboxes to keep: the 99.9th percentile of a Poisson variable with mean rate x warm-up "
            "time, within the bounds.",
        ),
    ]


class ScheduleStatus(ApiModel):
    """What spec.schedule asks for now."""

    replicas: Annotated[int, Field(ge=0, description="Warm sandboxes by the entry that began last.")]
    until: Annotated[
        str, Field(max_length=32, json_schema_extra={"format": "date-time"}, description="When the next entry begins.")
    ]
