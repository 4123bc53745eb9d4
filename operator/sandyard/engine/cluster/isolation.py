"""How new pods prove their isolation; it follows the addresses of the API server."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandyard.api.objects import EndpointSlice
from sandyard.engine.loops.clock import Clock
from sandyard.engine.process.settings import Settings
from sandyard.podspec.bounds import Policy
from sandyard.podspec.containers import Probe
from sandyard.podspec.shape import Installation

__all__ = ["LINGER_SECONDS", "ApiServers", "Isolation", "Version"]

# Longer than a control plane takes to restart or to be upgraded, node by node.
LINGER_SECONDS = 600.0
_SLOW_PROBE_SECONDS = 5
# From this version on RestartAllContainersOnContainerExits is on by default (KEP-5532).
_RESTARTS_SINCE = (1, 36)


@dataclass(frozen=True)
class Version:
    """What the API server says of itself."""

    major: int
    minor: int
    text: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Version:
        """The version in the answer to GET /version; some clouds write a minor version such as 36+."""
        numbers = [int(re.sub("[^0-9].*", "", str(answer.get(key, ""))) or 0) for key in ("major", "minor")]
        return cls(numbers[0], numbers[1], str(answer.get("gitVersion", "of an unknown version"))[:64])


class ApiServers:
    """Addresses of the API server: its service, and those behind it as their EndpointSlices show them.

    One that restarts leaves its slice and comes back: an address that is not there counts on for a
    while, and slices without any say that they are not known at present.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_slice: dict[str, tuple[str, ...]] = {}
        # Until when each counts, in seconds of the monotonic clock.
        self._known: dict[str, float] = {}

    def changed(self, before: EndpointSlice | None, after: EndpointSlice | None) -> bool:
        """Follow the informer; says whether there are other addresses than before."""
        item = after or before
        assert item is not None
        known = self.addresses()
        if after is None:
            self._by_slice.pop(item.metadata.name, None)
        else:
            self._by_slice[item.metadata.name] = _addresses(after)
        present = {address for addresses in self._by_slice.values() for address in addresses}
        if present:
            until = self._clock.monotonic() + LINGER_SECONDS
            self._known = {address: min(old, until) for address, old in self._known.items()}
            self._known.update(dict.fromkeys(present, math.inf))
        return self.addresses() != known

    def addresses(self) -> tuple[str, ...]:
        """``host:port`` of each, the service's first."""
        now = self._clock.monotonic()
        return tuple(dict.fromkeys([*_service(), *sorted(item for item, until in self._known.items() if until > now)]))


def _addresses(item: EndpointSlice) -> tuple[str, ...]:
    """``host:port`` of everything in a slice."""
    ports = [port.port for port in item.ports or [] if port.port]
    hosts = [_host(address) for endpoint in item.endpoints or [] for address in endpoint.addresses]
    return tuple(f"{host}:{port}" for host in hosts for port in ports)


class Isolation:
    """What a new pod has to prove in this installation, and at this moment.

    Attributes
    ----------
    server_version
        Of the API server, as it was when this process started; unknown until then.
    """

    def __init__(self, settings: Settings, api_servers: ApiServers) -> None:
        self._settings = settings
        self._api_servers = api_servers
        self.server_version: Version | None = None

    @property
    def no_restart(self) -> str:
        """Why a pod cannot be restarted for its next Sandbox here; empty if it can."""
        version = self.server_version
        if not self._settings.restarting:
            return "recycle: Restart is switched off in this installation (restarting.enabled of the chart)"
        if version is None or (version.major, version.minor) >= _RESTARTS_SINCE:
            return ""
        return (
            f"recycle: Restart needs Kubernetes 1.36, this is {version.text}: used pods are deleted. Set recycle: "
            "Delete, or restart the operator once the cluster is upgraded"
        )

    @property
    def policy(self) -> Policy:
        """What templates and Sandboxes may ask for."""
        return self._settings.policy

    def installation(self, namespace: str) -> Installation:
        """What pods of this installation may look like in *namespace*."""
        settings, bounds = self._settings, self._settings.policy.of(namespace)
        return Installation(
            image_repository=_repository(settings.probe_image),
            runtime=settings.isolation_runtime,
            network=settings.isolation_network,
            allow_root=bounds.allow_root,
            labels=bounds.labels,
            annotations=bounds.annotations,
        )

    def probe(self) -> Probe:
        """How new pods prove their isolation."""
        settings = self._settings
        best_effort = settings.isolation_network == "BestEffort"
        return Probe(
            image=settings.probe_image,
            pull_policy=settings.probe_pull_policy,
            forbidden=tuple(dict.fromkeys([*self._api_servers.addresses(), *settings.forbidden])),
            runtime=settings.isolation_runtime,
            network=settings.isolation_network,
            # Where nothing hangs on the answer, nobody should wait long for it.
            timeout_seconds=_SLOW_PROBE_SECONDS if best_effort else settings.probe_timeout_seconds,
        )


def _repository(image: str) -> str:
    """*image* without its tag and digest; a port of its registry is neither."""
    return re.sub(r"(?::[^:/@]+)?(?:@.*)?$", "", image)


def _service() -> list[str]:
    """``host:port`` of the API server's service, as every container of the cluster is given it."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return [f"{_host(host)}:{port}"] if host else []


def _host(address: str) -> str:
    """*address* as it stands before a port."""
    return f"[{address}]" if ":" in address else address
