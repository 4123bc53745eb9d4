"""Starts pods: the rules that they must keep, the policies that stand before they do, the create."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandyard.api import names
from sandyard.api.reasons import Reason
from sandyard.api.template import Template
from sandyard.engine.cluster.isolation import Isolation
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.loops.turns import Urgency
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.state.records import AnyPool
from sandyard.kube import errors
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
        await self._pods.create(pod, urgency)
        self._metrics.pod_starts.labels("created").inc()


def refusal(error: errors.ApiError) -> tuple[Reason, str]:
    """Why the API server did not take what was sent, as a reason and a message."""
    message = error.message
    lowered = message.lower()
    if "exceeded quota" in lowered or "failed quota" in lowered:
        return Reason.QUOTA_EXCEEDED, message
    if "runtimeclass" in lowered:
        return Reason.RUNTIME_CLASS_MISSING, f"{message}; create it, or name another in template.runtimeClassName"
    return Reason.POD_REFUSED, message
