"""The Python client on real gVisor pods."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandyard import AsyncSandbox, Sandbox
from sandyard.client import Cluster, errors
from sandyard.kube import remotecommand
from tests.support import streams
from tests.support.kube import Kube, Refused, until


async def processes(sandbox: AsyncSandbox) -> list[str]:
    """Command lines of everything that runs in it, but for the keeper and this look."""
    look = (
        "import json, os\nfound = []\nfor pid in os.listdir('/proc'):\n"
        "  if pid.isdigit() and int(pid) not in (1, os.getpid()):\n"
        "    found.append(open(f'/proc/{pid}/cmdline').read().replace(chr(0), ' '))\nprint(json.dumps(found))"
    )
    lines = json.loads((await sandbox.commands.run(["python3", "-c", look], timeout=None)).stdout)
    return [line for line in lines if "sandyard-run" not in line and "2147483647" not in line]


def test_leaving_the_context_leaves_nothing(pool: Kube) -> None:
    with Sandbox.create("python", namespace=pool.namespace) as sandbox:
        result = sandbox.commands.run("echo hello; echo $A >&2", env={"A": "x"}, check=True)
        assert (result.stdout, result.stderr, result.exit_code) == (b"hello\n", b"x\n", 0)
        status = pool.status("sandbox", sandbox.name)
        assert (status["start"], status["phase"]) == ("Warm", "Ready")
    until("gone", lambda: pool.get("sandbox", sandbox.name) is None, 30)


def test_leaving_it_by_an_error_does_so_too(pool: Kube) -> None:
    with pytest.raises(ZeroDivisionError), Sandbox.create("python", namespace=pool.namespace) as sandbox:
        _ = 1 / 0
    until("gone", lambda: pool.get("sandbox", sandbox.name) is None, 30)


async def test_codes_streams_and_folders(sandbox: AsyncSandbox) -> None:
    run = sandbox.commands.run
    for code in (0, 1, 2, 126, 127, 130, 137, 255):
        assert (await run(f"exit {code}")).exit_code == code
    assert (await run("printf 'a\\000'; printf 'b\\n\\n' >&2")).stderr == b"b\n\n"
    assert (await run("pwd")).stdout == b"/workspace\n"
    assert (await run(["pwd"], cwd="/usr")).stdout == b"/usr\n"
    assert (await run(["printf", "%s|", "a b", "$HOME", "'", "\n"])).stdout == b"a b|$HOME|'|\n|"
    assert (await run(["no-such-program"])).exit_code == 127
    with pytest.raises(errors.SandboxFileNotFound, match="cwd: the sandbox has no folder '/no/such'"):
        await run("true", cwd="/no/such")
    # Standard input ends; a command that reads none does not mind.
    assert (await run("cat", stdin=b"")).stdout == b""
    assert (await run("true", stdin=b"x" * 10**6)).exit_code == 0
    with pytest.raises(errors.CommandFailed, match="exit code 3: no") as caught:
        await run("echo no >&2; exit 3", check=True)
    assert caught.value.result.exit_code == 3


async def test_bytes_are_exact_in_every_direction(sandbox: AsyncSandbox) -> None:
    await streams.check_bytes(sandbox)


async def test_a_server_that_cannot_end_an_input(sandbox: AsyncSandbox) -> None:
    """Spoken to as a Kubernetes before 1.30 is: the stream is v4's, which has no end of input."""
    sandbox._session.cluster.exec_protocol = remotecommand.V4
    run = sandbox.commands.run
    data = os.urandom(10**6)
    assert (await run("cat", stdin=data)).stdout == data
    assert (await run("cat", stdin=b"")).stdout == b""
    assert (await run("true", stdin=data)).exit_code == 0
    assert (await run(["sh", "-c", "wc -c; exit 7", "x" * 20_000], stdin=b"abc")).stdout.strip() == b"3"
    await sandbox.files.write("f", data)
    assert await sandbox.files.read("f") == data
    with pytest.raises(errors.CommandTimeout):
        await run("sleep 300", timeout=1)
    async with await sandbox.shell() as shell:
        assert (await shell.run("echo hello")).stdout == b"hello\n"


@pytest.mark.alone
async def test_a_firehose_is_bounded_and_ended(sandbox: AsyncSandbox) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = []
    # The better of two: this machine may have been busy with something else.
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(errors.CommandTimeout) as caught:
            await sandbox.commands.run("yes", timeout=2, max_output=2**20)
        took.append(time.monotonic() - started)
        result = caught.value.result
        assert result.timed_out
        assert result.truncated
        assert len(result.stdout) == 2**20
        assert result.stdout.startswith(b"y\ny\n")
        assert await processes(sandbox) == []
    assert min(took) < 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024, "KiB of memory"


async def test_a_timeout_ends_all_that_was_started_and_keeps_what_was_said(sandbox: AsyncSandbox) -> None:
    command = "echo begun; sleep 300 & setsid sleep 300 & (trap '' TERM; sleep 300; sleep 300) & wait"
    with pytest.raises(errors.CommandTimeout) as caught:
        await sandbox.commands.run(command, timeout=1)
    assert caught.value.result.stdout == b"begun\n"
    assert await processes(sandbox) == []


