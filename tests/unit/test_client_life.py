"""A Sandbox in a program's hands: made, waited for, interrupted, inherited by a fork, closed and used again."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import os
import pathlib
import pydoc
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import rfc3339
from sandyard.client import AsyncSandbox, Sandbox, SandboxInfo, errors, manifest
from sandyard.client.creating import wait_until_ready
from sandyard.client.waiting import awaited
from tests.unit.local_pod import LocalPod, local_pod, serving

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def pod(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPod]:
    with serving(tmp_path, monkeypatch) as made:
        yield made


def conditions(reason: str, message: str = "why", stalled: bool = True) -> list[dict[str, str]]:
    return [{"type": "Ready", "status": "False", "reason": reason, "message": message},
            {"type": "Stalled", "status": str(stalled), "reason": reason, "message": message}]  # fmt: skip


def has(command: str) -> bool:
    """Whether this machine runs such a command."""
    for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if file.read_bytes().replace(b"\0", b" ").strip() == command.encode():
                return True
    return False


# What it is made of


def made(**options: Any) -> dict[str, Any]:
    common: dict[str, Any] = dict.fromkeys(
        ("pool", "template", "name", "timeout", "idle_timeout", "env", "network", "labels", "wait_seconds")
    )
    return manifest.sandbox(**{**common, "now": 1000.0, **options})["spec"]  # type: ignore[no-any-return]


def test_its_time_counts_from_its_creation_whatever_becomes_of_it() -> None:
    lifetime = made(pool="p", timeout=300, idle_timeout=60)["lifetime"]
    assert rfc3339.seconds(lifetime["deadline"]) == 1300.0
    assert (lifetime["idleSeconds"], lifetime["secondsAfterFinished"]) == (60, 300)
    assert made(pool="p", idle_timeout=60)["lifetime"] == {"idleSeconds": 60, "secondsAfterFinished": 60}
    assert "lifetime" not in made(pool="p")
    assert made(pool="p", timeout=300, on_timeout="suspend")["lifetime"]["onExpiry"] == "Suspend"
    for wrong in ({"on_timeout": "sleep", "timeout": 3}, {"on_timeout": "stop"}):
        with pytest.raises(errors.InvalidArgument, match="on_timeout"):
            made(pool="p", **wrong)
    assert made(template="python:3.12") == made(template={"image": "python:3.12"})


def test_a_size_may_be_a_number_as_in_a_pod() -> None:
    resources = {"cpu": 0.5, "memory": "1Gi", "requests": {"cpu": 1.0, "memory": 1e-3}}
    found = made(template={"image": "i", "resources": resources})["template"]["resources"]
    assert found == {"cpu": "0.5", "memory": "1Gi", "requests": {"cpu": "1", "memory": "0.001"}}
    assert made(template={"image": "i", "resources": {"cpu": 2}})["template"]["resources"] == {"cpu": 2}


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -5}, {"timeout": 10**9}, {"idle_timeout": 0}])
def test_a_time_that_is_none_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(errors.InvalidArgument, match=rf"{next(iter(options))}: .* is not from 1 to"):
        made(pool="p", **options)


def test_unknown_fields_are_refused_by_the_server(pod: LocalPod) -> None:
    with Sandbox.create(template={"imge": "x"}) as sandbox:
        sandbox.set_timeout(50)
    writes = [(method, path) for method, path, _ in pod.asked if method != "DELETE"]
    assert [method for method, _ in writes] == ["POST", "PATCH"]
    assert all(path.endswith("?fieldValidation=Strict") for _, path in writes)


# Waiting for it


@pytest.mark.parametrize(
    ("reason", "pools", "told"),
    [("PoolNotFound", ["python", "node"], "pools there are: node, python"), ("PoolNotFound", [], "no pool at all"),
     ("ImagePullBackOff", [], "why"), ("InvalidTemplate", [], "why"), ("Paused", [], "why")],
)  # fmt: skip
async def test_one_that_needs_help_fails_at_once_and_leaves_nothing(reason: str, pools: list[str], told: str) -> None:
    async with local_pod() as (pod, sandbox):
        pod.pools = pools
        pod.change(phase="Pending", conditions=conditions(reason))
        started = time.monotonic()
        with pytest.raises(errors.SandboxCreateError, match=told) as caught:
            await AsyncSandbox.create("pyhton", cluster=sandbox._session.cluster)
        assert caught.value.reason == reason
        assert time.monotonic() - started < 5
        assert pod.deleted


@pytest.mark.parametrize("reason", ["Unschedulable", "QuotaExceeded", "MaxSandboxesReached"])
async def test_what_passes_by_itself_is_waited_for(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async with local_pod() as (pod, sandbox):
        pod.change(phase="Pending", conditions=conditions(reason, "no room yet"))
        with caplog.at_level(logging.INFO, "sandyard.client"):
            waiting = asyncio.create_task(AsyncSandbox.create("p", cluster=sandbox._session.cluster))
            async with asyncio.timeout(20):
                while "no room yet" not in caplog.text:
                    await asyncio.sleep(0.05)
            pod.change(phase="Ready", conditions=conditions("Ready", stalled=False))
            assert (await waiting).name == "s"


async def test_whoever_says_how_long_waits_so_long_for_a_pool_too() -> None:
    async with local_pod() as (pod, sandbox):
        pod.change(phase="Pending", conditions=conditions("PoolNotFound"))
        waiting = asyncio.create_task(AsyncSandbox.create("p", wait_seconds=60, cluster=sandbox._session.cluster))
        done, _ = await asyncio.wait({waiting}, timeout=1)
        assert not done
        pod.change(phase="Ready", conditions=conditions("Ready", stalled=False))
        await waiting


async def test_a_pool_that_was_made_a_moment_ago_is_waited_for() -> None:
    async with local_pod() as (pod, sandbox):
        pod.pools, pod.body["spec"] = ["p"], {"poolRef": {"name": "p"}}
        pod.change(phase="Pending", conditions=conditions("PoolNotFound"))
        await sandbox.get_info()
        waiting = asyncio.create_task(wait_until_ready(sandbox._session, patient=False))
        done, _ = await asyncio.wait({waiting}, timeout=1)
        assert not done
        pod.change(phase="Ready", conditions=conditions("Ready", stalled=False))
        await waiting


async def test_one_of_any_phase_can_be_connected_to_without_waiting(pod: LocalPod) -> None:
    pod.change(phase="Pending", conditions=conditions("Waiting", stalled=False))
    async with await AsyncSandbox.connect("s", wait=False) as sandbox:
        assert (await sandbox.get_info()).phase == "Pending"
        assert await sandbox.kill(wait=False)


async def test_one_that_is_paused_is_resumed_by_whoever_wants_to(pod: LocalPod) -> None:
    pod.body["spec"] = {"desiredState": "Paused"}
    async with await AsyncSandbox.connect("s"):
        assert not pod.asked
    async with await AsyncSandbox.connect("s", resume=True):
        ((method, _, body),) = pod.asked
        assert (method, body["spec"]) == ("PATCH", {"desiredState": "Running"})


async def test_a_network_takes_the_place_of_the_one_before(pod: LocalPod) -> None:
    pod.body["spec"] = {"network": {"egress": "AllowList", "allow": [{"cidr": "10.0.0.0/8"}]}}
    async with await AsyncSandbox.connect("s") as sandbox:
        await sandbox.update_network({"egress": "Internet"})
        assert pod.asked[-1][2]["spec"] == {"network": {"egress": "Internet", "allow": None}}
        pod.change(conditions=conditions("NetworkNotAllowed", "the pool allows None"))
        with pytest.raises(errors.SandboxNotReady, match="cannot have that network: the pool allows None"):
            await sandbox.update_network({"egress": "Internet"})


async def test_a_list_is_of_one_phase(pod: LocalPod) -> None:
    assert [info.name for info in await AsyncSandbox.list(phase="Ready")] == ["s"]
    assert await AsyncSandbox.list(phase="Failed") == []


# Interrupted


def program(text: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(text)]


def test_an_interrupted_call_ends_its_command_before_it_returns(pod: LocalPod, tmp_path: pathlib.Path) -> None:
    with Sandbox.create("p") as sandbox:
        word = f"sleep 300 # {tmp_path}"
        timer = threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            sandbox.commands.run(["sh", "-c", word], timeout=None)
        left = [one for one in pathlib.Path("/proc").glob("[0-9]*/cmdline") if word.encode() in _read(one)]
        assert not left
        assert sandbox.commands.run("echo ok").stdout == b"ok\n"


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_program_that_ends_within_create_leaves_nothing(pod: LocalPod, number: signal.Signals) -> None:
    pod.change(phase="Pending", conditions=conditions("Unschedulable"))
    words = program("from sandyard import Sandbox\nprint('begun', flush=True)\nSandbox.create('p')")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not any(method == "POST" for method, _, _ in pod.asked):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode != 0
    assert pod.deleted


# Without a context


def test_create_and_kill_without_a_context_leave_nothing_to_be_said(pod: LocalPod) -> None:
    text = """
        from sandyard import Sandbox, errors
        sandbox = Sandbox.create("p")
        print(sandbox.commands.run("echo hello").stdout_text, sandbox)
        assert sandbox.kill() and not sandbox.kill() and not sandbox.is_running()
        for call in (sandbox.get_info, lambda: sandbox.commands.run("true"), lambda: sandbox.files.read("x")):
            try:
                call()
            except errors.SandboxDeleted as error:
                print(error)
        other = Sandbox.connect("s")
        third = Sandbox.connect("s")
        other.close()
        try:
            other.commands.run("true")
        except errors.SandboxClosed as error:
            print(error)
    """
    done = subprocess.run(program(text), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "hello" in done.stdout and "<Sandbox 's' in namespace 'default': Ready>" in done.stdout
    assert done.stdout.count("Sandbox 's' was deleted") == 3
    assert "this handle of Sandbox 's' is closed" in done.stdout


# Forked


def test_a_forked_process_uses_and_makes_handles_of_its_own_and_deletes_nothing(pod: LocalPod) -> None:
    text = """
        import os, sys
        from sandyard import Sandbox
        with Sandbox.create("p") as sandbox:
            print(sandbox.commands.run("echo parent").stdout_text, flush=True)
            for _ in range(2):
                child = os.fork()
                if not child:
                    print(sandbox.commands.run("echo inherited").stdout_text, flush=True)
                    print(Sandbox.connect("s").commands.run("echo own").stdout_text, flush=True)
                    print(sandbox.files.exists("/"), flush=True)
                    sys.exit(7)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            print(sandbox.commands.run("echo still").stdout_text, flush=True)
    """
    done = subprocess.run(program(text), capture_output=True, text=True, timeout=80, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.split() == ["parent", *["inherited", "own", "True"] * 2, "still"]
    assert [method for method, _, _ in pod.asked] == ["POST", "DELETE"]


def test_a_pool_of_processes_works_in_forked_children(pod: LocalPod) -> None:
    text = """
        import multiprocessing
        from sandyard import Sandbox
        def work(number):
            return Sandbox.connect("s").commands.run(f"echo {number}").stdout_text.strip()
        if __name__ == "__main__":
            Sandbox.connect("s").commands.run("true")
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(pool.map(work, range(4)))
    """
    done = subprocess.run(program(text), capture_output=True, text=True, timeout=80, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "['0', '1', '2', '3']"), done.stderr


async def test_a_caller_with_a_loop_of_its_own_is_not_held_up_and_takes_its_command_with_it(pod: LocalPod) -> None:
    with Sandbox.create("p") as sandbox:
        behind = sandbox._behind
        running = [
            asyncio.create_task(awaited(behind.commands.run(f"exec sleep 6{n}.0714"), behind._session))
            for n in range(2)
        ]  # fmt: skip
        async with asyncio.timeout(30):
            while pod.execs < 2 or not has("sleep 61.0714"):
                await asyncio.sleep(0.02)
        assert (await awaited(behind.commands.run("echo beside"), behind._session)).stdout == b"beside\n"
        running[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await running[1]
        async with asyncio.timeout(30):
            while has("sleep 61.0714"):
                await asyncio.sleep(0.02)
        assert has("sleep 60.0714")
        running[0].cancel()


# What a person sees


def test_help_shows_every_option_and_a_name_says_which_it_is(pod: LocalPod) -> None:
    assert {"pool", "timeout", "template", "wait_seconds"} <= set(inspect.signature(Sandbox.create).parameters)
    shown = pydoc.plain(pydoc.render_doc(Sandbox))
    assert "create(pool: 'str | None' = None" in shown
    assert "idle_timeout" in shown
    with Sandbox.create("p") as sandbox:
        assert repr(sandbox) == "<Sandbox 's' in namespace 'default': Ready>"
        assert (sandbox.namespace, sandbox.uid) == ("default", "u")
        info = sandbox.get_info()
        assert (info.pool_name, info.pod_name, info.phase) == ("p", "p", "Ready")
        assert len(repr(info)) < 200
        assert json.loads(json.dumps(info))["metadata"]["uid"] == "u"
        assert "s" in str(SandboxInfo(info))
