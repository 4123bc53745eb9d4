"""Names in real sandboxes, with the name server that clusters have: who may ask, and what an answer opens (nothing)."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from localcluster import dns, network
from tests.cluster.conftest import new_namespace
from tests.cluster.test_isolation import inside
from tests.support import leaks, manifests
from tests.support.kube import Kube, until
from tests.support.release import Installed

INTERNET = "203.0.113.10"
# Of the outside world too, which a template may name as its name server.
SERVER = network.OUTSIDE_GATEWAY
CLOSED = {"private": "10.9.9.9", "metadata": "169.254.169.254", "alibaba": "100.100.100.200", "azure": "168.63.129.16"}
ZONE = {
    "internet": [f"A {INTERNET}"],
    **{name: [f"A {address}"] for name, address in CLOSED.items()},
    # More than a datagram holds: the answer comes by TCP.
    "many": [f"A 203.0.113.{number}" for number in range(1, 61)],
    "both": [f"A {CLOSED['private']}", f"A {INTERNET}"],
    "mapped": [f"AAAA ::ffff:{CLOSED['metadata']}"],
    "mapped-api": ["AAAA ::ffff:10.96.0.1"],
    "translated": ["AAAA 64:ff9b::a9fe:a9fe"],
    "metadata-of-six": ["AAAA fd00:ec2::254"],
    "alias": ["CNAME kubernetes.default.svc.cluster.local."],
}
ALONE = [{"cidr": f"{INTERNET}/32", "ports": [{"port": 80}]}]
# Sandboxes by their names: the template of each, and whether it is promised that names are resolved.
SANDBOXES: dict[str, tuple[dict[str, Any], bool]] = {
    "none": ({}, False),
    "none-with-a-server": ({"dns": {"nameservers": [network.DNS_ADDRESS]}}, False),
    "dns": ({"network": {"egress": "DNS"}}, True),
    "internet": ({"network": {"egress": "Internet"}}, True),
    "list": ({"network": {"egress": "AllowList", "allow": ALONE}}, False),
    "list-and-dns": (
        {"network": {"egress": "AllowList", "allow": ALONE}, "dns": {"nameservers": [network.DNS_ADDRESS]}},
        True,
    ),
    "own-server": ({"network": {"egress": "DNS"}, "dns": {"nameservers": [SERVER]}}, False),
}
_RESOLVE = """
import json, socket, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = sorted({item[4][0] for item in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)})
    except OSError:
        found[name] = []
print(json.dumps(found))
"""
# One question to each server, by UDP and by TCP, with octets in it that no host name has.
_ASK = r"""
import json, socket, sys
token, *servers = sys.argv[1:]
labels = [b"\x00\xff .", token.encode(), b"outside", b"example", b""]
question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
question += b"".join(bytes([len(one)]) + one for one in labels) + b"\x00\x01\x00\x01"
found = []
for server in servers:
    for kind, sent in ((socket.SOCK_DGRAM, question), (socket.SOCK_STREAM, len(question).to_bytes(2) + question)):
        with socket.socket(socket.AF_INET, kind) as query:
            query.settimeout(2)
            try:
                query.connect((server, 53))
                query.send(sent)
                if query.recv(600):
                    found.append([server, "UDP" if kind == socket.SOCK_DGRAM else "TCP"])
            except OSError:
                pass
print(json.dumps(found))
"""
# Every address that a name leads to is tried, not the first that answers alone.
_CONNECT = """
import json, socket, sys
found = []
for target in sys.argv[1:]:
    name, _, port = target.rpartition(":")
    try:
        answers = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM)
    except OSError:
        answers = []
    for family, kind, _, _, address in answers:
        with socket.socket(family, kind) as tried:
            tried.settimeout(2)
            try:
                tried.connect(address)
                found.append(f"{target} {address[0]}")
            except OSError:
                pass
print(json.dumps(found))
"""
_OPENS = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)"
# It answers on the port of name servers, by UDP and by TCP.
_SERVE = """
import socket, threading
def datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 53))
        while True:
            server.sendto(*server.recvfrom(600))