async def test_a_child_that_lives_on_is_not_waited_for(sandbox: AsyncSandbox) -> None:
    started = time.monotonic()
    assert (await sandbox.commands.run("sleep 100 & echo done")).stdout == b"done\n"
    assert time.monotonic() - started < 5
    assert await processes(sandbox) == ["sleep 100 "]


async def test_a_command_that_nobody_waits_for_any_more_does_not_run_on(sandbox: AsyncSandbox) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(
        sandbox.commands.run("echo begun; sleep 300", timeout=None, on_stdout=lambda _: begun.set())
    )
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await processes(sandbox) == []


async def test_sixty_four_at_once_on_one_client(sandbox: AsyncSandbox) -> None:
    await streams.check_many(sandbox)


async def ends_with(sandbox: AsyncSandbox, kind: type[errors.SandboxError], act: Any) -> errors.SandboxError:
    """Let *act* end the sandbox during a call; the call says so within five seconds."""
    begun = asyncio.Event()
    call = asyncio.create_task(
        sandbox.commands.run("echo begun; sleep 300", timeout=None, on_stdout=lambda _: begun.set())
    )
    await begun.wait()
    await asyncio.to_thread(act)
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        await call
    assert time.monotonic() - started < 5
    return caught.value


async def test_one_that_is_deleted_during_a_call(pool: Kube, claimed: AsyncSandbox) -> None:
    delete = ("delete", "sandbox", claimed.name, "--wait=false")
    await ends_with(claimed, errors.SandboxDeleted, lambda: pool.kubectl(*delete))
    with pytest.raises(errors.SandboxDeleted):
        await claimed.commands.run("true")


async def test_one_whose_pod_is_deleted_during_a_call(pool: Kube, claimed: AsyncSandbox) -> None:
    error = await ends_with(
        claimed, errors.SandboxDeleted, lambda: pool.kubectl("delete", "pod", claimed.pod_name, "--wait=false")
    )
    assert error.reason == "PodLost"


async def test_one_whose_main_process_ends_during_a_call(pool: Kube, claimed: AsyncSandbox) -> None:
    # Not itself, which has that number in its words too and may come first.
    kill = "for p in /proc/[0-9]*; do [ $p = /proc/$$ ] || { grep -q 2147483647 $p/cmdline && kill ${p#/proc/}; }; done"

    def act() -> None:
        # It dies with what it kills.
        with pytest.raises(Refused, match=r"137|143"):
            pool.kubectl("exec", claimed.pod_name, "-c", "sandbox", "--", "sh", "-c", f"{kill}; sleep 60")

    error = await ends_with(claimed, errors.SandboxEnded, act)
    assert error.code == "Ended"


async def test_errors_that_name_their_reason(pool: Kube) -> None:
    namespace = pool.namespace
    with pytest.raises(errors.SandboxNotFound):
        await AsyncSandbox.connect("nobody", namespace=namespace)
    with pytest.raises(errors.SandboxCreateError) as caught:
        await AsyncSandbox.create("nowhere", namespace=namespace, wait_seconds=2)
    assert caught.value.reason == "PoolNotFound"
    until("it is not left behind", lambda: pool.list("sandboxes") == [], 20)
    with pytest.raises(errors.InvalidArgument, match=r"spec\.template\.image"):
        await AsyncSandbox.create(template={"image": ""}, namespace=namespace)
    with pytest.raises(errors.InvalidArgument, match="either a pool or a template"):
        await AsyncSandbox.create()
    pool.patch("sandboxpool", "python", {"spec": {"maxSandboxes": 1, "whenEmpty": {"action": "Wait"}}})
    async with await AsyncSandbox.create("python", namespace=namespace):
        with pytest.raises(errors.PoolExhausted) as exhausted:
            await AsyncSandbox.create("python", namespace=namespace, wait_seconds=2)
    assert exhausted.value.retryable
    pool.patch("sandboxpool", "python", {"spec": {"maxSandboxes": None, "whenEmpty": None}})


