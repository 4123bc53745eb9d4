"""Where attacks of a real sandbox are tried: a pool to take sandboxes from, a victim beside them, and eyes outside.

Nothing that a sandbox says of itself counts: packets are counted where they arrive, the victim is asked for itself, and
the node is looked at from the machine.
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, fields
from typing import Any, Final

from localcluster import network, paths
from sandyard.api import quantity
from tests.support import cgroups, manifests
from tests.support.attacks import Attack
from tests.support.kube import Kube, Refused, until
from tests.support.release import Installed

__all__ = ["Arena", "Eyes"]

POOL: Final = "arena"
# Addresses of the node as a pod may try them: its own, the bridge's, the link to the outside world's.
_BRIDGE: Final = "10.244.0.1"
_LINK: Final = "192.0.2.1"
_TABLE: Final = "sandyard_attacks"
# Facts of the machine that no sandbox may change.
_FACTS: Final = ("sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hostname", "sys/vm/panic_on_oom",
                 "sys/net/ipv4/ip_forward")  # fmt: skip
_OPERATOR: Final = "app.kubernetes.io/component=operator"
# It beats, answers on a port, and keeps something to itself.
_VICTIM: Final = """
import pathlib, socket, threading, time
visits = pathlib.Path("/workspace/visits")
visits.write_text("0")
pathlib.Path("/workspace/secret").write_text("kept")
def serve():
    with socket.create_server(("0.0.0.0", 8000)) as server:
        for number in range(1, 1 << 30):
            server.accept()[0].close()
            visits.write_text(str(number))
threading.Thread(target=serve, daemon=True).start()
while True:
    pathlib.Path("/workspace/beat").write_text(str(time.time()))
    time.sleep(0.1)
"""
_ASK_VICTIM: Final = """
import pathlib, time
at = pathlib.Path("/workspace")
late = round(time.time() - float((at / "beat").read_text() or time.time()), 1)
print(late, (at / "visits").read_text(), (at / "secret").read_text())
"""
_LATE: Final = "import time; print(time.time() - float(open('/tmp/beat').read() or time.time()))"
_STILL_SECONDS: Final = 2.0
_CLIENT: Final = """
import asyncio, shlex, sys
from sandyard import Sandbox
name, namespace, program, seconds, data, through = sys.argv[1:]
inside = Sandbox.connect(name, namespace=namespace)
words = ["python3", "-c", program]
async def pieces():
    while True:
        yield b"x"
        await asyncio.sleep(1)
if through == "shell":
    with inside.shell() as shell:
        shell.run(shlex.join(words), timeout=int(seconds))
elif through == "terminal":
    with inside.pty(words) as terminal:
        for _ in terminal:
            pass
else:
    inside.commands.run(words, timeout=int(seconds), stdin=pieces() if through == "stream" else data.encode())
"""
# What every program begins with.
_PRELUDE: Final = """
import socket
OUTSIDE, NODE, VICTIM = {outside!r}, {node!r}, {victim!r}
def tcp(host, port, seconds=0.5):
    try:
        socket.create_connection((host, port), timeout=seconds).close()
        return True
    except (OSError, UnicodeError):
        return False
def udp(host, port, data=b"x", seconds=0.2):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
            query.settimeout(seconds)
            query.sendto(data, (host, port))
            return bool(query.recv(4096))
    except OSError:
        return False
def works(tried):
    try:
        tried()
        return True
    except (OSError, ValueError, RuntimeError):
        return False
