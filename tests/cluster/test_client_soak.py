"""Many commands in many sandboxes, a thousand in the long form: nothing is left behind, and nothing grows."""

from __future__ import annotations

import asyncio
import pathlib
import time

import pytest

from sandyard import AsyncSandbox
from sandyard.client import Cluster
from tests.support import leaks, manifests, soak
from tests.support.kube import Kube
from tests.support.release import Installed

SANDBOXES, ROUNDS = soak.rounds(short=3, long=20), soak.rounds(short=20, long=50)
# Measured: 1 to 2 MiB each, once and for all.
GROWTH_KIB = 12 * 1024


def resident(pid: int | str) -> int:
    """Memory of a process, in KiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(pid)


def operators(installed: Installed) -> dict[str, int]:
    """Memory of each operator of this cluster, by the id of its container: another one has crashed or was replaced."""
    selector = "app.kubernetes.io/component=operator"
    pods = installed.kube.within("sandyard-system").list("pods", selector)
    statuses = [status for pod in pods for status in pod["status"]["containerStatuses"]]
    ids = {status["containerID"].rpartition("/")[2] for status in statuses}
    return {id_: resident(pid) for id_, pid in leaks.tasks(installed.cluster).items() if id_ in ids}


@pytest.mark.soak
async def test_many_executions_leave_nothing_and_nothing_grows(
    installed: Installed, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    kube.apply(manifests.pool("python", SANDBOXES))
    kube.wait_for("sandboxpool", "python", "Full", timeout=240)
    async with Cluster(namespace=kube.namespace) as cluster:
        made = await asyncio.gather(
            *(AsyncSandbox.create("python", timeout=1800, cluster=cluster) for _ in range(SANDBOXES))
        )
        kube.patch("sandboxpool", "python", {"spec": {"replicas": 0}})
        for sandbox in made:
            await sandbox.commands.run("true", check=True)
        before = {"client": resident("self"), **operators(installed)}
        assert len(before) == 2
        took: list[float] = []

        async def use(sandbox: AsyncSandbox, number: int) -> None:
            for turn in range(ROUNDS):
                started = time.monotonic()
                done = await sandbox.commands.run(f"echo {number}-{turn}; echo err >&2; exit {turn % 3}")
                took.append(time.monotonic() - started)
                assert done.stdout == f"{number}-{turn}\n".encode()
                assert (done.stderr, done.exit_code) == (b"err\n", turn % 3)

        started = time.monotonic()
        await asyncio.gather(*(use(sandbox, number) for number, sandbox in enumerate(made)))
        seconds = time.monotonic() - started
        took.sort()
        middle, slow = took[len(took) // 2], took[-len(took) // 20]
        print(f"{len(took)} commands in {seconds:.0f} s, p50 {middle:.2f} s, p95 {slow:.2f} s")
        assert len(took) == SANDBOXES * ROUNDS
        after = {"client": resident("self"), **operators(installed)}
        assert after.keys() == before.keys(), "the operator has crashed"
        grown = {name: after[name] - value for name, value in before.items()}
        print("KiB grown:", grown)
        assert max(grown.values()) < GROWTH_KIB
        for sandbox in made:
            left = [one.command for one in await sandbox.commands.processes() if one.pid != 1]
            # The keeper and this look itself stay out of it.
            assert not [command for command in left if command.startswith(("echo", "/bin/sh -c echo"))], left
            await sandbox.kill(wait=False)
        # So that the leak gate sees the end of it.
        await asyncio.gather(*(sandbox.kill() for sandbox in made))
