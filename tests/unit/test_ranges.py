"""What the network policies open, and that every range that is no internet is closed up to its last address."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from sandyard.api import names
from sandyard.api.network import Dns, Network
from sandyard.podspec import network, policy
from sandyard.podspec import pod as podspec
from sandyard.podspec.network import Reach
from tests.unit import objects

# IANA's special-purpose registries (RFC 6890 and its updates), multicast, Azure's WireServer,
# and what carries an IPv4 address in an IPv6 one.
CLOSED = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "::1/128",
    "fc00::/7", "fe80::/10", "ff00::/8", "::ffff:0:0/96", "64:ff9b::/96", "2001::/23", "2001:db8::/32", "2002::/16",
    "3fff::/20",
]  # fmt: skip
METADATA = ["100.100.100.200", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.255.254",
            "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42",
            "fd00:a9fe:a9fe::1", "fd00:100::100:200", "fe80::a9fe:a9fe", "febf::1"]  # fmt: skip


def opened(spec: dict[str, Any], address: str, port: int | None = None, protocol: str = "TCP") -> bool:
    """Whether a NetworkPolicy with *spec* lets its pods reach *address* (at *port*)."""
    target = ipaddress.ip_address(address)
    for rule in spec["egress"]:
        ports = rule.get("ports")
        if ports is not None and {"port": port, "protocol": protocol} not in ports:
            continue
        for peer in rule["to"]:
            block = peer.get("ipBlock")
            if block is None or target not in ipaddress.ip_network(block["cidr"]):
                continue
            if not any(target in ipaddress.ip_network(hole) for hole in block.get("except", ())):
                return True
    return False


def own(
    *rules: dict[str, Any],
    dns: list[str] | None = None,
    excluded: tuple[str, ...] = (),
    cluster_dns: str = "10.96.0.10",
) -> dict[str, Any]:
    reach = Reach(
        Network.model_validate({"egress": "AllowList", "allow": list(rules)}), Dns(nameservers=dns) if dns else None
    )
    allowance = network.allowance(reach)
    assert allowance is not None
    spec: dict[str, Any] = policy.allow("ns", allowance, excluded, [cluster_dns])["spec"]
    return spec


@pytest.mark.parametrize("closed", CLOSED)
def test_a_range_that_is_no_internet_is_closed_from_its_first_to_its_last_address(closed: str) -> None:
    spec = policy.internet("ns", [])["spec"]
    whole = ipaddress.ip_network(closed)
    middle = whole.network_address + whole.num_addresses // 2
    for address in (whole.network_address, middle, whole.broadcast_address):
        assert not opened(spec, str(address)), address


@pytest.mark.parametrize(
    "address",
    ["1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
     "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
     "192.0.3.0", "203.0.113.10",
     "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "192.88.98.255",
     "192.88.100.0", "223.255.255.255", "2001:200::", "2001:db9::",
     "2003::", "2000::", "3fff:1000::"],
)  # fmt: skip
def test_the_neighbours_of_closed_ranges_are_the_internet(address: str) -> None:
    assert opened(policy.internet("ns", [])["spec"], address)


@pytest.mark.parametrize("address", METADATA)
def test_no_list_opens_cloud_metadata_neither_by_itself_nor_within_a_range(address: str) -> None:
    bits = ipaddress.ip_address(address).max_prefixlen
    assert not opened(own({"cidr": f"{address}/{bits}"}), address)
    assert not opened(own({"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}), address)
    assert not opened(own({"cidr": "198.51.100.0/24"}, dns=[address]), address, 53, "UDP")


def test_no_list_opens_what_the_operator_keeps_closed() -> None:
    excluded = ("203.0.113.7", "192.0.2.0/24")
    for address in ("203.0.113.7", "192.0.2.9"):
        assert not opened(own({"cidr": f"{address}/32"}, excluded=excluded), address)
        assert not opened(own({"cidr": "192.0.0.0/2"}, excluded=excluded), address)
        assert not opened(own({"cidr": "198.51.100.0/24"}, dns=[address], excluded=excluded), address, 53, "UDP")
    assert opened(own({"cidr": "192.0.0.0/2"}, excluded=excluded), "203.0.113.8")


@pytest.mark.parametrize(
    "address",
    ["64:ff9b::a9fe:a9fe", "64:ff9b::6464:64c8", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:1::",
     "64:ff9b::cb00:7107", "2002:cb00:7107::1"],
)  # fmt: skip
def test_no_list_opens_the_forms_by_which_a_translator_reaches_what_is_closed(address: str) -> None:
    excluded = ("203.0.113.7",)
    for listed in (f"{address}/128", "64:ff9b::/95", "2000::/3", "::/0"):
        assert not opened(own({"cidr": listed}, excluded=excluded), address), listed
    assert opened(own({"cidr": "64:ff9b::/96"}, excluded=excluded), "64:ff9b::cb00:7108")


def test_a_list_opens_its_ports_and_no_others() -> None:
    spec = own({"cidr": "198.51.100.0/24", "ports": [{"port": 443}, {"port": 443, "protocol": "UDP"}]})
    assert opened(spec, "198.51.100.9", 443)
    assert opened(spec, "198.51.100.9", 443, "UDP")
    assert not opened(spec, "198.51.100.9", 80)
    assert not opened(spec, "198.51.101.9", 443)


def test_each_list_has_a_policy_of_its_own() -> None:
    def name(*rules: dict[str, Any], dns: list[str] | None = None, egress: str = "AllowList") -> str:
        reach = Reach(
            Network.model_validate({"egress": egress, "allow": list(rules) or None}),
            Dns(nameservers=dns) if dns else None,
        )
        (made,) = policy.private("ns", reach, [])
        return made

    all_ = [
        name({"cidr": "198.51.100.0/24"}),
        name({"cidr": "198.51.100.0/25"}),
        name({"cidr": "198.51.100.0/24", "ports": [{"port": 443}]}),
        name({"cidr": "198.51.100.0/24", "ports": [{"port": 443, "protocol": "UDP"}]}),
        name({"cidr": "198.51.100.0/24"}, dns=["192.0.2.53"]),
        name(dns=["192.0.2.53"], egress="DNS"),
        name(dns=["192.0.2.53"], egress="Internet"),
        name(dns=["192.0.2.54"], egress="Internet"),
    ]
    assert len(set(all_)) == len(all_)


CLUSTER_DNS = [{
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}]  # fmt: skip


def to_pods(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Rules of a policy that open pods by their labels."""
    return [rule for rule in spec["egress"] if any("podSelector" in peer for peer in rule["to"])]


