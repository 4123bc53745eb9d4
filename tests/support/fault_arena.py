"""Where faults are put between an operator and its API server, and what is found then.

The users and the watcher of `swarm` speak to the API server itself: what they see is what has happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pathlib
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from localcluster import paths
from sandyard.api import names
from tests.api.lives import TEMPLATE
from tests.support import manifests, soak, swarm
from tests.support.faulty_proxy import FaultyProxy, Rule
from tests.support.kube import Kube, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess
from tests.support.swarm import Swarm

__all__ = ["PERSISTENT", "STUCK_SECONDS", "WARM", "WORKLOADS", "Arena", "Findings", "Workload", "at", "claims",
           "first_of", "nothing", "opened", "pools", "sampled", "well"]  # fmt: skip

WARM: Final = 3
PERSISTENT: Final = {**TEMPLATE, "workspace": {"persistent": {"size": "1Gi"}}}
# A Sandbox that has not come to its end by then is stuck.
STUCK_SECONDS: Final = 120.0
_TURNS: Final = 2
_CHOICES: Final = ("SANDYARD_SEED", "SANDYARD_FAULTS")
T = TypeVar("T")
Workload = Callable[[Swarm, str], Awaitable[None]]


@dataclass
class Kind:
    """What was found of one kind of fault; each finding is a sentence."""

    name: str
    cases: int = 0
    longest_seconds: float = 0.0
    left: list[str] = field(default_factory=list)
    doubles: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def found(self) -> list[str]:
        """All of it."""
        return [*self.left, *self.doubles, *self.stuck, *self.errors]

    def line(self) -> str:
        """A row of the report."""
        found = (len(self.left), len(self.doubles), len(self.stuck), len(self.errors))
        return f"| {self.name} | {self.cases} | {' | '.join(map(str, found))} | {self.longest_seconds:.1f} |"


@dataclass
class Findings:
    """What was found in all of a run."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def all(self) -> list[str]:
        """Everything that should not have been."""
        return [item for kind in self.kinds.values() for item in kind.found]

    def report(self) -> None:
        """Write docs/faults.md, or whatever SANDYARD_FAULTS_REPORT says; nothing without it."""
        if not (target := os.environ.get("SANDYARD_FAULTS_REPORT")):
            return
        chosen = [f"{key}={os.environ[key]}" for key in _CHOICES if key in os.environ]
        lines = [
            "# Faults", "",
            "Written by `make faults`: an operator behind a proxy, a real API server, simulated kubelets.",
            "A watcher past the proxy checks at every event that no pod has two Sandboxes, the proxy that no pod is",
            "deleted by its name alone or by force; after each case nothing may be left but warm pods, and the",
            "operator may have logged no Traceback. A write is cut before it is forwarded, between that and its",
            "reply, or after the reply.", "",
            f"This run: `{' '.join([*chosen, 'make faults'])}`; without",
            "SANDYARD_FAULTS every write of four workloads meets every cut, and every kind of write every answer.", "",
            "| fault | cases | left behind | doubles | stuck | Tracebacks | longest until all was well, in seconds |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(kind.line() for kind in self.kinds.values()), "",
            "| time | seconds |", "| --- | --- |",
            *(f"| {what} | {seconds:.1f} |" for what, seconds in self.figures.items()), "",
        ]  # fmt: skip
        (paths.REPOSITORY / target).write_text("\n".join(lines))


@contextlib.asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """No fault but what the rule says."""
    yield


@dataclass
class Arena:
    """An operator behind the proxy, which is started anew whenever it ends, and what was found so far.

    Attributes
    ----------
    logs
        Where the operator's log of a case is kept in which something was found.
    """

    kube: Kube
    proxy: FaultyProxy
    operator: OperatorProcess
    kubelet: Kubelet
    findings: Findings
    dice: random.Random
    logs: pathlib.Path
    number: int = 0

    def run(self, act: Callable[[Swarm], Awaitable[None]]) -> None:
        """Let *act* loose, with the operator kept alive."""

        async def supervised(users: Swarm) -> None:
            keeper = asyncio.create_task(self._keep_alive())
            try:
                await act(users)
            finally:
                keeper.cancel()

        before = self.findings.all()
        swarm.run(self.kube.kubeconfig, self.kube.namespace, supervised)
        assert self.proxy.forbidden == []
        assert [item for item in self.findings.all() if item not in before] == []

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            if not self.operator.running:
                self.operator.start(wait=False)

    def kill(self) -> None:
        """SIGKILL."""
        if self.operator.running:
            self.operator.signal(signal.SIGKILL)

    @property
    def leads(self) -> bool:
        """Whether the operator is up and acts."""
        try:
            return self.operator.running and self.operator.metric("sandyard_leader") == 1
        except OSError:
            return False

    async def case(
        self, users: Swarm, kind: str, what: str, workload: Workload, rule: Rule = lambda _write: "",
        fault: AbstractAsyncContextManager[None] | None = None,
    ) -> float:  # fmt: skip
        """One workload under one fault; returns the seconds until all was well.

        A *fault* begins before the workload, and is over when its block is left: after the workload, or by itself.
        """
        self.number += 1
        found = self.findings.kinds.setdefault(kind, Kind(kind))
        found.cases += 1
        before, logged = len(found.found), len(self.operator.log)
        began = time.monotonic()
        self.proxy.watch_over(rule)
        async with fault or nothing():
            try:
                async with asyncio.timeout(STUCK_SECONDS):
                    await workload(users, f"c{self.number}")
            except TimeoutError:
                found.stuck.append(what)
        try:
            await well(users)
        except TimeoutError:
            found.left.append(f"{what}: {sorted(pod.metadata.name for pod in users.pods)}")
        self.proxy.watch_over(lambda _write: "")
        found.doubles += [f"{what}: {item}" for item in users.judge()]
        users.violations.clear()
        said = self.operator.log[logged:]
        found.errors += [f"{what}: a Traceback"] * ("Traceback" in said)
        took = time.monotonic() - began
        found.longest_seconds = max(found.longest_seconds, took)
        kept = self._keep(said) if len(found.found) > before else ""
        print(f"{self.number:4} {took:5.1f} s  {what}{kept and f': see {kept}'}", flush=True)
        return took

    def _keep(self, said: str) -> pathlib.Path:
        self.logs.mkdir(parents=True, exist_ok=True)
        kept = self.logs / f"{self.number}.log"
        kept.write_text(said)
        return kept


