"""The client's commands, files, shells and programs, against a pod that is this machine."""

from __future__ import annotations

import asyncio
import os
import pathlib
import time

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.commands.background import BackgroundCommand
from tests.unit.local_pod import LocalPod

pytestmark = pytest.mark.timeout(60)


async def test_a_command_gives_its_bytes_and_its_exit_code(sandbox: AsyncSandbox) -> None:
    data, pieces = bytes(range(256)) * 1000, list[bytes]()
    done = await sandbox.commands.run(
        'cat; printf "%s" "$A" >&2; pwd >&2; exit 7', stdin=data, env={"A": "x y"}, cwd="/tmp", on_stdout=pieces.append
    )
    assert (done.exit_code, done.stdout, done.stderr) == (7, data, b"x y/tmp\n")
    assert b"".join(pieces) == data
    with pytest.raises(errors.CommandFailed, match="exit code 1"):
        await sandbox.commands.run(["false"], check=True)


async def test_a_command_that_takes_too_long_is_ended_and_its_output_kept(
    inside: tuple[LocalPod, AsyncSandbox],
) -> None:
    pod, sandbox = inside
    with pytest.raises(errors.CommandTimeout, match=r"not finished within 0\.5 s") as caught:
        await sandbox.commands.run("echo begun; sleep 300 & wait", timeout=0.5)
    assert (caught.value.result.stdout, caught.value.result.timed_out) == (b"begun\n", True)
    # The command, and what ended it.
    assert pod.execs == 2


