"""Closes the network of a setup once it has ended, and ends setups that take too long."""

from __future__ import annotations

from sandyard.api import names
from sandyard.api.template import Template
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.state.pods import PodEntry
from sandyard.pod import observe
from sandyard.podspec import network
from sandyard.podspec.network import Reach

__all__ = ["SetupNetwork"]


class SetupNetwork:
    """The network of setups."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods

    async def close(self, entry: PodEntry, template: Template) -> None:
        """Close the network of a pod whose setup has ended.

        The init container that follows finds it closed, or the pod never becomes ready.  Should
        that proof have ended before the label was changed, it has proven nothing, and the pod
        stays marked as closing.
        """
        if entry.closing:
            return
        entry.closing = True
        try:
            wanted = network.labels(Reach(template.network, template.dns))
            labels: dict[str, str | None] = {names.LABEL_ALLOW: wanted.get(names.LABEL_ALLOW)}
            labels[names.LABEL_EGRESS] = names.EGRESS_NONE
            reply = await self._pods.relabel_network(entry.pod, labels, {names.ANNOTATION_SETUP: names.SETUP_CLOSING})
            if not observe.proof_ended(reply):
                await self._pods.relabel_network(reply, {}, {names.ANNOTATION_SETUP: names.SETUP_CLOSED})
        except BaseException:
            entry.closing = False
            raise
