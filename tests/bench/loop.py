"""What the operator's loop costs as pools grow: ``hack/bench-loop [--check]``.

Each figure is processor time, the median of several rounds.  It must not depend on how many
pods, pools, Sandboxes or waiting claims there are beside the one that it is for.
"""

from __future__ import annotations

import argparse
import gc
import logging
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from sandyard.api.objects import Pod
from tests.bench.rig import NAMESPACE, Rig, StillLoop

__all__ = ["ROWS", "Figures", "Shape", "main", "measure", "table"]

SIZES = (100, 1_000, 10_000)
MOST_GROWTH = 2.0
_ROUNDS = 40
_Part = Callable[[Rig, "Shape", int, "Figures"], Awaitable[None]]
ROWS = {
    "pod event": "a pod's change, and all that its pool does about it",
    "warm claim": "from the Sandbox's event to its two writes",
    "pool status": "one status of a pool, worked out and written",
    "policies": "one look at the policies of the namespace",
    "waiting claim": "a look at the last claim of a queue as long as the pool",
    "served claim": "a pod turns warm and goes to the first claim of that queue",
}


@dataclass(frozen=True)
class Shape:
    """So many pools with so many pods each, and as many claims that wait."""

    pools: int
    pods: int

    @property
    def title(self) -> str:
        """The head of its column."""
        return f"{self.pods:,}" if self.pools == 1 else f"{self.pools} x {self.pods}"


