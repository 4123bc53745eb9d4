"""Whatever happens to a sandbox or to the way to it, a call says so within five seconds, by an error of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from localcluster import lifecycle, processes
from sandyard import AsyncSandbox
from sandyard.client import errors
from tests.support import manifests
from tests.support.kube import Kube, until
from tests.support.release import Installed

LIMIT_SECONDS = 5.0
pytestmark = pytest.mark.alone


class Running:
    """A command that says something ten times a second, so that its last sign of life is known."""

    def __init__(self, sandbox: AsyncSandbox, command: str = "while :; do echo x; sleep 0.1; done") -> None:
        self.heard = 0.0
        self._first = asyncio.Event()
        self.task = asyncio.create_task(sandbox.commands.run(command, timeout=None, on_stdout=self._hear))

    def _hear(self, _: bytes) -> None:
        self.heard = time.monotonic()
        self._first.set()

    async def begun(self) -> None:
        async with asyncio.timeout(30):
            await self._first.wait()

    async def ends_with(self, kind: type[errors.SandboxError]) -> errors.SandboxError:
        async with asyncio.timeout(60):
            with pytest.raises(kind) as caught:
                await self.task
        assert time.monotonic() - self.heard < LIMIT_SECONDS + 0.2
        assert type(caught.value) is kind
        return caught.value


async def during(
    sandbox: AsyncSandbox, kind: type[errors.SandboxError], act: Callable[[], object]
) -> errors.SandboxError:
    """What a command says when *act* happens while it runs."""
    running = Running(sandbox)
    await running.begun()
    await asyncio.to_thread(act)
    return await running.ends_with(kind)


async def test_memory_that_runs_out(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    async with await AsyncSandbox.create(template=manifests.template(), namespace=kube.namespace) as sandbox:
        program = (
            "x = []\nimport sys\nwhile True:\n  x.append(bytes(1_000_000).replace(b'\\0', b'x')); "
            "print(len(x), flush=True)"
        )
        running = Running(sandbox, f'python3 -c "{program}"')
        # Once in a while gVisor's shim needs more than five seconds to tell the node.
        assert (await running.ends_with(errors.SandboxEnded)).reason in ("OOMKilled", "")
        until("it is told", lambda: kube.status("sandbox", sandbox.name).get("phase") == "Failed", 20)
        assert kube.status("sandbox", sandbox.name)["lastTermination"]["reason"] == "OOMKilled"


async def test_eviction(pool: Kube, claimed: AsyncSandbox) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": claimed.pod_name}}
    path = f"/api/v1/namespaces/{pool.namespace}/pods/{claimed.pod_name}/eviction"
    error = await during(
        claimed, errors.SandboxDeleted,
        lambda: pool.run("kubectl", "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction)),
    )  # fmt: skip
    assert error.reason == "PodLost"


async def test_the_end_of_its_lifetime(pool: Kube, claimed: AsyncSandbox) -> None:
    error = await during(
        claimed, errors.SandboxDeleted,
        lambda: pool.patch("sandbox", claimed.name, {"spec": {"lifetime": {"seconds": 1}}}),
    )  # fmt: skip
    assert error.code == "Deleted"
    with pytest.raises(errors.SandboxDeleted):
        await claimed.commands.run("true")


async def test_the_end_of_its_lifetime_when_it_is_kept(pool: Kube, claimed: AsyncSandbox) -> None:
    await during(
        claimed, errors.SandboxExpired,
        lambda: pool.patch("sandbox", claimed.name, {"spec": {"lifetime": {"seconds": 1, "onExpiry": "Stop"}}}),
    )  # fmt: skip


async def test_being_suspended(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    template = manifests.template(workspace={"persistent": {"size": "64Mi"}})
    async with await AsyncSandbox.create(template=template, namespace=kube.namespace) as sandbox:
        await during(
            sandbox, errors.SandboxRestarted,
            lambda: kube.patch("sandbox", sandbox.name, {"spec": {"desiredState": "Suspended"}}),
        )  # fmt: skip
        before = sandbox.pod_name
        await sandbox.resume()
        assert sandbox.pod_name != before
        assert (await sandbox.commands.run("true")).ok


async def test_an_operator_that_is_down(installed: Installed, standing: Kube, sandbox: AsyncSandbox) -> None:
    await asyncio.to_thread(installed.scale_operator, 0)
    try:
        # Those that are there go on without it.
        assert (await sandbox.commands.run("echo on")).stdout == b"on\n"
        started = time.monotonic()
        with pytest.raises(errors.OperatorUnavailable) as caught:
            await AsyncSandbox.create(template=manifests.template(), namespace=standing.namespace)
        assert time.monotonic() - started < LIMIT_SECONDS + 1
        assert caught.value.retryable
        waiting = asyncio.create_task(
            AsyncSandbox.create(template=manifests.template(), namespace=standing.namespace, wait_seconds=120)
        )
        await asyncio.sleep(LIMIT_SECONDS)
        assert not waiting.done(), "whoever says how long to wait is patient"
    finally:
        await asyncio.to_thread(installed.scale_operator, 1)
    async with await waiting as late:
        assert (await late.commands.run("true")).ok


async def test_an_api_server_that_restarts(installed: Installed, standing: Kube, sandbox: AsyncSandbox) -> None:
    running = processes.Processes(installed.cluster)
    try:
        # Its port is closed at once, and its process stays for 30 s. Meanwhile those who watch come to ask ever more
        # rarely, the one that enforces network policies among them.
        error = await during(sandbox, errors.ExecTransportError, lambda: running.stop("apiserver", 2))
        assert isinstance(error, errors.ExecTransportError)
        assert error.started and not error.retryable
        assert error.result is not None and error.result.stdout.startswith(b"x\n")
        started = time.monotonic()
        with pytest.raises(errors.SandboxError) as caught:
            await sandbox.commands.run("true")
        assert caught.value.retryable, "nothing can have begun"
        with pytest.raises(errors.Unavailable):
            await sandbox.get_info()
        assert time.monotonic() - started < 2 * LIMIT_SECONDS
    finally:
        await asyncio.to_thread(lifecycle.up, installed.cluster.name, lifecycle.Options())
    until("the cluster answers", lambda: standing.get("sandbox", sandbox.name) is not None, 30)
    assert (await sandbox.commands.run("echo again")).stdout == b"again\n"


@contextmanager
def cut(installed: Installed) -> Iterator[None]:
    """Nothing gets to the cluster or from it: its own network namespace drops what it has with this machine."""
    rules = [["PREROUTING", "-i", "host0", "-j", "DROP"], ["OUTPUT", "-o", "host0", "-j", "DROP"]]
    inside = ["ip", "netns", "exec", installed.cluster.netns, "iptables", "-w", "-t", "raw"]
    for rule in rules:
        subprocess.run([*inside, "-I", *rule], check=True)
    try:
        yield
    finally:
        for rule in rules:
            subprocess.run([*inside, "-D", *rule], check=True)


async def test_a_network_that_is_cut(installed: Installed, sandbox: AsyncSandbox) -> None:
    busy, idle = Running(sandbox), Running(sandbox, "echo begun; sleep 300")
    await busy.begun()
    await idle.begun()
    await asyncio.sleep(2)  # the second one has long been silent
    with cut(installed):
        idle.heard = time.monotonic()
        await asyncio.gather(*(one.ends_with(errors.ExecTransportError) for one in (busy, idle)))
    assert (await sandbox.commands.run("echo again")).stdout == b"again\n"