threading.Thread(target=datagrams, daemon=True).start()
with socket.create_server(("0.0.0.0", 53)) as server:
    while True:
        with server.accept()[0] as made:
            made.send(made.recv(600))
"""
# One question by UDP, from a port that is told.
_ASK_FROM = r"""
import pathlib, socket, sys
def ask(port):
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08internet\x07outside\x07example\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        query.settimeout(1)
        query.bind(("", port))
        query.sendto(question, ("10.96.0.10", 53))
        return query.recv(600)
"""
# The setup may ask; what it leaves tells whether it was answered.
_SETUP = f"""{_ASK_FROM}
import time
for attempt in range(40):
    try:
        pathlib.Path("/workspace/answer").write_text(socket.gethostbyname("internet.{dns.ZONE}"))
        ask(40000)
        sys.exit()
    except OSError:
        time.sleep(0.2)
sys.exit("no answer")
"""
# What follows it goes on from the same port: the node may take that for the same flow.
_GO_ON = f"""{_ASK_FROM}
import json
try:
    print(json.dumps(len(ask(40000))))
except OSError:
    print(0)
"""


@dataclass(frozen=True)
class World:
    """A namespace with one sandbox for each network, and what else they might reach by a name."""

    kube: Kube
    installed: Installed
    pods: dict[str, str]
    # A pod that looks like a name server, in the namespace of the sandboxes.
    pretender: str

    def run(self, sandbox: str, program: str, *arguments: str) -> Any:
        return json.loads(inside(self.kube, self.pods[sandbox], "python3", "-c", program, *arguments))

    def resolved(self, sandbox: str, *names: str) -> dict[str, list[str]]:
        """Names that the sandbox can resolve, and what to."""
        found: dict[str, list[str]] = self.run(sandbox, _RESOLVE, *names)
        return {name: addresses for name, addresses in found.items() if addresses}

    def answers(self, sandbox: str, token: str, *servers: str) -> set[tuple[str, str]]:
        """Servers that answer the sandbox, and by which protocol, when it asks for a name with *token* in it."""
        return {(server, protocol) for server, protocol in self.run(sandbox, _ASK, token, *servers)}

    def reached(self, sandbox: str, *targets: str) -> set[str]:
        """What connections there are to any address of these names, as ``name:port address``."""
        return set(self.run(sandbox, _CONNECT, *targets))

    def server(self) -> str:
        """Address of the pod that is the cluster's name server."""
        (pod,) = self.kube.within("kube-system").list("pods", "k8s-app=kube-dns")
        return str(pod["status"]["podIP"])


@pytest.fixture(scope="module")
def world(installed: Installed, gate: leaks.Gate) -> Iterator[World]:
    dns.plant(installed.cluster, {**ZONE, "node": [f"A {installed.cluster.node_address}"]})
    with new_namespace(installed.kube) as kube:
        kube.apply(pretender(), service("pretender", {"app": "pretender"}, 53))
        # It takes the longest to start.
        setup = {"command": ["python3", "-c", _SETUP], "timeoutSeconds": 60, "network": {"egress": "DNS"}}
        listed = {"egress": "AllowList", "allow": ALONE}
        kube.create(manifests.sandbox("prepared", template=manifests.template(setup=setup, network=listed)))
        for name, (template, _) in SANDBOXES.items():
            kube.create(manifests.sandbox(name, template=manifests.template(**template)))
        names = [*SANDBOXES, "prepared"]
        pods = {name: kube.wait_for("sandbox", name, "Ready", 120)["podName"] for name in names}
        address = until("the pretender runs", lambda: kube.get("pod", "pretender")["status"].get("podIP"), 30)  # type: ignore[index]
        gate.changed()
        yield World(kube, installed, pods, address)
        # Plain pods end by force alone: their main process is process 1 and ignores TERM.
        kube.delete("pod", "pretender", force=True)
    dns.uproot(installed.cluster)


def pretender() -> dict[str, Any]:
    """A pod of the tenant's with the label of the cluster's name server."""
    container = {"name": "c", "image": manifests.IMAGE, "command": ["python3", "-c", _SERVE],
                 "resources": {"limits": {"memory": "64Mi"}}}  # fmt: skip
    labels = {"k8s-app": "kube-dns", "app": "pretender"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pretender", "labels": labels},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}  # fmt: skip


def service(name: str, selector: dict[str, str] | None, port: int, **spec: Any) -> dict[str, Any]:
    chosen = {"selector": selector} if selector else {}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {**chosen, "ports": [{"port": port}], **spec}}  # fmt: skip


