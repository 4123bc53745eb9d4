"""Closes the network of a setup once it has ended, and ends setups that take too long."""

from __future__ import annotations

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.api.template import Template
from sandyard.engine.cluster.pods import Pods
from sandyard.pod import observe
from sandyard.podspec import network
from sandyard.podspec.network import Reach

__all__ = ["SetupNetwork"]


class SetupNetwork:
    """The network of setups."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self._closing: set[str] = set()

    async def close(self, pod: Pod, template: Template) -> None:
        """Close the network of *pod*, whose setup has ended.

        The init container that follows finds it closed, or the pod never becomes ready.  Should
        that proof have ended before the label was changed, it has proven nothing, and the pod
        stays marked as closing.
        """
        uid = pod.metadata.uid
        if uid in self._closing:
            return
        self._closing.add(uid)
        try:
            wanted = network.labels(Reach(template.network, template.dns))
            labels: dict[str, str | None] = {names.LABEL_ALLOW: wanted.get(names.LABEL_ALLOW)}
            labels[names.LABEL_EGRESS] = names.EGRESS_NONE
            reply = await self._pods.relabel_network(pod, labels, {names.ANNOTATION_SETUP: names.SETUP_CLOSING})
            if not observe.proof_ended(reply):
                await self._pods.relabel_network(reply, {}, {names.ANNOTATION_SETUP: names.SETUP_CLOSED})
        except BaseException:
            self._closing.discard(uid)
            raise

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._closing.discard(uid)
