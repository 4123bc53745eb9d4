"""Gives the pod of a Sandbox the network that it asks for: once proven, and when the spec changes."""

from __future__ import annotations

from sandyard.api import names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.engine.parts import Parts
from sandyard.engine.provide import not_allowed
from sandyard.engine.records import SandboxRecord
from sandyard.podspec import network
from sandyard.podspec.network import Reach
from sandyard.sandbox import phase

__all__ = ["Reaching"]


class Reaching:
    """The networks of Sandboxes that have a pod."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._gateway = parts.gateway
        self._policies = parts.policies
        self._recorder = parts.recorder

    async def enforce(self, sandbox: SandboxRecord, pod: Pod) -> None:
        """Switch the labels of *pod*, which is proven, to what its Sandbox asks for.

        A pod that starts for its Sandbox alone is opened before that is Ready. One that runs is
        switched when its Sandbox's own network has changed, and never because of its pool.
        """
        if phase.running(sandbox.status):
            if sandbox.status.get("observedGeneration") == sandbox.generation:
                return
            wanted = self._own(sandbox)
        elif pod.metadata.labels.get(names.LABEL_STATE) == names.STATE_COLD:
            template = self._store.template_of(sandbox)
            wanted = self._store.own_reach(sandbox) or (Reach(template.network, template.dns) if template else None)
        else:
            return
        if wanted is None or self._as_wanted(pod, wanted) or self.refused(sandbox, pod):
            return
        await self._policies.ensure(sandbox.namespace, wanted)
        labels: dict[str, str | None] = {names.LABEL_ALLOW: None, names.LABEL_INGRESS: None, **network.labels(wanted)}
        await self._gateway.relabel_network(pod, labels)
        if phase.running(sandbox.status):
            self._recorder.tell(sandbox, Event.NETWORK_CHANGED, f"egress {wanted.network.egress}")

    def refused(self, sandbox: SandboxRecord, pod: Pod) -> str:
        """Why the network that a running Sandbox asks for is not given to it; empty if it is."""
        wanted, pool = self._own(sandbox), self._store.pool_of(sandbox)
        if wanted is None or pool is None or self._as_wanted(pod, wanted):
            return ""
        return not_allowed(wanted.network, pool)

    def _own(self, sandbox: SandboxRecord) -> Reach | None:
        if sandbox.spec is None or sandbox.spec.network is None:
            return None
        return self._store.own_reach(sandbox)

    def _as_wanted(self, pod: Pod, wanted: Reach) -> bool:
        labels, have = network.labels(wanted), pod.metadata.labels
        keys = (names.LABEL_EGRESS, names.LABEL_ALLOW, names.LABEL_INGRESS)
        return all(labels.get(key) == have.get(key) for key in keys)
