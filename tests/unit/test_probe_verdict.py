"""When the probe lets a sandbox start: everything that is required has been proven, and it is written down."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import threading
from collections.abc import Iterator

import pytest

from sandyard import probe
from sandyard.pod import observe, proof
from tests.unit import objects

CLOSED = "127.0.0.1:9"


@pytest.fixture
def message(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(probe, "_MESSAGE_FILE", tmp_path / "message")
    monkeypatch.setattr(probe, "_SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(probe, "_RESOLV_CONF", tmp_path / "resolv.conf")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    return tmp_path / "message"


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield f"127.0.0.1:{made.getsockname()[1]}"


def verdict(monkeypatch: pytest.MonkeyPatch, *words: str, isolated: bool = True) -> int:
    monkeypatch.setattr(probe, "kernel_facts", lambda: ("Linux version 4.4.0", isolated))
    return probe.main(["--timeout-seconds=1", *words])


@pytest.mark.parametrize(
    ("isolated", "words", "status"),
    [
        (True, [f"--forbidden={CLOSED}"], 0),
        (False, [f"--forbidden={CLOSED}"], 1),
        (False, [f"--forbidden={CLOSED}", "--network=BestEffort"], 1),
        (False, [f"--forbidden={CLOSED}", "--runtime=BestEffort"], 0),
        # Nothing to test against is no proof.
        (True, [], 1),
        (True, ["--network=BestEffort"], 0),
    ],
)
def test_a_sandbox_starts_only_when_all_that_is_required_is_proven(
    message: pathlib.Path, monkeypatch: pytest.MonkeyPatch, isolated: bool, words: list[str], status: int
) -> None:
    assert verdict(monkeypatch, *words, isolated=isolated) == status
    seen = proof.parse(message.read_text())
    assert seen is not None
    assert seen.isolated is isolated
    assert seen.runtime == ("gvisor" if isolated else "not-gvisor")


def test_an_open_network_keeps_it_from_starting_unless_best_effort_is_enough(
    message: pathlib.Path, monkeypatch: pytest.MonkeyPatch, listener: str
) -> None:
    words = (f"--forbidden={CLOSED}", f"--forbidden={listener}")
    assert verdict(monkeypatch, *words) == 1
    seen = proof.parse(message.read_text())
    assert seen is not None
    assert not seen.enforced
    assert seen.reached == (listener,)
    assert verdict(monkeypatch, *words, "--network=BestEffort") == 0


def test_what_the_setup_could_reach_must_be_closed_again(
    message: pathlib.Path, monkeypatch: pytest.MonkeyPatch, listener: str
) -> None:
    base = (f"--forbidden={CLOSED}", "--after-setup")
    assert verdict(monkeypatch, *base, f"--closed-again={listener}") == 1
    assert verdict(monkeypatch, *base, f"--closed-again={CLOSED}") == 0


def test_the_name_servers_must_be_silent_again(message: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(probe, "_answers", lambda server: asked.append(server) or True)
    assert verdict(monkeypatch, f"--forbidden={CLOSED}", "--after-setup", "--closed-again=dns") == 1
    assert set(asked) == {"127.0.0.1"}
    assert json.loads(message.read_text())["reached"] == ["dns:127.0.0.1"]


@pytest.mark.parametrize(("again", "waited"), [("datagrams", True), (CLOSED, False)])
def test_flows_of_datagrams_are_forgotten_before_anything_follows(
    message: pathlib.Path, monkeypatch: pytest.MonkeyPatch, again: str, waited: bool
) -> None:
    """Linux lets what belongs to such a flow through for 30 s after its last datagram."""
    slept: list[float] = []
    monkeypatch.setattr(probe, "_SILENCE_SECONDS", 0)
    monkeypatch.setattr(probe.time, "sleep", slept.append)
    assert verdict(monkeypatch, f"--forbidden={CLOSED}", "--after-setup", f"--closed-again={again}") == 0
    assert (max(slept) > 30) is waited
    assert json.loads(message.read_text())["reached"] == []


def test_one_refusal_among_answers_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that takes effect flickers; refusals count only in a row."""
    answers = [True, False, False, True, False, False, False]
    given = iter(answers)
    monkeypatch.setattr(probe, "reachable", lambda _destination: next(given))
    report = probe.watch_network(["x:1"], 10)
    assert (report["network"], report["attempts"]) == ("Enforced", len(answers))