def leads(name: str, address: str, port: int) -> dict[str, Any]:
    """Where the Service called *name*, which selects nothing, leads to."""
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "endpoints": [{"addresses": [address]}], "ports": [{"port": port}],
    }  # fmt: skip


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_names_are_resolved_where_the_profile_promises_it_and_nowhere_else(world: World, sandbox: str) -> None:
    full = f"pretender.{world.kube.namespace}.svc.cluster.local"
    names = ["pretender", full, "kubernetes.default", f"internet.{dns.ZONE}", f"many.{dns.ZONE}"]
    promised = SANDBOXES[sandbox][1]
    if promised:
        until("names", lambda: world.resolved(sandbox, full), 15)
    found = world.resolved(sandbox, *names)
    if not promised:
        assert found == {}
        return
    address = world.kube.get("service", "pretender")["spec"]["clusterIP"]  # type: ignore[index]
    short = SANDBOXES[sandbox][0].get("dns") is None
    # One that names its servers has their addresses alone: no search domains.
    assert found == {
        **({"pretender": [address], "kubernetes.default": ["10.96.0.1"]} if short else {}),
        full: [address],
        f"internet.{dns.ZONE}": [INTERNET],
        f"many.{dns.ZONE}": sorted(f"203.0.113.{number}" for number in range(1, 61)),
    }
    asked = f"A tcp NOERROR many.{dns.ZONE}"
    until("it was asked by TCP", lambda: dns.questions(world.installed.cluster, asked), 15)


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_no_name_server_answers_but_the_one_that_is_promised(world: World, sandbox: str) -> None:
    node, cluster = world.installed.cluster.node_address, {network.DNS_ADDRESS, world.server()}
    everything = [*cluster, world.pretender, INTERNET, SERVER, node, "10.244.0.1", *CLOSED.values()]
    expected = {"own-server": {SERVER}, "internet": cluster | {INTERNET}, "dns": cluster, "list-and-dns": cluster}
    wanted = {(server, protocol) for server in expected.get(sandbox, ()) for protocol in ("UDP", "TCP")}
    before = network.outside_counters(world.installed.cluster)
    token = f"t{uuid.uuid4().hex}"
    if wanted:
        until("all that answer", lambda: wanted <= world.answers(sandbox, token, *everything), 15)
    assert world.answers(sandbox, token, *everything) == wanted
    after = network.outside_counters(world.installed.cluster)
    assert {one for one in after if after[one] != before[one]} == ({INTERNET} if sandbox == "internet" else set())


def test_what_a_name_carries_arrives_where_names_are_resolved_and_nowhere_else(world: World) -> None:
    """Whoever may ask for names can tell by them what he likes: SECURITY.md says so. Who may not, cannot."""
    tokens = {sandbox: f"t{uuid.uuid4().hex}" for sandbox in SANDBOXES}
    for sandbox, token in tokens.items():
        world.resolved(sandbox, f"{token}.{dns.ZONE}", token)
        world.answers(sandbox, token, network.DNS_ADDRESS, world.server())
    cluster = world.installed.cluster
    # Its log is in order.
    world.answers("dns", "last", world.server())
    until("the last question is in the log", lambda: dns.questions(cluster, "last"), 15)
    heard = {sandbox for sandbox, token in tokens.items() if dns.questions(cluster, token)}
    assert heard == {sandbox for sandbox, (_, promised) in SANDBOXES.items() if promised}


def test_nothing_of_the_name_server_is_open_but_its_port(world: World) -> None:
    ready = f"{world.server()}:8181"
    network.run_in(world.installed.cluster.netns, [sys.executable, "-c", _OPENS, *ready.split(":")])
    for sandbox in ("dns", "internet", "list-and-dns"):
        assert world.reached(sandbox, ready) == set()


