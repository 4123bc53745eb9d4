"""An operator with very many objects: its memory, and how long after a kill the first claim is Ready.

A pool of 10,000 warm pods on simulated nodes and 10,000 Sandboxes that wait; the operator is then killed and started
anew.  What takes long is making the objects: some 50,000 writes of the API server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pathlib
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

from localcluster import tools
from sandyard.api import names
from tests.bench.crowd import SANDBOXES, Crowd, crowd
from tests.bench.plane import GROUPS
from tests.bench.subjects import NAMESPACE, SUBJECTS, installed
from tests.support import manifests
from tests.support.kube import Kube, until
from tests.support.operator import OperatorProcess, service_account_kubeconfig

__all__ = ["main"]

_AT_ONCE: Final = 16
_PARALLELISM: Final = 100
# A slow machine makes so many pods a second at least.
_LEAST_PER_SECOND: Final = 5
_POOL, _EMPTY = "many", "empty"
_ROUNDS: Final = 3


def run(count: int) -> dict[str, float]:
    """Make *count* of both, and measure; MiB and seconds."""
    with installed(SUBJECTS[0]) as (_, kube, folder):
        config = service_account_kubeconfig(kube, folder / "operator.kubeconfig")
        process = OperatorProcess(config, folder / "operator.log", SANDYARD_LEADER_ELECTION="false")
        try:
            process.start()
            return _measure(kube, process, count)
        finally:
            process.kill()
            assert "Traceback" not in process.log, process.log[-3000:]


def _measure(kube: Kube, process: OperatorProcess, count: int) -> dict[str, float]:
    began = time.monotonic()
    kube.apply(manifests.pool(_POOL, count, startup={"parallelism": _PARALLELISM}))
    kube.apply(manifests.pool(_EMPTY, 0, whenEmpty={"action": "Wait", "waitSeconds": 86_400}))
    asyncio.run(_waiting(kube, count))
    patience = 60 + count // _LEAST_PER_SECOND
    kube.wait_for("sandboxpool", _POOL, "Full", patience)
    until("all Sandboxes wait", lambda: process.metric("sandyard_sandboxes") >= count, patience, interval=1)
    found = {"made_seconds": time.monotonic() - began, "before_kill_mib": _resident(process)}
    firsts = [asyncio.run(_first_claim(kube, process, number)) for number in range(_ROUNDS)]
    return {**found, "first_claim_seconds": max(firsts), "after_start_mib": _resident(process)}


async def _waiting(kube: Kube, count: int) -> None:
    """Make Sandboxes that wait for an empty pool."""
    async with crowd(kube.kubeconfig, "default") as users:
        numbers = iter(range(count))

        async def make() -> None:
            for number in numbers:
                await users.client.create(SANDBOXES.path(NAMESPACE), manifests.sandbox(f"w-{number:06}", _EMPTY))

        await asyncio.gather(*(make() for _ in range(_AT_ONCE)))


async def _first_claim(kube: Kube, process: OperatorProcess, number: int) -> float:
    """Kill the operator, start it, and claim at once: seconds from the start until Ready is seen."""
    process.kill()
    # Only the Sandbox that is measured: 10,000 others would have to be read first by whoever measures.
    selector = {"fieldSelector": f"metadata.name=first-{number}"}
    async with crowd(kube.kubeconfig, NAMESPACE, selector) as users:
        began = time.monotonic()
        # It takes no longer than a program takes to be begun.
        process.start(wait=False)
        await _claim(users, f"first-{number}")
        return time.monotonic() - began


async def _claim(users: Crowd, name: str) -> None:
    ready = users.expect(name)
    await users.client.create(SANDBOXES.path(NAMESPACE), manifests.sandbox(name, _POOL))
    async with asyncio.timeout(120):
        await ready


def _resident(process: OperatorProcess) -> float:
    lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="of pods, and of Sandboxes")
    wanted = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tools.ensure(GROUPS)
    print(f"making {wanted.count:,} pods and {wanted.count:,} {names.SANDBOXES} ...", flush=True)
    found = run(wanted.count)
    print(json.dumps({"count": wanted.count, "processors": os.cpu_count(), **found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
