"""A Sandbox that is paused, suspended, or changed by somebody else: every call ends in a value or an error of ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from sandyard.api import names
from sandyard.client import AsyncSandbox, errors
from sandyard.client.session import session as sessions
from tests.unit.local_pod import LocalPod

pytestmark = pytest.mark.timeout(60)
Inside = tuple[LocalPod, AsyncSandbox]
READY = {"phase": "Ready", "podName": "p", "podUID": "pu"}


def rests(phase: str, reason: str, message: str = "why", *, stalled: bool = False) -> dict[str, Any]:
    told = [{"type": "Reconciling", "status": "False", "reason": reason, "message": message}]
    if stalled:
        told.append({"type": "Stalled", "status": "True", "reason": reason, "message": message})
    return {"phase": phase, "conditions": told, "podName": "", "podUID": ""}


SUSPENDED = rests("Suspended", "Suspended", "as asked for")


def ready(pod: LocalPod) -> None:
    condition = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
    pod.change(**READY, conditions=[condition])


async def meanwhile(pod: LocalPod, what: Callable[[], None]) -> None:
    """Let it happen once somebody watches the Sandbox."""
    async with asyncio.timeout(10):
        while not pod._watching:
            await asyncio.sleep(0.01)
    what()


async def test_one_whose_time_is_over_does_not_resume_by_being_asked_to(inside: Inside) -> None:
    pod, sandbox = inside
    pod.change(**rests("Suspended", "Expired", "its deadline is over; extend its lifetime to resume"))
    async with asyncio.timeout(10):
        with pytest.raises(errors.SandboxExpired, match=r"cannot resume: its deadline is over.*set_timeout"):
            await sandbox.resume()
        with pytest.raises(errors.SandboxNotReady, match="cannot be paused: its deadline is over"):
            await sandbox.pause()
        await sandbox.set_timeout(100)
    ready(pod)
    await sandbox.resume()


async def test_resuming_is_a_use_of_it_which_ends_an_idle_time(inside: Inside) -> None:
    pod, sandbox = inside
    pod.change(**rests("Suspended", "Idle", "idle for 60 s"))
    resuming = asyncio.ensure_future(sandbox.resume())
    await meanwhile(pod, lambda: ready(pod))
    await resuming
    asked = pod.asked[0][2]
    assert asked["spec"] == {"desiredState": "Running"}
    assert names.ANNOTATION_ACTIVITY in asked["metadata"]["annotations"]


@pytest.mark.parametrize("call", ["resume", "pause", "suspend"])
async def test_who_is_overruled_meanwhile_is_told_so(inside: Inside, call: str) -> None:
    pod, sandbox = inside
    pod.change(**rests("Pending", "Reconciling"))
    other = "Suspended" if call == "resume" else "Running"
    calling = asyncio.ensure_future(getattr(sandbox, call)())
    await meanwhile(pod, lambda: pod.ask(desiredState=other))
    async with asyncio.timeout(10):
        with pytest.raises(errors.SandboxNotReady, match=f"asked to be {other} meanwhile"):
            await calling


async def test_what_keeps_it_from_resuming_is_told(inside: Inside) -> None:
    pod, sandbox = inside
    pod.pools = ["other"]
    pod.change(**rests("Pending", "PoolNotFound", "there is no SandboxPool 'x'", stalled=True))
    async with asyncio.timeout(10):
        with pytest.raises(errors.SandboxCreateError, match="no SandboxPool 'x'; pools there are: other"):
            await sandbox.resume()


async def test_a_failure_of_before_is_none_of_the_next_attempt(inside: Inside) -> None:
    pod, sandbox = inside
    failed = rests("Suspended", "StartTimeout", "not ready within 300 s", stalled=True)
    pod.change(**failed)
    resuming = asyncio.ensure_future(sandbox.resume())
    await meanwhile(pod, lambda: pod.change(**rests("Starting", "Starting")))
    await asyncio.sleep(0)
    pod.change(**failed)
    async with asyncio.timeout(10):
        with pytest.raises(errors.SandboxCreateError, match="StartTimeout: not ready within 300 s"):
            await resuming


@pytest.mark.parametrize("call", ["resume", "pause", "suspend", "set_timeout", "update_network", "kill"])
async def test_without_an_operator_nobody_waits_for_ever(
    inside: Inside, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod, sandbox = inside
    pod.stays = True
    pod.body["metadata"]["generation"] = 2
    monkeypatch.setattr("sandyard.client.creating.NOTICE_SECONDS", 0.2)
    monkeypatch.setattr(sessions, "NOTICE_SECONDS", 0.2)
    arguments = {"set_timeout": (30,), "update_network": ({"egress": "DNS"},)}.get(call, ())
    async with asyncio.timeout(10):
        with pytest.raises(errors.OperatorUnavailable, match=r"within 0.2 s: check that it runs"):
            await getattr(sandbox, call)(*arguments)


async def test_who_has_not_seen_it_resume_uses_it_all_the_same(inside: Inside) -> None:
    pod, sandbox = inside
    pod.change(**SUSPENDED)
    await sandbox.get_info()
    with pytest.raises(errors.SandboxNotReady, match="is Suspended: as asked for"):
        await sandbox.commands.run("echo 1")
    ready(pod)
    assert (await sandbox.commands.run("echo 1")).stdout == b"1\n"
    pod.change(**SUSPENDED)
    await sandbox.get_info()
    pod.deleted = pod.forgets = True
    with pytest.raises(errors.SandboxNotFound):
        await sandbox.commands.run("echo 1")


async def test_who_knows_a_pod_of_before_finds_the_one_of_now(inside: Inside) -> None:
    pod, sandbox = inside

    async def stale() -> None:
        pod.change(podName="before", podUID="bu")
        await sandbox.get_info()
        ready(pod)

    await stale()
    assert (await sandbox.commands.run("echo 1")).stdout == b"1\n"
    await stale()
    async with await sandbox.shell() as shell:
        assert (await shell.run("echo 2")).stdout == b"2\n"
    await stale()
    async with await sandbox.pty(["echo", "3"]) as terminal:
        assert (await terminal.read()).strip() == b"3"
    # One that has none now is told of by what it is, and one that is nowhere by that.
    pod.change(podName="before", podUID="bu")
    await sandbox.get_info()
    pod.change(**SUSPENDED)
    with pytest.raises(errors.SandboxNotReady, match="is Suspended: as asked for"):
        await sandbox.pty()
    ready(pod)
    pod.change(podName="before", podUID="bu")
    await sandbox.get_info()
    with pytest.raises(errors.SandboxNotFound, match="pod of Sandbox 's' is gone"):
        await sandbox.commands.run("echo 1")


async def test_a_terminal_and_a_port_of_a_pod_that_is_gone_say_so(inside: Inside) -> None:
    pod, sandbox = inside
    told = list[str]()
    async with (
        await sandbox.pty(["sleep", "30"]) as terminal,
        await sandbox.forward(8000, on_problem=told.append) as forward,
    ):
        pod.change(**SUSPENDED)
        await sandbox.get_info()
        with pytest.raises(errors.SandboxRestarted, match="has no pod"):
            await terminal.read()
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.local_port)
        with pytest.raises((ConnectionError, AssertionError)):
            assert await reader.read() != b""
        writer.close()
        assert "is Suspended" in told[0]


async def test_a_shell_of_a_paused_sandbox_is_asked_nothing(inside: Inside) -> None:
    pod, sandbox = inside
    async with await sandbox.shell() as shell:
        pod.change(phase="Paused", conditions=[{"type": "Reconciling", "reason": "Paused", "message": "it stands"}])
        await sandbox.get_info()
        with pytest.raises(errors.SandboxNotReady, match="is Paused: it stands"):
            await shell.run("echo 1")
        ready(pod)
        assert (await shell.run("echo 1")).stdout == b"1\n"


async def test_a_reader_of_a_terminal_that_gives_up_leaves_no_task(
    inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    _, sandbox = inside
    async with await sandbox.pty(["sleep", "30"]) as terminal:
        reading = asyncio.ensure_future(terminal.read())
        await asyncio.sleep(0.1)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if "Queue.get" in repr(task)]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
