"""Ports of test processes side by side."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.support import ports

_ASK = "import sys; from tests.support import ports; ports._FIRST, ports._LAST = {first}, {first} + 9; {act}"


def test_processes_that_ask_at_the_same_time_get_different_ports() -> None:
    first = ports.free_port() // 10 * 10
    act = "print(*[ports.free_port() for _ in range(3)], flush=True); sys.stdin.read()"
    script = _ASK.format(first=first, act=act)
    asking = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        # Nobody listens on them yet: only the reservation tells them apart.
        given = [int(port) for process in asking for port in process.stdout.readline().split()]  # type: ignore[union-attr]
        assert len(given) == len(set(given)) == 6
    finally:
        for process in asking:
            process.communicate(timeout=30)


def test_a_port_that_somebody_listens_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = ports.free_port()
    ports._held.pop().close()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", taken))
        listening.listen()
        monkeypatch.setattr(ports, "_FIRST", taken)
        monkeypatch.setattr(ports, "_LAST", taken + 9)
        assert taken < ports.free_port() <= taken + 9
