"""What a command is fed with while it runs, its last bytes, and its end, whatever it makes of its own files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner

from sandyard.cli.main import main
from sandyard.client import AsyncSandbox, Sandbox, errors
from sandyard.client.commands import background
from sandyard.client.commands.background import BackgroundCommand
from sandyard.client.exec import script
from tests.unit.local_pod import serving
from tests.unit.shells import SHELLS
from tests.unit.test_client_given_up import marked

pytestmark = pytest.mark.timeout(60)
PROC = pathlib.Path("/tmp/.sandyard/proc")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes longer than usual is given up soon."""
    monkeypatch.setattr(background, "_STDIN_SECONDS", 3.0)


@contextlib.asynccontextmanager
async def started(
    sandbox: AsyncSandbox, command: str, *, stdin: bool = False
) -> AsyncIterator[tuple[BackgroundCommand, str]]:
    """A command, and what its processes carry in their environment."""
    mark = secrets.token_hex(16)
    handle = await sandbox.commands.start(command, stdin=stdin, env={"SANDYARD_TEST_MARK": mark})
    try:
        yield handle, mark
    finally:
        await handle.remove()


async def gone(mark: str) -> None:
    async with asyncio.timeout(10):
        while marked(mark):
            await asyncio.sleep(0.05)


def holders(handle: BackgroundCommand) -> int:
    """How many processes have its standard input open."""
    found = set[str]()
    for file in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(file.readlink()) == f"{PROC}/{handle.id}/stdin":
                found.add(file.parts[2])
    return len(found)


async def there(path: str) -> None:
    async with asyncio.timeout(10):
        while not os.access(path, os.F_OK):
            await asyncio.sleep(0.05)


# Input


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("command", ["sleep 5; wc -c", "head -c 5; sleep 5; wc -c", "yes | head -c 3000000; wc -c"])
async def test_a_command_that_reads_late_gets_all_of_its_input(sandbox: AsyncSandbox, command: str) -> None:
    async with asyncio.timeout(20):
        done = await sandbox.commands.run(command, stdin=b"x" * 10**6, keep_output=1 << 22)
    try:
        assert done.stdout.split()[-1].removeprefix(b"x" * 5) in (b"1000000", b"999995")
    finally:
        await BackgroundCommand(sandbox._session, done.exec_id).remove()


@pytest.mark.usefixtures("hasty")
async def test_what_is_sent_to_a_slow_reader_arrives_whole(sandbox: AsyncSandbox) -> None:
    async with started(sandbox, "sleep 5; cat", stdin=True) as (handle, _):
        for piece in (b"x" * 300_000, b"y" * 10):
            await handle.send_stdin(piece)
        await handle.close_stdin()
        done = await handle.wait()
        assert done.stdout == b"x" * 300_000 + b"y" * 10


@pytest.mark.parametrize("command", ["head -c 3", "exec <&-; sleep 0.3", "true"])
async def test_a_command_that_wants_no_more_input_ends_well(sandbox: AsyncSandbox, command: str) -> None:
    async with asyncio.timeout(20):
        done = await sandbox.commands.run(command, stdin=b"x" * 10**6, keep_output=1000)
    assert (done.exit_code, done.stderr) == (0, b"")
    await BackgroundCommand(sandbox._session, done.exec_id).remove()


async def test_input_that_nobody_reads_any_more_is_told_of_at_once(sandbox: AsyncSandbox) -> None:
    async with started(sandbox, "exec <&-; sleep 60", stdin=True) as (handle, _), asyncio.timeout(10):
        with pytest.raises(errors.StdinClosed):
            await handle.send_stdin(b"x" * 200_000)
    async with started(sandbox, "sleep 1", stdin=True) as (handle, _), asyncio.timeout(10):
        with pytest.raises(errors.StdinClosed):
            await handle.send_stdin(b"x" * 200_000)
    with pytest.raises(errors.CommandNotFound):
        await handle.send_stdin(b"x")
    with pytest.raises(errors.CommandNotFound):
        await handle.close_stdin()


