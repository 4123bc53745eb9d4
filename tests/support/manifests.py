"""The objects that tests apply."""

from __future__ import annotations

from typing import Any

IMAGE = "python:3.11-slim-bookworm"
_SMALL = {"cpu": "1", "memory": "128Mi", "requests": {"cpu": "5m"}}


def template(**fields: Any) -> dict[str, Any]:
    """A small template: many of them fit on a node of two cores."""
    return {"image": IMAGE, "resources": _SMALL, "terminationGracePeriodSeconds": 2, **fields}


def pool(name: str, replicas: int = 1, template_: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A SandboxPool."""
    return {
        "apiVersion": "sandyard.dev/v1alpha1",
        "kind": "SandboxPool",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": template_ or template(), **spec},
    }


def sandbox(name: str, pool_name: str | None = None, **spec: Any) -> dict[str, Any]:
    """A Sandbox: from a pool, or with ``template=`` of its own."""
    source = {"poolRef": {"name": pool_name}} if pool_name else {}
    return {
        "apiVersion": "sandyard.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": {"name": name},
        "spec": {**source, **spec},
    }
