"""What a process knows of the cluster before it may lead: the watches of pods and policies, and a first list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from sandyard.api import names
from sandyard.api.objects import EndpointSlice, Generic, NetworkPolicy, Pod
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.cluster.resources import ENDPOINT_SLICES, NETWORK_POLICIES, PODS
from sandyard.engine.intake import Intake
from sandyard.engine.listing import Listing
from sandyard.kube.client import Client
from sandyard.kube.informer import Informer

__all__ = ["Caches"]


class Caches:
    """Kept by every process, leader or not.

    Attributes
    ----------
    filled
        Set once all of it is there.
    intake
        Where further news come in.
    """

    def __init__(
        self, client: Client, namespaces: Sequence[str], intake: Intake, policies: Policies, listing: Listing
    ) -> None:
        self.filled = asyncio.Event()
        self.intake = intake
        self._client = client
        self._namespaces = namespaces
        self._policies = policies
        self._listing = listing
        self._informers: list[Informer[Any]] = []

    async def fill(self, group: asyncio.TaskGroup) -> None:
        """Return when everything is there; the watches continue in *group*."""
        for informer in self._make_informers():
            self._informers.append(informer)
            group.create_task(informer.run())
        for informer in self._informers:
            await (informer.answered if self._namespaces else informer.synced).wait()
        await self._listing.first()
        self.filled.set()

    def silent(self, before: float) -> int:
        """How many watches have shown nothing, bookmarks included, since *before* (monotonic seconds)."""
        return sum(informer.last_event_at < before for informer in self._informers)

    def _seen_of(self, namespace: str | None, count: int) -> Callable[[], None]:
        """To be called by each of *count* caches of *namespace*: the last one shows that all of it is known."""
        left = count

        def seen() -> None:
            nonlocal left
            left -= 1
            if namespace is not None and not left:
                self.intake.namespace_seen(namespace)

        return seen

    def _make_informers(self) -> list[Informer[Any]]:
        made: list[Informer[Any]] = []
        ours = {"labelSelector": names.LABEL_STATE}
        policies = {"labelSelector": names.LABEL_POLICY}
        foreign = {"labelSelector": f"!{names.LABEL_POLICY}"}
        for namespace in self._namespaces or (None,):
            seen = self._seen_of(namespace, 3)
            pods = PODS.path(namespace)
            made.append(Informer(self._client, pods, Pod, self.intake.pod_changed, params=ours, on_synced=seen))
            standing = NETWORK_POLICIES.path(namespace)
            made.append(Informer(
                self._client, standing, Generic, self._policies.policy_changed, params=policies, on_synced=seen,
            ))  # fmt: skip
            made.append(Informer(
                self._client, standing, NetworkPolicy, self.intake.foreign_policy_changed, params=foreign,
                on_synced=seen,
            ))  # fmt: skip
        service = {"labelSelector": "kubernetes.io/service-name=kubernetes"}
        slices = ENDPOINT_SLICES.path("default")
        made.append(Informer(self._client, slices, EndpointSlice, self._policies.endpoints_changed, params=service))
        return made
