"""The node's network namespace, and a second one that plays the outside world.

host 198.18.N.1 --veth-- 198.18.N.2 node 192.0.2.1 --veth-- 192.0.2.2 outside

The node has no route to the host's network; its default gateway is the outside namespace,
which holds the addresses that tests want to reach or must not reach, with a listener and a
packet counter for each.  Nothing of this touches the machine's own routes or firewall.
"""

from __future__ import annotations

import json
import pathlib
import subprocess

from localcluster import paths

__all__ = ["DNS_ADDRESS", "DNS_DOMAIN", "OUTSIDE_ADDRESSES", "OUTSIDE_GATEWAY", "POD_CIDR", "SERVICE_CIDR",
           "SIMULATED_NODE_ADDRESS", "SIMULATED_POD_CIDR", "create", "delete", "outside_counters",
           "run_in"]  # fmt: skip

POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
# What every pod is told about the name server, whether there is one or not.
DNS_ADDRESS = "10.96.0.10"
DNS_DOMAIN = "cluster.local"
# Where nothing is: pods that kwok plays have addresses, and nobody to answer there.
SIMULATED_POD_CIDR = "10.245.0.0/16"
SIMULATED_NODE_ADDRESS = "198.51.100.1"

# The node's way out, an address of the outside world too.
OUTSIDE_GATEWAY = "192.0.2.2"
# address -> what it stands for
OUTSIDE_ADDRESSES = {
    "203.0.113.10": "the internet",
    "169.254.169.254": "cloud metadata",
    "168.63.129.16": "Azure WireServer (a public address)",
    "100.100.100.200": "Alibaba metadata",
    "10.9.9.9": "a private network",
}
_TABLE = "sandyard_outside"


def create(cluster: paths.Cluster) -> None:
    """Make both namespaces, their links, addresses, routes and counters; idempotent."""
    if pathlib.Path(f"/run/netns/{cluster.netns}").exists():
        return
    node, outside, host = cluster.netns, cluster.outside_netns, cluster.host_interface
    peer = f"sy{cluster.slot}node"
    _ip("netns", "add", node)
    _ip("netns", "add", outside)
    _ip("link", "add", host, "type", "veth", "peer", "name", peer, "netns", node)
    _ip("address", "add", f"{cluster.host_address}/24", "dev", host)
    _ip("link", "set", host, "up")
    _ip("-n", node, "link", "set", "lo", "up")
    _ip("-n", node, "link", "set", peer, "name", "host0")
    _ip("-n", node, "address", "add", f"{cluster.node_address}/24", "dev", "host0")
    _ip("-n", node, "link", "set", "host0", "up")
    _ip("-n", node, "link", "add", "world0", "type", "veth", "peer", "name", "node0", "netns", outside)
    _ip("-n", node, "address", "add", "192.0.2.1/24", "dev", "world0")
    _ip("-n", node, "link", "set", "world0", "up")
    _ip("-n", node, "route", "add", "default", "via", OUTSIDE_GATEWAY)
    _ip("-n", outside, "link", "set", "lo", "up")
    _ip("-n", outside, "address", "add", f"{OUTSIDE_GATEWAY}/24", "dev", "node0")
    _ip("-n", outside, "link", "set", "node0", "up")
    _ip("-n", outside, "route", "add", POD_CIDR, "via", "192.0.2.1")
    for address in OUTSIDE_ADDRESSES:
        _ip("-n", outside, "address", "add", f"{address}/32", "dev", "lo")
    # Whatever else is asked for is refused at once: a registry, a name server. (An ICMP error of the
    # kind "unreachable" would not end a UDP lookup; "prohibited" does.)
    _ip("-n", outside, "route", "add", "prohibit", "default")
    for name in (node, outside):
        # What the policies refuse is refused each time, so that no look-up waits for its answer.
        run_in(name, ["sh", "-c", "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit"])
        run_in(name, ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
    rules = [f"add table inet {_TABLE}"]
    rules += [f"add chain inet {_TABLE} input {{ type filter hook input priority 0; }}"]
    for address in OUTSIDE_ADDRESSES:
        rules.append(f"add rule inet {_TABLE} input ip daddr {address} counter")
    run_in(outside, ["nft", "-f", "-"], stdin="\n".join(rules))


def delete(cluster: paths.Cluster) -> None:
    """Delete both namespaces and the host's end of the link."""
    if pathlib.Path(f"/sys/class/net/{cluster.host_interface}").exists():
        _ip("link", "delete", cluster.host_interface, check=False)
    for name in (cluster.netns, cluster.outside_netns):
        if pathlib.Path(f"/run/netns/{name}").exists():
            _ip("netns", "delete", name)


def outside_counters(cluster: paths.Cluster) -> dict[str, int]:
    """Packets that reached each outside address since the cluster started."""
    listing = run_in(cluster.outside_netns, ["nft", "-j", "list", "table", "inet", _TABLE])
    counters: dict[str, int] = {}
    for item in json.loads(listing)["nftables"]:
        expressions = item.get("rule", {}).get("expr", [])
        address = next((e["match"]["right"] for e in expressions if "match" in e), None)
        packets = next((e["counter"]["packets"] for e in expressions if "counter" in e), None)
        if address is not None and packets is not None:
            counters[address] = packets
    return counters


def run_in(netns: str, command: list[str], stdin: str | None = None) -> str:
    """Run *command* inside a namespace and return what it prints.

    Not ``ip netns exec``: that mounts a new /sys, which hides the cgroup mounts.
    """
    full = ["nsenter", f"--net=/run/netns/{netns}", "--", *command]
    done = subprocess.run(full, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise paths.ClusterError(f"{' '.join(command)} in {netns}: {done.stderr.strip()[-500:]}")
    return done.stdout


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], text=True, capture_output=True, check=False)
    if done.returncode != 0 and check:
        raise paths.ClusterError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
