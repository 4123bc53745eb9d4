"""What befalls the cluster around the operator: rights, admission, leases, clocks, and networks.

The second half of `make faults`; `make test` plays a sample of it. See `test_faults`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from sandyard.api import model
from tests.api.conftest import OPERATOR_USER
from tests.support import soak
from tests.support.fault_arena import (
    Arena,
    Findings,
    Workload,
    claims,
    opened,
    sampled,
)  # fmt: skip
from tests.support.kube import Kube
from tests.support.kubelet import Kubelet
from tests.support.swarm import Swarm

pytestmark = [pytest.mark.soak, pytest.mark.timeout(soak.rounds(short=600, long=7200))]
STEPPED = pathlib.Path(__file__).parents[1] / "support" / "stepped"
LEASE_SECONDS = 10
Fault = Callable[[Arena], AbstractAsyncContextManager[None]]


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The seconds by which the operator's wall clock is wrong."""
    return tmp_path_factory.mktemp("clock") / "step"


@pytest.fixture(scope="module")
def arena(
    file_namespace: Kube, operator_config: pathlib.Path, kubelet: Kubelet, findings: Findings, clock: pathlib.Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Arena]:  # fmt: skip
    path = os.pathsep.join([str(STEPPED.parents[2] / "operator"), str(STEPPED)])
    with opened(
        file_namespace, operator_config, kubelet, tmp_path_factory.mktemp("faults"), findings, PYTHONPATH=path,
        STEPPED_CLOCK_FILE=str(clock), SANDYARD_LEASE_DURATION_SECONDS=str(LEASE_SECONDS),
    ) as made:  # fmt: skip
        made.proxy.cut = lambda: None
        yield made


# The faults


def network(kind: str, seconds: float) -> Fault:
    """Something befalls every request, for so long."""

    @contextlib.asynccontextmanager
    async def fault(arena: Arena) -> AsyncIterator[None]:
        arena.proxy.network = kind
        healing = asyncio.get_running_loop().call_later(seconds, setattr, arena.proxy, "network", "")
        yield
        healing.cancel()
        arena.proxy.network = ""

    return fault


@contextlib.asynccontextmanager
async def stale_lists(arena: Arena) -> AsyncIterator[None]:
    """A process starts on lists of long ago."""
    arena.proxy.network = "stale"
    arena.kill()
    healing = asyncio.get_running_loop().call_later(8, setattr, arena.proxy, "network", "")
    yield
    healing.cancel()
    arena.proxy.network = ""


def without(verb: str, resource: str) -> Fault:
    """A right is withdrawn for three seconds, and given back."""

    @contextlib.asynccontextmanager
    async def fault(arena: Arena) -> AsyncIterator[None]:
        role = await asyncio.to_thread(arena.kube.get, "clusterrole", "sandyard")
        assert role is not None
        narrowed = [
            {**rule, "verbs": [one for one in rule["verbs"] if one != verb or resource not in rule["resources"]]}
            for rule in role["rules"]
        ]
        assert narrowed != role["rules"], f"nobody may {verb} {resource}"
        kept = [rule for rule in narrowed if rule["verbs"]]
        await asyncio.to_thread(arena.kube.patch, "clusterrole", "sandyard", {"rules": kept})
        back = asyncio.create_task(later(3, arena.kube.patch, "clusterrole", "sandyard", {"rules": role["rules"]}))
        yield
        await back

    return fault


async def later(seconds: float, act: Callable[..., Any], *arguments: Any) -> None:
    await asyncio.sleep(seconds)  # how long the fault lasts
    await asyncio.to_thread(act, *arguments)


def tightened(*operations: str) -> Fault:
    """Another admission policy refuses what the operator does to pods, for five seconds."""

    @contextlib.asynccontextmanager
    async def fault(arena: Arena) -> AsyncIterator[None]:
        kube, name = arena.kube, f"tightened-{uuid.uuid4().hex[:6]}"
        kinds = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": list(operations), "resources": ["pods"]}]
        theirs = {"name": "theirs", "expression": f'request.userInfo.username == "{OPERATOR_USER}"'}
        policy = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": kinds}, "matchConditions": [theirs],
                  "validations": [{"expression": "false", "message": "not any more"}]}  # fmt: skip
        where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kube.namespace}}}
        binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": where}
        group = "admissionregistration.k8s.io/v1"
        for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)):
            made = {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec}
            await asyncio.to_thread(kube.create, made)
        # A policy takes a second or two to hold, and so does its end.
        back = asyncio.create_task(later(5, kube.delete, "validatingadmissionpolicybindings", name))
        yield
        await back
        await asyncio.to_thread(kube.delete, "validatingadmissionpolicies", name)

    return fault


