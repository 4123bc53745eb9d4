"""Networks as labels and policies: which may be widened in a running pod, and what stays closed."""

from __future__ import annotations

from typing import Any

import pytest

from sandyard.api.network import Dns, Network
from sandyard.podspec import network, policy
from sandyard.podspec.network import Reach


def net(egress: str = "None", *cidrs: str, **fields: Any) -> Network:
    allow = [{"cidr": cidr} for cidr in cidrs] or None
    return Network.model_validate({"egress": egress, "allow": allow, **fields})


PEERS = [{"podSelector": {}, "ports": [{"port": 80}]}]


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [
        (net(), net(), True),
        (net(), net("DNS"), True),
        (net(), net("Internet"), True),
        (net(), net("AllowList", "198.51.100.0/24"), True),
        (net("DNS"), net("Internet"), True),
        (net("Internet"), net("DNS"), False),
        (net("Internet"), net(), False),
        (net("DNS"), net("AllowList", "198.51.100.0/24"), False),
        (net("AllowList", "198.51.100.0/25"), net("AllowList", "198.51.100.0/24"), True),
        (net("AllowList", "198.51.100.0/24"), net("AllowList", "198.51.100.0/25"), False),
        (net("AllowList", "10.0.0.0/8"), net("Internet"), False),
        (net(), net(ingressFrom=PEERS), True),
        (net(ingressFrom=PEERS), net(), False),
        (net(ingressFrom=PEERS), net("DNS", ingressFrom=PEERS), True),
    ],
)
def test_only_what_is_plainly_wider_is_opened_in_a_running_pod(have: Network, want: Network, expected: bool) -> None:
    assert network.widens(have, want) is expected


def test_ports_count_when_lists_are_compared() -> None:
    web = Network.model_validate({"egress": "AllowList", "allow": [{"cidr": "1.2.3.0/24", "ports": [{"port": 443}]}]})
    every = net("AllowList", "1.2.3.0/24")
    assert network.widens(web, every)
    assert not network.widens(every, web)


def test_labels_choose_the_policies() -> None:
    reach = Reach(net("AllowList", "198.51.100.0/24", ingressFrom=PEERS))
    labels = network.labels(reach)
    made = policy.policies("ns", [], [reach])
    allow = made[f"sandyard-allow-{labels['sandyard.dev/allow']}"]
    assert allow["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    ingress = made[f"sandyard-ingress-{labels['sandyard.dev/ingress']}"]
    assert ingress["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert {"sandyard-closed", "sandyard-dns", "sandyard-internet"} <= made.keys()


def egress(*cidrs: str, excluded: tuple[str, ...] = (), dns: Dns | None = None) -> list[dict[str, Any]]:
    own = network.allowance(Reach(net("AllowList", *cidrs), dns))
    assert own is not None
    found: list[dict[str, Any]] = policy.allow("ns", own, excluded)["spec"]["egress"]
    return found


def test_the_api_server_and_cloud_metadata_stay_closed_whatever_is_listed() -> None:
    block = egress("0.0.0.0/0", excluded=("203.0.113.7/32",))[0]["to"][0]["ipBlock"]
    assert "203.0.113.7/32" in block["except"]
    assert "169.254.0.0/16" in block["except"]
    assert egress("169.254.169.254/32", "203.0.113.7/32", excluded=("203.0.113.7",)) == []
    assert egress("fd00:ec2::/64") == []
    six = egress("fd00::/8")[0]["to"][0]["ipBlock"]
    assert {"fd00:42::42/128", "fd00:ec2::/32", "fd20:ce::254/128"} <= set(six["except"])


def test_own_name_servers_are_reachable_on_port_53_alone() -> None:
    dns = Dns(nameservers=["192.0.2.53"])
    rules = egress("198.51.100.0/24", dns=dns)
    assert rules[-1]["to"] == [{"ipBlock": {"cidr": "192.0.2.53/32"}}]
    assert {(port["protocol"], port["port"]) for port in rules[-1]["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert network.allowance(Reach(net(), dns)) is None, "None means nothing, not even names"
    assert network.allowance(Reach(net("DNS"), dns)) is not None


WEB, ANY = [{"podSelector": {"matchLabels": {"app": "web"}}, "ports": [{"port": 80}]}], PEERS


@pytest.mark.parametrize(
    ("own", "pool", "profiles", "part"),
    [
        (net(), net(), ["None"], ""),
        (net("DNS"), net(), ["None"], "egress"),
        (net("DNS"), net(), ["None", "DNS"], ""),
        (net(), net("Internet"), ["Internet"], "egress"),
        (net("AllowList", "198.51.100.7/32"), net("AllowList", "198.51.100.0/24"), ["AllowList"], ""),
        (net("AllowList", "198.51.100.0/24"), net("AllowList", "198.51.100.7/32"), ["AllowList"], "allow"),
        (net("AllowList", "0.0.0.0/0"), net("AllowList", "198.51.100.7/32"), ["AllowList"], "allow"),
        (net("AllowList", "198.51.100.7/32", "::/0"), net("AllowList", "198.51.100.7/32"), ["AllowList"], "allow"),
        # A pool that leaves the list to its Sandboxes says so.
        (net("AllowList", "198.51.100.7/32"), net(), ["None", "AllowList"], ""),
        (net(ingressFrom=WEB), net(), ["None"], "ingressFrom"),
        (net(ingressFrom=WEB), net(ingressFrom=WEB), ["None"], ""),
        (net(ingressFrom=ANY), net(ingressFrom=WEB), ["None"], "ingressFrom"),
        (net(ingressFrom=[*WEB, *ANY]), net(ingressFrom=WEB), ["None"], "ingressFrom"),
        (net(), net(ingressFrom=WEB), ["None"], ""),
    ],
)
def test_a_sandboxs_own_network_lies_within_its_pools(
    own: Network, pool: Network, profiles: list[str], part: str
) -> None:
    assert network.beyond(own, pool, profiles).partition(":")[0] == part


def test_ports_of_an_own_list_lie_within_the_pools_too() -> None:
    def listed(*ports: int) -> Network:
        rule: dict[str, Any] = {"cidr": "198.51.100.7/32"}
        return Network.model_validate({"egress": "AllowList", "allow": [
            {**rule, "ports": [{"port": port} for port in ports]} if ports else rule,
        ]})  # fmt: skip

    assert not network.beyond(listed(443), listed(443, 80), ["AllowList"])
    assert not network.beyond(listed(443), listed(), ["AllowList"])
    assert network.beyond(listed(443, 22), listed(443, 80), ["AllowList"])
    assert network.beyond(listed(), listed(443), ["AllowList"])