def test_only_the_clusters_own_dns_is_opened_and_only_its_port() -> None:
    for spec in (policy.dns("ns")["spec"], own({"cidr": "198.51.100.7/32"}, dns=["192.0.2.53", "10.96.0.10"])):
        (rule,) = to_pods(spec)
        assert rule["to"] == CLUSTER_DNS
        assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert to_pods(policy.internet("ns", [])["spec"]) == []


@pytest.mark.parametrize(
    ("server", "cluster_dns", "expected"),
    [
        ("10.96.0.10", "10.96.0.10", True), ("fd00:10:96::a", "fd00:10:0096:0::a", True),
        ("10.96.0.11", "10.96.0.10", False), ("::ffff:10.96.0.10", "10.96.0.10", False),
    ],
)  # fmt: skip
def test_the_clusters_dns_by_its_address_is_a_name_server_like_any_other(
    server: str, cluster_dns: str, expected: bool
) -> None:
    spec = own({"cidr": "198.51.100.7/32"}, dns=[server], cluster_dns=cluster_dns)
    assert bool(to_pods(spec)) is expected
    assert to_pods(own({"cidr": f"{cluster_dns}/{ipaddress.ip_address(cluster_dns).max_prefixlen}"})) == []


@pytest.mark.parametrize(
    ("egress", "servers", "expected"),
    [
        ("DNS", None, True), ("Internet", None, True), ("None", None, False), ("AllowList", None, False),
        # They are used instead of the cluster's.
        ("DNS", ["192.0.2.53"], False), ("Internet", ["192.0.2.53"], False), ("AllowList", ["192.0.2.53"], False),
        ("DNS", ["10.96.0.10"], True), ("AllowList", ["192.0.2.53", "10.96.0.10"], True),
        ("None", ["10.96.0.10"], False),
    ],
)  # fmt: skip
def test_the_clusters_dns_is_open_where_it_is_asked_for(egress: str, servers: list[str] | None, expected: bool) -> None:
    allow = [{"cidr": "198.51.100.7/32"}] if egress == "AllowList" else None
    reach = Reach(
        Network.model_validate({"egress": egress, "allow": allow}), Dns(nameservers=servers) if servers else None
    )
    labels = {names.LABEL_STATE: names.STATE_CLAIMED, **network.labels(reach)}
    made = policy.policies("ns", [], [reach], ["10.96.0.10"])
    chosen = [one["spec"] for one in made.values() if selects(one, labels)]
    assert any(to_pods({"egress": [], **spec}) for spec in chosen) is expected