async def test_who_gives_up_feeding_leaves_nothing_that_feeds(sandbox: AsyncSandbox) -> None:
    async with started(sandbox, "sleep 60", stdin=True) as (handle, _):
        await there(f"{PROC}/{handle.id}/stdin_opened")
        await asyncio.sleep(0.3)
        before = holders(handle)
        feeding = asyncio.create_task(handle.send_stdin(b"x" * 10**6))
        async with asyncio.timeout(10):
            while holders(handle) <= before:
                await asyncio.sleep(0.05)
        feeding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await feeding
        async with asyncio.timeout(10):
            while holders(handle) > before:
                await asyncio.sleep(0.05)
        assert (await handle.read()).exit_code is None


async def test_a_function_that_fails_ends_the_command_that_it_was_told_of(sandbox: AsyncSandbox) -> None:
    mark = secrets.token_hex(16)

    def fail(_: bytes) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        await sandbox.commands.run(
            "echo x; sleep 60", stdin=b"x", keep_output=1000, on_stdout=fail, env={"SANDYARD_TEST_MARK": mark}
        )
    await gone(mark)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("reader", "codes"), [("cat", {0}), ("head -c 5", {141, -13}), ("", {141, -13})])
def test_input_is_fed_by_every_shell(shell: str, reader: str, codes: set[int], tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "stdin")
    (tmp_path / "stdin_opened").touch()
    reading = subprocess.Popen(["sh", "-c", f"{reader} <stdin >said"] if reader else ["true"], cwd=tmp_path)
    words = [*shell.split(), "-c", script.text("feed_background")]
    if reader:
        # The end of the command that starts.
        holding = os.open(tmp_path / "stdin", os.O_WRONLY)
    fed = subprocess.run(words, input=b"x" * 300_000, cwd=tmp_path, timeout=20, check=False, capture_output=True)
    if reader:
        os.close(holding)
    reading.wait(20)
    assert fed.returncode in codes, fed.stderr
    if reader:
        assert (tmp_path / "said").stat().st_size == {"cat": 300_000, "head -c 5": 5}[reader]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_behind_begins_by_every_shell_with_nothing_of_ours_open(shell: str) -> None:
    """However soon it takes its folder away."""
    exec_id = script.new_id()
    folder = PROC / exec_id
    code = script.text("functions", "raw", "give", "program", "background")
    run = [*shell.split(), "-c", code, "x", exec_id, "0", "9999", "0", "/", "--", "/bin/sh", "-c"]
    seen = f"/tmp/{exec_id}.seen"
    command = f"rm -rf {folder}; ls /proc/self/fd >{seen}.new; mv {seen}.new {seen}"
    done = subprocess.run([*run, command], capture_output=True, timeout=20, check=True)
    try:
        assert done.stdout.strip().isdigit()
        end = time.monotonic() + 20
        while not os.access(seen, os.F_OK):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert pathlib.Path(seen).read_text().split() == ["0", "1", "2", "3"]  # The last is the folder itself.
    finally:
        pathlib.Path(seen).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


# Output


@pytest.mark.parametrize("stream", [1, 2])
async def test_no_mark_of_the_commands_own_ends_its_output(sandbox: AsyncSandbox, stream: int) -> None:
    forged = f'printf "a\\000$SANDYARD_EXEC:7\\000b" >&{stream}; printf "\\000$SANDYARD_EXEC:+\\000c" >&{stream}'
    pieces = list[bytes]()
    done = await sandbox.commands.run(forged, keep_output=1000, on_stdout=pieces.append)
    mark = done.exec_id.encode()
    assert (done.stdout, done.stderr)[stream - 1] == b"a\0" + mark + b":7\0b\0" + mark + b":+\0c"
    assert b"".join(pieces) == done.stdout
    await BackgroundCommand(sandbox._session, done.exec_id).remove()