def test_a_name_server_that_answers_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a datagram that is a DNS query, on a loopback address with a server of the test's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        queries: list[bytes] = []

        def answer() -> None:
            query, sender = server.recvfrom(512)
            queries.append(query)
            server.sendto(query, sender)

        real = socket.socket.connect

        def connect(self: socket.socket, address: tuple[str, int]) -> None:
            assert address == ("127.0.0.1", 53)
            real(self, ("127.0.0.1", port))

        monkeypatch.setattr(probe.socket.socket, "connect", connect)  # type: ignore[attr-defined]
        thread = threading.Thread(target=answer)
        thread.start()
        assert probe.reachable("dns:127.0.0.1")
        thread.join(5)
    # One question: the name servers (type 2) of the root, class IN.
    (query,) = queries
    assert query[4:6] == b"\x00\x01"
    assert query[12:] == b"\x00\x00\x02\x00\x01"


def test_a_name_server_that_refuses_or_is_silent_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_CONNECT_SECONDS", 0.2)
    assert not probe.reachable("dns:127.0.0.254")


def test_an_address_in_brackets_is_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as made:
        assert probe.reachable(f"[::1]:{made.getsockname()[1]}")


@pytest.mark.parametrize(("address", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_the_node_is_where_the_kubelet_says(
    monkeypatch: pytest.MonkeyPatch, address: str, family: socket.AddressFamily
) -> None:
    monkeypatch.setenv("SANDYARD_NODE_ADDRESS", address)
    with socket.create_server((address, 0), family=family) as made:
        destination = f"node:{made.getsockname()[1]}"
        assert probe.watch_network([destination], 0.3)["reached"] == [destination]
    assert not probe.reachable("node:9")


def test_a_node_that_answers_keeps_a_sandbox_from_starting(
    message: pathlib.Path, monkeypatch: pytest.MonkeyPatch, listener: str
) -> None:
    monkeypatch.setenv("SANDYARD_NODE_ADDRESS", "127.0.0.1")
    destination = f"node:{listener.rpartition(':')[2]}"
    assert verdict(monkeypatch, f"--forbidden={CLOSED}", f"--forbidden={destination}") == 1
    seen = proof.parse(message.read_text())
    assert seen is not None
    assert seen.reached == (destination,)


@pytest.mark.parametrize("words", [(), ("--runtime=BestEffort", "--network=BestEffort")])
def test_a_sandbox_starts_only_alone(
    message: pathlib.Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Process 1 is the pause container's. A process whose first thread has ended is an entry too."""
    entries = ["1", str(os.getpid()), "self", "version"]
    monkeypatch.setattr(os, "listdir", lambda _path: entries)
    monkeypatch.setattr(probe, "_SOCKETS", [])
    assert verdict(monkeypatch, f"--forbidden={CLOSED}", "--alone", *words) == 0
    entries.append("17")
    assert verdict(monkeypatch, f"--forbidden={CLOSED}", "--alone", *words) == 1
    seen = proof.parse(message.read_text())
    assert seen is not None
    assert seen.others == 1
    failed = objects.pod(phase="Failed", message=message.read_text())
    why = observe.trouble(failed)
    assert why is not None
    assert (why.reason.value, "1 other processes" in why.message) == ("ProbeFailed", True)


UNIX = """Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000001 00000000 00000000 0001 03       91
0000000000000000: 00000001 00000000 00010000 0001 01       96 @left
"""
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  89: 00000000:1E61 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0       90 1 0 0 0 0 0 -1
  90: 0100007F:1E61 0100007F:A1B2 06 00000000:00000000 03:00001747 00000000     0        0        0 3 0
"""
UDP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  92: 00000000:0406 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0       93 1 0 0
"""


@pytest.mark.parametrize(("name", "text", "count"), [("unix", UNIX, 2), ("tcp", TCP, 1), ("udp6", UDP, 1)])
def test_a_sandbox_starts_beside_no_socket_of_anybody(
    message: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, name: str, text: str, count: int
) -> None:
    """One that is on its way in itself outlives its process under gVisor; what waits for its time to be over is none.

    The lists are those of gVisor, and of Linux for a connection that waits.
    """
    monkeypatch.setattr(os, "listdir", lambda _path: ["1", str(os.getpid())])
    monkeypatch.setattr(probe, "_SOCKETS", [tmp_path / name, tmp_path / "not-there"])
    (tmp_path / name).write_text(text.splitlines()[0] + "\n\n")
    assert verdict(monkeypatch, f"--forbidden={CLOSED}", "--alone") == 0
    (tmp_path / name).write_text(text)
    assert verdict(monkeypatch, f"--forbidden={CLOSED}") == 0
    assert verdict(monkeypatch, f"--forbidden={CLOSED}", "--alone", "--network=BestEffort") == 1
    why = observe.trouble(objects.pod(phase="Failed", message=message.read_text()))
    assert why is not None
    assert (why.reason.value, f"{count} sockets" in why.message) == ("ProbeFailed", True)
