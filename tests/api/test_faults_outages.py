"""An API server that goes and comes back under load, a part of `make faults`. See `test_faults`."""

from __future__ import annotations

import asyncio
import pathlib
import random
import time
from collections.abc import Iterator

import pytest

from tests.api.lives import TEMPLATE
from tests.support import manifests, soak, swarm
from tests.support.fault_arena import STUCK_SECONDS, Findings
from tests.support.forwarder import Forwarder
from tests.support.kube import Kube
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess
from tests.support.swarm import Swarm

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
PER_SECOND = soak.rounds(short=2, long=10)
# As many as such a load needs: what a cold start takes is not what is asked here.
PLENTY = soak.rounds(short=10, long=200)


@pytest.fixture
def forwarder(operator_config: pathlib.Path) -> Iterator[Forwarder]:
    made = Forwarder(operator_config)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def behind(forwarder: Forwarder, kube_apart: Kube, kubelet: Kubelet, tmp_path: pathlib.Path) -> Iterator[Kube]:
    """A namespace whose operator has the API server behind the forwarder."""
    operator = OperatorProcess(
        forwarder.config(tmp_path / "kubeconfig"), tmp_path / "operator.log",
        SANDYARD_WATCH_NAMESPACES=kube_apart.namespace, SANDYARD_LEADER_ELECTION="true",
    )  # fmt: skip
    kube_apart.within("sandyard-system").delete("lease", "sandyard")
    operator.start()
    kube_apart.apply(manifests.pool("python", PLENTY, TEMPLATE))
    kube_apart.wait_for("sandboxpool", "python", "Full", 120)
    yield kube_apart
    kube_apart.delete("sandboxes,sandboxpools", "--all")
    assert operator.stop() == 0, "it has lost its lease"
    assert "Traceback" not in operator.log


def test_an_api_server_that_comes_and_goes_under_load_costs_no_pod_no_claim_and_three_seconds(
    forwarder: Forwarder, behind: Kube, findings: Findings
) -> None:
    """For the operator alone: users and kubelets go on meanwhile."""
    dice = random.Random(soak.seed())
    took: list[float] = []
    outages: list[float] = []

    async def act(users: Swarm) -> None:
        before = {pod.metadata.uid for pod in users.pods}

        async def one(name: str) -> None:
            began = time.monotonic()
            await users.create(name)
            await users.phase(name, "Ready", timeout=STUCK_SECONDS)
            took.append(time.monotonic() - began)
            await users.delete(name)
            await users.phase(name, "", timeout=STUCK_SECONDS)

        async def load(group: asyncio.TaskGroup) -> None:
            number = 0
            while not over.is_set():
                group.create_task(one(f"rush-{number}"))
                number += 1
                await asyncio.sleep(1 / PER_SECOND)  # the load

        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(load(group))
            for _ in range(soak.rounds(short=1, long=5)):
                await users.until("claims are granted", lambda: len(took) > PER_SECOND, 60)
                began = time.monotonic()
                await asyncio.to_thread(forwarder.stop)
                await asyncio.sleep(dice.uniform(1, 4))  # the outage
                await asyncio.to_thread(forwarder.start)
                outages.append(time.monotonic() - began)
                await asyncio.sleep(5)  # claims without one
            over.set()
        unclaimed = before - users.owners.keys()
        assert unclaimed <= {pod.metadata.uid for pod in users.pods}, "a warm pod was replaced"

    swarm.run(behind.kubeconfig, behind.namespace, act)
    slowest = max(took)
    findings.figures[f"slowest of {len(took)} claims, {PER_SECOND} a second, over {len(outages)} outages "
                     f"of the API server of {max(outages):.1f} s at most"] = slowest  # fmt: skip
    print(f"{len(took)} claims, slowest {slowest:.1f} s, outages {[round(one, 1) for one in outages]}", flush=True)
    # What three seconds are on a machine with other work beside, nobody knows.
    assert not soak.long_form() or slowest < max(outages) + 3