def test_a_name_opens_nothing_whatever_it_leads_to(world: World) -> None:
    node = world.installed.cluster.node_address
    # By the address of a Service, and at a name that is the tenant's to choose.
    world.kube.apply(service("to-the-api-server", None, 443), leads("to-the-api-server", node, 6443))
    names = [f"{name}.{dns.ZONE}:80" for name in ZONE if name != "many"]
    names += [f"{name}.{dns.ZONE}:443" for name in ("alias", "mapped-api")]
    names += [f"node.{dns.ZONE}:{port}" for port in (53, 6443, 10250)]
    local = f"{world.kube.namespace}.svc.cluster.local"
    names += [f"to-the-api-server.{local}:443", f"pretender.{local}:53", "kubernetes.default.svc.cluster.local:443"]
    internet = {f"{name}.{dns.ZONE}:80 {INTERNET}" for name in ("internet", "both")}
    before = network.outside_counters(world.installed.cluster)
    for sandbox, expected in {"dns": set(), "internet": internet, "list-and-dns": internet}.items():
        assert world.resolved(sandbox, *(name.rpartition(":")[0] for name in names)).keys() == {
            name.rpartition(":")[0] for name in names
        }, "the control: there is an answer for each"
        assert world.reached(sandbox, *names) == expected, sandbox
    after = network.outside_counters(world.installed.cluster)
    assert {one for one in after if after[one] != before[one]} == {INTERNET}
    world.kube.delete("service", "to-the-api-server")


def test_a_name_that_changes_its_mind_opens_nothing_new(world: World) -> None:
    """Rebinding: the first answer is let through, the second is not, for all that the name is the same."""
    host, node = f"rebound.{world.kube.namespace}.svc.cluster.local", world.installed.cluster.node_address
    world.kube.apply(service("rebound", None, 80, clusterIP="None"), leads("rebound", INTERNET, 80))
    until("the first answer", lambda: world.resolved("internet", host) == {host: [INTERNET]}, 15)
    for sandbox in ("internet", "list-and-dns"):
        assert world.reached(sandbox, f"{host}:80") == {f"{host}:80 {INTERNET}"}
    before = network.outside_counters(world.installed.cluster)
    for address in (CLOSED["private"], CLOSED["azure"], world.pretender, node):
        world.kube.apply(leads("rebound", address, 80))
        until("another answer", lambda: world.resolved("internet", host) == {host: [address]}, 15)  # noqa: B023
        for sandbox in ("internet", "list-and-dns"):
            assert world.reached(sandbox, *(f"{host}:{port}" for port in (53, 80, 6443, 10250))) == set(), address
    assert network.outside_counters(world.installed.cluster) == before, "packets left the node"
    world.kube.delete("service", "rebound")


def test_a_setup_asks_for_names_and_what_follows_it_does_not(world: World) -> None:
    assert inside(world.kube, world.pods["prepared"], "cat", "/workspace/answer") == INTERNET
    token = f"t{uuid.uuid4().hex}"
    assert world.resolved("prepared", f"internet.{dns.ZONE}", f"{token}.{dns.ZONE}") == {}
    assert world.answers("prepared", token, network.DNS_ADDRESS, world.server()) == set()
    assert world.run("prepared", _GO_ON) == 0, "the flow of the setup goes on"
    assert world.run("dns", _GO_ON) > 0, "the control: from another address"
    assert world.resolved("dns", f"internet.{dns.ZONE}"), "the control"
    assert dns.questions(world.installed.cluster, token) == []


def test_a_name_server_that_is_replaced_is_found_again(world: World) -> None:
    system, before = world.kube.within("kube-system"), world.server()
    (pod,) = system.list("pods", "k8s-app=kube-dns")
    system.delete("pod", pod["metadata"]["name"])
    system.kubectl("rollout", "status", "deployment/coredns", "--timeout=60s")
    for sandbox in ("dns", "internet", "list-and-dns"):
        until("an answer", lambda: world.resolved(sandbox, f"internet.{dns.ZONE}"), 20)  # noqa: B023
    assert world.server() != before
    for sandbox in ("none", "list", "own-server", "prepared"):
        assert world.answers(sandbox, "t", network.DNS_ADDRESS, world.server()) == set()
