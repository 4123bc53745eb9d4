"""What a life costs, as ratios within one run: a machine that is slow today is as slow for what it is compared with.

The bounds are half as much again as the most that was measured when they were set (12 and 11).  They are there to
notice a write more, an object read twice, an admission policy that grows; ``make bench`` tells times.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sandyard.kube.client import Client
from sandyard.kube.paths import Resource
from tests.bench.crowd import Crowd, crowd
from tests.support import manifests
from tests.support.control_plane import ControlPlane, processor_seconds
from tests.support.kube import Kube
from tests.support.operator import OperatorProcess

_LIVES = 40
_PER_SECOND = 8.0
_WRITES = re.compile(r'sandyard_api_requests_total\{code="2..",resource="(.+?)",verb="(POST|PATCH|DELETE)"\} (\S+)')
# Not of a life: told by the second, however many lives there are.
_BY_TIME = ("events", "sandboxpools/status", "networkpolicies")
_CONFIG_MAPS = Resource("v1", "configmaps")


@dataclass(frozen=True)
class Costs:
    """What one life has taken; times of the processor, s."""

    writes: float
    operator: float
    api_server: float


def _writes(operator: OperatorProcess) -> float:
    return sum(float(count) for resource, _, count in _WRITES.findall(operator.fetch("/metrics"))
               if resource not in _BY_TIME)  # fmt: skip


@pytest.fixture(scope="module")
def costs(control_plane: ControlPlane, file_namespace: Kube, file_operator: OperatorProcess) -> Iterator[Costs]:
    kube = file_namespace
    kube.apply(manifests.pool("python", 20))
    kube.wait_for("sandboxpool", "python", "Full", 60)
    before = _writes(file_operator), processor_seconds(file_operator.pid), control_plane.processor_seconds()
    lives = asyncio.run(_lives(kube))
    after = _writes(file_operator), processor_seconds(file_operator.pid), control_plane.processor_seconds()
    api_server = after[2]["kube-apiserver"] - before[2]["kube-apiserver"]
    yield Costs((after[0] - before[0]) / lives, (after[1] - before[1]) / lives, api_server / lives)
    kube.delete("sandboxes,sandboxpools", "--all")


async def _lives(kube: Kube) -> int:
    async with crowd(kube.kubeconfig, kube.namespace) as users:
        arrivals = [number / _PER_SECOND for number in range(_LIVES)]
        outcome = await users.arrive("python", arrivals, 0.5)
    assert (outcome.failed, outcome.doubles, outcome.leaks) == (0, 0, 0)
    return len(outcome.latencies)


@pytest.mark.usefixtures("kubelet")
def test_a_life_is_five_writes(costs: Costs) -> None:
    assert costs.writes < 5.5, "claim, status, delete, finalizer, replacement"


@pytest.mark.usefixtures("kubelet")
def test_what_the_operator_computes_for_a_life_is_not_more_than_it_was(costs: Costs) -> None:
    ratio = costs.operator / _calibrated()
    assert ratio < 18, f"a life takes the operator {ratio:.0f} times what it takes to read and write 100 small objects"


@pytest.mark.usefixtures("kubelet")
def test_what_the_api_server_computes_for_a_life_is_not_more_than_it_was(
    costs: Costs, control_plane: ControlPlane, file_namespace: Kube
) -> None:
    ratio = costs.api_server / asyncio.run(_bare(control_plane, file_namespace))
    assert ratio < 17, f"a life takes the API server {ratio:.0f} times what a bare object's three writes take"


def _calibrated() -> float:
    """Processor time of something that Python does the same way everywhere: 100 objects, there and back; s."""
    body = manifests.sandbox("s", "python") | {"metadata": {"labels": {f"key-{number}": "x" for number in range(40)}}}
    began = time.process_time()
    for _ in range(2000):
        json.loads(json.dumps(body))
    return (time.process_time() - began) / 20


async def _bare(control_plane: ControlPlane, kube: Kube) -> float:
    """Processor time of the API server for an object that is made, changed and deleted, which is nobody's; s."""
    async with crowd(kube.kubeconfig, kube.namespace) as users:
        await _objects(users, 20)
        before = control_plane.processor_seconds()["kube-apiserver"]
        await _objects(users, 200)
        return (control_plane.processor_seconds()["kube-apiserver"] - before) / 200


async def _objects(users: Crowd, count: int) -> None:
    client: Client = users.client
    for number in range(count):
        name = f"bare-{number}"
        await client.create(_CONFIG_MAPS.path(users.namespace), {"metadata": {"name": name}, "data": {"a": "x" * 500}})
        path = _CONFIG_MAPS.path(users.namespace, name)
        await client.merge_patch(path, {"metadata": {"labels": {"bare": "x"}}})
        await client.delete(path)
