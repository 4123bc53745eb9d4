"""What a network setting means for a pod: its labels, and whether it can be widened in place.

The labels choose the NetworkPolicies of `sandyard.podspec.policy`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sandyard.api import names
from sandyard.api.network import AllowRule, Dns, IngressPeer, Network

__all__ = ["Allowance", "Reach", "allowance", "beyond", "ingress_hash", "labels", "widens"]

# Each profile and those that it is part of.
_PARTS_OF = {
    names.EGRESS_NONE: {names.EGRESS_NONE, names.EGRESS_DNS, names.EGRESS_INTERNET, names.EGRESS_ALLOW_LIST},
    names.EGRESS_DNS: {names.EGRESS_DNS, names.EGRESS_INTERNET},
    names.EGRESS_INTERNET: {names.EGRESS_INTERNET},
    names.EGRESS_ALLOW_LIST: set[str](),
}


@dataclass(frozen=True)
class Reach:
    """A network setting and the name servers that go with it."""

    network: Network
    dns: Dns | None = None


@dataclass(frozen=True)
class Allowance:
    """What one sandbox or pool may reach beyond what its profile gives to everybody.

    Attributes
    ----------
    digest
        Names the allowance in a label and in its policy's name.
    """

    digest: str
    egress: str
    rules: tuple[AllowRule, ...]
    nameservers: tuple[str, ...]


def allowance(reach: Reach) -> Allowance | None:
    """The policy of its own that *reach* needs; None where the profile's common one is enough."""
    network = reach.network
    servers = tuple(reach.dns.nameservers) if reach.dns is not None and network.egress != names.EGRESS_NONE else ()
    allowed = tuple(network.allow or ())
    if not servers and not allowed:
        return None
    content = [network.egress, servers, [_dump(rule) for rule in allowed]]
    return Allowance(_digest(content), network.egress, allowed, servers)


def ingress_hash(peers: Sequence[IngressPeer]) -> str:
    """Name of the set of *peers* that may connect; part of a policy's name and a label."""
    return _digest([_dump(peer) for peer in peers])


def labels(reach: Reach) -> dict[str, str]:
    """Labels of a pod whose network is open as far as *reach* allows."""
    found = {names.LABEL_EGRESS: str(reach.network.egress)}
    own = allowance(reach)
    if own is not None:
        found[names.LABEL_ALLOW] = own.digest
    if reach.network.ingress_from:
        found[names.LABEL_INGRESS] = ingress_hash(reach.network.ingress_from)
    return found


def widens(have: Network, want: Network) -> bool:
    """Whether a running pod with *have* can be given *want*: everything open stays open.

    What is not plainly wider is not: a running pod cannot be proven closed in time, so such
    a sandbox is started cold.
    """
    if have.ingress_from and have.ingress_from != want.ingress_from:
        return False
    if have.egress == want.egress:
        return all(_covered(rule, want.allow or ()) for rule in have.allow or ())
    return want.egress in _PARTS_OF[have.egress]


def beyond(own: Network, pool: Network, profiles: Sequence[str]) -> str:
    """What a Sandbox's *own* network asks for that its pool does not allow; empty if that is nothing.

    *pool* is the network of the pool's template, *profiles* are what it allows.
    """
    if own.egress not in profiles:
        return (
            f"egress: the pool allows {', '.join(profiles) or 'none'}, not {own.egress}; ask for one of these, or for "
            "allowedEgress of the pool to include it"
        )
    if own.egress == pool.egress:
        wider = next((rule.cidr for rule in own.allow or () if not _covered(rule, pool.allow or ())), None)
        if wider is not None:
            return f"allow: {wider} is not, or not on all of these ports, within the allow list of the pool's template"
    peers = pool.ingress_from or ()
    if any(peer not in peers for peer in own.ingress_from or ()):
        return "ingressFrom: the pool's template does not let this peer in on these ports; have it list the peer"
    return ""


def _covered(rule: AllowRule, by: Sequence[AllowRule]) -> bool:
    network = ipaddress.ip_network(rule.cidr)
    for other in by:
        wide = ipaddress.ip_network(other.cidr)
        inside = network.version == wide.version and network.subnet_of(wide)  # type: ignore[arg-type]
        if inside and (other.ports is None or (rule.ports is not None and all(p in other.ports for p in rule.ports))):
            return True
    return False


def _dump(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
