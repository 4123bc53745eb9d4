"""NetworkPolicies: one that closes every pod of ours, one for each way to open it.

Policies add up, so the closing one always holds and the label ``sandyard.dev/egress`` of a
pod chooses what is opened.  They stand in a namespace before its first pod does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sandyard.api import names
from sandyard.api.network import AllowRule, IngressPeer
from sandyard.podspec.network import Allowance, Reach, allowance, ingress_hash

__all__ = ["COMMON", "EXCLUDED", "METADATA", "allow", "closed", "dns", "in_all_forms", "ingress", "internet",
           "policies", "private"]  # fmt: skip

# Names of those that every namespace has.
COMMON: Final = ("sandyard-closed", "sandyard-dns", "sandyard-internet")
# The internet is 0.0.0.0/0 and, of IPv6, only global unicast: that leaves out loopback,
# link-local, unique-local and multicast, and the forms that smuggle an IPv4 address past a
# filter (mapped ::ffff:0:0/96, NAT64 64:ff9b::/96).
_INTERNET: Final = ("0.0.0.0/0", "2000::/3")
# Not the internet: private, shared, loopback, link-local, benchmarking, multicast, reserved,
# the former anycast of 6to4, IETF's own (Teredo is part of it), documentation and 6to4 (IANA
# special-purpose registries), and Azure's WireServer (a public address). 203.0.113.0/24, the
# third range of documentation, is left to the chart: our own tests have their internet there.
EXCLUDED: Final = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
# Cloud metadata and the link-local range that most of it lives in; nobody may list these.
# Alibaba's, Azure's and Oracle's lie elsewhere; of IPv6, Scaleway's, Oracle's, Alibaba's, Akamai's,
# Amazon's and Google's (documents and SDKs of these clouds, cloud-init's data sources).
METADATA: Final = (
    "100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.192/32", "fd00:42::42/128",
    "fd00:c1::a9fe:a9fe/128", "fd00:100::100:200/128", "fd00:a9fe:a9fe::1/128", "fd00:ec2::/32", "fd20:ce::254/128",
    "fe80::/10",
)  # fmt: skip
# IPv6 networks in which an IPv4 address follows the prefix, and where it begins: a translator
# on the way turns it into that address (RFC 6052, 3056). Mapped ones never leave a machine.
_EMBEDDING: Final = (("64:ff9b::", 96), ("2002::", 16))
# Local translators put the address where they like, Teredo hides it: no list opens these.
_TRANSLATED: Final = ("64:ff9b:1::/48", "2001::/32")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_CLUSTER_DNS: Final = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}
_DNS_PORTS: Final = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
_OURS: Final = {"matchExpressions": [{"key": names.LABEL_STATE, "operator": "Exists"}]}


def closed(namespace: str) -> dict[str, Any]:
    """Nothing in, nothing out, for every pod of ours in *namespace*."""
    return _policy(COMMON[0], namespace, {"podSelector": _OURS, "policyTypes": ["Ingress", "Egress"]})


def dns(namespace: str) -> dict[str, Any]:
    """Out to the cluster's DNS, for pods with egress DNS or Internet that have no name servers of their own."""
    profiles = [names.EGRESS_DNS, names.EGRESS_INTERNET]
    # Of these profiles, none but name servers of its own makes an allowance.
    chosen = [
        {"key": names.LABEL_EGRESS, "operator": "In", "values": profiles},
        {"key": names.LABEL_ALLOW, "operator": "DoesNotExist"},
    ]
    spec = {
        "podSelector": {"matchExpressions": chosen},
        "policyTypes": ["Egress"],
        "egress": [{"to": [_CLUSTER_DNS], "ports": _DNS_PORTS}],
    }
    return _policy(COMMON[1], namespace, spec)


def allow(
    namespace: str, allowed: Allowance, excluded: Iterable[str], cluster_dns: Iterable[str] = ()
) -> dict[str, Any]:
    """Out to what *allowed* lists, but never to *excluded* (the API server) or cloud metadata.

    Parameters
    ----------
    cluster_dns
        Addresses of the cluster's DNS as pods know it. Behind them stand pods, and most network plugins see a packet
        when it is on its way to one of these: a policy that names the address alone opens nothing.
    """
    closed_ = in_all_forms([*METADATA, *excluded])
    egress = [rule for item in allowed.rules if (rule := _allow_rule(item, closed_)) is not None]
    servers = [ipaddress.ip_network(server) for server in allowed.nameservers]
    blocks = [{"ipBlock": {"cidr": str(server)}} for server in servers if not _within(server, closed_)]
    if blocks:
        egress.append({"to": blocks, "ports": _DNS_PORTS})
    if {server.network_address for server in servers} & {ipaddress.ip_address(address) for address in cluster_dns}:
        egress.append({"to": [_CLUSTER_DNS], "ports": _DNS_PORTS})
    selected = {names.LABEL_EGRESS: allowed.egress, names.LABEL_ALLOW: allowed.digest}
    spec = {"podSelector": {"matchLabels": selected}, "policyTypes": ["Egress"], "egress": egress}
    return _policy(f"sandyard-allow-{allowed.digest}", namespace, spec)


