"""Who gives up a call, at any moment of it, leaves nothing in the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pathlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandyard.client import AsyncSandbox
from sandyard.client.exec import script
from tests.unit.local_pod import LocalPod

pytestmark = pytest.mark.timeout(90)
MOMENTS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08)
CODE = pathlib.Path("/tmp/.sandyard/code")
OVER = pathlib.Path("/tmp/.sandyard/over")
CONTEXTS = pathlib.Path("/tmp/.sandyard/contexts")


def marked(mark: str) -> list[str]:
    """What runs on this machine with that mark in its environment."""
    found = []
    for file in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in file.read_bytes():
                found.append(file.parent.name)
    return found


def folders(of: pathlib.Path = CODE) -> set[pathlib.Path]:
    return set(of.iterdir()) if of.is_dir() else set()


def text_of(folder: pathlib.Path) -> str:
    """Another test may take its own away meanwhile."""
    texts = []
    for file in folder.glob("*"):
        with contextlib.suppress(OSError):
            texts.append(file.read_text(errors="replace") if file.is_file() else "")
    return "".join(texts)


async def given_up(call: Callable[[], Awaitable[Any]], seconds: float) -> bool:
    """Whether it was given up, and not over by then."""
    calling = asyncio.ensure_future(call())
    await asyncio.sleep(seconds)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    return calling.cancelled()


async def nothing(mark: str) -> None:
    async with asyncio.timeout(10):
        while marked(mark):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["shell", "terminal"])
async def test_what_is_not_open_yet_is_closed(sandbox: AsyncSandbox, kind: str, tmp_path: pathlib.Path) -> None:
    mark = secrets.token_hex(16)
    # Without what a shell of this machine does at its beginning: it is killed in the middle of that.
    env = {"SANDYARD_TEST_MARK": mark, "HOME": str(tmp_path)}

    async def call() -> None:
        if kind == "shell":
            await (await sandbox.shell(env=env)).close()
        else:
            await (await sandbox.pty(["sleep", "60"], env=env)).__aexit__(None, None, None)

    assert [await given_up(call, seconds) for seconds in MOMENTS].count(True) >= 2
    # Also what the server has begun and nobody has heard of.
    await nothing(mark)


@pytest.mark.parametrize("kind", ["shell", "terminal"])
async def test_what_was_to_be_closed_is_closed_though_that_was_given_up(
    sandbox: AsyncSandbox, kind: str, tmp_path: pathlib.Path
) -> None:
    mark = secrets.token_hex(16)
    env = {"SANDYARD_TEST_MARK": mark, "HOME": str(tmp_path)}
    for seconds in (0.0, 0.01, 0.05, 0.1):
        opened = await (sandbox.shell(env=env) if kind == "shell" else sandbox.pty(["sleep", "60"], env=env))
        assert await given_up(functools.partial(opened.__aexit__, None, None, None), seconds)
        assert not marked(mark)


@pytest.mark.parametrize("late", [0.5, 1.5])
async def test_a_terminal_that_begins_after_it_was_given_up_ends(
    inside: tuple[LocalPod, AsyncSandbox], late: float
) -> None:
    """A busy node starts it when what looks for it has been and gone."""
    mark, before = secrets.token_hex(16), folders(OVER)
    local, sandbox = inside
    local.late = late
    assert await given_up(lambda: sandbox.pty(["sleep", "60"], env={"SANDYARD_TEST_MARK": mark}), 0.2)
    left = folders(OVER) - before
    # One that was found while it was looked for leaves none.
    assert left or late < 1
    await asyncio.sleep(late)
    async with asyncio.timeout(20):
        while left & folders(OVER):
            await asyncio.sleep(0.05)
    await nothing(mark)


@pytest.mark.parametrize("kind", ["program", "cell"])
async def test_the_folder_of_a_program_goes(sandbox: AsyncSandbox, kind: str) -> None:
    before = folders()
    mark = secrets.token_hex(16)
    code = f"import os, time; os.environ['M'] = '{mark}'; time.sleep(60)"
    for seconds in (0.1, 0.5):
        # An interpreter that is slow to see that its cell was given up goes with it.
        context = await sandbox.contexts.create()
        run = sandbox.run_code if kind == "program" else context.run
        assert await given_up(functools.partial(run, code), seconds)
    assert not [folder for folder in folders() - before if mark in text_of(folder)]


async def test_a_context_that_nobody_has_got_goes(sandbox: AsyncSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, ids, new_id = secrets.token_hex(16), list[str](), script.new_id

    def noted() -> str:
        ids.append(new_id())
        return ids[-1]

    monkeypatch.setattr(script, "new_id", noted)
    await (await sandbox.contexts.create(env={"SANDYARD_TEST_MARK": mark})).remove()
    begun = time.monotonic()
    await (await sandbox.contexts.create(env={"SANDYARD_TEST_MARK": mark})).remove()
    whole = time.monotonic() - begun
    for part in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
        calling = asyncio.ensure_future(sandbox.contexts.create(env={"SANDYARD_TEST_MARK": mark}))
        await asyncio.sleep(part * whole)
        calling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await calling).remove()
    await nothing(mark)
    assert not [one for one in ids if (CONTEXTS / one).exists()]
