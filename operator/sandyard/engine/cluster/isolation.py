"""How new pods prove their isolation; it follows the addresses of the API server."""

from __future__ import annotations

import os
import re

from sandyard.api.objects import EndpointSlice
from sandyard.engine.process.settings import Settings
from sandyard.podspec.containers import Probe
from sandyard.podspec.shape import Installation

__all__ = ["ApiServers", "Isolation"]

_SLOW_PROBE_SECONDS = 5


class ApiServers:
    """Addresses of the API server: its service, and those behind it as their EndpointSlices show them."""

    def __init__(self) -> None:
        self._by_slice: dict[str, tuple[str, ...]] = {}

    def changed(self, before: EndpointSlice | None, after: EndpointSlice | None) -> None:
        """Follow the informer."""
        item = after or before
        assert item is not None
        if after is None:
            self._by_slice.pop(item.metadata.name, None)
            return
        ports = [port.port for port in after.ports or [] if port.port]
        addresses = [address for endpoint in after.endpoints or [] for address in endpoint.addresses]
        self._by_slice[item.metadata.name] = tuple(f"{address}:{port}" for address in addresses for port in ports)

    def addresses(self) -> tuple[str, ...]:
        """``host:port`` of each, the service's first."""
        behind = sorted({item for items in self._by_slice.values() for item in items})
        return tuple(dict.fromkeys([*_service(), *behind]))


class Isolation:
    """What a new pod has to prove in this installation, and at this moment."""

    def __init__(self, settings: Settings, api_servers: ApiServers) -> None:
        self._settings = settings
        self._api_servers = api_servers

    def installation(self) -> Installation:
        """What pods of this installation may look like."""
        settings = self._settings
        return Installation(
            image_repository=_repository(settings.probe_image),
            runtime=settings.isolation_runtime,
            network=settings.isolation_network,
            allow_root=settings.allow_root,
            labels=settings.labels,
            annotations=settings.annotations,
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
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"] if host else []
