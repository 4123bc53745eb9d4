"""Paths of the Kubernetes API: made for a kind of resource, and read again."""

from __future__ import annotations

__all__ = ["Resource", "kind_of", "namespace_of"]


class Resource:
    """Builds the paths of one kind of resource."""

    def __init__(self, api_version: str, plural: str) -> None:
        self.api_version = api_version
        self.plural = plural
        self._root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of a collection (no name) or an object; *namespace* None means all, or cluster-wide."""
        path = self._root
        if namespace is not None:
            path += f"/namespaces/{namespace}"
        path += f"/{self.plural}"
        if name is not None:
            path += f"/{name}"
        if subresource is not None:
            path += f"/{subresource}"
        return path


def kind_of(path: str) -> str:
    """Kind of resource in *path*, with its subresource: ``pods``, ``sandboxes/status``."""
    parts = _parts(path)
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    return "/".join([*parts[:1], *parts[2:3]]) or "other"


def namespace_of(path: str) -> str:
    """Namespace of the object or collection at *path*; empty if it is in none."""
    parts = _parts(path)
    return parts[1] if len(parts) > 2 and parts[0] == "namespaces" else ""


def _parts(path: str) -> list[str]:
    """What follows group and version."""
    parts = path.strip("/").split("/")
    return parts[2:] if parts[0] == "api" else parts[3:]
