"""The kinds of objects that the engine reads and writes, by their paths."""

from __future__ import annotations

from sandyard.api import names
from sandyard.kube.paths import Resource

__all__ = [
    "ENDPOINT_SLICES",
    "EVENTS",
    "NETWORK_POLICIES",
    "PODS",
    "POD_METRICS",
    "POOLS",
    "SANDBOXES",
    "WORKSPACES",
]

PODS = Resource("v1", "pods")
EVENTS = Resource("v1", "events")
NETWORK_POLICIES = Resource("networking.k8s.io/v1", "networkpolicies")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "endpointslices")
SANDBOXES = Resource(names.API_VERSION, names.SANDBOXES)
POOLS = Resource(names.API_VERSION, names.POOLS)
WORKSPACES = Resource("v1", "persistentvolumeclaims")
POD_METRICS = Resource("metrics.k8s.io/v1beta1", "pods")