@dataclass
class Figures:
    """What was measured of one shape.

    Attributes
    ----------
    seconds
        Processor time of each round, by row.
    writes, reads
        Requests that one warm claim took, of each round.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: {row: [] for row in ROWS})
    writes: list[int] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)

    def median(self, row: str) -> float:
        """Microseconds."""
        return statistics.median(self.seconds[row]) * 1e6


def measure(shape: Shape, rounds: int = _ROUNDS, meter: Callable[[], float] = time.process_time) -> Figures:
    """All rows for one *shape*, by *meter*."""
    figures = Figures()
    for part in (_full_pools, _empty_pools):
        loop = StillLoop()
        try:
            loop.run_until_complete(_measure_part(Rig(loop, meter), part, shape, rounds, figures))
        finally:
            loop.close()
            gc.unfreeze()
            gc.collect()
    return figures


async def _measure_part(rig: Rig, part: _Part, shape: Shape, rounds: int, figures: Figures) -> None:
    async with rig:
        await part(rig, shape, rounds, figures)


async def _full_pools(rig: Rig, shape: Shape, rounds: int, figures: Figures) -> None:
    """Pools that are as they should be: half of their pods are warm, half are claimed."""
    # By UID, the newest last.
    warm: dict[str, dict[str, Pod]] = {f"full-{number}": {} for number in range(shape.pools)}
    for name, pods in warm.items():
        rig.pool(name, replicas=shape.pods // 2)
        for _ in range(shape.pods // 2):
            pod = rig.pod(name)
            pods[pod.metadata.uid] = pod
            rig.add(pod)
        for number in range(shape.pods - shape.pods // 2):
            owner = f"{name}-s{number}"
            claimed = rig.pod(name, sandbox=f"uid-{owner}")
            rig.add(claimed)
            rig.sandbox(owner, name, claimed)
    await _settle(rig)
    for number in range(rounds):
        name = list(warm)[number % shape.pools]
        figures.seconds["pod event"].append(await _replace(rig, name, warm[name]) / 4)
        await _claim(rig, name, f"new-{number}", warm[name], figures)
        figures.seconds["pool status"].append(await rig.cost(lambda name=name: rig.statuses.add(f"uid-{name}")))
        figures.seconds["policies"].append(await rig.cost(lambda: rig.policies.add(NAMESPACE)))


async def _empty_pools(rig: Rig, shape: Shape, rounds: int, figures: Figures) -> None:
    """Pools whose claims wait: as many as the others have pods."""
    pools = [f"empty-{number}" for number in range(shape.pools)]
    for name in pools:
        rig.pool(name, replicas=0, whenEmpty={"action": "Wait", "waitSeconds": 86_400})
        for number in range(shape.pods):
            rig.sandbox(f"{name}-s{number}", name)
    await _settle(rig)
    for number in range(rounds):
        name = pools[number % shape.pools]
        last = f"uid-{name}-s{shape.pods - 1}"
        figures.seconds["waiting claim"].append(await rig.cost(lambda last=last: rig.sandboxes.add(last)))
        pod = rig.pod(name)
        rig.client.writes.clear()
        figures.seconds["served claim"].append(await rig.cost(lambda pod=pod: rig.add(pod)))
        first = f"{name}-s{number // shape.pools}"
        assert any(f"/{first}/status" in path for path in rig.client.writes), "the first claim was not served"
        rig.add(rig.changed(pod, sandbox=f"uid-{first}"))


async def _settle(rig: Rig) -> None:
    await rig.drain()
    # What was put off for up to a second (statuses, policies) is done now.
    await rig.advance(1.2)
    rig.show_policies()
    await rig.advance(0.1)
    gc.collect()
    # As the operator itself does once its caches are filled.
    gc.freeze()


async def _replace(rig: Rig, pool: str, pods: dict[str, Pod]) -> float:
    """The newest of the warm *pods* is deleted and goes, another one appears and turns warm: four events."""
    _, old = pods.popitem()
    going = rig.changed(old, deleted=True)
    rig.client.created.clear()
    total = await rig.cost(lambda: rig.add(going))
    total += await rig.cost(lambda: rig.remove(going))
    new = rig.pod(pool, ready=False, body=rig.client.created[0])
    total += await rig.cost(lambda: rig.add(new))
    warm = rig.changed(new)
    pods[warm.metadata.uid] = warm
    return total + await rig.cost(lambda: rig.add(warm))


async def _claim(rig: Rig, pool: str, name: str, pods: dict[str, Pod], figures: Figures) -> None:
    """A Sandbox appears and gets a warm pod; the echo and the substitute do not count."""
    client = rig.client
    client.writes.clear()
    client.reads.clear()
    rig.pools.active = False
    figures.seconds["warm claim"].append(await rig.cost(lambda: rig.sandbox(name, pool)))
    rig.pools.active = True
    figures.writes.append(len(client.writes))
    figures.reads.append(len(client.reads))
    claimed = rig.pods[f"uid-{client.writes[0].rpartition('/')[2]}"]
    client.created.clear()
    del pods[claimed.metadata.uid]
    rig.add(rig.changed(claimed, sandbox=f"uid-{name}"))
    rig.pools.add(f"uid-{pool}")
    await rig.drain()
    for body in list(client.created):
        substitute = rig.pod(pool, body=body)
        pods[substitute.metadata.uid] = substitute
        rig.add(substitute)
    await rig.drain()


def table(shapes: Sequence[Shape], figures: Sequence[Figures]) -> tuple[str, list[str]]:
    """The table, and the rows that grow by more than `MOST_GROWTH`."""
    head = ["microseconds"] + [shape.title for shape in shapes] + ["growth"]
    lines = [[*head]]
    grown = []
    for row in ROWS:
        medians = [figure.median(row) for figure in figures]
        growth = max(medians) / medians[0]
        lines.append([row, *(f"{median:,.0f}" for median in medians), f"{growth:.1f}"])
        if growth > MOST_GROWTH:
            grown.append(row)
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = "\n".join(
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )  # fmt: skip
    return text, grown


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and (``--check``) fail if a row grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if a row grows by more than a factor of 2")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="rounds of each figure")
    wanted = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    shapes = [*(Shape(1, size) for size in SIZES), Shape(100, 100)]
    figures = [measure(shape, wanted.rounds) for shape in shapes]
    text, grown = table(shapes, figures)
    print(text)
    print(*(f"\n{row}: {meaning}" for row, meaning in ROWS.items()), sep="")
    if wanted.check and grown:
        print(f"\nmore than {MOST_GROWTH:g} times dearer than in the smallest pool: {', '.join(grown)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
