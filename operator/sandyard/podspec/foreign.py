"""Network policies of others: whether one can select a sandbox's pod and opens something.

Policies add up, so one that opens a sandbox does so whatever ours say. The admission policy
``foreign-network-policies`` of the chart gives the same verdicts, in CEL; some policies were
there before it was, or came past it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sandyard.api import names
from sandyard.api.objects import LabelSelector, NetworkPolicy, SelectorRequirement

__all__ = ["Exposure", "opens_sandboxes"]

_NAMED: Final = 3
_EXCLUDE: Final = f"matchExpressions: [{{key: {names.LABEL_STATE}, operator: DoesNotExist}}]"
# Labels that every pod of ours has, whatever their values.
_ALWAYS: Final = (names.LABEL_STATE, names.LABEL_MANAGED_BY)
# From Kubernetes 1.35 on the API server gives a pod its node's zone and region as labels when it is bound (KEP-4742).
_OF_NODES: Final = "topology.kubernetes.io/"


@dataclass(frozen=True)
class Exposure:
    """What opens the sandboxes of a namespace.

    Attributes
    ----------
    policies
        Names of NetworkPolicies of others, sorted.
    withholds
        Whether nothing is handed out meanwhile (``isolation.network: Required``).
    """

    policies: tuple[str, ...]
    withholds: bool

    @property
    def message(self) -> str:
        """What is wrong, and what to do."""
        one = len(self.policies) == 1
        named = ", ".join(self.policies[:_NAMED])
        more = f" and {len(self.policies) - _NAMED} more" if len(self.policies) > _NAMED else ""
        which = f"NetworkPolicy {named} opens" if one else f"NetworkPolicies {named}{more} open"
        return (
            f"{which} the sandboxes of this namespace, since policies add up; delete {'it' if one else 'them'}, or "
            f"exclude sandboxes in spec.podSelector with {_EXCLUDE}"
        )


def opens_sandboxes(policy: NetworkPolicy, template_labels: Sequence[str]) -> bool:
    """Whether *policy* lets anything into or out of pods that could be ours.

    Parameters
    ----------
    template_labels
        How keys of a template's labels may begin (``policy.labels`` of the chart): pods of ours
        may have these, with any value.
    """
    spec = policy.spec
    return bool(spec.egress or spec.ingress) and _may_select(
        spec.pod_selector, (names.PREFIX, _OF_NODES, *template_labels)
    )


def _may_select(selector: LabelSelector, own: Sequence[str]) -> bool:
    return not _excluded_by_labels(selector.match_labels or {}, own) and not any(
        _excluded_by(requirement, own) for requirement in selector.match_expressions or ()
    )


def _excluded_by_labels(labels: Mapping[str, str], own: Sequence[str]) -> bool:
    return any(not _may_have(key, (value,), own) for key, value in labels.items())


def _excluded_by(requirement: SelectorRequirement, own: Sequence[str]) -> bool:
    """Whether no pod of ours meets *requirement*."""
    key, values = requirement.key, requirement.values or ()
    match requirement.operator:
        case "DoesNotExist":
            return key in _ALWAYS
        case "In":
            return not _may_have(key, values, own)
        case "Exists":
            return not _may_have(key, (names.MANAGED_BY,), own)
        case "NotIn":
            return key == names.LABEL_MANAGED_BY and names.MANAGED_BY in values
        case _:
            return False


def _may_have(key: str, values: Sequence[str], own: Sequence[str]) -> bool:
    """Whether a pod of ours may have the label *key* with one of *values*."""
    if any(key.startswith(prefix) for prefix in own):
        return True
    return key == names.LABEL_MANAGED_BY and names.MANAGED_BY in values
