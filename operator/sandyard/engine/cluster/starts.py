"""Starts pods: the rules that they must keep, the policies that stand before they do, the create."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandyard.api import model, names
from sandyard.api.objects import Pod
from sandyard.api.reasons import Reason
from sandyard.api.template import Template
from sandyard.engine.cluster.isolation import Isolation
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.loops.turns import Urgency
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.state.records import AnyPool
from sandyard.kube import errors
from sandyard.pod import observe
from sandyard.podspec import bound_table, containers, rules
from sandyard.podspec.containers import Probe

__all__ = ["Starts", "refusal"]


class Starts:
    """What pools and Sandboxes share when they start a pod."""

    def __init__(self, pods: Pods, policies: Policies, isolation: Isolation, metrics: Metrics) -> None:
        self._pods = pods
        self._policies = policies
        self._isolation = isolation
        self._metrics = metrics
        # (namespace, name) of what this process has started and that is not ready yet.
        self._under_way: set[tuple[str, str]] = set()

    def probe(self) -> Probe:
        """How a pod that is made now proves its isolation."""
        return self._isolation.probe()

    def violations(self, pod: Mapping[str, Any]) -> list[str]:
        """What *pod* does that no pod of ours may, admission or not."""
        return rules.violations(pod, self._isolation.installation(pod["metadata"]["namespace"]))

    def beyond(self, namespace: str, template: Template) -> list[str]:
        """What *template* asks for beyond the bounds of *namespace*, admission or not."""
        content = {"template": template.model_dump(mode="json", by_alias=True, exclude_none=True)}
        return bound_table.beyond(content, self._isolation.policy.of(namespace))

    async def ensure_policies(self, namespace: str, template: Template) -> None:
        """Return when every policy that a pod of *template* needs stands in *namespace*."""
        await self._policies.ensure(namespace, *containers.reaches(template))

    async def is_there(self, pool: AnyPool, name: str) -> bool:
        """Whether the API server itself has a pod of that name that is the pool's."""
        found = await self._pods.read(pool.namespace, name)
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        return bool(labels.get(names.LABEL_POOL_UID) == pool.uid)

    async def create(self, pod: Mapping[str, Any], urgency: Urgency) -> None:
        """Send *pod*, and count it."""
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        # Before the reply: the watch may show the pod's end first.
        self._under_way.add(key)
        try:
            await self._pods.create(pod, urgency)
        except BaseException:
            self._under_way.discard(key)
            raise
        self._metrics.pod_starts.labels("created").inc()

    def pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        """Measure the start of a pod of ours when it is seen ready and proven for the first time."""
        pod = after or before
        assert pod is not None
        key = (pod.metadata.namespace, pod.metadata.name)
        if key not in self._under_way:
            return
        if after is None:
            self._under_way.discard(key)
            return
        proof = observe.proof_of(after)
        if proof is None or not observe.is_ready(after):
            return
        self._under_way.discard(key)
        born_at = model.seconds(after.metadata.creation_timestamp)
        self._metrics.start_seconds.observe(max(0.0, observe.ready_at(after) - born_at))
        if proof.enforced:
            self._metrics.network_open_seconds.observe(proof.open_seconds)


def refusal(error: errors.ApiError) -> tuple[Reason, str]:
    """Why the API server did not take what was sent, as a reason and a message."""
    message = error.message
    lowered = message.lower()
    if "exceeded quota" in lowered or "failed quota" in lowered:
        return Reason.QUOTA_EXCEEDED, message
    if "runtimeclass" in lowered:
        return Reason.RUNTIME_CLASS_MISSING, f"{message}; create it, or name another in template.runtimeClassName"
    return Reason.POD_REFUSED, message
