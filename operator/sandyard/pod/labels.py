"""Whether a pod's labels say what the operator has made of it, and which network a free pod may have.

A pod belongs to its owner reference: the operator changes that and the labels in one write,
and whoever may write a pod's status can change its labels but not its owners.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sandyard.api import names
from sandyard.api.objects import Pod
from sandyard.api.template import Template
from sandyard.podspec import containers, network
from sandyard.podspec.network import Reach

__all__ = ["astray", "corrected", "free_networks", "network_of"]

NETWORK = (names.LABEL_EGRESS, names.LABEL_ALLOW, names.LABEL_INGRESS)
# What a pod keeps for as long as it lives.
_FIXED = (names.LABEL_POOL_UID, names.LABEL_TEMPLATE_HASH)
_OWNED_STATES = (names.STATE_CLAIMED, names.STATE_COLD)


def astray(pod: Pod, before: Pod | None) -> dict[str, str | None]:
    """Labels of *pod* that somebody else has changed, with what they should be (None: it should not be there).

    Parameters
    ----------
    before
        The pod as it was known, its labels right; None: it is seen for the first time.
    """
    have, wanted = pod.metadata.labels, _wanted(pod, before)
    return {key: value for key, value in wanted.items() if have.get(key) != value}


def corrected(pod: Pod, changes: Mapping[str, str | None]) -> Pod:
    """*pod* with its labels as they should be: what others have written there is not believed."""
    labels = {**pod.metadata.labels, **changes}
    kept = {key: value for key, value in labels.items() if value is not None}
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, labels=kept))


def network_of(pod: Pod) -> tuple[str | None, ...]:
    """Labels that choose the network policies of *pod*."""
    return tuple(pod.metadata.labels.get(key) for key in NETWORK)


def free_networks(template: Template) -> frozenset[tuple[str | None, ...]]:
    """What `network_of` may be for a pod of *template* that is nobody's: closed, open, or as its setup needs."""
    own = network.labels(Reach(template.network, template.dns))
    closed = {**own, names.LABEL_EGRESS: names.EGRESS_NONE}
    at_first = containers.labels_at_first(template)
    return frozenset(tuple(labels.get(key) for key in NETWORK) for labels in (own, closed, at_first))


def _wanted(pod: Pod, before: Pod | None) -> dict[str, str | None]:
    """The labels of *pod* that are beyond doubt."""
    known = before.metadata.labels if before is not None else {}
    wanted: dict[str, str | None] = {key: known[key] for key in _FIXED if key in known}
    owner = next((o for o in pod.metadata.owner_references if o.kind in (names.SANDBOX_KIND, names.POOL_KIND)), None)
    if owner is None:
        return wanted
    if owner.kind == names.POOL_KIND:
        return {**wanted, names.LABEL_POOL_UID: owner.uid, names.LABEL_SANDBOX_UID: None,
                names.LABEL_STATE: names.STATE_WARM}  # fmt: skip
    wanted[names.LABEL_SANDBOX_UID] = owner.uid
    if known.get(names.LABEL_SANDBOX_UID) == owner.uid:
        wanted[names.LABEL_STATE] = known.get(names.LABEL_STATE)
    elif pod.metadata.labels.get(names.LABEL_STATE) not in _OWNED_STATES:
        wanted[names.LABEL_STATE] = names.STATE_CLAIMED
    return wanted