async def test_credentials_that_are_not_enough(pool: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads(pool.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": "nobody"}}]
    path = pool.kubeconfig.with_name("nobody.kubeconfig")
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    try:
        with pytest.raises(errors.Unauthorized):
            await AsyncSandbox.create("python", namespace=pool.namespace)
        monkeypatch.setenv("KUBECONFIG", "/no/such/file")
        with pytest.raises(errors.Unauthorized, match="kubeconfig"):
            await AsyncSandbox.create("python", namespace=pool.namespace)
    finally:
        path.unlink()


async def test_its_life(pool: Kube) -> None:
    async with Cluster(namespace=pool.namespace) as cluster:
        labels = {"example.org/owner": "x"}
        made = await AsyncSandbox.create("python", cluster=cluster, labels=labels, timeout=600)
        (found,) = await AsyncSandbox.list(labels=labels, cluster=cluster)
        assert (found.name, found.phase) == (made.name, "Ready")
        assert await AsyncSandbox.list(labels={"example.org/owner": "y"}, cluster=cluster) == []
        again = await AsyncSandbox.connect(made.name, cluster=cluster)
        await again.commands.run("sleep 1000 & echo $! > /workspace/pid")
        await again.pause()
        assert not await made.is_running()
        with pytest.raises(errors.SandboxNotReady) as caught:
            await again.commands.run("true")
        assert caught.value.phase == "Paused"
        await again.resume()
        assert (await made.get_info()).phase == "Ready"
        assert (await made.commands.run("kill -0 $(cat /workspace/pid)")).ok
        await made.set_timeout(3000)
        expires = (await made.get_info()).expires_at
        assert expires is not None and abs(expires - time.time() - 3000) < 20
        with pytest.raises(errors.SandboxNotReady, match=r"workspace\.persistent"):
            await made.suspend()
        assert await made.kill()
        assert not await made.kill()
        assert pool.get("sandbox", made.name) is None


async def test_ten_who_ask_for_one_name_get_one_sandbox(pool: Kube) -> None:
    async with Cluster(namespace=pool.namespace) as cluster:
        ten = await asyncio.gather(
            *(AsyncSandbox.create("python", name="mine", exist_ok=True, cluster=cluster) for _ in range(10))
        )
        assert len({(sandbox.uid, sandbox.pod_name) for sandbox in ten}) == 1
        assert all(result.ok for result in await asyncio.gather(*(sandbox.commands.run("true") for sandbox in ten)))
        with pytest.raises(errors.SandboxExists):
            await AsyncSandbox.create("python", name="mine", cluster=cluster)
        assert [sandbox._ends for sandbox in ten].count(True) == 1
        await ten[0].kill()


async def test_one_that_is_used_is_not_idle_however_long_a_command_takes(pool: Kube) -> None:
    async with await AsyncSandbox.create("python", namespace=pool.namespace, idle_timeout=5) as sandbox:
        assert (await sandbox.commands.run("sleep 13")).ok
        for _ in range(30):
            await sandbox.commands.run(["true"])
        assert await sandbox.is_running()
        started = time.monotonic()
        await asyncio.to_thread(until, "it is gone", lambda: pool.get("sandbox", sandbox.name) is None, 30)
        assert time.monotonic() - started > 3
        assert not await sandbox.is_running()


def test_a_client_that_is_killed_leaves_nothing_beyond_the_lifetime(pool: Kube) -> None:
    code = (
        "from sandyard import Sandbox; import sys\n"
        f"s = Sandbox.create('python', namespace={pool.namespace!r}, timeout=6)\n"
        "print(s.name, flush=True); s.commands.run('sleep 300', timeout=None)"
    )
    environment = {**os.environ, "PYTHONPATH": "operator"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as client:
        assert client.stdout is not None
        name = client.stdout.readline().strip()
        assert pool.status("sandbox", name)["phase"] == "Ready"
        client.send_signal(signal.SIGKILL)
    until("gone", lambda: pool.get("sandbox", name) is None, 30)


@pytest.mark.alone
async def test_a_small_command_is_no_slower_than_by_kubectl(sandbox: AsyncSandbox, standing: Kube) -> None:
    """And takes at most half as much again as an exec by this very client with nothing around it."""
    pod, words = sandbox._session.pod_name, ["/bin/sh", "-c", "true"]

    async def kubectl() -> None:
        assert await asyncio.to_thread(standing.kubectl, "exec", "-i", pod, "--", *words, stdin="") == ""

    async def bare() -> None:
        assert (await sandbox._session.run_own(words, 30)).exit.code == 0

    async def ours() -> None:
        assert (await sandbox.commands.run("true")).exit_code == 0

    taken: dict[Callable[[], Awaitable[None]], list[float]] = {kubectl: [], bare: [], ours: []}
    for _ in range(10):
        for way, seconds in taken.items():
            started = time.monotonic()
            await way()
            seconds.append(time.monotonic() - started)
    median = {way: statistics.median(seconds) for way, seconds in taken.items()}
    assert median[ours] <= median[kubectl], median
    assert median[ours] <= 1.5 * median[bare], median


def test_sigterm_leaves_its_context_too(pool: Kube) -> None:
    code = (
        "from sandyard import Sandbox\n"
        f"with Sandbox.create('python', namespace={pool.namespace!r}, timeout=600) as s:\n"
        "  print(s.name, flush=True); s.commands.run('sleep 300', timeout=None)"
    )
    environment = {**os.environ, "PYTHONPATH": "operator"}
    cli = [sys.executable, "-m", "sandyard.cli.main", "-n", pool.namespace, "run", "--pool", "python", "--", "sh", "-c",
           "echo begun; sleep 300"]  # fmt: skip
    for command in ([sys.executable, "-c", code], cli):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as client:
            assert client.stdout is not None
            assert client.stdout.readline()
            client.send_signal(signal.SIGTERM)
            started = time.monotonic()
            assert client.wait(30) == 143
            assert time.monotonic() - started < 10
        until("gone", lambda: pool.list("sandboxes") == [], 30)
        pool.wait_for("sandboxpool", "python", "Full", timeout=60)
