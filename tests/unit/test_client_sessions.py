"""Of a session nothing is taken for the answer to what comes next, whoever gives up and whatever has been set in it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import sys
import time
from collections.abc import AsyncIterator

import pytest

from sandyard.client import AsyncSandbox, by_line, errors
from sandyard.client.code import code
from tests.unit.local_pod import local_pod
from tests.unit.test_client_shell import programs_but_bash

pytestmark = pytest.mark.timeout(90)
# Those that no signal to what they have started ends.
DEAF = {
    "a loop": "while :; do echo old; sleep 0.2; done",
    "a long list": "sleep 99; echo old; sleep 99; echo old; sleep 99; echo old",
    "a loop of its own": "while :; do :; done",
}


@pytest.fixture(params=["bash", "no bash"])
async def session(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncSandbox]:
    if request.param == "no bash":
        monkeypatch.setenv("PATH", str(programs_but_bash(tmp_path)))
    async with local_pod() as (_, made):
        yield made


@pytest.mark.parametrize("what", DEAF)
async def test_what_was_given_up_says_nothing_to_the_next_command(sandbox: AsyncSandbox, what: str) -> None:
    async with await sandbox.shell() as shell:
        running = asyncio.create_task(shell.run(DEAF[what], timeout=60))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        if shell.closed:
            await shell.reset()
        new = await shell.run("echo new", timeout=10)
        assert (new.stdout, new.stderr, new.exit_code) == (b"new\n", b"", 0)


async def fails(_: bytes) -> None:
    raise KeyError("mine")


def fails_at_once(_: bytes) -> None:
    raise KeyError("mine")


def fails_at_a_line(_: str) -> None:
    raise KeyError("mine")


@pytest.mark.parametrize("function", [fails, fails_at_once, by_line(fails_at_a_line)])
@pytest.mark.parametrize("stream", ["on_stdout", "on_stderr"])
async def test_a_function_that_fails_ends_the_command_and_not_the_session(
    sandbox: AsyncSandbox, function: object, stream: str
) -> None:
    async with await sandbox.shell() as shell:
        await shell.run("kept=1")
        started = time.monotonic()
        text = "echo said" + (" >&2" if stream == "on_stderr" else "")
        with pytest.raises(KeyError, match="mine"):
            await shell.run(f"{text}; sleep 60; {text}", timeout=60, **{stream: function})  # type: ignore[arg-type]
        assert time.monotonic() - started < 30
        assert (await shell.run("echo $kept")).stdout == b"1\n"


@pytest.mark.parametrize("limit", ["ulimit -n 4", "ulimit -n 0", "f() { ulimit -n 3; }; f"])
async def test_a_session_that_can_tell_nothing_any_more_ends_at_once(session: AsyncSandbox, limit: str) -> None:
    async with await session.shell() as shell:
        async with asyncio.timeout(10):
            done = await shell.run(limit, timeout=60)
            if not shell.closed:
                done = await shell.run("echo $?", timeout=60)
        assert done.exit_code is not None
        await shell.reset()
        assert (await shell.run("echo on")).stdout == b"on\n"


TRAPS = {
    "DEBUG": ("set -T; trap 'echo heard' DEBUG", b"heard\na\n"),
    "RETURN": ("set -T; trap 'echo heard' RETURN", b"a\n"),
    "errors": ("set -E; trap 'echo heard' ERR", b"a\n"),
    "all of bash's": ("set -eTEx; shopt -s extdebug; trap 'echo heard' RETURN", b"a\n"),
}


@pytest.mark.parametrize("what", TRAPS)
async def test_traps_that_functions_inherit_hear_of_none_of_ours(sandbox: AsyncSandbox, what: str) -> None:
    begin, said = TRAPS[what]
    async with await sandbox.shell() as shell:
        assert b"sandyard" not in (await shell.run(begin)).stdout
        for _ in range(2):
            done = await shell.run("echo a")
            assert (done.stdout, b"sandyard" in done.stderr) == (said, False)
        assert (await shell.run("f() { echo $-; }; f")).stdout.count(b"T") == ("T" in begin)


async def test_a_path_that_is_given_chooses_no_other_shell(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    for env in ({"PATH": str(here)}, {"PATH": ""}):
        async with await sandbox.shell(env=env) as shell:
            assert (await shell.run('echo "${BASH_VERSION:+bash}"')).stdout == b"bash\n"
        async with await sandbox.pty(env=env) as terminal:
            await terminal.write(b'echo "is ${BASH_VERSION:+bash}"; exit\n')
            assert b"is bash" in b"".join([data async for data in terminal])
    async with await sandbox.pty(["echo", "a", "--"], env={"PATH": "/usr/bin:/bin"}) as terminal:
        assert b"".join([data async for data in terminal]).strip() == b"a --"


@pytest.mark.parametrize("language", ["python", "javascript", "bash"])
async def test_a_context_has_any_variable_and_works_as_before(
    sandbox: AsyncSandbox, here: pathlib.Path, language: str
) -> None:
    """By the PATH that is given its interpreter is found, and nothing else."""
    program = {"python": "python3", "javascript": "node", "bash": "bash"}[language]
    (here / program).symlink_to(sys.executable if language == "python" else shutil.which(program) or "")
    shows = {"python": "import os; print(os.environ[{!r}])", "javascript": "console.log(process.env[{!r}])",
             "bash": 'printf "%s\\n" "${}"'}[language]  # fmt: skip
    given = {"PATH": str(here), "TMOUT": "1", "_sy_d": "x", "_sy_p": "", "_sandyard_cell": "x"}
    for name, value in given.items():
        if language == "bash" and name == "_sandyard_cell":
            # Its shell has this for itself.
            continue
        context = await sandbox.contexts.create(language, env={name: value})
        for _ in range(2):
            if name == "TMOUT":
                await asyncio.sleep(1.5)
            done = await context.run(shows.format(name), timeout=20)
            assert (done.outcome, done.stdout.strip().decode()) == ("success", value), (name, done)
            await context.restart()
        await context.remove()


CELLS = [
    "PATH=/nonexistent", "cat() { :; }", "cat() { echo other; }; printf() { :; }; echo() { :; }", "builtin() { :; }",
    "command() { :; }; unset() { :; }", "readonly TMOUT=100", "TMOUT=1", "alias cat=false",
    "set -T; shopt -s extdebug; trap 'echo T' DEBUG", "set -E; trap 'echo T' ERR", "set -T; trap 'echo T' RETURN",
]  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
async def test_what_a_bash_cell_has_set_changes_no_later_cell(sandbox: AsyncSandbox, cell: str) -> None:
    context = await sandbox.contexts.create("bash")
    first = await context.run(cell, timeout=20)
    assert first.exit_code == 0, first
    if cell == "TMOUT=1":
        await asyncio.sleep(1.5)
    next_ = await context.run("builtin printf '%s\\n' new.", timeout=20)
    assert (next_.outcome, next_.stdout.replace(b"T\n", b"")) in (("success", b"new.\n"), ("success", b"")), next_
    if "builtin()" not in cell:
        assert b"new.\n" in next_.stdout
    assert (await context.run("(exit 5)", timeout=20)).exit_code == 5


async def test_a_program_whose_listener_fails_leaves_no_folder(
    sandbox: AsyncSandbox, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "_FOLDER", str(here / "code"))
    for function in (fails, fails_at_once):
        with pytest.raises(KeyError, match="mine"):
            await sandbox.run_code("print(1)", on_stdout=function)
        assert os.listdir(here / "code") == []


@pytest.mark.parametrize("kind", [errors.SandboxError, ValueError])
async def test_an_error_of_the_callers_own_comes_as_it_is(sandbox: AsyncSandbox, kind: type[Exception]) -> None:
    raised = kind("own")

    def function(_: bytes) -> None:
        raise raised

    async with await sandbox.shell() as shell:
        with pytest.raises(kind) as found:
            await shell.run("echo a", on_stdout=function)
        assert found.value is raised
