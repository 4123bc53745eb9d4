"""Races, many rounds each: nothing doubled, nothing left, and every Sandbox ends as promised.

The moments are other ones in each run; `make soak` plays many more rounds.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import signal
import time

import pytest

from sandyard.api import model
from tests.api.lives import TEMPLATE, pool, states
from tests.support import soak, swarm
from tests.support.kube import Kube, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess
from tests.support.swarm import Swarm

pytestmark = [pytest.mark.soak, pytest.mark.timeout(soak.rounds(short=600, long=3600))]
ROUNDS = soak.rounds(short=50, long=500)
AT_ONCE = 20
# Each of the two is frozen while it leads, or each ten times.
FREEZES = soak.rounds(short=2, long=20)
# They claim all the time while one leader is lost and another found.
CROWD = soak.rounds(short=8, long=20)
CLAIMS = soak.rounds(short=100, long=1000)
LIVES = soak.rounds(short=80, long=10_000)
# Between the first fifth of the lives and the last.
GROWTH_MIB = 16
GROWTH_DESCRIPTORS = 4


async def rounds(count: int, act: object, at_once: int = AT_ONCE) -> None:
    """Run *act* with each number, a few at once."""
    gate = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with gate:
            await act(number)  # type: ignore[operator]

    await asyncio.gather(*(one(number) for number in range(count)))


def nothing_left(kube: Kube, warm: int) -> None:
    until("only the pool is left", lambda: states(kube) == {"warm": warm}, 180)
    assert kube.list("sandboxes") == []


def test_claim_against_expiry(kube: Kube, operator: OperatorProcess) -> None:
    rng = random.Random(soak.seed())
    pool(kube, 10)

    async def act(users: Swarm) -> None:
        longest, over = 0.3, 0

        async def one(number: int) -> None:
            nonlocal longest, over
            deadline = model.timestamp(time.time() + rng.uniform(-0.02, longest))
            await users.create(f"s{number}", lifetime={"deadline": deadline})
            await users.phase(f"s{number}", "")
            # However fast this machine is just now, each side should win about half of the rounds.
            over += 1
            longest = min(10.0, max(0.02, longest * (1.1 if len(users.owners) < over / 2 else 0.9)))

        await rounds(ROUNDS, one)
        await users.until("no pod is claimed", lambda: not users.claimed())
        assert 0 < len(users.owners) < ROUNDS, "it was a race: each side won some rounds"

    swarm.run(kube.kubeconfig, kube.namespace, act)
    nothing_left(kube, 10)


def test_delete_against_claim(kube: Kube, operator: OperatorProcess) -> None:
    rng = random.Random(soak.seed())
    pool(kube, 10)

    async def act(users: Swarm) -> None:
        async def one(number: int) -> None:
            cold = {"env": [{"name": "A", "value": "1"}]} if number % 5 == 0 else {}
            await users.create(f"s{number}", **cold)
            await asyncio.sleep(rng.uniform(0, 0.08))  # the moment is the point
            await users.delete(f"s{number}")
            await users.phase(f"s{number}", "")

        await rounds(ROUNDS, one)
        await users.until("no pod is claimed", lambda: not users.claimed())

    swarm.run(kube.kubeconfig, kube.namespace, act)
    nothing_left(kube, 10)


def test_rollout_against_claim(kube: Kube, operator: OperatorProcess) -> None:
    rng = random.Random(soak.seed())
    pool(kube, 5)

    async def act(users: Swarm) -> None:
        next_rollout = 1

        async def one(number: int) -> None:
            nonlocal next_rollout
            # By rounds and not by time: on a slow machine a pool would do nothing but to roll out.
            if number == next_rollout:
                next_rollout += rng.randint(1, 6)
                await asyncio.sleep(rng.uniform(0, 0.2))  # the moment is the point
                await users.change_pool("python", {"template": {**TEMPLATE, "image": f"image:{number}"}})
            await users.create(f"s{number}")
            assert await users.phase(f"s{number}", "Ready", "Failed") == "Ready"
            await users.delete(f"s{number}")
            await users.phase(f"s{number}", "")

        await rounds(ROUNDS, one, at_once=10)
        await users.until("no pod is claimed", lambda: not users.claimed())

    swarm.run(kube.kubeconfig, kube.namespace, act)
    nothing_left(kube, 5)
    image = kube.get("sandboxpool", "python")["spec"]["template"]["image"]  # type: ignore[index]
    assert {pod["spec"]["containers"][0]["image"] for pod in kube.list("pods")} == {image}


def test_a_leader_that_is_frozen_and_thawed_hands_nothing_out_twice(
    kube_apart: Kube, operator_config: pathlib.Path, kubelet: Kubelet, tmp_path: pathlib.Path
) -> None:
    """Two operators; the leader is stopped and continued again and again while claims are made."""
    kube = kube_apart
    settings = {"SANDYARD_LEADER_ELECTION": "true", "SANDYARD_LEASE_DURATION_SECONDS": "5",
                "SANDYARD_WATCH_NAMESPACES": kube.namespace}  # fmt: skip
    pair = [OperatorProcess(operator_config, tmp_path / f"{n}.log", **settings) for n in ("one", "two")]
    kube.within("sandyard-system").delete("lease", "sandyard")
    for process in pair:
        process.start()
    takeovers: list[float] = []
    try:
        pool(kube, CROWD, whenEmpty={"action": "ColdStart", "waitSeconds": 600})

        async def act(users: Swarm) -> None:
            done = asyncio.Event()

            async def one(number: int) -> None:
                await users.create(f"s{number}")
                assert await users.phase(f"s{number}", "Ready", "Failed") == "Ready"
                await users.delete(f"s{number}")
                await users.phase(f"s{number}", "")

            async def load() -> None:
                number = 0
                while number < CLAIMS or not done.is_set():
                    await asyncio.gather(*(one(number + offset) for offset in range(CROWD)))
                    number += CROWD

            async def freeze() -> None:
                for _ in range(FREEZES):
                    takeovers.append(await asyncio.to_thread(freeze_leader, pair))
                done.set()

            async with asyncio.TaskGroup() as group:
                group.create_task(load())
                group.create_task(freeze())
            assert len(users.handed) >= CLAIMS
            await users.until("no pod is claimed", lambda: not users.claimed())

        swarm.run(kube.kubeconfig, kube.namespace, act)
        nothing_left(kube, CROWD)
        assert max(takeovers) < 15
        until("one leads, to clean up", lambda: leader_of(pair), 90)
        kube.delete("sandboxpool", "python")
    finally:
        for process in pair:
            process.kill()


def freeze_leader(pair: list[OperatorProcess]) -> float:
    """Stop the leader until the other has taken over, then let it go on; seconds until the takeover."""
    leader = until("one leads and the other is ready", lambda: leader_of(pair), 60)
    other = next(process for process in pair if process is not leader)
    leader.signal(signal.SIGSTOP)
    started = time.monotonic()
    until("the other leads", lambda: leads(other), 30)
    took = time.monotonic() - started
    leader.signal(signal.SIGCONT)
    # It finds out that it leads no more, and ends.
    until("the frozen one has ended", lambda: not leader.running, 30)
    return took


def leader_of(pair: list[OperatorProcess]) -> OperatorProcess | None:
    """The leader, once both are up; one that has ended is started anew, as its Deployment would do."""
    for process in pair:
        if not process.running:
            process.start(wait=False)
    leading = [process for process in pair if leads(process)]
    up = all(answers(process) for process in pair)
    return leading[0] if up and len(leading) == 1 else None


def leads(process: OperatorProcess) -> bool:
    try:
        return process.metric("sandyard_leader") == 1
    except OSError:
        return False


def answers(process: OperatorProcess) -> bool:
    try:
        return process.fetch("/readyz") == "ok"
    except OSError:
        return False


def test_suspend_against_delete(kube: Kube, operator: OperatorProcess) -> None:
    """With real garbage collection and claim protection: no workspace outlives its Sandbox."""
    rng = random.Random(soak.seed())
    pool(kube, 10, template={**TEMPLATE, "workspace": {"persistent": {"size": "1Gi"}}})

    async def act(users: Swarm) -> None:
        async def one(number: int) -> None:
            name = f"s{number}"
            await users.create(name)
            await users.phase(name, "Ready")
            await users.change(name, {"desiredState": "Suspended"})
            await asyncio.sleep(rng.uniform(0, 0.4))  # the moment is the point
            if number % 3 == 0:
                await users.change(name, {"desiredState": "Running"})
                await asyncio.sleep(rng.uniform(0, 0.2))  # and this one
            await users.delete(name)
            await users.phase(name, "")

        await rounds(ROUNDS, one)
        await users.until("no pod is claimed", lambda: not users.claimed())

    swarm.run(kube.kubeconfig, kube.namespace, act)
    nothing_left(kube, 10)
    pods = {f"{pod['metadata']['name']}-workspace" for pod in kube.list("pods")}
    until("only the pool's workspaces are left",
          lambda: {item["metadata"]["name"] for item in kube.list("persistentvolumeclaims")} == pods, 180)  # fmt: skip


def test_lives_one_after_the_other_leave_neither_memory_nor_descriptors_nor_objects(
    kube: Kube, operator: OperatorProcess
) -> None:
    pool(kube, AT_ONCE, whenEmpty={"action": "ColdStart", "waitSeconds": 600})

    async def act(users: Swarm) -> None:
        async def one(number: int) -> None:
            name = f"life-{number}"
            await users.create(name)
            await users.phase(name, "Ready")
            await users.delete(name)
            await users.phase(name, "")
            # What the watcher itself keeps is not what is measured, and not for ever either.
            users.phases.pop(name, None)

        # What the first ones make the process keep is no growth.
        before = await lived(one, 0, LIVES // 5)
        began = time.monotonic()
        after = await lived(one, LIVES // 5, LIVES)
        rate = (LIVES - LIVES // 5) / (time.monotonic() - began)
        print(f"{LIVES} lives, {rate:.0f} a second; MiB, descriptors, objects: {before}, then {after}", flush=True)
        assert after[0] - before[0] < GROWTH_MIB
        assert after[1] - before[1] <= GROWTH_DESCRIPTORS
        assert after[2] == before[2]

    async def lived(one: object, start: int, end: int) -> tuple[float, int, dict[str, int]]:
        await rounds(end - start, lambda number: one(start + number))  # type: ignore[operator]
        await asyncio.to_thread(nothing_left, kube, AT_ONCE)
        return memory_mib(operator.pid), len(os.listdir(f"/proc/{operator.pid}/fd")), objects(kube)

    swarm.run(kube.kubeconfig, kube.namespace, act)


def memory_mib(pid: int) -> float:
    """What a process holds in memory."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def objects(kube: Kube) -> dict[str, int]:
    """How many there are of each kind that the operator writes, but Events, which go by themselves."""
    kinds = ("sandboxes", "sandboxpools", "pods", "persistentvolumeclaims", "networkpolicies")
    return {kind: len(kube.list(kind)) for kind in kinds} | {
        "leases": len(kube.within("sandyard-system").list("leases"))
    }
