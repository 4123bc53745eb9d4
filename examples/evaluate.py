"""A hundred programs, each in a sandbox of its own, ten at a time (or as many as you say); then how they went."""

import asyncio
import sys
from collections import Counter

from sandyard import AsyncSandbox, Cluster

PROGRAMS = [
    "def main(n): return n * n",
    "def main(n): return 1 / 0",
    "def main(n): open('/etc/shadow')",
    "import time\ndef main(n): time.sleep(3600)",
]
TASKS, AT_ONCE = [*(int(word) for word in sys.argv[1:]), *(100, 10)[len(sys.argv) - 1 :]]


async def evaluate(number: int, cluster: Cluster, turns: asyncio.Semaphore) -> str:
    """How one program goes; the sandbox goes with it."""
    async with turns, await AsyncSandbox.create("python", timeout=300, cluster=cluster) as sandbox:
        result = await sandbox.run_code(PROGRAMS[number % len(PROGRAMS)], args=[number], timeout=20)
        return f"{result.outcome} ({result.limit})" if result.limit else result.outcome


async def main() -> None:
    """Run them all."""
    turns = asyncio.Semaphore(AT_ONCE)
    async with Cluster() as cluster:
        outcomes = await asyncio.gather(*(evaluate(number, cluster, turns) for number in range(TASKS)))
    for outcome, count in sorted(Counter(outcomes).items()):
        print(f"{count:4} {outcome}")


asyncio.run(main())