@contextlib.contextmanager
def opened(
    kube: Kube, config: pathlib.Path, kubelet: Kubelet, folder: pathlib.Path, findings: Findings, **settings: str
) -> Iterator[Arena]:
    """An arena in *kube*'s namespace, with its pools."""
    proxy = FaultyProxy(config)
    proxy.start()
    kube.within("sandyard-system").delete("lease", "sandyard")
    operator = OperatorProcess(
        proxy.config(folder / "kubeconfig"), folder / "operator.log",
        **{"SANDYARD_WATCH_NAMESPACES": kube.namespace, "SANDYARD_LEADER_ELECTION": "true",
           "SANDYARD_LEASE_DURATION_SECONDS": "30", "SANDYARD_POD_UID": "pod-of-the-operator", **settings},
    )  # fmt: skip
    seed = soak.seed()
    logs = pathlib.Path(tempfile.gettempdir()) / f"sandyard-faults-{seed}"
    made = Arena(kube, proxy, operator, kubelet, findings, random.Random(seed), logs)
    proxy.cut, proxy.trigger = made.kill, kubelet.restart
    try:
        operator.start()
        kube.apply(*pools())
        for pool in pools():
            kube.wait_for("sandboxpool", pool["metadata"]["name"], "Ready")
        yield made
        findings.report()
        if not operator.running:
            operator.start()
        kube.delete("sandboxes,sandboxpools", "--all")
        assert not kube.list("pods")
        until("no workspace is left", lambda: not kube.list("persistentvolumeclaims"), 60)
    finally:
        operator.kill()
        proxy.stop()


def pools() -> list[dict[str, Any]]:
    """The pools of an arena: one to claim from, one whose workspaces persist, and one pod that is used again."""
    waits = {"action": "ColdStart", "waitSeconds": 600}
    return [manifests.pool("python", WARM, TEMPLATE, whenEmpty=waits),
            manifests.pool("keeps", 1, PERSISTENT, whenEmpty=waits),
            manifests.pool("again", 1, TEMPLATE, whenEmpty={**waits, "action": "Wait"}, maxSandboxes=1,
                           recycle="Restart")]  # fmt: skip


async def well(users: Swarm, warm_of_python: int = WARM) -> None:
    """Return when no Sandbox is left, and of pods the warm ones of all pools alone; TimeoutError: it is never so."""

    def is_well() -> bool:
        pods = list(users.pods)
        warm = [pod for pod in pods if pod.metadata.deletion_timestamp is None
                and pod.metadata.labels.get(names.LABEL_STATE) == names.STATE_WARM]  # fmt: skip
        return len(pods) == len(warm) == warm_of_python + len(pools()) - 1 and not len(users.sandboxes)

    async with asyncio.timeout(STUCK_SECONDS):
        while not is_well():
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


async def reuse(users: Swarm, tag: str) -> None:
    """Sandboxes one after the other have the same pod, which is restarted between them."""
    for turn in range(_TURNS):
        name = f"{tag}-{turn}"
        await users.create(name, "again")
        await users.phase(name, "Ready")
        await users.delete(name)
        await users.phase(name, "")


WORKLOADS: dict[str, Workload] = {"claims": claims, "rollout": rollout, "rest": rest, "reuse": reuse}


# Which writes meet a fault


def at(number: int, verdict: str) -> Rule:
    """The write of that number meets *verdict*."""
    return lambda write: verdict if write.number == number else ""


def first_of(kind: str, verdict: str, count: int = 1) -> Rule:
    """The first *count* writes of a kind meet *verdict*."""
    met = itertools.count()
    return lambda write: verdict if write.kind == kind and next(met) < count else ""


def sampled(arena: Arena, cases: list[T], short: int) -> list[T]:
    """Some of *cases*, or all in the long form, or as many as SANDYARD_FAULTS says."""
    most = int(os.environ.get("SANDYARD_FAULTS", "0")) or (len(cases) if soak.long_form() else short)
    return arena.dice.sample(cases, min(most, len(cases)))
