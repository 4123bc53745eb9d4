"""Proves, from inside a new sandbox, that it is isolated: ``python -m sandyard.probe``.

It runs as the pod's init container, so the tenant's process starts only after this has ended
well.  It (a) reads facts about the kernel that only gVisor gives, (b) looks whether any process
or socket but its own is in the pod, which matters when the pod has been restarted: gVisor frees
no socket that is on its way in itself, and with it what else was sent, (c) tries destinations
that must be out of reach until all of them are refused several times in a row, because a network
policy takes effect some time *after* a pod has its address, and (d) leaves what it saw in the
termination message, where the operator reads it without any right to look inside.  Where the pod
may be restarted for somebody else that is also the limits of resources: gVisor has one set of them
for the whole pod, which any process in it can lower, and which outlives a restart.

Standard library only: it runs in every sandbox.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import pathlib
import resource
import socket
import sys
import time

_MESSAGE_FILE = pathlib.Path("/dev/termination-log")
_SYSLOG_READ_ALL = 3
# RLIM_NLIMITS of <asm-generic/resource.h>.
_LIMITS = 16
_REFUSALS_IN_A_ROW = 3
_CONNECT_SECONDS = 1.0
_PAUSE_SECONDS = 0.08
# Where nothing that was open has ever answered, silence is believed only after this long.
_SILENCE_SECONDS = 3.0
# A node lets through what belongs to a flow that it tracks, whatever its policies have come to say. Linux forgets
# datagrams that were answered 30 s after the last (nf_conntrack_udp_timeout), until then whoever sends from the same
# port goes on with their flow.
_FORGOTTEN_SECONDS = 32.0
_SOCKETS = [pathlib.Path("/proc/net", name) for name in ("unix", "tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet")]
# <net/tcp_states.h>
_TIME_WAIT = "06"
_RESOLV_CONF = pathlib.Path("/etc/resolv.conf")
# What `node` stands for in a destination: the pod's own node, by the kubelet's word.
_NODE = "SANDYARD_NODE_ADDRESS"
# A DNS query for the name servers of the root: 17 octets that every server answers somehow.
_DNS_QUERY = b"\x53\x59\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"


def kernel_facts() -> tuple[str, bool]:
    """What the kernel calls itself, and whether it is gVisor's.

    gVisor's own kernel log begins with ``Starting gVisor``, and it has no AF_ALG sockets; a
    host's log is either closed to a container or says something else.
    """
    version = pathlib.Path("/proc/version").read_text().strip()
    buffer = ctypes.create_string_buffer(1 << 14)
    length = ctypes.CDLL(None, use_errno=True).klogctl(_SYSLOG_READ_ALL, buffer, len(buffer))
    says_gvisor = length > 0 and b"gVisor" in buffer.raw[:length]
    return version, says_gvisor and not _crypto_sockets()


def _crypto_sockets() -> bool:
    """Whether the host's AF_ALG is reachable (a repeated way out of containers)."""
    try:
        socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).close()
    except OSError:
        return False
    return True


def other_processes() -> int:
    """Number of processes in the pod besides the pause container's and this one.

    One whose first thread has ended shows as a zombie and may be alive: each entry counts.
    """
    mine = {1, os.getpid()}
    return sum(name.isdigit() and int(name) not in mine for name in os.listdir("/proc"))


def sockets() -> int:
    """Number of sockets in the pod, of all its network namespaces where they are of the Unix family.

    Ones that only wait for their time to be over belong to nobody any more.
    """
    return sum(_listed(path) for path in _SOCKETS if path.exists())


def _listed(path: pathlib.Path) -> int:
    rows = [line.split() for line in path.read_text(errors="replace").splitlines()[1:]]
    return sum(bool(row) and not (path.name.startswith("tcp") and row[3:4] == [_TIME_WAIT]) for row in rows)


def limits() -> list[int]:
    """Each limit of resources, soft and hard, by its number; -1 for none."""
    return [limit for number in range(_LIMITS) for limit in resource.getrlimit(number)]


def name_servers(text: str) -> list[str]:
    """Destinations ``dns:ADDRESS`` of a resolv.conf."""
    lines = [line.split() for line in text.splitlines()]
    return [f"dns:{words[1]}" for words in lines if len(words) > 1 and words[0] == "nameserver"]