@pytest.mark.parametrize("command", ["printf 'a\\000'; kill -9 $$", "printf 'a\\000'; kill -9 $PPID", "printf 'a\\000'",
                                     "printf 'a\\000'; printf 'a\\000' >&2; kill -9 $PPID"])  # fmt: skip
async def test_the_last_byte_is_brought_whatever_it_may_have_become(sandbox: AsyncSandbox, command: str) -> None:
    pieces = list[bytes]()
    done = await sandbox.commands.run(command, on_stdout=pieces.append)
    assert (done.stdout, b"".join(pieces)) == (b"a\0", b"a\0")
    assert done.stderr == (b"a\0" if ">&2" in command else b"")


async def test_the_last_byte_before_a_time_out_is_brought(sandbox: AsyncSandbox) -> None:
    with pytest.raises(errors.CommandTimeout) as caught:
        await sandbox.commands.run("printf 'a\\000'; exec sleep 60", timeout=0.5)
    assert caught.value.result.stdout == b"a\0"


# The end

# They are there a moment after the command.
FILES = f"d={PROC}/$SANDYARD_EXEC; until [ -f $d/stdout ] && [ -f $d/stderr ]; do sleep 0.1; done"
SPOILED = {
    "its folder": "rm -rf $d", "a folder of its own making": "rm -rf $d; mkdir $d", "the end": "mkfifo $d/exit",
    "its output": "rm $d/stdout; mkfifo $d/stdout", "both outputs": "rm $d/std*; mkfifo $d/stdout $d/stderr",
    "words": "echo abc >$d/exit", "a folder for the end": "mkdir $d/exit",
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
async def test_a_command_is_ended_whatever_it_has_made_of_its_files(sandbox: AsyncSandbox, spoil: str) -> None:
    async with started(sandbox, f"{FILES}; {spoil}; touch /tmp/$SANDYARD_EXEC.done; sleep 60") as (
        handle, mark):  # fmt: skip
        done = f"/tmp/{handle.id}.done"
        await there(done)
        os.unlink(done)
        assert marked(mark)
        async with asyncio.timeout(10):
            await (await sandbox.commands.connect(handle.id)).kill()
        await gone(mark)


async def test_a_command_whose_folder_is_gone_and_that_has_ended_is_none(sandbox: AsyncSandbox) -> None:
    async with started(sandbox, "true") as (handle, _):
        await handle.wait()
    for call in (handle.kill, handle.read, handle.wait, lambda: sandbox.commands.connect(handle.id)):
        with pytest.raises(errors.CommandNotFound):
            await call()  # type: ignore[operator]


async def test_files_that_are_none_are_told_at_once(sandbox: AsyncSandbox) -> None:
    # Whoever fills it may begin just now, and make it again.
    spoil = "until mkfifo $d/stdout; do rm -f $d/stdout; done; touch $d/spoiled; sleep 60"
    async with started(sandbox, f"{FILES}; {spoil}") as (handle, _):
        await there(f"{PROC}/{handle.id}/spoiled")
        for call in (handle.read, handle.follow, handle.wait):
            async with asyncio.timeout(10):
                with pytest.raises(errors.BadAnswer, match=handle.id):
                    await call()


def test_the_command_line_ends_a_command_that_has_removed_its_own_files(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, monkeypatch), Sandbox.connect("s") as sandbox:
        handle = sandbox.commands.start(f"{FILES}; rm -rf $d; touch {tmp_path}/removed; exec sleep 60")
        end = time.monotonic() + 20
        while not (tmp_path / "removed").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        done = CliRunner().invoke(main, ["kill", "s", handle.id])
        assert (done.exit_code, done.output) == (0, "")
        # Nothing of it runs any more.
        done = CliRunner().invoke(main, ["kill", "s", handle.id])
        assert (done.exit_code, f"no background command {handle.id!r}" in done.output) == (1, True)
