"""Keeps each namespace's NetworkPolicies: there before the first pod, gone after the last."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec

from sandyard.api.objects import EndpointSlice, Generic
from sandyard.engine.cluster.isolation import LINGER_SECONDS, ApiServers
from sandyard.engine.cluster.resources import NETWORK_POLICIES
from sandyard.engine.cluster.writer import Writer
from sandyard.engine.loops.clock import Clock
from sandyard.engine.loops.queues import Queue
from sandyard.engine.process.settings import Settings, is_address
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.podspec import policy
from sandyard.podspec.network import Reach

__all__ = ["Policies"]

_log = logging.getLogger(__name__)
# A pod that has been sent shows on the watch long before this.
_ASKED_SECONDS = 30.0
# What is wrong with one policy, and with no other: it is tried again later.
_REFUSALS = (400, 403, 413, 422)
_REFUSED_SECONDS = 60.0


class Policies:
    """What stands in each namespace, what should, and how to get there."""

    def __init__(
        self, store: Store, writer: Writer, settings: Settings, api_servers: ApiServers, queue: Queue, clock: Clock
    ) -> None:
        self._store = store
        self._writer = writer
        self._settings = settings
        self._seen: dict[str, dict[str, Generic]] = defaultdict(dict)
        self._api_servers = api_servers
        self._queue = queue
        self._clock = clock
        # Networks that pods on their way need, before the store knows of the pods' owners.
        self._asked: dict[str, dict[str, tuple[Reach, float]]] = defaultdict(dict)
        # Each is there for as long as somebody waits for it or has it.
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        # Namespaces that were right when last looked at; any change on the watch puts that in doubt.
        self._settled: set[str] = set()
        # What the API server says of policies that it does not take, by namespace and name.
        self._refused: dict[str, dict[str, errors.ApiError]] = {}

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
        self._queue.add(namespace)

    def endpoints_changed(self, before: EndpointSlice | None, after: EndpointSlice | None) -> None:
        """Follow the API server's addresses: every namespace's policies depend on them."""
        if not self._api_servers.changed(before, after):
            return
        self._settled.clear()
        for namespace in list(self._seen):
            self._queue.add(namespace)
            # By then those that have left and not come back count no more.
            self._queue.add_after(namespace, LINGER_SECONDS + 1)

    # What should stand

    async def ensure(self, namespace: str, *reaches: Reach) -> None:
        """Return when everything that a pod with these *reaches* needs stands in *namespace*.

        Raises
        ------
        ApiError
            The API server does not take one of these policies. Those of others are none of this pod's.
        """
        own: set[str] = set()
        for reach in reaches:
            needed = policy.private(namespace, reach, ())
            if not needed:
                continue
            own |= needed.keys()
            self._asked[namespace]["/".join(needed)] = (reach, self._clock.monotonic() + _ASKED_SECONDS)
            if any(name not in self._seen.get(namespace, {}) for name in needed):
                self._settled.discard(namespace)
        if namespace not in self._settled:
            await self.reconcile(namespace)
        for name, error in self._refused.get(namespace, {}).items():
            if name in own or name in policy.COMMON:
                raise error

    async def reconcile(self, namespace: str) -> None:
        """Make the policies of *namespace* what they should be."""
        if namespace in self._store.unseen:
            return
        lock = self._locks.setdefault(namespace, asyncio.Lock())
        async with lock:
            lingers = self._store.lingers_for(namespace)
            if lingers is not None:
                self._queue.add_after(namespace, lingers + 0.1)
            if not self.needed(namespace):
                self._settled.discard(namespace)
                await self._remove(namespace)
                return
            dns = self._settings.cluster_dns
            wanted = policy.policies(namespace, self._excluded(), self._reaches(namespace), dns)
            seen = self._seen.get(namespace, {})
            refused: dict[str, errors.ApiError] = {}
            for name, body in wanted.items():
                known = seen.get(name)
                if known is not None and _stands(known, body):
                    continue
                try:
                    await self._apply(body, exists=known is not None)
                except errors.ApiError as error:
                    if error.status not in _REFUSALS:
                        raise
                    refused[name] = error
                    _log.warning("network policy refused", extra={"policy": name, "error": str(error)})
            self._refused.pop(namespace, None)
            if refused:
                self._refused[namespace] = refused
                self._queue.add_after(namespace, _REFUSED_SECONDS)
            self._settled.add(namespace)
            if self._asked.get(namespace):
                self._queue.add_after(namespace, _ASKED_SECONDS + 1)
            for name, item in list(seen.items()):
                # It outlives the last pod that it selects.
                if name not in wanted and not self._store.namespaces.selected(namespace, name):
                    await self._delete(item)

    def needed(self, namespace: str) -> bool:
        """Whether anything of ours lives in *namespace*."""
        return self._store.namespaces.lived_in(namespace)

    def namespaces(self) -> list[str]:
        """Namespaces in which a policy of ours stands, or should."""
        return list(dict.fromkeys([*self._seen, *self._store.namespaces]))

    async def _remove(self, namespace: str) -> None:
        for item in list(self._seen.get(namespace, {}).values()):
            await self._delete(item)
        self._asked.pop(namespace, None)
        self._refused.pop(namespace, None)

    async def _apply(self, wanted: Mapping[str, Any], *, exists: bool) -> None:
        """Create a NetworkPolicy, or give it the spec and labels that it should have."""
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        if exists or not await self._create(namespace, wanted):
            operations = [
                {"op": "add", "path": "/metadata/labels", "value": wanted["metadata"]["labels"]},
                {"op": "replace", "path": "/spec", "value": wanted["spec"]},
                # Somebody who took the name before us does not take it away with him.
                {"op": "add", "path": "/metadata/ownerReferences", "value": []},
            ]
            await self._writer.json_patch(NETWORK_POLICIES.path(namespace, name), operations)
        _log.info("network policy applied", extra={"namespace": namespace, "policy": name})

    async def _create(self, namespace: str, wanted: Mapping[str, Any]) -> bool:
        """Create a NetworkPolicy; False if one of its name is there already."""
        try:
            await self._writer.create(NETWORK_POLICIES.path(namespace), wanted)
        except errors.ApiError as error:
            if not error.already_exists:
                raise
            return False
        return True

    async def _delete(self, item: Generic) -> None:
        namespace, name = item.metadata.namespace, item.metadata.name
        await self._writer.delete(NETWORK_POLICIES.path(namespace, name), item.metadata.uid)
        _log.info("network policy deleted", extra={"namespace": namespace, "policy": name})

    def _reaches(self, namespace: str) -> list[Reach]:
        found = self._store.namespaces.reaches(namespace)
        now = self._clock.monotonic()
        asked = {key: item for key, item in self._asked.pop(namespace, {}).items() if item[1] > now}
        if asked:
            self._asked[namespace] = asked
        return [*found, *(reach for reach, _ in asked.values())]

    def _excluded(self) -> list[str]:
        listed = (*self._api_servers.addresses(), *self._settings.forbidden)
        hosts = [address.rpartition(":")[0].strip("[]") for address in listed]
        return [*self._settings.excluded_cidrs, *(host for host in hosts if is_address(host))]


def _stands(known: Generic, wanted: Mapping[str, Any]) -> bool:
    labelled = wanted["metadata"]["labels"].items() <= known.metadata.labels.items()
    return (
        labelled
        and not known.metadata.owner_references
        and msgspec.json.decode(known.spec) == _defaulted(wanted["spec"])
    )


def _defaulted(spec: dict[str, object]) -> object:
    """*spec* as the API server stores it: what we send has no field that it fills in."""
    return msgspec.json.decode(msgspec.json.encode(spec))