def selects(made: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a NetworkPolicy applies to a pod with *labels*."""
    selector = made["spec"]["podSelector"]
    matches = {
        "Exists": lambda item: item["key"] in labels,
        "DoesNotExist": lambda item: item["key"] not in labels,
        "In": lambda item: labels.get(item["key"]) in item["values"],
    }
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        matches[item["operator"]](item) for item in selector.get("matchExpressions", ())
    )


@pytest.mark.parametrize(
    "wanted",
    [
        {"egress": "DNS"},
        {"egress": "Internet"},
        {"egress": "AllowList", "allow": [{"cidr": "198.51.100.0/24"}]},
    ],
)
def test_a_new_pod_is_open_to_nothing_whatever_its_template_asks_for(wanted: dict[str, Any]) -> None:
    template = objects.template(network=wanted, dns={"nameservers": ["192.0.2.53"]})
    pool = podspec.Owner("SandboxPool", "p", "u")
    pod = podspec.build(template, name="p", namespace="ns", owner=pool, pool=pool, probe=objects.PROBE)
    labels = pod["metadata"]["labels"]
    made = policy.policies("ns", [], [Reach(template.network, template.dns)])
    chosen = {name for name, one in made.items() if selects(one, labels)}
    assert chosen == {"sandyard-closed"}
    labels[names.LABEL_EGRESS] = template.network.egress
    assert len({name for name, one in made.items() if selects(one, labels)}) > 1


def test_the_closing_policy_holds_for_every_pod_of_ours_and_for_no_other() -> None:
    closed = policy.closed("ns")
    for state in (names.STATE_WARM, names.STATE_COLD, names.STATE_CLAIMED):
        assert selects(closed, {names.LABEL_STATE: state})
    assert not selects(closed, {"app": "web"})


def test_a_policy_says_whose_it_is() -> None:
    """Admission and the sweep go by these labels."""
    reach = Reach(Network.model_validate({
        "egress": "AllowList", "allow": [{"cidr": "198.51.100.0/24"}],
        "ingressFrom": [{"podSelector": {}, "ports": [{"port": 80}]}],
    }))  # fmt: skip
    for name, made in policy.policies("ns", [], [reach]).items():
        assert made["metadata"]["labels"] == {names.LABEL_POLICY: name, "app.kubernetes.io/managed-by": "sandyard"}
        assert made["metadata"]["namespace"] == "ns"


def test_ingress_keeps_both_selectors_and_every_port() -> None:
    peer = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "namespaceSelector": {"matchLabels": {"team": "a"}},
        "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}],
    }
    network_ = Network.model_validate({"ingressFrom": [peer]})
    assert network_.ingress_from is not None
    made = policy.ingress("ns", network_.ingress_from)
    # One entry with both: a pod has to be of that label and in that namespace.
    assert made["spec"]["ingress"] == [{
        "from": [{"podSelector": peer["podSelector"], "namespaceSelector": peer["namespaceSelector"]}],
        "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
    }]  # fmt: skip
    assert made["spec"]["policyTypes"] == ["Ingress"]


def test_a_range_that_is_excluded_may_be_named_by_any_of_its_addresses() -> None:
    excluded = ("198.51.100.130/25",)
    assert opened(own({"cidr": "198.51.100.0/24"}, excluded=excluded), "198.51.100.7", 53, "UDP")
    assert not opened(own({"cidr": "198.51.100.0/24"}, excluded=excluded), "198.51.100.200", 53, "UDP")
