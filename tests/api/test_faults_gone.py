"""Namespaces, kinds, nodes and servers that go under the operator: what is theirs goes, and all others are served on.

A part of `make faults`; `make test` plays one of them. See `test_faults`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pathlib
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from sandyard.api import names
from sandyard.kube import errors
from tests.api.conftest import establish, render
from tests.api.lives import TEMPLATE, set_ready
from tests.support import manifests, soak
from tests.support.control_plane import ControlPlane
from tests.support.fault_arena import PERSISTENT, WARM, Arena, Findings, claims, opened, pools, sampled
from tests.support.kube import Kube, NotThere, until, wait_for_api
from tests.support.kubelet import Kubelet
from tests.support.swarm import Swarm

pytestmark = [pytest.mark.soak, pytest.mark.timeout(soak.rounds(short=600, long=7200))]
NEVER_SET_UP = "never-set-up"
# The namespace controller deletes, looks whether all is gone, and looks again later and later.
GOES_SECONDS = 90.0
Act = Callable[[Arena, Swarm, str], Awaitable[None]]


@pytest.fixture(scope="module")
def arena(
    file_namespace: Kube, operator_config: pathlib.Path, kubelet: Kubelet, findings: Findings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Arena]:  # fmt: skip
    """One that serves every namespace."""
    kubelet.slow_setups.add(NEVER_SET_UP)
    folder = tmp_path_factory.mktemp("faults")
    with opened(file_namespace, operator_config, kubelet, folder, findings, SANDYARD_WATCH_NAMESPACES="") as made:
        made.proxy.cut = lambda: None
        yield made


# What there is in a namespace when it goes


def warm(kube: Kube, _arena: Arena) -> None:
    _pool(kube)


def starting(kube: Kube, _arena: Arena) -> None:
    kube.apply(manifests.pool("python", 2, {"image": NEVER_SET_UP, "setup": {"command": ["true"]}, **_GVISOR}))
    kube.create(manifests.sandbox("s", "python"))
    until("its pods start", lambda: len(kube.list("pods")) >= 2)


def claimed(kube: Kube, _arena: Arena) -> None:
    _pool(kube)
    _ready(kube, "s")


def waiting(kube: Kube, _arena: Arena) -> None:
    kube.create(manifests.sandbox("s", "there-is-none"))
    kube.wait_reason("sandbox", "s", "Stalled", ["PoolNotFound"], 60)


def resting(kube: Kube, _arena: Arena) -> None:
    _pool(kube, PERSISTENT)
    _ready(kube, "s")
    kube.patch("sandbox", "s", {"spec": {"desiredState": "Suspended"}})
    until("it rests", lambda: kube.status("sandbox", "s")["phase"] == "Suspended")


def going(kube: Kube, arena: Arena) -> None:
    """Its pod takes as long as the kubelet holds it."""
    _pool(kube)
    _ready(kube, "s")
    arena.kubelet.hold = True
    kube.delete("sandbox", "s", wait=False)


_GVISOR = {"runtimeClassName": TEMPLATE["runtimeClassName"]}
PHASES: dict[str, Callable[[Kube, Arena], None]] = {
    "its pods are warm": warm, "its pods start": starting, "its Sandbox is Ready": claimed,
    "its Sandbox waits": waiting, "its Sandbox rests": resting, "its Sandbox is being deleted": going,
}  # fmt: skip


def _pool(kube: Kube, template: dict[str, Any] = TEMPLATE) -> None:
    kube.apply(manifests.pool("python", 2, template))
    kube.wait_for("sandboxpool", "python", "Full")


def _ready(kube: Kube, name: str) -> None:
    kube.create(manifests.sandbox(name, "python"))
    kube.wait_for("sandbox", name, "Ready")


def is_going(kube: Kube) -> bool:
    """Whether a namespace is gone, or its controller has deleted what it found in it."""
    found = kube.get("namespace", kube.namespace)
    return found is None or "conditions" in found["status"]


def namespace_goes(phase: str) -> Act:
    async def act(arena: Arena, users: Swarm, tag: str) -> None:
        kube = arena.kube.within(f"gone-{uuid.uuid4().hex[:8]}")
        await asyncio.to_thread(kube.make_namespace, kube.namespace)
        try:
            await asyncio.to_thread(PHASES[phase], kube, arena)
            going_on = asyncio.create_task(
                asyncio.to_thread(kube.delete, "namespace", kube.namespace, timeout=GOES_SECONDS)
            )
            await asyncio.to_thread(until, "it goes", lambda: is_going(kube), 30)
        finally:
            arena.kubelet.hold = False
        await claims(users, tag)
        await going_on

    return act


# Kinds, nodes, servers


def kind_goes(*plurals: str) -> Act:
    async def act(arena: Arena, users: Swarm, tag: str) -> None:
        admin = arena.kube.within("default")
        definitions = [item for item in render(admin) if item["kind"] == "CustomResourceDefinition"
                       and item["spec"]["names"]["plural"] in plurals]  # type: ignore[index] # fmt: skip
        made = [f"{tag}-{number}" for number in range(WARM)]
        for name in made:
            await users.create(name)
        for name in made:
            await users.phase(name, "Ready")
        for item in definitions:
            await asyncio.to_thread(admin.delete, "crd", item["metadata"]["name"], timeout=GOES_SECONDS)  # type: ignore[index]
        if names.SANDBOXES in plurals:
            await users.until("their pods are gone", lambda: not users.claimed(), 60)
        await asyncio.to_thread(establish, admin, *definitions)
        await asyncio.to_thread(wait_for_api, admin)
        if names.POOLS in plurals:
            await asyncio.to_thread(arena.kube.apply, *pools())
        await claims(users, f"{tag}-anew")
        await gone(users, made)

    return act


async def claims_that_may_fail(users: Swarm, tag: str) -> None:
    """Claims whose pods may end at any moment."""
    made = [f"{tag}-{number}" for number in range(WARM + 1)]
    await asyncio.gather(*(users.create(name) for name in made))
    for name in made:
        await users.phase(name, "Ready", "Failed")
    await gone(users, made)


async def held(users: Swarm, tag: str) -> list[str]:
    """Sandboxes that are Ready."""
    made = [f"{tag}-held-{number}" for number in range(WARM - 1)]
    for name in made:
        await users.create(name)
    for name in made:
        await users.phase(name, "Ready")
    return made


async def gone(users: Swarm, made: list[str]) -> None:
    """All of them are deleted, and gone."""
    await asyncio.gather(*(users.delete(name) for name in made))
    for name in made:
        await users.phase(name, "")


def node_loses(*, drained: bool) -> Act:
    """Every pod is evicted, or deleted by who collects those of nodes that are no more."""

    async def act(arena: Arena, users: Swarm, tag: str) -> None:
        kube, made = arena.kube, await held(users, tag)

        def take() -> None:
            for pod in kube.list("pods"):
                name = pod["metadata"]["name"]
                eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
                with contextlib.suppress(NotThere):
                    if drained:
                        kube.request("POST", kube.path("pods", name, "eviction"), eviction)
                    else:
                        kube.delete("pods", name, wait=False, force=True)

        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(take))
            group.create_task(claims_that_may_fail(users, tag))
        for name in made:
            await users.phase(name, "Failed")
        await gone(users, made)

    return act


async def node_is_silent(arena: Arena, users: Swarm, tag: str) -> None:
    """Its pods are not Ready, and none that is deleted goes; then it is heard of again."""
    kube, made = arena.kube, await held(users, tag)
    before = {status["podUID"] for status in (kube.status("sandbox", name) for name in made)}

    def turn(ready: bool) -> None:
        for pod in kube.list("pods"):
            with contextlib.suppress(NotThere):
                set_ready(kube, pod["metadata"]["name"], ready, by_kubelet=False)

    arena.kubelet.hold = True
    try:
        await asyncio.to_thread(turn, False)
        for name in made:
            await users.phase(name, "Starting", "Pending")
        again = asyncio.create_task(claims_that_may_fail(users, tag))
        await asyncio.sleep(3)  # how long it is silent
        await asyncio.to_thread(turn, True)
    finally:
        arena.kubelet.hold = False
    await again
    for name in made:
        await users.phase(name, "Ready")
    assert {kube.status("sandbox", name)["podUID"] for name in made} == before
    await gone(users, made)


def servers_restart(plane: ControlPlane, *programs: str) -> Act:
    async def act(arena: Arena, users: Swarm, tag: str) -> None:
        made = await held(users, tag)
        before = {pod.metadata.uid for pod in users.pods}
        await asyncio.to_thread(plane.restart, *programs)
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(errors.TransportError, errors.ApiError):
                    await users.create(f"{tag}-first")
                    break
                await asyncio.sleep(0.2)  # connections of before are broken
        await users.phase(f"{tag}-first", "Ready")
        assert before <= {pod.metadata.uid for pod in users.pods}, "a pod was replaced"
        await claims(users, tag)
        assert all(users.phases[name] == "Ready" for name in made)
        await gone(users, [*made, f"{tag}-first"])

    return act


FAULTS: dict[str, Act] = {
    **{f"a namespace is deleted while {phase}": namespace_goes(phase) for phase in PHASES},
    "Sandboxes are no kind for a while": kind_goes(names.SANDBOXES),
    "SandboxPools are no kind for a while": kind_goes(names.POOLS),
    "neither is a kind for a while": kind_goes(names.SANDBOXES, names.POOLS),
    "a node is drained": node_loses(drained=True),
    "a node is gone": node_loses(drained=False),
    "a node is not heard of for a while": node_is_silent,
}


def test_what_goes_takes_along_what_is_its_own_and_nothing_else(arena: Arena, control_plane: ControlPlane) -> None:
    servers = {f"{' and '.join(programs)} killed and started": servers_restart(control_plane, *programs)
               for programs in (("kube-apiserver",), ("etcd",), ("etcd", "kube-apiserver"))}  # fmt: skip
    faults = FAULTS | servers

    async def act(users: Swarm) -> None:
        for what in sampled(arena, list(faults), short=1):
            await users.until("it leads", lambda: arena.leads, 90)
            before = {pod.metadata.uid for pod in users.pods}
            kind = "a namespace is deleted" if what.startswith("a namespace") else what
            await arena.case(users, kind, what, functools.partial(faults[what], arena))
            # The kind and the node of all of them took them along.
            kept = {pod.metadata.uid for pod in users.pods} & before
            assert kept or any(word in what for word in ("Pools", "neither", "node")), "warm pods of others went too"

    arena.run(act)