def reachable(destination: str) -> bool:
    """Whether a TCP connection to ``host:port`` succeeds, or ``dns:ADDRESS`` answers, within a second.

    ``node:PORT`` is the node that the pod runs on.
    """
    if destination.startswith("dns:"):
        return _answers(destination.removeprefix("dns:"))
    host, _, port = destination.rpartition(":")
    if host == "node":
        host = os.environ[_NODE]
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS):
            return True
    except (OSError, UnicodeError):
        # A name that none can have is no way out.
        return False


def _answers(server: str) -> bool:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as query:
            query.settimeout(_CONNECT_SECONDS)
            query.connect((server, 53))
            query.send(_DNS_QUERY)
            return bool(query.recv(512))
    except OSError:
        return False


def watch_network(forbidden: list[str], timeout_seconds: float, again: bool = False) -> dict[str, object]:
    """Try *forbidden* until all are refused several times in a row, or time is up.

    With *again*, they are about to be closed: one that answered and does so no more is proof,
    silence from the start needs longer to be believed.
    """
    if not forbidden:
        return {"network": "Unknown", "attempts": 0, "openSeconds": 0.0, "reached": []}
    started = time.monotonic()
    believed_at = started + (_SILENCE_SECONDS if again else 0.0)
    attempts = refused = 0
    open_until = started
    reached: list[str] = []
    while (refused < _REFUSALS_IN_A_ROW or time.monotonic() < believed_at) and (
        time.monotonic() - started < timeout_seconds
    ):
        attempts += 1
        reached = [destination for destination in forbidden if reachable(destination)]
        if reached:
            refused = 0
            open_until = believed_at = time.monotonic()
        else:
            refused += 1
        time.sleep(_PAUSE_SECONDS)
    return {
        "network": "Enforced" if refused >= _REFUSALS_IN_A_ROW else "Open",
        "attempts": attempts,
        "openSeconds": round(open_until - started, 3),
        "reached": reached,
    }


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when everything that is required has been proven."""
    parser = argparse.ArgumentParser(prog="sandyard.probe", description=__doc__)
    parser.add_argument("--runtime", choices=("Required", "BestEffort"), default="Required")
    parser.add_argument("--network", choices=("Required", "BestEffort"), default="Required")
    parser.add_argument("--alone", action="store_true", help="demand that no other process and no socket is in the pod")
    parser.add_argument("--timeout-seconds", type=float, default=20.0)
    parser.add_argument("--forbidden", action="append", default=[], metavar="HOST:PORT|node:PORT")
    parser.add_argument("--after-setup", action="store_true", help="wait until what the setup could reach is closed")
    parser.add_argument("--closed-again", action="append", default=[], metavar="datagrams|dns|HOST:PORT")
    options = parser.parse_args(arguments)
    kernel, isolated = kernel_facts()
    report: dict[str, object] = {
        "version": 1,
        "runtime": "gvisor" if isolated else "not-gvisor",
        "isolated": isolated,
        "kernel": kernel[:200],
    }
    if options.alone:
        report["limits"] = limits()
    others, left = (other_processes(), sockets()) if options.alone else (0, 0)
    if others:
        report["others"] = others
    if left:
        report["sockets"] = left
    if not (others or left) and (isolated or options.runtime == "BestEffort"):
        again = [item for item in options.closed_again if item not in ("datagrams", "dns")]
        if "dns" in options.closed_again:
            again += name_servers(_RESOLV_CONF.read_text())
        report.update(watch_network([*options.forbidden, *again], options.timeout_seconds, options.after_setup))
        if "datagrams" in options.closed_again and report["network"] == "Enforced":
            time.sleep(_FORGOTTEN_SECONDS)
    else:
        # A tenant will never start here: no need to wait for the network.
        report["network"] = "Unknown"
    text = json.dumps(report)
    try:
        _MESSAGE_FILE.write_text(text)
    except OSError as error:
        print(f"cannot write {_MESSAGE_FILE}: {error}", file=sys.stderr)
    print(text, flush=True)
    proven = (
        not (others or left)
        and (isolated or options.runtime == "BestEffort")
        and (report["network"] == "Enforced" or options.network == "BestEffort")
    )
    return 0 if proven else 1


if __name__ == "__main__":
    sys.exit(main())
