"""Whatever befalls the operator or its API server, no Sandbox is doubled, lost, left behind or stuck.

A proxy between the two does what networks and servers do, and kills the operator at its writes; a watcher of its own,
past the proxy, checks what is promised at every event. `make faults` plays all of it and writes docs/faults.md,
`make test` a sample with another seed each time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pathlib
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from sandyard.api import names
from tests.api.conftest import CHART
from tests.api.lives import TEMPLATE
from tests.support import manifests, soak, swarm
from tests.support.faulty_proxy import FaultyProxy, Rule, Write
from tests.support.kube import Kube, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess
from tests.support.swarm import Swarm

pytestmark = [pytest.mark.soak, pytest.mark.timeout(soak.rounds(short=600, long=7200))]
WARM = 3
# Before a write is forwarded, between that and its reply, and after the reply.
CUTS = ("before", "between", "after")
CODES = (400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 429, 500, 502, 503, 504)
KINDS = (
    "PATCH pods",
    "POST pods",
    "DELETE pods",
    "PATCH sandboxes/status",
    "PATCH sandboxes",
    "PATCH sandboxpools/status",
)
WATCHES = ("silent", "broken", "gone", "refused", "replayed", "undecodable")
# A Sandbox that has not come to its end by then is stuck.
STUCK_SECONDS = 120.0
# A process starts in two seconds, and in ten times that on a machine with much else to do.
STARTS_SECONDS = 25.0
_CHOICES = ("SANDYARD_SEED", "SANDYARD_FAULTS")
T = TypeVar("T")
Workload = Callable[[Swarm, str], Awaitable[None]]


@dataclass
class Kind:
    """What was found of one kind of fault."""

    name: str
    cases: int = 0
    longest_seconds: float = 0.0
    stuck: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    doubles: list[str] = field(default_factory=list)

    def line(self) -> str:
        """A row of the report."""
        found = (len(self.left), len(self.doubles), len(self.stuck))
        return f"| {self.name} | {self.cases} | {' | '.join(map(str, found))} | {self.longest_seconds:.1f} |"


@dataclass
class Arena:
    """An operator behind the proxy, which is started anew whenever it ends, and what was found so far."""

    kube: Kube
    proxy: FaultyProxy
    operator: OperatorProcess
    dice: random.Random
    kinds: dict[str, Kind] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    number: int = 0

    def run(self, act: Callable[[Swarm], Awaitable[None]]) -> None:
        """Let *act* loose, with the operator kept alive."""

        async def supervised(users: Swarm) -> None:
            keeper = asyncio.create_task(self._keep_alive())
            try:
                await act(users)
            finally:
                keeper.cancel()

        before = self._found()
        swarm.run(self.kube.kubeconfig, self.kube.namespace, supervised)
        assert self.proxy.forbidden == []
        assert [item for item in self._found() if item not in before] == []

    def _found(self) -> list[str]:
        return [item for kind in self.kinds.values() for item in (*kind.stuck, *kind.left, *kind.doubles)]

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            if not self.operator.running:
                self.operator.start(wait=False)

    def kill(self) -> None:
        """SIGKILL."""
        if self.operator.running:
            self.operator.signal(signal.SIGKILL)

    async def case(self, users: Swarm, kind: str, what: str, workload: Workload, rule: Rule) -> float:
        """One workload under one fault; returns the seconds until all was well."""
        self.number += 1
        found = self.kinds.setdefault(kind, Kind(kind))
        found.cases += 1
        began = time.monotonic()
        self.proxy.watch_over(rule)
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await workload(users, f"c{self.number}")
        except TimeoutError:
            found.stuck.append(what)
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await well(users)
        except TimeoutError:
            found.left.append(f"{what}: {sorted(pod.metadata.name for pod in users.pods)}")
        self.proxy.watch_over(lambda _write: "")
        found.doubles += [f"{what}: {item}" for item in users.violations]
        users.violations.clear()
        took = time.monotonic() - began
        found.longest_seconds = max(found.longest_seconds, took)
        print(f"{self.number:4} {took:5.1f} s  {what}", flush=True)
        return took


async def well(users: Swarm) -> None:
    """Return when no Sandbox is left, and of pods the warm ones of both pools alone."""
    while True:
        pods = list(users.pods)
        warm = [pod for pod in pods if pod.metadata.deletion_timestamp is None
                and pod.metadata.labels.get(names.LABEL_STATE) == names.STATE_WARM]  # fmt: skip
        if len(pods) == len(warm) == WARM + 1 and not len(users.sandboxes):
            return
        await asyncio.sleep(0.05)


# What users do


async def claims(users: Swarm, tag: str) -> None:
    """More claims than there are warm pods, and their end."""
    made = [f"{tag}-{number}" for number in range(WARM + 1)]
    await asyncio.gather(*(users.create(name) for name in made))
    for name in made:
        await users.phase(name, "Ready")
    await asyncio.gather(*(users.delete(name) for name in made))
    for name in made:
        await users.phase(name, "")


async def rollout(users: Swarm, tag: str) -> None:
    """The template changes while claims are made."""
    await users.change_pool("python", {"template": {**TEMPLATE, "image": tag}})
    await claims(users, tag)


async def rest(users: Swarm, tag: str) -> None:
    """One with a persistent workspace rests, and comes back."""
    await users.create(tag, "keeps")
    await users.phase(tag, "Ready")
    for state, phase in (("Suspended", "Suspended"), ("Running", "Ready")):
        await users.change(tag, {"desiredState": state})
        await users.phase(tag, phase)
    await users.delete(tag)
    await users.phase(tag, "")


WORKLOADS: dict[str, Workload] = {"claims": claims, "rollout": rollout, "rest": rest}


@pytest.fixture(scope="module")
def arena(
    file_namespace: Kube, operator_config: pathlib.Path, kubelet: Kubelet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    kube, folder = file_namespace, tmp_path_factory.mktemp("faults")
    proxy = FaultyProxy(operator_config)
    proxy.start()
    kube.within("sandyard-system").delete("lease", "sandyard")
    operator = OperatorProcess(
        proxy.config(folder / "kubeconfig"), folder / "operator.log", SANDYARD_WATCH_NAMESPACES=kube.namespace,
        SANDYARD_LEADER_ELECTION="true", SANDYARD_LEASE_DURATION_SECONDS="30", SANDYARD_POD_UID="pod-of-the-operator",
    )  # fmt: skip
    made = Arena(kube, proxy, operator, random.Random(soak.seed()))
    proxy.cut = made.kill
    try:
        operator.start()
        waits = {"action": "ColdStart", "waitSeconds": 600}
        persistent = {**TEMPLATE, "workspace": {"persistent": {"size": "1Gi"}}}
        kube.apply(manifests.pool("python", WARM, TEMPLATE, whenEmpty=waits),
                   manifests.pool("keeps", 1, persistent, whenEmpty=waits))  # fmt: skip
        for name in ("python", "keeps"):
            kube.wait_for("sandboxpool", name, "Ready")
        yield made
        report(made)
        kube.delete("sandboxes,sandboxpools", "--all")
        assert not kube.list("pods")
        until("no workspace is left", lambda: not kube.list("persistentvolumeclaims"), 60)
        assert "Traceback" not in operator.log
    finally:
        operator.kill()
        proxy.stop()


def at(number: int, verdict: str) -> Rule:
    """The write of that number meets *verdict*."""
    return lambda write: verdict if write.number == number else ""


def noted(seen: list[Write]) -> Rule:
    """Nothing happens to any write, but it is kept in *seen*."""

    def rule(write: Write) -> str:
        seen.append(write)
        return ""

    return rule


def first_of(kind: str, verdict: str, count: int = 1) -> Rule:
    """The first *count* writes of a kind meet *verdict*."""
    met = itertools.count()
    return lambda write: verdict if write.kind == kind and next(met) < count else ""


def test_an_operator_that_is_killed_at_any_write_leaves_nothing_undone(arena: Arena) -> None:
    async def act(users: Swarm) -> None:
        cases = []
        for name, workload in WORKLOADS.items():
            seen: list[Write] = []
            await arena.case(
                users, "none", f"{name}: nothing", workload, lambda write, seen=seen: seen.append(write) or ""
            )
            cases += [(name, write.number, write.kind, cut) for write in seen for cut in CUTS]
        for name, number, kind, cut in sampled(arena, cases, short=4):
            what = f"{name}: killed {cut} write {number} ({kind})"
            await arena.case(users, f"killed {cut} a write", what, WORKLOADS[name], at(number, cut))

    arena.run(act)


def test_a_write_that_is_answered_badly_or_not_costs_nobody_a_sandbox(arena: Arena) -> None:
    async def act(users: Swarm) -> None:
        arena.proxy.cut = lambda: None
        verdicts = [*map(str, CODES), *CUTS]
        cases = [(name, kind, verdict) for name in WORKLOADS for kind in KINDS for verdict in verdicts]
        for name, kind, verdict in sampled(arena, cases, short=4):
            told = f"answered {verdict}" if verdict.isdigit() else f"cut {verdict}"
            what = f"{name}: {kind} {told}"
            await arena.case(users, told, what, WORKLOADS[name], first_of(kind, verdict, arena.dice.choice([1, 3])))
        arena.proxy.cut = arena.kill

    arena.run(act)


def test_watches_that_fail_in_any_way_cost_seconds(arena: Arena) -> None:
    async def act(users: Swarm) -> None:
        for fault in sampled(arena, list(WATCHES), short=1):
            arena.proxy.watches = fault
            healing = asyncio.get_running_loop().call_later(3, setattr, arena.proxy, "watches", "")
            took = await arena.case(users, f"watches {fault} for 3 s", f"claims: watches {fault}", claims, lambda _: "")
            healing.cancel()
            arena.proxy.watches = ""
            # Silence is noticed within 16 s, and there are two streams one after the other.
            assert took < (45 if fault == "silent" else 30)

    arena.run(act)


def test_an_api_server_that_was_away_finds_all_pods_as_they_were(arena: Arena) -> None:
    async def act(users: Swarm) -> None:
        for seconds in soak.rounds(short=0, long=1) * (10, 30, 60) or (10,):
            await users.until("it leads", lambda: leads(arena), 60)
            before = {pod.metadata.uid for pod in users.pods}
            await asyncio.to_thread(arena.proxy.away, True)
            name = f"away-{seconds}"
            await users.create(name)
            await asyncio.sleep(seconds)
            assert {pod.metadata.uid for pod in users.pods} == before
            await asyncio.to_thread(arena.proxy.away, False)
            began = time.monotonic()
            await users.phase(name, "Ready")
            took = time.monotonic() - began
            arena.figures[f"first claim after an API server that was away for {seconds} s"] = took
            # Three seconds, and what a busy machine takes to start a process where the lease was lost.
            assert took < 3 + STARTS_SECONDS
            assert len({pod.metadata.uid for pod in users.pods} & before) == len(before), "a warm pod was replaced"
            await users.delete(name)
            await well(users)

    arena.run(act)


def test_one_operator_that_is_restarted_does_not_wait_for_its_own_lease(arena: Arena) -> None:
    async def act(users: Swarm) -> None:
        slowest = 0.0
        for number in range(soak.rounds(short=1, long=5)):
            await users.until("it leads", lambda: leads(arena), 60)
            name = f"again-{number}"
            await users.create(f"{name}-before")
            arena.kill()
            began = time.monotonic()
            await users.create(name)
            await users.phase(name, "Ready")
            slowest = max(slowest, time.monotonic() - began)
            for each in (name, f"{name}-before"):
                await users.delete(each)
            await well(users)
        arena.figures["killed, until the first claim of the process that follows in the same pod"] = slowest
        assert slowest < STARTS_SECONDS

    arena.run(act)


def leads(arena: Arena) -> bool:
    try:
        return arena.operator.running and arena.operator.metric("sandyard_leader") == 1
    except OSError:
        return False


def sampled(arena: Arena, cases: list[T], short: int) -> list[T]:
    """Some of *cases*, or all in the long form, or as many as SANDYARD_FAULTS says."""
    most = int(os.environ.get("SANDYARD_FAULTS", "0")) or soak.rounds(short=short, long=len(cases))
    return arena.dice.sample(cases, min(most, len(cases)))


def report(arena: Arena) -> None:
    """Write docs/faults.md, where that is asked for."""
    if not (target := os.environ.get("SANDYARD_FAULTS_REPORT")):
        return
    chosen = [f"{key}={os.environ[key]}" for key in _CHOICES if key in os.environ]
    lines = [
        "# Faults", "",
        "Written by `make faults`: an operator behind a proxy, a real API server, simulated kubelets. A watcher past",
        "the proxy checks at every event that no pod has two Sandboxes, the proxy that no pod is deleted by its name",
        "alone or by force; after each case nothing may be left but warm pods.",
        "A write is cut before it is forwarded, between that and its reply, or after the reply.", "",
        f"This run: `{' '.join([*chosen, 'make faults'])}`; without",
        "SANDYARD_FAULTS every write of three workloads meets every cut, and every kind of write every answer.", "",
        "| fault | cases | left behind | doubles | stuck | longest until all was well, in seconds |",
        "| --- | --- | --- | --- | --- | --- |",
        *(kind.line() for kind in arena.kinds.values()), "",
        "| time | seconds |", "| --- | --- |",
        *(f"| {what} | {seconds:.1f} |" for what, seconds in arena.figures.items()), "",
    ]  # fmt: skip
    (CHART.parents[1] / target).write_text("\n".join(lines))
