"""The volumes of a sandbox: they live with its pod, or in a claim of its own."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from sandyard.api import quantity
from sandyard.api.model import DNS_SUBDOMAIN, ApiModel, Quantity, rules

__all__ = ["Persistent", "Tmp", "Volume", "Workspace"]


class Volume(ApiModel):
    """A volume that lives and dies with the pod."""

    size_limit: Annotated[
        Quantity | None,
        Field(description="Most that it may hold.", json_schema_extra=quantity.between("1Mi", "64Ti", "256Mi")),
    ] = None
    medium: Annotated[
        Literal["", "Memory"],
        Field(description='"" for the node\'s disk, Memory for a RAM disk (which counts as memory of the sandbox).'),
    ] = ""


class Persistent(ApiModel):
    """A PersistentVolumeClaim of the sandbox's own; it goes when the Sandbox is deleted."""

    size: Annotated[
        Quantity,
        Field(description="Storage to ask for.", json_schema_extra=quantity.between("1Mi", "64Ti", "1Gi")),
    ]
    storage_class_name: Annotated[
        str | None,
        Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN, description="Default: that of the cluster."),
    ] = None


class Workspace(Volume):
    """The volume at /workspace."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.persistent) || !has(self.medium) || self.medium == ''",
                "a persistent workspace cannot be a RAM disk: set persistent or medium Memory",
            ),
        )
    )

    persistent: Annotated[
        Persistent | None,
        Field(
            description="Keep the workspace in a PersistentVolumeClaim, so that the sandbox can be suspended; "
            "persistent.size then holds in place of sizeLimit."
        ),
    ] = None

    size_limit: Annotated[
        Quantity,
        Field(description="Most that it may hold.", json_schema_extra=quantity.between("1Mi", "64Ti", "512Mi")),
    ] = "512Mi"


class Tmp(Volume):
    """The volume at /tmp."""

    size_limit: Annotated[
        Quantity,
        Field(description="Most that it may hold.", json_schema_extra=quantity.between("1Mi", "64Ti", "128Mi")),
    ] = "128Mi"
