"""How long sandboxes live: what a pool says for all of its own, and what a Sandbox says for itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sandyard.api.model import ApiModel, rules

__all__ = ["Lifetime", "SandboxLifetime"]


class SandboxLifetime(ApiModel):
    """How long a sandbox lives. Of several limits the earliest counts."""

    seconds: Annotated[int | None, Field(ge=1, le=315360000, description="Seconds from Ready until it expires.")] = None
    idle_seconds: Annotated[
        int | None,
        Field(
            ge=5,
            le=315360000,
            description="Seconds without activity until it expires. Activity is what clients stamp (annotation "
            "sandyard.dev/last-activity, an RFC 3339 time); a time in the future counts as now.",
        ),
    ] = None
    on_expiry: Annotated[
        Literal["Delete", "Stop", "Suspend"],
        Field(
            description="What happens when it expires. Delete: the Sandbox and everything of it is deleted. Stop: its "
            "pod is deleted, the Sandbox stays, in phase Expired. Suspend: its pod is deleted and its persistent "
            "workspace kept; it resumes when its lifetime is extended (without workspace.persistent: Stop)."
        ),
    ] = "Delete"
    seconds_after_finished: Annotated[
        int | None,
        Field(
            ge=0,
            le=315360000,
            description="Seconds from its end (phase Succeeded, Failed or Expired) until the Sandbox is deleted.",
        ),
    ] = None


class Lifetime(SandboxLifetime):
    """When the sandbox ends by itself. Of several limits the earliest counts."""

    deadline: Annotated[
        str | None,
        Field(
            json_schema_extra={
                "format": "date-time",
                # What both the API server and the operator take as a time.
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?"
                "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
                **rules(
                    (
                        "self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9999-01-01T00:00:00Z')",
                        "must be a time from 1970 to 9998 such as 2030-01-31T12:00:00Z",
                    )
                ),
            },
            description="Time at which it expires, for example 2030-01-31T12:00:00Z.",
        ),
    ] = None
