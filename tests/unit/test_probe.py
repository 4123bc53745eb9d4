"""The probe's patience: what is refused must be refused for long enough to be believed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from sandyard import probe


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    made = socket.create_server(("127.0.0.1", 0))
    yield made
    made.close()


def address(of: socket.socket) -> str:
    return f"127.0.0.1:{of.getsockname()[1]}"


def test_silence_is_believed_after_a_few_refusals() -> None:
    report = probe.watch_network(["127.0.0.1:9"], 10)
    assert (report["network"], report["attempts"], report["openSeconds"]) == ("Enforced", 3, 0.0)


def test_what_stays_open_is_told(listener: socket.socket) -> None:
    report = probe.watch_network([address(listener), "127.0.0.1:9"], 0.5)
    assert (report["network"], report["reached"]) == ("Open", [address(listener)])


def test_one_that_closes_is_waited_for(listener: socket.socket) -> None:
    threading.Timer(0.4, listener.close).start()
    report = probe.watch_network([address(listener)], 10, again=True)
    assert report["network"] == "Enforced"
    assert 0.2 < float(str(report["openSeconds"])) < 3


def test_silence_from_the_start_needs_longer_where_something_was_open() -> None:
    started = time.monotonic()
    assert probe.watch_network(["127.0.0.1:9"], 10, again=True)["network"] == "Enforced"
    assert time.monotonic() - started >= 3


def test_name_servers_are_found_whatever_else_stands_beside_them() -> None:
    text = "search local\nnameserver 192.0.2.2\n  nameserver 2001:db8::1 \nnameserver\noptions ndots:5\n"
    assert probe.name_servers(text) == ["dns:192.0.2.2", "dns:2001:db8::1"]