def internet(namespace: str, excluded: Iterable[str]) -> dict[str, Any]:
    """Out to the internet, for pods with egress Internet.

    Parameters
    ----------
    excluded
        Further addresses and ranges to keep closed: the API server's, the cluster's own.
    """
    networks = [ipaddress.ip_network(block, strict=False) for block in (*EXCLUDED, *excluded)]
    blocks = [{"ipBlock": {"cidr": cidr, "except": _inside(cidr, networks)}} for cidr in _INTERNET]
    spec = {
        "podSelector": {"matchLabels": {names.LABEL_EGRESS: names.EGRESS_INTERNET}},
        "policyTypes": ["Egress"],
        "egress": [{"to": blocks}],
    }
    return _policy(COMMON[2], namespace, spec)


def ingress(namespace: str, peers: Sequence[IngressPeer]) -> dict[str, Any]:
    """In from *peers*, for pods whose template names just these."""
    digest = ingress_hash(peers)
    spec = {
        "podSelector": {"matchLabels": {names.LABEL_INGRESS: digest}},
        "policyTypes": ["Ingress"],
        "ingress": [_ingress_rule(peer) for peer in peers],
    }
    return _policy(f"sandyard-ingress-{digest}", namespace, spec)


def private(
    namespace: str, reach: Reach, excluded: Iterable[str], cluster_dns: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """Policies that *reach* needs for itself, by name."""
    made = []
    own = allowance(reach)
    if own is not None:
        made.append(allow(namespace, own, excluded, cluster_dns))
    if reach.network.ingress_from:
        made.append(ingress(namespace, reach.network.ingress_from))
    return {policy["metadata"]["name"]: policy for policy in made}


def policies(
    namespace: str, excluded: Iterable[str], reaches: Iterable[Reach], cluster_dns: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """All policies that *namespace* needs, by name."""
    excluded, cluster_dns = list(excluded), list(cluster_dns)
    common = [closed(namespace), dns(namespace), internet(namespace, excluded)]
    wanted = {policy["metadata"]["name"]: policy for policy in common}
    for reach in reaches:
        wanted.update(private(namespace, reach, excluded, cluster_dns))
    return wanted


def _policy(name: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.LABEL_POLICY: name, names.LABEL_MANAGED_BY: names.MANAGED_BY},
        },
        "spec": dict(spec),
    }


def _ingress_rule(peer: IngressPeer) -> dict[str, Any]:
    source: dict[str, Any] = {}
    if peer.pod_selector is not None:
        source["podSelector"] = peer.pod_selector.model_dump(mode="json", by_alias=True, exclude_none=True)
    if peer.namespace_selector is not None:
        source["namespaceSelector"] = peer.namespace_selector.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"from": [source], "ports": [{"port": port.port, "protocol": port.protocol} for port in peer.ports]}


def _allow_rule(rule: AllowRule, excluded: Sequence[_Network]) -> dict[str, Any] | None:
    whole = ipaddress.ip_network(rule.cidr)
    if _within(whole, excluded):
        return None
    block: dict[str, Any] = {"cidr": str(whole)}
    inside = _inside(str(whole), excluded)
    if inside:
        block["except"] = inside
    made: dict[str, Any] = {"to": [{"ipBlock": block}]}
    if rule.ports:
        made["ports"] = [{"port": port.port, "protocol": port.protocol} for port in rule.ports]
    return made


def in_all_forms(blocks: Iterable[str]) -> list[_Network]:
    """*blocks*, and the IPv6 networks by which a translator would reach those of IPv4."""
    networks = [ipaddress.ip_network(block, strict=False) for block in blocks]
    embedded = [
        ipaddress.IPv6Network((int(ipaddress.IPv6Address(prefix)) | int(block.network_address) << (96 - bits),
                               bits + block.prefixlen))
        for block in networks if isinstance(block, ipaddress.IPv4Network) for prefix, bits in _EMBEDDING
    ]  # fmt: skip
    return [*networks, *embedded, *(ipaddress.ip_network(block) for block in _TRANSLATED)]


def _within(network: _Network, wide: Iterable[_Network]) -> bool:
    return any(network.version == other.version and network.subnet_of(other) for other in wide)  # type: ignore[arg-type]


def _inside(cidr: str, networks: Iterable[_Network]) -> list[str]:
    """Those of *networks* that are part of *cidr*, in a stable order, none inside another."""
    whole = ipaddress.ip_network(cidr)
    if isinstance(whole, ipaddress.IPv4Network):
        v4 = [n for n in networks if isinstance(n, ipaddress.IPv4Network) and n != whole and n.subnet_of(whole)]
        return [str(network) for network in ipaddress.collapse_addresses(v4)]
    v6 = [n for n in networks if isinstance(n, ipaddress.IPv6Network) and n != whole and n.subnet_of(whole)]
    return [str(network) for network in ipaddress.collapse_addresses(v6)]
