"""Gives the pod of a Sandbox the network that it asks for."""

from __future__ import annotations

from sandyard.api import names
from sandyard.api.events import Event
from sandyard.engine.parts import Parts
from sandyard.engine.sandboxes.run import Run
from sandyard.podspec import network
from sandyard.sandbox.steps import CloseSetupNetwork, SwitchNetwork

__all__ = ["Networks"]


class Networks:
    """The networks of Sandboxes that have a pod."""

    def __init__(self, parts: Parts) -> None:
        self._pods = parts.pods
        self._policies = parts.policies
        self._recorder = parts.recorder
        self._setup_network = parts.setup_network

    async def switch(self, run: Run, action: SwitchNetwork) -> None:
        """Change the labels of the pod once the policies that they choose stand."""
        await self._policies.ensure(run.sandbox.namespace, action.reach)
        labels = {names.LABEL_ALLOW: None, names.LABEL_INGRESS: None, **network.labels(action.reach)}
        await self._pods.relabel_network(action.pod, labels)
        if action.tell:
            self._recorder.record(run.sandbox, Event.NETWORK_CHANGED, f"egress {action.reach.network.egress}")
        run.learn(switched_generation=action.generation)

    async def close_setup(self, run: Run, action: CloseSetupNetwork) -> None:
        """Close the network of a setup that has ended."""
        await self._setup_network.close(action.pod, action.template)
        run.learn(setup_closed=True)