def stepped(seconds: float) -> Fault:
    """The operator's clock jumps while it runs, and jumps back after the workload."""

    @contextlib.asynccontextmanager
    async def fault(arena: Arena) -> AsyncIterator[None]:
        file = pathlib.Path(arena.operator.settings["STEPPED_CLOCK_FILE"])
        await asyncio.to_thread(file.write_text, str(seconds))
        yield
        await asyncio.to_thread(file.write_text, "0")

    return fault


@contextlib.asynccontextmanager
async def lease_deleted(arena: Arena) -> AsyncIterator[None]:
    await asyncio.to_thread(arena.kube.within("sandyard-system").delete, "lease", "sandyard")
    yield


@contextlib.asynccontextmanager
async def lease_stolen(arena: Arena) -> AsyncIterator[None]:
    """Somebody else takes it, and renews it no more."""
    taken = {"holderIdentity": "somebody-else", "leaseTransitions": 99, "renewTime": now(), "acquireTime": now()}
    system = arena.kube.within("sandyard-system")
    await asyncio.to_thread(system.patch, "lease", "sandyard", {"spec": taken})
    yield


def now() -> str:
    return model.timestamp(time.time())[:19] + ".000000Z"


@contextlib.asynccontextmanager
async def frozen(arena: Arena) -> AsyncIterator[None]:
    """The holder of the lease is stopped for longer than it may act, and goes on."""
    arena.operator.signal(signal.SIGSTOP)
    back = asyncio.get_running_loop().call_later(LEASE_SECONDS, arena.operator.signal, signal.SIGCONT)
    yield
    back.cancel()


FAULTS: dict[str, Fault] = {
    "a black hole for 12 s": network("hole", 12),
    "every request 0.3 s slower": network("slow", 60),
    "the token expired for 4 s": network("unauthorized", 4),
    "stale lists for a new process": stale_lists,
    **{f"no right to {verb} {resource} for 3 s": without(verb, resource) for verb, resource in (
        ("create", "pods"), ("patch", "pods"), ("delete", "pods"), ("watch", "pods"), ("create", "networkpolicies"),
        ("patch", "sandboxes/status"), ("patch", "sandboxes"), ("list", "sandboxes"),
    )},
    "admission refuses to change pods for 5 s": tightened("UPDATE"),
    "admission refuses to make and delete pods for 5 s": tightened("CREATE", "DELETE"),
    "the clock an hour ahead": stepped(3600),
    "the clock an hour behind": stepped(-3600),
    "the lease deleted": lease_deleted,
    "the lease stolen": lease_stolen,
    "the holder of the lease frozen for 10 s": frozen,
}  # fmt: skip


def test_what_befalls_the_operators_surroundings_costs_nobody_a_sandbox(arena: Arena) -> None:
    async def act(users: Swarm) -> None:
        for what in sampled(arena, list(FAULTS), short=2):
            await users.until("it leads", lambda: arena.leads, 90)
            bystander = await one_that_lives(users, f"lives-{arena.number}")
            await arena.case(users, what, f"claims: {what}", beside(bystander), fault=FAULTS[what](arena))

    arena.run(act)


async def one_that_lives(users: Swarm, name: str) -> str:
    """A Sandbox with half an hour to live."""
    await users.create(name, lifetime={"seconds": 1800})
    await users.phase(name, "Ready")
    return name


def beside(bystander: str) -> Workload:
    """Claims, while another Sandbox must live on with the pod that it has."""

    async def act(users: Swarm, tag: str) -> None:
        owned = {pod for pod, owner in users.claimed().items()}
        await claims(users, tag)
        if users.phases[bystander] != "Ready" or not owned <= users.claimed().keys():
            users.violations.append(f"{bystander} was harmed: {users.phases[bystander] or 'it is gone'}")
        await users.delete(bystander)
        await users.phase(bystander, "")

    return act
