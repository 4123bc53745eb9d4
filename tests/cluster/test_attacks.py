"""The attacks of tests/attacks that need a real sandbox. `make attack` tries all of them, `make test` a sample."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localcluster import network
from sandyard.api import names
from tests.cluster.conftest import new_namespace
from tests.support import attacks, leaks, manifests
from tests.support.arena import Arena
from tests.support.kube import Kube, until
from tests.support.release import Installed

ALL = {name: attack for name, attack in attacks.corpus().items() if attack.layer == "node"}


@pytest.fixture(scope="module")
def arena(installed: Installed, gate: leaks.Gate) -> Iterator[Arena]:
    with new_namespace(installed.kube) as kube:
        made = Arena(kube, installed)
        made.open()
        gate.changed()
        yield made
        made.close()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if attack.do.get("sample") else pytest.mark.attack) for name, attack in ALL.items()],
)
def test_it_comes_to_nothing(arena: Arena, name: str) -> None:
    arena.attempt(ALL[name])


# It tries every address from its first instruction on, and goes on through its grace period.
RESTLESS = f"""
import signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    for host in {list(network.OUTSIDE_ADDRESSES)!r}:
        for kind, port in ((socket.SOCK_STREAM, 80), (socket.SOCK_DGRAM, 53)):
            with socket.socket(socket.AF_INET, kind) as tried:
                tried.settimeout(0.1)
                try:
                    tried.connect((host, port))
                    tried.send(b"x")
                except OSError:
                    pass
    time.sleep(0.05)
"""
AT_ONCE = 20
# Upper bounds in seconds, as those of the metric sandyard_network_open_seconds.
BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


# On two cores shared with others 20 starts and ends take over a minute.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "starts", [pytest.param(10, marks=pytest.mark.attack), pytest.param(200, marks=pytest.mark.attack)]
)
def test_no_start_lets_a_packet_out_from_the_first_instruction_to_the_last(
    kube: Kube, installed: Installed, starts: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = network.outside_counters(installed.cluster)
    opened: list[float] = []
    template = manifests.template(command=["python3", "-c", RESTLESS])
    kube.apply(manifests.pool("restless", 0, template, startup={"parallelism": AT_ONCE}))
    while len(opened) < starts:
        kube.scale("sandboxpools", "restless", min(AT_ONCE, starts - len(opened)))
        kube.wait_for("sandboxpool", "restless", "Full", 180)
        opened += [open_seconds(pod) for pod in kube.list("pods", names.LABEL_STATE)]
        kube.scale("sandboxpools", "restless", 0)
        until("they are gone", lambda: kube.list("pods", names.LABEL_STATE) == [], 120, interval=0.5)
        print(f"{len(opened)} of {starts} starts", flush=True)
    assert network.outside_counters(installed.cluster) == before, "packets left the node"
    shown = {f"<= {bound} s": sum(seconds <= bound for seconds in opened) for bound in BUCKETS}
    with capsys.disabled():
        print(f"\nnetwork open to network closed, {starts} starts: {shown}; most: {max(opened)} s")


def open_seconds(pod: dict[str, Any]) -> float:
    """How long the proof of *pod* could reach what is forbidden, by its own message."""
    ended = pod["status"]["initContainerStatuses"][0]["state"]["terminated"]
    return float(json.loads(ended["message"])["openSeconds"])