"""


@dataclass(frozen=True)
class Eyes:
    """What was seen from outside at one moment; two looks around an attack must not differ but in time.

    Attributes
    ----------
    packets
        That arrived at each address of the outside world.
    node
        Packets of the attackers that arrived at the node itself.
    operator
        The operator's containers, and how often each was restarted.
    facts
        Settings of the machine's kernel.
    visits
        Connections that the victim has had.
    """

    packets: dict[str, int]
    node: int
    operator: dict[str, int]
    facts: dict[str, str]
    visits: str


class Arena:
    """The pool, the victim, and what looks at both."""

    def __init__(self, kube: Kube, installed: Installed) -> None:
        self.kube = kube
        self._installed = installed
        self._victim = ""
        self._address = ""
        # Most bytes of the node's disk while an attack ran.
        self._fullest = 0

    def open(self) -> None:
        """Start the victim and the pool, and begin to count packets at the node."""
        template = manifests.template(command=["python3", "-c", _VICTIM])
        self.kube.create(manifests.sandbox("victim", template=template))
        self.kube.apply(manifests.pool(POOL, 2, manifests.template(terminationGracePeriodSeconds=1)))
        status = self.kube.wait_for("sandbox", "victim", "Ready", 120)
        self._victim, self._address = status["podName"], status["podIP"]
        # After the filters of the policy controller (priority 0): what they let through. The pods of
        # the cluster's own have business with the node.
        known = ", ".join(["192.0.2.9", *self._addresses_of_the_cluster()])
        attacker = f"ip saddr {network.POD_CIDR} ip saddr != @known"
        rules = [
            f"add table inet {_TABLE}",
            f"add set inet {_TABLE} known {{ type ipv4_addr; elements = {{ {known} }}; }}",
            f"add chain inet {_TABLE} input {{ type filter hook input priority 100; }}",
            # The proof itself tries the API server and the kubelet until they are refused.
            f"add rule inet {_TABLE} input {attacker} tcp dport {{ 6443, 10250 }} accept",
            f"add rule inet {_TABLE} input {attacker} ct state new counter",
        ]
        self._nft("-f", "-", stdin="\n".join(rules))
        self.kube.wait_for("sandboxpool", POOL, "Full", 120)

    def close(self) -> None:
        """Stop counting; what is in the namespace goes with it."""
        self._nft("delete", "table", "inet", _TABLE)

    def look(self) -> Eyes:
        """Look at everything that no attack may change."""
        late, visits, secret = self._exec(self._victim, "python3", "-c", _ASK_VICTIM, timeout=30).split()
        assert float(late) < 5, f"the victim stands still for {late} s"
        assert secret == "kept", "the victim's memory was changed"
        return Eyes(
            packets=network.outside_counters(self._installed.cluster), node=self._packets(), operator=self._operator(),
            facts={name: _fact(name) for name in _FACTS}, visits=visits,
        )  # fmt: skip

    def attempt(self, attack: Attack) -> None:
        """Let *attack* run in a sandbox of its own, and see that it comes to nothing."""
        name = f"a-{uuid.uuid4().hex[:6]}"
        shows = attack.do["shows"]
        before, disk = self.look(), self._disk()
        self._fullest = 0
        # A sandbox that holds back when its end is asked for would not end here.
        try:
            self._start(name, attack)
            if shows.get("standing"):
                self.kube.wait_for("sandbox", name, "Ready", 90)
            standing = self._standing(name)
            said = self._run(name, attack)
            self._judge(name, shows, said)
            if shows.get("standing"):
                assert standing, "its processes were not found"
                assert self._standing(name) <= standing, "priorities that its processes had not before"
            if "disk" in shows:
                grown, most = max(self._disk(), self._fullest) - disk, quantity.parse(shows["disk"])
                print(f"{attack.name}: the node's disk grew by {grown >> 20} MiB at most")
                assert grown <= most, f"{grown >> 20} MiB of the node's disk"
        finally:
            pod_uid = self.kube.status("sandbox", name).get("podUID", "")
            self.kube.delete("sandboxes", name, timeout=60)
        assert pod_uid or not shows.get("ends"), "which pod it had is not known"
        if pod_uid:
            until("no process of it is left on the node", lambda: self._pids(pod_uid) == [], 15)
        after = self.look()
        changed = {
            seen.name: f"{getattr(before, seen.name)}, then {getattr(after, seen.name)}"
            for seen in fields(Eyes)
            if getattr(before, seen.name) != getattr(after, seen.name)
        }
        if shows.get("knocks"):
            assert changed.pop("node", None), "no packet arrives at the node any more: SECURITY.md says that they do"
        assert not changed, f"what is seen from outside has changed: {changed}"

    def _start(self, name: str, attack: Attack) -> None:
        do = attack.do
        own = dict(do.get("template", {}))
        program = self.program(attack)
        if do.get("main"):
            own["command"] = ["python3", "-c", program]
        if do.get("setup"):
            own["setup"] = {"command": ["python3", "-c", program], "timeoutSeconds": 60}
        made = manifests.sandbox(name, template=manifests.template(**own)) if own else manifests.sandbox(name, POOL)
        self.kube.create(made)

    def program(self, attack: Attack) -> str:
        """What runs inside: the attack's program, told where others are."""
        node = [self._installed.cluster.node_address, _BRIDGE, _LINK]
        prelude = _PRELUDE.format(outside=list(network.OUTSIDE_ADDRESSES), node=node, victim=self._address)
        return f"{prelude}\n{attack.do['program']}"

    def _run(self, name: str, attack: Attack) -> str:
        """Run the program by an exec, unless the sandbox runs it by itself; what it has said."""
        do = attack.do
        if do.get("main") or do.get("setup"):
            seconds = do["shows"].get("runs")
            if seconds is not None:
                self.kube.wait_for("sandbox", name, "Ready", 90)
                self._watch_the_disk(seconds)
            return ""
        pod = self.kube.wait_for("sandbox", name, "Ready", 90)["podName"]
        if "client" in do:
            self._by_a_client(name, pod, attack)
            return ""
        return self._exec(pod, "python3", "-", stdin=self.program(attack), timeout=do.get("seconds", 30))

    def _by_a_client(self, name: str, pod: str, attack: Attack) -> None:
        """Run the program by a client that is killed, or whose time is over, as soon as the program beats."""
        # One that is killed leaves long before its command's time is over: that is not what ends the command.
        killed = attack.do["client"] == "killed"
        seconds = "600" if killed else "5"
        command = [sys.executable, "-c", _CLIENT, name, self.kube.namespace, self.program(attack), seconds,
                   attack.do.get("stdin", ""), attack.do.get("through", "")]  # fmt: skip
        environment = {**self.kube.environment, "PYTHONPATH": str(paths.REPOSITORY / "operator")}
        client = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until("it beats", lambda: "." in self._exec(pod, "cat", "/tmp/beat", timeout=30), 60)
            if killed:
                client.kill()
            client.wait(60)
        finally:
            client.kill()
        still = attack.do["shows"]["stands_still"]
        until("it stands still", lambda: self._stands_still(pod), still, interval=1)

    def _stands_still(self, pod: str) -> bool:
        late = self._exec(pod, "python3", "-c", _LATE, timeout=30)
        return float(late) > _STILL_SECONDS

    def _judge(self, name: str, shows: dict[str, Any], said: str) -> None:
        if "prints" in shows:
            assert re.search(shows["prints"], said), said[-1000:]
        if "phase" in shows:
            status = until("it has ended", lambda: self._ended(name), 60)
            assert status["phase"] == shows["phase"], status
            reason = status.get("lastTermination", {}).get("reason")
            assert reason == shows.get("reason", reason), status
            assert shows.get("silent", "\0") not in json.dumps(status)
            assert "\x1b" not in json.dumps(status, ensure_ascii=False)
        if shows.get("ready"):
            status = self.kube.status("sandbox", name)
            assert status["phase"] == "Ready", status
        if "memory" in shows:
            most = quantity.parse(shows["memory"])
            used = self._memory(self.kube.status("sandbox", name).get("podUID", ""))
            assert used <= most, f"{used >> 20} MiB"
        if "devices" in shows:
            held = self._devices(self.kube.status("sandbox", name)["podUID"])
            print(f"devices of the node that the sandbox holds: {sorted(held)}")
            assert held, "its processes were not found"
            assert held <= set(shows["devices"])

    def _ended(self, name: str) -> dict[str, Any] | None:
        status = self.kube.status("sandbox", name)
        return status if status.get("phase") in ("Failed", "Succeeded") else None

    def _exec(self, pod: str, *command: str, stdin: str | None = None, timeout: float) -> str:
        """Run *command*; what it has said, also when it was ended."""
        options = ["-i"] if stdin is not None else []
        try:
            return self.kube.kubectl("exec", *options, pod, "-c", "sandbox", "--", *command, stdin=stdin,
                                     timeout=timeout)  # fmt: skip
        except Refused as error:
            return str(error)
        except subprocess.TimeoutExpired as error:
            return f"no end within {timeout} s: {error.stdout}"

    def _packets(self) -> int:
        listing = json.loads(self._nft("-j", "list", "table", "inet", _TABLE))
        steps = [step for item in listing["nftables"] for step in item.get("rule", {}).get("expr", ())]
        return sum(step["counter"]["packets"] for step in steps if isinstance(step, dict) and "counter" in step)

    def _operator(self) -> dict[str, int]:
        # Of a cluster that was kept, the operator of before may still be on its way out.
        pods = [
            pod for pod in self.kube.within("sandyard-system").list("pods", _OPERATOR)
            if "deletionTimestamp" not in pod["metadata"]
        ]  # fmt: skip
        return {
            item["containerID"]: item["restartCount"] for pod in pods for item in pod["status"]["containerStatuses"]
        }

    def _addresses_of_the_cluster(self) -> list[str]:
        pods = self.kube.list("pods", everywhere=True)
        own = ("kube-system", "sandyard-system")
        return [
            pod["status"]["podIP"] for pod in pods if pod["metadata"]["namespace"] in own and "podIP" in pod["status"]
        ]

    def _watch_the_disk(self, seconds: float) -> None:
        """Let the sandbox go on for so long; the kubelet takes away what it has evicted."""
        until_then = time.monotonic() + seconds
        while time.monotonic() < until_then:
            self._fullest = max(self._fullest, self._disk())
            time.sleep(0.3)

    def _disk(self) -> int:
        """Bytes that the node's pods, logs and containers take on the machine's disk."""
        state = self._installed.cluster.state
        folders = [str(state / name) for name in ("kubelet", "podlogs", "containerd", "run/containerd")]
        done = subprocess.run(["du", "-sxBK", "--total", *folders], text=True, capture_output=True, check=False)
        return int(done.stdout.splitlines()[-1].split()[0].rstrip("K")) << 10

    def _memory(self, pod_uid: str) -> int:
        """Bytes of memory of a pod, from the node's cgroups; 0 if it is gone."""
        for name in ("memory.usage_in_bytes", "memory.current"):
            for path in cgroups.of_pod(pod_uid, name):
                return int(_read(path) or 0)
        return 0

    def _pids(self, pod_uid: str) -> list[str]:
        """Processes of the machine that are a pod's: those in its cgroups."""
        return [pid for path in cgroups.of_pod(pod_uid, "cgroup.procs") for pid in _read(path).split()]

    def _devices(self, pod_uid: str) -> set[str]:
        """Devices of the machine that processes of a pod hold open."""
        held = {one for pid in self._pids(pod_uid) for one in _open_files(pid)}
        return {one for one in held if one.startswith("/dev/")}

    def _standing(self, name: str) -> set[tuple[str, ...]]:
        """Nice value, policy, real-time priority and OOM score of each process of a sandbox, on the node."""
        found = set[tuple[str, ...]]()
        for pid in self._pids(self.kube.status("sandbox", name).get("podUID", "-")):
            # proc(5): fields 19, 41 and 40, counted from the third.
            words = _read(pathlib.Path("/proc", pid, "stat")).rpartition(")")[2].split()
            score = _read(pathlib.Path("/proc", pid, "oom_score_adj")).strip()
            if words and score:
                found.add((words[16], words[38], words[37], score))
        return found

    def _nft(self, *words: str, stdin: str | None = None) -> str:
        return network.run_in(self._installed.cluster.netns, ["nft", *words], stdin=stdin)


def _read(path: pathlib.Path) -> str:
    """What a file of the kernel says; nothing, if what it tells of has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _open_files(pid: str) -> list[str]:
    """What a process of the machine holds open; nothing, if it has ended."""
    try:
        return [str(one.readlink()) for one in pathlib.Path("/proc", pid, "fd").iterdir()]
    except OSError:
        return []


def _fact(name: str) -> str:
    """What the machine says of itself; a kernel without modules has no such program, and so on."""
    path = pathlib.Path("/proc", name)
    return path.read_text() if path.exists() else ""
