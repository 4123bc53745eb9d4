"""The Sandbox object that a call of ``create`` stands for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from sandyard.api import names

__all__ = ["sandbox"]


def sandbox(
    *, pool: str | None, template: Mapping[str, Any] | None, name: str | None, timeout: int | None,
    idle_timeout: int | None, env: Mapping[str, str] | None, network: Mapping[str, Any] | None,
    labels: Mapping[str, str] | None, wait_seconds: int | None,
) -> dict[str, Any]:  # fmt: skip
    """The object, named after its pool and by chance where no name is given."""
    spec: dict[str, Any] = {"poolRef": {"name": pool}} if pool is not None else {"template": dict(template or {})}
    lifetime = {"seconds": timeout, "idleSeconds": idle_timeout}
    lifetime = {key: value for key, value in lifetime.items() if value is not None}
    if lifetime:
        spec["lifetime"] = lifetime
    if env:
        spec["env"] = [{"name": key, "value": value} for key, value in env.items()]
    if network is not None:
        spec["network"] = dict(network)
    if wait_seconds is not None:
        spec["waitSeconds"] = wait_seconds
    made_name = name or f"{(pool or 'sandbox')[:40].rstrip('-.')}-{secrets.token_hex(4)}"
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.SANDBOX_KIND,
        "metadata": {"name": made_name, **({"labels": dict(labels)} if labels else {})},
        "spec": spec,
    }