async def test_of_many_at_once_none_waits_for_what_others_run(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    """Each runs until all of them do: no place is held for longer than a begin takes."""
    met = 'd=$1; shift; : >"$d/$1"; until [ "$(ls "$d" | wc -l)" = 24 ]; do sleep 0.2; done'
    began = time.monotonic()
    await asyncio.gather(
        *(sandbox.commands.run(["sh", "-c", met, "met", str(tmp_path), str(n)], timeout=20) for n in range(24))
    )
    # Places of four that are given back after two seconds would take twelve.
    assert time.monotonic() - began < 9


async def test_a_command_that_says_too_much_is_ended(sandbox: AsyncSandbox) -> None:
    with pytest.raises(errors.OutputLimitExceeded, match="more than 100000 bytes") as caught:
        await sandbox.commands.run("yes", output_limit=100_000, max_output=10)
    assert len(caught.value.result.stdout) == 100_000


async def test_a_sandbox_that_ends_ends_its_calls(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    pod, sandbox = inside
    begun = asyncio.Event()
    calls = [
        asyncio.create_task(
            sandbox.commands.run("echo begun; sleep 300", timeout=None, on_stdout=lambda _: begun.set())
        )
        for _ in range(2)
    ]
    await begun.wait()
    pod.change(phase="Expired", conditions=[{"type": "Ready", "status": "False", "reason": "Idle", "message": ""}])
    for call in calls:
        with pytest.raises(errors.SandboxExpired):
            await call
    with pytest.raises(errors.SandboxExpired):
        await sandbox.commands.run("true")


async def test_no_command_runs_where_the_sandbox_is_not_ready(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    pod, sandbox = inside
    pod.change(phase="Paused")
    await sandbox.get_info()
    with pytest.raises(errors.SandboxNotReady, match="is Paused"):
        await sandbox.files.read("x")
    assert pod.execs == 0


async def test_wrong_arguments_are_refused_before_anything_runs(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    pod, sandbox = inside
    for wrong, text in (
        (sandbox.commands.run("true", timeout=0), "not above zero"),
        (sandbox.commands.run("true", keep_output=9, output_limit=9), "keep_output goes with"),
        (sandbox.commands.kill(5, "NOTHING"), "unknown signal 'NOTHING'; use one of ABRT"),
        (sandbox.commands.kill(0), "not a process"),
        (sandbox.run_code("", "cobol"), "unknown language 'cobol'; use one of python"),
        (sandbox.files.read("a\0b"), "is not a path"),
    ):
        with pytest.raises(errors.InvalidArgument, match=text):
            await wrong  # type: ignore[misc]
    assert pod.execs == 0


async def test_a_background_command_is_found_fed_and_ended_by_its_id(sandbox: AsyncSandbox) -> None:
    command = await sandbox.commands.start("echo out; echo err >&2; cat", stdin=True)
    try:
        found = await sandbox.commands.connect(command.id)
        assert command.id in [one.id for one in await sandbox.commands.list()]
        await found.send_stdin(b"fed\n")
        await found.close_stdin()
        done = await found.wait()
        assert (done.exit_code, done.stdout, done.stderr) == (0, b"out\nfed\n", b"err\n")
        assert not await command.kill()
    finally:
        await command.remove()
    with pytest.raises(errors.CommandNotFound):
        await command.read()


async def test_what_is_kept_in_files_is_whole(sandbox: AsyncSandbox) -> None:
    done = await sandbox.commands.run("seq 100000; cat >&2", stdin=b"fed", keep_output=10**6, max_output=100)
    handle = BackgroundCommand(sandbox._session, done.exec_id)
    try:
        assert (done.exit_code, done.stderr, done.truncated) == (0, b"fed", True)
        assert done.stdout.startswith(b"1\n2\n")
        assert (await sandbox.files.read(done.stdout_path)).endswith(b"99999\n100000\n")
    finally:
        await handle.remove()


async def test_a_shell_remembers_what_its_commands_set(sandbox: AsyncSandbox) -> None:
    async with await sandbox.shell(cwd="/tmp") as shell:
        await shell.run("A=1; cd /")
        assert (await shell.run('echo "$A $PWD"')).stdout == b"1 /\n"
        with pytest.raises(errors.CommandTimeout):
            await shell.run("sleep 300", timeout=0.5)
        assert (await shell.run("echo $A")).stdout == b"1\n"
        assert (await shell.run("exit 3")).exit_code == 3
        with pytest.raises(errors.ShellClosed):
            await shell.run("true")


async def test_files_are_whole_and_errors_are_those_of_files(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    path = f"{tmp_path}/a/b"
    await sandbox.files.write(path, b"one\ntwo\n")
    assert await sandbox.files.edit(path, [("two", "three")]) == 1
    assert (await sandbox.files.read_lines(path, 2)).text == "three\n"
    assert [info.name for info in await sandbox.files.list(f"{tmp_path}/a")] == ["b"]
    with pytest.raises(FileNotFoundError):
        await sandbox.files.read(f"{tmp_path}/nothing")
    with pytest.raises(errors.SandboxFileNotFound):
        await sandbox.files.download(f"{tmp_path}/nothing", tmp_path / "copy")
    with pytest.raises(errors.IsADirectory):
        await sandbox.files.read(str(tmp_path))
    with pytest.raises(errors.InvalidArgument, match="longer than max_bytes"):
        await sandbox.files.read(path, max_bytes=3)


async def test_a_tree_is_copied_in_and_out(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "f").write_bytes(bytes(range(256)) * 10)
    assert (await sandbox.files.upload(source, f"{tmp_path}/there")).files == 1
    assert (await sandbox.files.download(f"{tmp_path}/there", tmp_path / "back")).bytes == 2560
    assert (tmp_path / "back" / "sub" / "f").read_bytes() == bytes(range(256)) * 10
    with pytest.raises(errors.TransferLimitExceeded):
        await sandbox.files.download(f"{tmp_path}/there/sub/f", tmp_path / "small", max_bytes=100)


async def test_output_that_is_handed_over_is_not_kept_as_well(sandbox: AsyncSandbox) -> None:
    seen = 0

    def take(piece: bytes) -> None:
        nonlocal seen
        seen += len(piece)

    kept = await sandbox.files._tools.run("head -c 20000000 /dev/zero", on_stdout=take, limit=10**9)
    assert seen == 20_000_000
    assert len(kept) <= 64 * 1024


async def test_a_program_gives_its_value_and_its_outcome(sandbox: AsyncSandbox) -> None:
    done = await sandbox.run_code("def main(a, b):\n    print('hello')\n    return a + b", args={"a": 1, "b": 2})
    assert (done.outcome, done.value, done.stdout) == ("success", 3, b"hello\n")
    done = await sandbox.run_code("raise SystemExit(4)")
    assert (done.outcome, done.exit_code) == ("program_error", 4)
    done = await sandbox.run_code("while True: pass", timeout=1)
    assert (done.outcome, done.limit) == ("resource_limit_exceeded", "time")


@pytest.mark.parametrize(
    ("cwd", "kind", "told"),
    [("/no/such", errors.SandboxFileNotFound, "cwd: the sandbox has no folder '/no/such'"),
     ("/etc/passwd", errors.InvalidArgument, "cwd: '/etc/passwd' is no folder"),
     ("-", errors.SandboxFileNotFound, "cwd: the sandbox has no folder '-'")],
)  # fmt: skip
async def test_a_folder_that_is_wrong_raises(
    sandbox: AsyncSandbox, cwd: str, kind: type[errors.SandboxError], told: str
) -> None:
    calls = (sandbox.commands.run("true", cwd=cwd), sandbox.commands.start("true", cwd=cwd), sandbox.shell(cwd=cwd),
             sandbox.pty(["true"], cwd=cwd))  # fmt: skip
    for call in calls:
        with pytest.raises(kind) as caught:
            await call  # type: ignore[misc]
        assert str(caught.value) == told


async def test_no_message_names_a_script_of_ours(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    calls = [
        lambda: sandbox.commands.run(["no-such-program"], check=True),
        lambda: sandbox.files.read(f"{tmp_path}/x"),
        lambda: sandbox.files.list(f"{tmp_path}/x"),
        lambda: sandbox.files.append(f"{tmp_path}/x/y", b"z"),
        lambda: sandbox.files.read_lines(f"{tmp_path}/x"),
        lambda: sandbox.files.write("/proc/x/y", b"z"),
        lambda: sandbox.files.rename(f"{tmp_path}/x", f"{tmp_path}/y"),
        lambda: sandbox.files.grep("x", f"{tmp_path}/x"),
        lambda: sandbox.commands.kill(2**22 + 1),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(errors.SandboxError) as caught:
            await call()  # type: ignore[no-untyped-call]
        named = "no-such-program" if number == 0 else "4194305" if number == len(calls) - 1 else "/x"
        assert "sandyard-" not in str(caught.value)
        assert named in str(caught.value)


async def test_a_variable_that_no_program_can_have_is_refused(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    pod, sandbox = inside
    for name in ("", "a=b", "="):
        with pytest.raises(errors.InvalidArgument, match="env: "):
            await sandbox.commands.run("true", env={name: "1"})
    assert pod.execs == 0


async def test_a_right_that_is_missing_is_named(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    pod, sandbox = inside
    pod.forbidden = True
    for call in (sandbox.commands.run("true"), sandbox.files.read("x"), sandbox.shell()):
        with pytest.raises(errors.Unauthorized, match="create on pods/exec"):
            await call  # type: ignore[misc]


async def test_processes_are_those_of_the_sandbox_and_not_the_clients(sandbox: AsyncSandbox) -> None:
    # All processes of this machine are listed, those of other tests too: numbers that only this one has.
    own = 100_000 + 10 * os.getpid()
    one, two, three = (f"sleep {own + number}" for number in (1, 2, 3))
    begun = asyncio.Event()
    running = asyncio.create_task(
        sandbox.commands.run(["sh", "-c", f"echo; {one}; :"], timeout=own + 3, on_stdout=lambda _: begun.set())
    )
    # By the name of a program that the client's scripts run too, and with input, as those do.
    alike = asyncio.create_task(sandbox.commands.run(three.split(), timeout=own + 5, stdin=b"input"))
    behind = await sandbox.commands.start(f"{two}; :", timeout=own + 4)
    await begun.wait()
    try:
        async with asyncio.timeout(20):
            while three not in (found := [process.command for process in await sandbox.commands.processes()]):
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        alike.cancel()
        await asyncio.gather(running, alike, return_exceptions=True)
        await behind.remove()
    assert [command for command in found if one in command] == [f"sh -c echo; {one}; :", one]
    assert [command for command in found if two in command] == [f"/bin/sh -c {two}; :", two]
    assert not [command for command in found if behind.id in command]
    assert found.count(three) == 1
    # The time of none of them: the client's slack on top of each.
    assert not [command for command in found if any(str(own + number) in command for number in (4, 10, 12))]


# More of files


async def test_many_files_are_written_at_once_and_listed_by_depth(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path
) -> None:
    await sandbox.files.write_files({f"{tmp_path}/a/b/{n}": b"x" * n for n in range(3)} | {f"{tmp_path}/-o": "text"})
    assert [info.name for info in await sandbox.files.list(str(tmp_path))] == ["-o", "a"]
    assert [info.name for info in await sandbox.files.list(str(tmp_path), depth=2)] == ["-o", "a", "a/b"]
    found = await sandbox.files.list(str(tmp_path), depth=9)
    assert [(info.name, info.size) for info in found if info.is_file] == [
        ("-o", 4), ("a/b/0", 0), ("a/b/1", 1), ("a/b/2", 2)
    ]  # fmt: skip
    with pytest.raises(errors.InvalidArgument):
        await sandbox.files.list(depth=0)
    with pytest.raises(errors.IsADirectory):
        await sandbox.files.write_files({f"{tmp_path}/a": b"", f"{tmp_path}/c": b""})


async def test_ten_thousand_files_are_listed_in_one_look(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    for n in range(10_000):
        (tmp_path / f"{n}\n").touch() if n < 50 else (tmp_path / f"{n}").touch()
    found = {info.name for info in await sandbox.files.list(str(tmp_path))}
    assert found == set(os.listdir(tmp_path))


async def test_what_becomes_of_a_folder_is_told(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    (tmp_path / "old").write_text("1")
    changes = sandbox.files.watch_dir(str(tmp_path), interval=0.1)
    first = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    while not first.done():
        # Whenever the first look is over, this is one more change.
        (tmp_path / "old").write_text((tmp_path / "old").read_text() + "1")
        await asyncio.wait({first}, timeout=0.2)
    assert (first.result().kind, first.result().path) == ("changed", "old")
    (tmp_path / "old").rename(tmp_path / "new")
    told = {(change.kind, change.path) for change in [await anext(changes), await anext(changes)]}
    assert told == {("removed", "old"), ("created", "new")}
    await changes.aclose()
    with pytest.raises(errors.SandboxFileNotFound):
        await anext(sandbox.files.watch_dir(f"{tmp_path}/none"))


@pytest.mark.parametrize("size", [6_000, 100_000])
async def test_a_long_text_takes_nothing_of_the_commands_input(sandbox: AsyncSandbox, size: int) -> None:
    text = f": {'x' * size}; cat"
    done = await sandbox.commands.run(text, stdin=b"all of it", timeout=20)
    assert (done.exit_code, done.stdout) == (0, b"all of it")
