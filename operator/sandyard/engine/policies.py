"""Keeps each namespace's NetworkPolicies: there before the first pod, gone after the last."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable

import msgspec

from sandyard.api.objects import EndpointSlice, Generic
from sandyard.api.template import IngressPeer, Template
from sandyard.engine.gateway import Gateway
from sandyard.engine.settings import Settings
from sandyard.engine.store import Store
from sandyard.podspec import policy

__all__ = ["Policies"]

_log = logging.getLogger(__name__)


class Policies:
    """What stands in each namespace, what should, and how to get there."""

    def __init__(self, store: Store, gateway: Gateway, settings: Settings) -> None:
        self._store = store
        self._gateway = gateway
        self._settings = settings
        self._seen: dict[str, dict[str, Generic]] = defaultdict(dict)
        self._api_servers: dict[str, tuple[str, ...]] = {}
        self._peers: dict[str, dict[str, list[IngressPeer]]] = defaultdict(dict)
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Namespaces that were right when last looked at; any change on the watch puts that in doubt.
        self._settled: set[str] = set()
        self.changed: Callable[[str], None] = lambda _namespace: None

    # What the informers see

    def policy_changed(self, before: Generic | None, after: Generic | None) -> None:
        """Follow our NetworkPolicies; one that was changed or deleted by others is put right."""
        item = after or before
        assert item is not None
        namespace, name = item.metadata.namespace, item.metadata.name
        self._settled.discard(namespace)
        if after is None:
            self._seen[namespace].pop(name, None)
            if not self._seen[namespace]:
                del self._seen[namespace]
        else:
            self._seen[namespace][name] = after
        self.changed(namespace)

    def endpoints_changed(self, before: EndpointSlice | None, after: EndpointSlice | None) -> None:
        """Follow the API server's addresses: every namespace's policies depend on them."""
        item = after or before
        assert item is not None
        if after is None:
            self._api_servers.pop(item.metadata.name, None)
        else:
            ports = [port.port for port in after.ports or [] if port.port]
            addresses = [address for endpoint in after.endpoints or [] for address in endpoint.addresses]
            self._api_servers[item.metadata.name] = tuple(
                f"{address}:{port}" for address in addresses for port in ports
            )
        self._settled.clear()
        for namespace in list(self._seen):
            self.changed(namespace)

    def api_servers(self) -> tuple[str, ...]:
        """``host:port`` of the API servers behind the service."""
        return tuple(sorted({item for items in self._api_servers.values() for item in items}))

    # What should stand

    async def ensure(self, namespace: str, template: Template) -> None:
        """Return when everything that a pod of *template* needs stands in *namespace*."""
        if template.network.ingress_from:
            name = policy.ingress(namespace, template.network.ingress_from)["metadata"]["name"]
            if name not in self._peers[namespace]:
                self._peers[namespace][name] = template.network.ingress_from
                self._settled.discard(namespace)
        if namespace not in self._settled:
            await self.reconcile(namespace)

    async def reconcile(self, namespace: str) -> None:
        """Make the policies of *namespace* what they should be."""
        async with self._locks[namespace]:
            if not self.needed(namespace):
                self._settled.discard(namespace)
                await self._remove(namespace)
                return
            for template in self._templates(namespace):
                if template.network.ingress_from:
                    name = policy.ingress(namespace, template.network.ingress_from)["metadata"]["name"]
                    self._peers[namespace][name] = template.network.ingress_from
            wanted = policy.policies(namespace, self._excluded(), self._peers[namespace].values())
            seen = self._seen.get(namespace, {})
            for name, body in wanted.items():
                known = seen.get(name)
                if known is not None and msgspec.json.decode(known.spec) == _defaulted(body["spec"]):
                    continue
                await self._gateway.apply_policy(body, exists=known is not None)
                _log.info("network policy applied", extra={"namespace": namespace, "policy": name})
            self._settled.add(namespace)

    def needed(self, namespace: str) -> bool:
        """Whether anything of ours lives in *namespace*."""
        store = self._store
        return (
            any(pool.namespace == namespace for pool in store.pools.values())
            or any(sandbox.namespace == namespace for sandbox in store.sandboxes.values())
            or any(pod.metadata.namespace == namespace for pod in store.pods.values())
        )

    def namespaces(self) -> list[str]:
        """Namespaces in which a policy of ours stands."""
        return list(self._seen)

    async def _remove(self, namespace: str) -> None:
        for name, item in list(self._seen.get(namespace, {}).items()):
            await self._gateway.delete_policy(namespace, name, item.metadata.uid)
            _log.info("network policy deleted", extra={"namespace": namespace, "policy": name})
        self._peers.pop(namespace, None)

    def _templates(self, namespace: str) -> list[Template]:
        pools = [pool.spec.template for pool in self._store.pools.values() if pool.namespace == namespace and pool.spec]
        own = [
            sandbox.spec.template
            for sandbox in self._store.sandboxes.values()
            if sandbox.namespace == namespace and sandbox.spec and sandbox.spec.template
        ]
        return [*pools, *own]

    def _excluded(self) -> list[str]:
        hosts = [address.rpartition(":")[0].strip("[]") for address in (*self.api_servers(), *self._settings.forbidden)]
        return [*self._settings.excluded_cidrs, *(host for host in hosts if _is_address(host))]


def _is_address(text: str) -> bool:
    return bool(text) and all(character in "0123456789abcdefABCDEF.:" for character in text)


def _defaulted(spec: dict[str, object]) -> object:
    """*spec* as the API server stores it: what we send has no field that it fills in."""
    return msgspec.json.decode(msgspec.json.encode(spec))
