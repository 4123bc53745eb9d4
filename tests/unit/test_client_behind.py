"""A background command is read to its end, however soon somebody looks and wherever its output does not fit."""

from __future__ import annotations

import os
import pathlib
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.commands import background
from sandyard.client.exec import script
from tests.unit.local_pod import local_pod

pytestmark = pytest.mark.timeout(60)
PROC = pathlib.Path("/tmp/.sandyard/proc")
LINES = "i=0; while [ $i -lt 30 ]; do echo line; i=$((i+1)); sleep 0.02; done; exit 7"


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fills the files begins later than whoever looks, as on a busy node."""

    def late(code: str, *words: str) -> Sequence[str]:
        made = code.replace("keep() {", "keep() {\nSANDYARD_EXEC=- sleep 1")
        assert made != code
        return by_bash(made, *words)

    by_bash = script.by_bash
    monkeypatch.setattr(background.script, "by_bash", late)


@pytest.mark.usefixtures("slowly")
async def test_whoever_looks_before_there_is_anything_hears_of_all_of_it(sandbox: AsyncSandbox) -> None:
    handle = await sandbox.commands.start("echo out; echo err >&2; exit 3")
    first = await handle.read()
    assert (first.stdout, first.stderr, first.done) == (b"", b"", False)
    heard: dict[str, list[bytes]] = {"out": [], "err": []}
    end = await handle.follow(heard["out"].append, heard["err"].append)
    assert (end.exit_code, heard) == (3, {"out": [b"out\n"], "err": [b"err\n"]})
    await handle.remove()


@pytest.mark.parametrize("file", ["stdout", "stderr"])
async def test_a_file_that_is_gone_is_empty(sandbox: AsyncSandbox, file: str) -> None:
    handle = await sandbox.commands.start("echo out; echo err >&2; exit 3")
    await handle.wait()
    (PROC / handle.id / file).unlink()
    chunk = await handle.read()
    assert (chunk.stdout, chunk.stderr) == ((b"", b"err\n") if file == "stdout" else (b"out\n", b""))
    assert (chunk.done, chunk.exit_code) == (True, 3)
    await handle.remove()


@pytest.mark.parametrize("how", ["nothing fits", "some fits", "nothing writes"])
async def test_a_full_disk_ends_no_command(how: str, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a disk does not take is dropped, as what is more than is kept."""
    lines = {
        "nothing fits": 'exec /usr/bin/dd "$@" of=/dev/full',
        "some fits": f'[ -e {here}/once ] && exec /usr/bin/dd "$@" of=/dev/full; : >{here}/once; exec head -c 5',
        "nothing writes": "exit 127",
    }
    others = 'case $1 in bs=65536) ;; *) exec /usr/bin/dd "$@" ;; esac'
    (here / "dd").write_text(f"#!/bin/sh\n{others}\n{lines[how]}\n")
    (here / "dd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}:{os.environ['PATH']}")
    async with local_pod() as (_, sandbox):
        handle = await sandbox.commands.start(LINES)
        end = await handle.follow()
        assert (end.exit_code, end.truncated) == (7, True)
        await handle.remove()
        kept = await sandbox.commands.run(LINES, keep_output=10_000)
        assert kept.exit_code == 7


WRONG: list[dict[str, Any]] = [
    {"stdout_offset": -1}, {"stderr_offset": -1}, {"max_bytes": -1}, {"stdout_offset": "3"}, {"stdout_offset": 2.5},
    {"stderr_offset": True}, {"max_bytes": b"9"},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_a_place_that_is_none_is_told(sandbox: AsyncSandbox, wrong: dict[str, Any]) -> None:
    handle = await sandbox.commands.start("printf 0123")
    with pytest.raises(errors.InvalidArgument, match=next(iter(wrong))):
        await handle.read(**wrong)
    await handle.remove()


@pytest.fixture
def read_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts one text in another's place in the script that looks."""

    def put(before: str, after: str) -> None:
        code = text("background_read")
        assert before in code
        monkeypatch.setattr(background.script, "text", lambda *parts: (
            code.replace(before, after) if parts == ("background_read",) else text(*parts)
        ))  # fmt: skip

    text = script.text
    return put


async def test_a_look_takes_the_time_that_it_was_given_however_long_a_round_is(
    sandbox: AsyncSandbox, read_as: Callable[[str, str], None]
) -> None:
    handle = await sandbox.commands.start("sleep 60")
    read_as("sleep 0.2 || sleep 1", "sleep 1.5")
    for wait in (1, 2):
        began = time.monotonic()
        assert not (await handle.read(wait=wait)).done
        assert wait <= time.monotonic() - began < wait + 5
    assert await handle.kill()


async def test_a_look_that_is_not_answered_says_nothing_of_the_commands_end(
    sandbox: AsyncSandbox, read_as: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await sandbox.commands.start("sleep 60")
    monkeypatch.setattr(background, "_ANSWER_SECONDS", 1.0)
    read_as("while :; do", "sleep 30; while :; do")
    for look in (handle.read, handle.follow, handle.wait):
        if look != handle.read:
            monkeypatch.setattr(background, "_LOOK_SECONDS", 0)
        with pytest.raises(errors.ExecTransportError, match="no answer within 1 s"):
            await look()
    # What cannot be looked at is ended all the same.
    assert await handle.kill()
    monkeypatch.undo()
    assert (await handle.read()).exit_code == 128 + signal.SIGTERM
