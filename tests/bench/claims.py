"""How fast claims are, at which load, and what they cost: Sandyard beside the sketch of its claim path.

Simulated nodes, a pool of 300 warm pods, Poisson arrivals; each claim is held for three seconds and then deleted.
Everything runs on this machine: figures of two runs do not compare, their ratios within one run do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from localcluster import tools
from sandyard.api import names
from tests.bench.crowd import Crowd, Outcome, crowd, percentile
from tests.bench.floor import floor
from tests.bench.plane import GROUPS
from tests.bench.report import write
from tests.bench.subjects import NAMESPACE, POOL, SUBJECTS, Running, Subject, installed
from tests.support import manifests

__all__ = ["Figures", "main"]

_REPLICAS: Final = 300
_HOLD_SECONDS: Final = 3.0
_BURST: Final = 200
_QUIET: Final = "quiet"
_QUIET_REPLICAS: Final = 30
_QUIET_RATE: Final = 3.0
Measure = Callable[[str, float, Awaitable[Outcome]], Awaitable[None]]
Levels = list[tuple[float, int]]


@dataclass(frozen=True)
class Figures:
    """One scenario's figures; times in ms, processor time in ms a claim's whole life.

    Attributes
    ----------
    offered
        Claims a second that were asked for; 0: all at once.
    distribution
        The latencies that 0, 1, ... 100 % of the claims do not exceed.
    levels
        Seconds since the beginning, and how many pods its pool's status said were warm.
    """

    subject: str
    scenario: str
    claims: int
    p50: float
    p90: float
    p99: float
    most: float
    post: float
    per_second: float
    cold: int
    failed: int
    doubles: int
    leaks: int
    late: float
    processor: dict[str, float]
    offered: float
    distribution: list[float]
    levels: list[tuple[float, int]]

    @classmethod
    def of(
        cls, subject: str, scenario: str, offered: float, outcome: Outcome, used: dict[str, float], levels: Levels
    ) -> Figures:  # fmt: skip
        """From what was seen."""
        values, count = outcome.latencies, len(outcome.latencies)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
        return cls(
            subject, scenario, count, **{key: 1000 * percentile(values, share) for key, share in shares.items()},
            post=1000 * percentile(outcome.posts, 0.5), per_second=count / outcome.seconds if outcome.seconds else 0.0,
            cold=outcome.cold, failed=outcome.failed, doubles=outcome.doubles, leaks=outcome.leaks,
            late=1000 * outcome.late,
            processor={name: 1000 * value / max(1, count) for name, value in used.items()}, offered=offered,
            distribution=[1000 * percentile(values, share / 100) for share in range(101)],
            levels=levels,
        )  # fmt: skip

    def line(self) -> str:
        """One row of the table on the terminal."""
        total = sum(value for name, value in self.processor.items() if name != "load")
        parts = " ".join(f"{name.removeprefix('kube-')} {value:.0f}" for name, value in self.processor.items())
        times = " ".join(f"{value:7.0f}" for value in (self.p50, self.p99, self.most, self.post))
        counts = f"{self.cold:5} {self.failed:4} {self.doubles:4} {self.leaks:4} {self.late:5.0f}"
        return (f"{self.subject:9} {self.scenario:12} {self.claims:5} {times} {self.per_second:7.1f} {counts} "
                f"{total:6.0f}  {parts}")  # fmt: skip


HEAD: Final = (f"{'':9} {'scenario':12} {'n':>5} {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7} {'post ms':>7} {'per s':>7} "
               f"{'cold':>5} {'fail':>4} {'dbl':>4} {'leak':>4} {'late':>5} {'cpu ms':>6}")  # fmt: skip


async def _scenarios(running: Running, wanted: argparse.Namespace) -> list[Figures]:
    """All scenarios of one subject, one after the other."""
    found: list[Figures] = []

    async def measure(scenario: str, offered: float, act: Awaitable[Outcome]) -> None:
        before = running.processor_seconds()
        users.levels.clear()
        began = time.perf_counter()
        outcome = await act
        after = running.processor_seconds()
        used = {name: after[name] - before[name] for name in before}
        levels = [(round(at - began, 2), warm) for at, warm in users.levels]
        found.append(Figures.of(running.subject.name, scenario, offered, outcome, used, levels))
        print(found[-1].line(), flush=True)

    async with crowd(running.plane.users, NAMESPACE, finalizers=running.subject.finalizers) as users:
        await users.steady(POOL, 5, 3, 0.5, seed=0)
        for rate in wanted.rates:
            seed = wanted.seed + int(rate)
            await measure(f"{rate:g}/s", rate, users.steady(POOL, rate, wanted.seconds, _HOLD_SECONDS, seed))
            await _full(running)
        for _ in range(wanted.bursts):
            await measure("burst", 0, users.arrive(POOL, [0.0] * _BURST, _HOLD_SECONDS))
            await _full(running)
        if running.subject.several and wanted.neighbours:
            await _neighbours(running, users, wanted, measure)
    return found


async def _neighbours(running: Running, users: Crowd, wanted: argparse.Namespace, measure: Measure) -> None:
    """A namespace where little happens: by itself, and while another is flooded."""
    kube = running.kube.within(_QUIET)
    kube.make_namespace(_QUIET)
    kube.apply(manifests.pool(POOL, _QUIET_REPLICAS))
    await asyncio.to_thread(kube.wait_for, "sandboxpool", POOL, "Full", 120)
    async with crowd(running.plane.users, _QUIET) as quiet:

        def little(seed: int) -> Awaitable[Outcome]:
            return quiet.steady(POOL, _QUIET_RATE, wanted.seconds, 1.0, wanted.seed + seed)

        await measure("quiet", _QUIET_RATE, little(0))
        await _full(running)
        rate = _BURST / wanted.seconds
        flood = asyncio.gather(
            users.arrive(POOL, [0.0] * _BURST, _HOLD_SECONDS),
            users.steady(POOL, rate, wanted.seconds, _HOLD_SECONDS, wanted.seed),
        )
        await measure("quiet, flood", _QUIET_RATE, little(0))
        await flood
        await _full(running)


async def _full(running: Running) -> None:
    """Wait until the pool is full again and nobody is busy."""
    await asyncio.sleep(1)
    for _ in range(120):
        pods = await asyncio.to_thread(running.kube.list, "pods", f"{names.LABEL_STATE}={names.STATE_WARM}")
        if sum(pod["status"].get("phase") == "Running" for pod in pods) >= _REPLICAS:
            return
        await asyncio.sleep(0.5)
    raise AssertionError("the pool is not full again within a minute")


def run(subject: Subject, wanted: argparse.Namespace) -> tuple[list[Figures], float]:
    """Measure one subject on a control plane of its own; the second value is the floor, for the sketch."""
    with installed(subject) as (plane, kube, folder):
        with subject.start(kube, folder, _REPLICAS) as pid:
            running = Running(subject, plane, kube, pid)
            found = asyncio.run(_scenarios(running, wanted))
        bare = asyncio.run(_floor(plane.users, subject, wanted.seconds)) if subject.name == "sketch" else 0.0
        return found, bare


async def _floor(kubeconfig: pathlib.Path, subject: Subject, seconds: float) -> float:
    async with crowd(kubeconfig, NAMESPACE, finalizers=subject.finalizers) as users:
        return await floor(users, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="*", default=[5, 10, 20, 40, 60, 75], help="claims a second")
    parser.add_argument("--seconds", type=float, default=20, help="how long each rate is kept up")
    parser.add_argument("--bursts", type=int, default=2, help="how often 200 claims come at once")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals")
    parser.add_argument("--subjects", nargs="*", default=[item.name for item in SUBJECTS])
    parser.add_argument("--neighbours", action=argparse.BooleanOptionalAction, default=True,
                        help="a namespace where little happens, while another is flooded")  # fmt: skip
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there")
    parser.add_argument("--report", type=pathlib.Path, help="write a page about them there")
    wanted = parser.parse_args(arguments)
    # Whoever ends it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tools.ensure(GROUPS)
    figures: list[Figures] = []
    bare = 0.0
    print(HEAD, flush=True)
    for subject in SUBJECTS:
        if subject.name in wanted.subjects:
            found, its_floor = run(subject, wanted)
            figures += found
            bare = bare or its_floor
    print(f"floor: {bare:.1f} lives/s")
    measured = {"floor": bare, "seconds": wanted.seconds, "figures": [asdict(item) for item in figures]}
    if wanted.json:
        wanted.json.write_text(json.dumps(measured, indent=1))
    if wanted.report:
        write(wanted.report, measured)
    return 1 if any(item.doubles for item in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
