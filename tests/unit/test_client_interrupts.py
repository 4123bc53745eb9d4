"""What interrupts a command or a cell of a shell: nothing begins after it, what was set stays, it answers soon."""

from __future__ import annotations

import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.code.contexts import CodeContext
from tests.unit.local_pod import LocalPod
from tests.unit.shells import SHELLS, run
from tests.unit.test_client_shell import programs_but_bash

pytestmark = pytest.mark.timeout(90)
# In the masks of /proc.
SIGINT = 0b10
IGNORED = "while read -r k v; do [ $k != SigIgn: ] || echo $v; done </proc/self/status"


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """These tests may have been started in the background themselves."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGQUIT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
async def context(sandbox: AsyncSandbox) -> CodeContext:
    return await sandbox.contexts.create("bash", cwd="/tmp")


# What a command begins with


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("options", [{}, {"length": 0}, {"stdin": b"x", "length": 1}, {"watch": 60}])
def test_a_command_begins_with_sigint_heard(shell: str, options: dict[str, Any]) -> None:
    """As in a terminal: what is started in the background by a shell would be deaf to SIGINT for ever."""
    assert int(run(shell, ["sh", "-c", IGNORED], **options).out, 16) & SIGINT == 0
    interrupted = run(shell, ["sh", "-c", "kill -INT $$; echo alive"], **options)
    assert (interrupted.code, interrupted.out) == (130, b"")


async def test_nor_does_a_program_a_background_command_or_a_cell(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    _, sandbox = inside
    ran = await sandbox.run_code(IGNORED, "bash")
    assert int(ran.stdout, 16) & SIGINT == 0
    begun = await sandbox.commands.start(["sh", "-c", IGNORED])
    assert int((await begun.wait(20)).stdout, 16) & SIGINT == 0
    asleep = await sandbox.commands.start(["sleep", "60"])
    assert await asleep.kill("INT", grace=30)
    assert (await asleep.wait(20)).exit_code == 130
    for language in ("python", "bash"):
        made = await sandbox.contexts.create(language)
        try:
            cell = f"import os; os.system({IGNORED!r})" if language == "python" else f"({IGNORED})"
            assert int((await made.run(cell)).stdout, 16) & SIGINT == 0
        finally:
            await made.remove()


# A cell of a shell whose time is over

ENDLESS = [
    "while :; do :; done",
    "g() { while :; do :; done; }; for i in 1 2 3; do while :; do g; done; done",
    "y=$(sleep 60; sleep 60)",
    "sleep 60 | cat | cat",
    "(sleep 60; sleep 60)",
    "sleep 60 & wait",
    "for i in 1 2 3; do sleep 60; done",
]


async def test_nothing_of_a_cell_begins_after_its_time_and_all_that_was_set_stays(
    context: CodeContext, tmp_path: pathlib.Path
) -> None:
    await context.run("kept=5; f() { return 4; }; set -- a b; cd /usr; shopt -s extglob")
    for at, cell in enumerate(ENDLESS):
        done = await context.run(f"at={at}\n{cell}; touch {tmp_path}/after\ntouch {tmp_path}/after", timeout=0.5)
        assert (done.outcome, done.limit, done.error) == ("resource_limit_exceeded", "time", None), cell
        kept = await context.run('f; echo "$? $kept $at $2 $PWD"; shopt -q extglob; echo $?; echo x | cat')
        assert (kept.stdout, kept.stderr) == (f"4 5 {at} b /usr\n0\nx\n".encode(), b""), cell
        assert not (tmp_path / "after").exists(), cell


async def test_a_cell_that_is_interrupted_ends_there_and_one_that_is_deaf_takes_its_shell_along(
    context: CodeContext,
) -> None:
    await context.run("kept=5")
    for _ in range(2):
        # Nothing runs that could be interrupted.
        await context.interrupt()
    assert (await context.run("echo $kept")).stdout == b"5\n"
    # Of the program alone: the cell goes on behind it, as at a terminal.
    program = await context.run("sh -c 'trap \"\" INT; sleep 60; exit 0'", timeout=0.5)
    assert (program.limit, program.error) == ("time", None)
    assert (await context.run("echo $kept")).stdout == b"5\n"
    deaf = await context.run("trap '' INT USR2; while :; do :; done", timeout=0.5)
    assert deaf.limit == "time" and deaf.error is not None and deaf.error.name == "ContextEnded"
    with pytest.raises(errors.ContextEnded):
        await context.run("echo $kept")


async def test_a_shell_that_is_no_bash_leaves_its_loop(
    inside: tuple[LocalPod, AsyncSandbox], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(programs_but_bash(tmp_path)))
    made = await inside[1].contexts.create("bash")
    try:
        await made.run("kept=5")
        for cell in ("while :; do :; done", "f() { while :; do :; done; }; f", "sleep 60; sleep 60"):
            done = await made.run(cell, timeout=0.5)
            assert (done.limit, done.error) == ("time", None), cell
            assert (await made.run('echo "$kept ${BASH_VERSION-}"')).stdout == b"5 \n", cell
    finally:
        await made.remove()


async def test_a_bash_cell_says_no_more_than_a_script_would(context: CodeContext) -> None:
    done = await context.run("sleep 30 & echo $PS1$PS2; no-such; TMOUT=1; false")
    assert (done.exit_code, done.stdout) == (1, b"\n")
    assert done.stderr.endswith(b"bash: no-such: command not found\n") and b"[1]" not in done.stderr
    assert b"sandyard" not in done.stderr
    said = await context.run("alias no-such='echo an alias'; shopt -q expand_aliases || echo \"!no\" $TMOUT; exit 3")
    assert (said.exit_code, said.stdout, said.stderr) == (3, b"!no 1\n", b"")


async def test_the_time_of_a_cell_answers_as_soon_as_that_of_a_command(
    inside: tuple[LocalPod, AsyncSandbox], context: CodeContext
) -> None:
    """Beside each other on the same machine, however busy that is; the best of three."""
    _, sandbox = inside

    async def command() -> float:
        started = time.monotonic()
        with pytest.raises(errors.CommandTimeout):
            await sandbox.commands.run("sleep 60", timeout=0.5)
        return time.monotonic() - started

    async def cell(text: str) -> float:
        return (await context.run(text, timeout=0.5)).duration

    plain, asleep, endless = [], [], []
    for _ in range(3):
        plain.append(await command())
        asleep.append(await cell("sleep 60"))
        endless.append(await cell("while :; do :; done"))
    assert max(min(asleep), min(endless)) < 3 * min(plain), (plain, asleep, endless)
