"""Gives the pod of a Sandbox the network that it asks for."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from sandyard.api import names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.cluster.setup_network import SetupNetwork
from sandyard.engine.cluster.starts import refusal
from sandyard.engine.sandboxes.run import Run
from sandyard.engine.state.store import Store
from sandyard.kube import errors
from sandyard.podspec import network
from sandyard.sandbox.steps import CloseSetupNetwork, PutLabelsRight, SwitchNetwork
from sandyard.sandbox.view import Refusal

__all__ = ["Networks"]

_log = logging.getLogger(__name__)


class Networks:
    """The networks of Sandboxes that have a pod."""

    def __init__(
        self, store: Store, pods: Pods, policies: Policies, setup_network: SetupNetwork, recorder: Recorder
    ) -> None:
        self._store = store
        self._pods = pods
        self._policies = policies
        self._setup_network = setup_network
        self._recorder = recorder

    async def switch(self, run: Run, action: SwitchNetwork) -> None:
        """Change the labels of the pod once the policies that they choose stand, unless that is refused."""
        labels = {names.LABEL_ALLOW: None, names.LABEL_INGRESS: None, **network.labels(action.reach)}
        try:
            await self._policies.ensure(run.sandbox.namespace, action.reach)
            await self._relabel(action.pod, labels)
        except errors.ApiError as error:
            if not error.refused:
                raise
            run.learn(switched_generation=action.generation, switch_refused=Refusal(*refusal(error)))
            return
        if action.post:
            self._recorder.record(run.sandbox, Event.NETWORK_CHANGED, f"egress {action.reach.network.egress}")
        run.learn(switched_generation=action.generation)

    async def put_right(self, run: Run, action: PutLabelsRight) -> None:
        """Give the pod its labels back; where that is refused, all else goes on, and it is tried again."""
        try:
            await self._relabel(action.pod, action.labels)
        except errors.ApiError as error:
            if not error.refused:
                raise
            _log.warning("labels not put right", extra={"pod": action.pod.metadata.name, "error": str(error)})
        else:
            told = f"pod {action.pod.metadata.name}: {', '.join(sorted(action.labels))}"
            self._recorder.record(run.sandbox, Event.LABELS_PUT_RIGHT, told)
        run.learn(put_right=True)

    async def _relabel(self, pod: Pod, labels: Mapping[str, str | None]) -> None:
        """Change labels of *pod*; the store takes the reply in, so that the same is not sent twice."""
        self._store.pod_seen(pod, await self._pods.relabel_network(pod, labels))

    async def close_setup(self, run: Run, action: CloseSetupNetwork) -> None:
        """Close the network of a setup that has ended."""
        entry = self._store.pods.get(action.pod.metadata.uid)
        if entry is not None:
            await self._setup_network.close(entry, action.template)
        run.learn(setup_closed=True)
