"""Commands of the OpenAI Agents SDK that run on between calls of a model."""

from __future__ import annotations

import asyncio
import contextlib
import io
import pathlib
import time

import pytest
from agents.sandbox.errors import ExecTransportError, PtySessionNotFoundError
from agents.sandbox.manifest import Manifest
from agents.sandbox.session import SandboxSession

from sandyard.adapters.openai_agents import (
    SandyardSandboxClient,
    SandyardSandboxClientOptions,
    SandyardSandboxSession,
)
from tests.support.kube import until
from tests.unit.local_pod import LocalPod

POOL = SandyardSandboxClientOptions(pool="python")


def runs(text: str) -> bool:
    """Whether this machine has a process with *text* in its command line."""
    for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in file.read_bytes().replace(b"\0", b" "):
                return True
    return False


async def test_a_command_that_takes_long_runs_on_and_is_asked_again(session: SandboxSession) -> None:
    command = "echo begun; until [ -e go ]; do sleep 0.05; done; echo gone; echo wrong >&2; exit 3"
    begun = await session.pty_exec_start(command, yield_time_s=1.5)
    assert (begun.output, begun.exit_code) == (b"begun\n", None)
    assert begun.process_id is not None
    with pytest.raises(RuntimeError, match="stdin is not available for this process"):
        await session.pty_write_stdin(session_id=begun.process_id, chars="x")
    await session.write(pathlib.Path("go"), io.BytesIO(b""))
    ended = await session.pty_write_stdin(session_id=begun.process_id, chars="", yield_time_s=20)
    assert sorted(ended.output.splitlines()) == [b"gone", b"wrong"]
    assert (ended.exit_code, ended.process_id) == (3, None)
    with pytest.raises(PtySessionNotFoundError):
        await session.pty_write_stdin(session_id=begun.process_id, chars="")


async def test_a_short_command_ends_at_once(session: SandboxSession, root: str) -> None:
    started = time.monotonic()
    done = await session.pty_exec_start("pwd; echo $N", yield_time_s=30)
    assert (done.output, done.exit_code, done.process_id) == (f"{root}\n3\n".encode(), 0, None)
    assert time.monotonic() - started < 15


async def test_a_command_on_a_terminal_is_typed_to(session: SandboxSession) -> None:
    begun = await session.pty_exec_start("read word; echo said $word; exit 4", tty=True, yield_time_s=0.25)
    assert begun.process_id is not None
    ended = await session.pty_write_stdin(session_id=begun.process_id, chars="hello\n", yield_time_s=20)
    assert b"said hello" in ended.output
    assert (ended.exit_code, ended.process_id) == (4, None)


@pytest.mark.parametrize("tty", [False, True])
async def test_what_runs_on_ends_with_the_session(pod: LocalPod, root: str, tty: bool) -> None:
    # Of the sandbox that is this machine the processes outlive its deletion.
    command = f"sleep 6{tty:d}.0713"
    client = SandyardSandboxClient()
    made = await client.create(manifest=Manifest(root=root), options=POOL)
    async with made:
        begun = await made.pty_exec_start(command, tty=tty, yield_time_s=0.25)
        assert begun.process_id is not None
        await asyncio.to_thread(until, "it runs", lambda: runs(command), 20)
    await asyncio.to_thread(until, "it has ended", lambda: not runs(command), 20)


async def test_of_output_that_nobody_asks_for_the_end_stays(session: SandboxSession) -> None:
    inner = session._inner
    assert isinstance(inner, SandyardSandboxSession)
    command = "until [ -e go ]; do sleep 0.05; done; head -c 3000000 /dev/zero | tr '\\0' x; echo last"
    begun = await session.pty_exec_start(command, yield_time_s=0.25)
    assert begun.process_id is not None
    process = inner._processes.running[begun.process_id]
    await session.write(pathlib.Path("go"), io.BytesIO(b""))
    await asyncio.to_thread(until, "it has ended", lambda: process.ended, 30)
    ended = await session.pty_write_stdin(session_id=begun.process_id, chars="")
    assert b"bytes of output before this are lost]" in ended.output[:100]
    assert ended.output.endswith(b"xlast\n")
    assert len(ended.output) < 1_200_000


async def test_of_too_many_commands_the_one_not_asked_for_longest_is_ended(
    session: SandboxSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandyard.adapters.openai_agents.processes.PTY_PROCESSES_MAX", 9)
    begun = [await session.pty_exec_start(f"sleep 64.07{n:02}", yield_time_s=0.25) for n in range(10)]
    assert begun[0].process_id is not None
    with pytest.raises(PtySessionNotFoundError):
        await session.pty_write_stdin(session_id=begun[0].process_id, chars="")
    assert not runs("sleep 64.0700")
    assert runs("sleep 64.0701")


async def test_a_command_that_runs_on_in_a_sandbox_that_is_lost_says_so(pod: LocalPod, root: str) -> None:
    client = SandyardSandboxClient()
    made = await client.create(manifest=Manifest(root=root), options=POOL)
    await made.start()
    begun = await made.pty_exec_start("sleep 65.0713", yield_time_s=0.25)
    assert begun.process_id is not None
    inner = made._inner
    assert isinstance(inner, SandyardSandboxSession)
    await inner.sandbox.kill()
    with pytest.raises(ExecTransportError):
        await made.pty_write_stdin(session_id=begun.process_id, chars="")
    await client.delete(made)
