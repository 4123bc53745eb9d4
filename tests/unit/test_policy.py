from __future__ import annotations

import ipaddress

import pytest

from sandyard.api.network import IngressPeer, Network
from sandyard.pod import proof
from sandyard.podspec import policy
from sandyard.podspec.network import Reach
from tests.unit import objects


def reaches(address: str, excluded: list[str] | None = None) -> bool:
    """Whether the profile Internet lets a pod reach *address*."""
    target = ipaddress.ip_address(address)
    for peer in policy.internet("ns", excluded or [])["spec"]["egress"][0]["to"]:
        block = peer["ipBlock"]
        if target in ipaddress.ip_network(block["cidr"]):
            return not any(target in ipaddress.ip_network(hole) for hole in block["except"])
    return False


@pytest.mark.parametrize("address", ["1.1.1.1", "203.0.113.10", "8.8.8.8", "2606:4700:4700::1111"])
def test_the_internet_is_reached(address: str) -> None:
    assert reaches(address)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "168.63.129.16",
     "127.0.0.1", "0.0.0.0", "198.18.0.2", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1",
     "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:0:1::"],
)  # fmt: skip
def test_what_is_not_the_internet_is_not(address: str) -> None:
    assert not reaches(address)


def test_the_api_servers_public_address_is_closed() -> None:
    assert reaches("34.1.2.3")
    assert not reaches("34.1.2.3", ["34.1.2.3"])
    assert not reaches("2a00::5", ["2a00::/16"])


def test_every_hole_lies_inside_its_range_as_kubernetes_demands() -> None:
    for peer in policy.internet("ns", ["10.1.0.0/16", "34.0.0.0/8", "fd00::/8"])["spec"]["egress"][0]["to"]:
        whole = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        for hole in peer["ipBlock"]["except"]:
            assert ipaddress.ip_network(hole).subnet_of(whole)  # type: ignore[arg-type]
            assert ipaddress.ip_network(hole) != whole


def test_closed_means_closed_both_ways() -> None:
    spec = policy.closed("ns")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in spec
    assert "ingress" not in spec


def test_ingress_names_its_peers_and_ports() -> None:
    peers = [IngressPeer.model_validate({"podSelector": {"matchLabels": {"app": "x"}}, "ports": [{"port": 80}]})]
    made = policy.ingress("ns", peers)
    assert made["spec"]["ingress"] == [
        {"from": [{"podSelector": {"matchLabels": {"app": "x"}}}], "ports": [{"port": 80, "protocol": "TCP"}]}
    ]
    assert set(policy.policies("ns", [], [Reach(Network(ingress_from=peers))])) == {
        "sandyard-closed", "sandyard-dns", "sandyard-internet", made["metadata"]["name"],
    }  # fmt: skip


def test_a_proof_is_read() -> None:
    seen = proof.parse(objects.proof(openSeconds=0.5))
    assert seen is not None
    assert seen.isolated
    assert seen.enforced
    assert seen.open_seconds == 0.5


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", objects.proof(version=2), '{"version": 1}', "x" * 5000])
def test_what_is_no_proof_proves_nothing(text: str) -> None:
    assert proof.parse(text) is None


def test_only_the_word_true_is_true() -> None:
    seen = proof.parse(objects.proof(isolated="yes", network="enforced"))
    assert seen is not None
    assert not seen.isolated
    assert not seen.enforced
