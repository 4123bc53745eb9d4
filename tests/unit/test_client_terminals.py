"""Readers of a terminal, and those that give up reading."""

from __future__ import annotations

import asyncio
import pathlib
import signal
import threading
import time
from typing import Any

import pytest

from sandyard.client import AsyncSandbox, Sandbox, errors
from tests.unit.local_pod import serving

pytestmark = pytest.mark.timeout(60)
SLOW = "for n in 1 2 3 4; do sleep 0.3; echo $n; done"


async def test_who_gives_up_reading_loses_nothing(sandbox: AsyncSandbox) -> None:
    said, given_up = b"", 0
    async with await sandbox.pty(["sh", "-c", SLOW]) as terminal:
        while True:
            try:
                piece = await asyncio.wait_for(terminal.read(), 0.05)
            except TimeoutError:
                given_up += 1
                continue
            if not piece:
                break
            said += piece
    assert (said, terminal.exit_code) == (b"1\n2\n3\n4\n", 0)
    assert given_up > 3


async def test_an_iteration_that_is_cancelled_is_gone_on_with(sandbox: AsyncSandbox) -> None:
    said = b""

    async def take() -> None:
        nonlocal said
        async for piece in terminal:
            said += piece

    async with await sandbox.pty(["sh", "-c", SLOW]) as terminal:
        for seconds in (0, 0.1, 0.5, 0.3):
            taking = asyncio.create_task(take())
            await asyncio.sleep(seconds)
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
        await take()
        assert (said, terminal.exit_code, await terminal.read()) == (b"1\n2\n3\n4\n", 0, b"")


async def test_a_time_may_be_given_to_a_reader(sandbox: AsyncSandbox) -> None:
    async with await sandbox.pty(["sh", "-c", "read x; echo $x"]) as terminal:
        for seconds in (0.2, 0):
            with pytest.raises(errors.NotFinished, match="no output"):
                await terminal.read(timeout=seconds)
        for wrong in (-1, float("nan"), "1"):
            with pytest.raises(errors.InvalidArgument, match="timeout"):
                await terminal.read(timeout=wrong)  # type: ignore[arg-type]
        await terminal.write(b"typed\n")
        assert await terminal.read(timeout=20) == b"typed\n"
        assert await terminal.read(timeout=20) == b""


async def test_what_is_typed_is_bytes(sandbox: AsyncSandbox) -> None:
    async with await sandbox.pty(["head", "-n", "1"]) as terminal:
        for wrong in ("text", None, 5):
            with pytest.raises(errors.InvalidArgument, match="data"):
                await terminal.write(wrong)  # type: ignore[arg-type]
        await terminal.write(bytearray(b"typed\n"))
        assert b"typed" in b"".join([data async for data in terminal])


async def test_two_readers_share_what_is_said(sandbox: AsyncSandbox) -> None:
    async with await sandbox.pty(["sh", "-c", SLOW]) as terminal:

        async def take() -> list[bytes]:
            return [piece async for piece in terminal]

        found = await asyncio.gather(take(), take())
    # On a busy machine two lines may be one piece.
    assert sorted(b"".join(found[0] + found[1]).splitlines()) == [b"1", b"2", b"3", b"4"]


async def test_what_nobody_reads_is_not_taken_in_without_end(sandbox: AsyncSandbox) -> None:
    async with await sandbox.pty(["sh", "-c", "head -c 60000000 /dev/zero; echo end"]) as terminal:
        await asyncio.sleep(1)
        assert terminal._shown.pieces <= 64
        size, last = 0, b""
        async for piece in terminal:
            size, last = size + len(piece), piece
    assert (size, last[-4:], terminal.exit_code) == (60_000_004, b"end\n", 0)


async def test_the_end_of_the_sandbox_is_told_to_each_reader(sandbox: AsyncSandbox, inside: Any) -> None:
    pod, _ = inside
    async with await sandbox.pty(["sh", "-c", "echo said; sleep 60"]) as terminal:
        await asyncio.sleep(0.3)
        pod.change(phase="Expired", conditions=[{"type": "Ready", "status": "False", "reason": "Idle", "message": ""}])
        assert await terminal.read() == b"said\n"
        for _ in range(2):
            with pytest.raises(errors.SandboxExpired):
                await terminal.read()


async def test_a_reader_is_told_when_another_task_closes_the_terminal(sandbox: AsyncSandbox) -> None:
    async with await sandbox.pty(["sleep", "60"]) as terminal:
        reading = asyncio.create_task(terminal.read())
        await asyncio.sleep(0.1)
    async with asyncio.timeout(10):
        assert await reading == b""


@pytest.mark.parametrize("seconds", [0.1, 0.3])
def test_ctrl_c_in_a_reader_loses_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    with serving(tmp_path, monkeypatch), Sandbox.connect("s") as sandbox, sandbox.pty(["sh", "-c", SLOW]) as terminal:
        said, interrupted, over = b"", 0, threading.Event()

        def interrupt() -> None:
            while not over.wait(seconds):
                signal.pthread_kill(main, signal.SIGINT)

        main = threading.main_thread().ident
        assert main is not None
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        end = time.monotonic() + 20
        try:
            while time.monotonic() < end:
                try:
                    piece = terminal.read()
                    if not piece:
                        break
                    said += piece
                except KeyboardInterrupt:
                    interrupted += 1
        finally:
            over.set()
            interrupting.join()
        assert terminal.read(timeout=5) == b""
        assert (said, terminal.exit_code) == (b"1\n2\n3\n4\n", 0)
        assert interrupted > 1
