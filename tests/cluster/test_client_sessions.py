"""Background commands, shells, terminals and processes of the client, on real gVisor pods."""

from __future__ import annotations

import asyncio
import os
import resource
import time

import aiohttp
import pytest

from localcluster import images
from sandyard import AsyncSandbox
from sandyard.client import errors
from sandyard.client.commands.background import BackgroundCommand
from sandyard.client.commands.terminal import Terminal
from sandyard.kube import remotecommand
from tests.support import manifests
from tests.support.kube import Kube


async def pieces(handle: BackgroundCommand, max_bytes: int) -> tuple[bytes, bytes]:
    """Both streams, put together from small reads."""
    out, err = b"", b""
    while True:
        chunk = await handle.read(len(out), len(err), max_bytes=max_bytes, wait=5)
        out, err = out + chunk.stdout, err + chunk.stderr
        assert (chunk.stdout_offset, chunk.stderr_offset) == (len(out), len(err))
        if chunk.done:
            return out, err


async def test_a_background_command_is_read_by_offset_from_anywhere(sandbox: AsyncSandbox) -> None:
    data = os.urandom(100_000)
    await sandbox.files.write("data", data)
    handle = await sandbox.commands.start("cat data; sleep 0.5; cat data >&2; exit 3")
    other = await AsyncSandbox.connect(sandbox.name, namespace=sandbox.namespace)
    found = await other.commands.connect(handle.id)
    assert await pieces(found, 40_000) == (data, data)
    result = await found.wait()
    assert (result.exit_code, result.stdout, result.stderr) == (3, data, data)
    (info,) = await other.commands.list()
    assert (info.id, info.exit_code, info.running) == (handle.id, 3, False)
    assert "sleep 0.5" in info.command
    assert abs(info.started_at - time.time()) < 60
    assert not await found.kill()
    await found.remove()
    with pytest.raises(errors.CommandNotFound):
        await handle.read()
    with pytest.raises(errors.CommandNotFound):
        await sandbox.commands.connect("nobody")
    assert await other.commands.list() == []
    await other.close()


async def test_input_of_a_background_command(sandbox: AsyncSandbox) -> None:
    handle = await sandbox.commands.start('while read -r line; do echo "got $line"; done; echo end', stdin=True)
    await handle.send_stdin(b"a\n")
    await handle.send_stdin(b"b\nc\n")
    assert (await handle.read(wait=10)).stdout.startswith(b"got a\n")
    with pytest.raises(errors.NotFinished):
        await handle.wait(timeout=0.5)
    await handle.close_stdin()
    assert (await handle.wait(timeout=20)).stdout == b"got a\ngot b\ngot c\nend\n"
    for call in (handle.send_stdin(b"x"), handle.close_stdin()):
        with pytest.raises(errors.StdinClosed):
            await call
    silent = await sandbox.commands.start("cat; echo end")
    assert (await silent.wait(timeout=20)).stdout == b"end\n"


async def test_ends_of_background_commands(sandbox: AsyncSandbox) -> None:
    start = sandbox.commands.start
    stubborn = await start("trap '' TERM; while :; do sleep 1; done")
    limited = await start("echo begun; sleep 300 & wait", timeout=2)
    loud = await start("yes | head -c 3000000; echo end >&2", max_output=1_000_000)
    child = await start("sleep 300 & echo mother")
    async with asyncio.timeout(20):
        # A command begins in its own time.
        while not any(one.command.startswith("sleep 300") for one in await sandbox.commands.processes()):
            await asyncio.sleep(0.1)
    assert await stubborn.kill(grace=1)
    assert (await stubborn.wait(timeout=20)).exit_code == 137
    with pytest.raises(errors.CommandTimeout) as caught:
        await limited.wait(timeout=30)
    assert (caught.value.result.stdout, caught.value.result.timed_out) == (b"begun\n", True)
    chunk = await loud.read()
    assert (await loud.wait(timeout=30)).stderr == b"end\n"
    chunk = await loud.read()
    assert chunk.truncated and not chunk.timed_out
    assert 1_000_000 <= int((await sandbox.commands.run(["wc", "-c", loud.stdout_path])).stdout.split()[0]) < 1_070_000
    # A child that lives on does not hide the end, and goes with the command when that is ended.
    assert (await child.wait(timeout=20)).stdout == b"mother\n"
    await child.kill()
    left = [process.command for process in await sandbox.commands.processes()]
    assert not [command for command in left if command.startswith(("sleep 300", "yes"))]
    with pytest.raises(errors.SandboxFileNotFound, match="/no/such"):
        await start("true", cwd="/no/such")
    assert (await (await start(["no-such-program"])).wait(timeout=20)).exit_code == 127
    words = await start(["sh", "-c", 'echo "$1|$A"', "x", "a b'c"], env={"A": "d\ne"}, cwd="/usr")
    assert (await words.wait(timeout=20)).stdout == b"a b'c|d\ne\n"


@pytest.mark.alone
async def test_processes_are_listed_and_ended(sandbox: AsyncSandbox) -> None:
    handle = await sandbox.commands.start(["python3", "-c", "x = bytearray(50_000_000)\nwhile True: pass"])
    await asyncio.sleep(2)  # it burns
    (found,) = [process for process in await sandbox.commands.processes() if process.command.startswith("python3")]
    assert found.cpu_seconds > 0.3
    assert found.memory_bytes > 50_000_000
    assert found.state == "R"
    await sandbox.commands.kill(found.pid, "SIGUSR1")
    assert (await handle.wait(timeout=20)).signal == 10
    with pytest.raises(errors.CommandNotFound):
        await sandbox.commands.kill(found.pid)
    for pid, signal in ((0, "TERM"), (-1, "TERM"), (True, "TERM"), (5, "NO"), (5, "9; reboot")):
        with pytest.raises(errors.InvalidArgument):
            await sandbox.commands.kill(pid, signal)


async def test_a_shell_remembers_and_others_do_not_know(sandbox: AsyncSandbox) -> None:
    async with await sandbox.shell() as one, await sandbox.shell(cwd="/usr", env={"B": "b"}) as two:
        await one.run("cd /tmp; export A='x y'; f() { echo \"f $1\"; }; plain=1")
        assert (await one.run('pwd; echo "$A$plain"; f 2')).stdout == b"/tmp\nx y1\nf 2\n"
        assert (await two.run('pwd; echo "[$A]$B"; f')).stdout.startswith(b"/usr\n[]b\n")
        for code in (0, 1, 7, 255):
            assert (await one.run(f"(exit {code})")).exit_code == code
        assert (await one.run("echo $?")).stdout == b"255\n"
        assert (await one.run("echo out; echo err >&2")).stderr == b"err\n"
        assert (await one.run("if")).exit_code == 2
        assert (await one.run("cat; echo 'it'\\''s'\necho two")).stdout == b"it's\ntwo\n"
        assert (await one.run("sleep 100 & echo done")).stdout == b"done\n"
        with pytest.raises(errors.CommandTimeout) as caught:
            await one.run("echo begun; sleep 300; echo never", timeout=1)
        assert caught.value.result.stdout.startswith(b"begun\n")
        # It has lost what it was doing, not what it knows.
        assert (await one.run("f 3; pwd")).stdout == b"f 3\n/tmp\n"
        with pytest.raises(errors.CommandTimeout):
            await one.run("while :; do :; done", timeout=1)
        assert one.closed
        with pytest.raises(errors.ShellClosed):
            await one.run("true")
        await one.reset()
        assert (await one.run('pwd; echo "[$A]"')).stdout == b"/workspace\n[]\n"
        assert (await two.run("exit 5")).exit_code == 5
        assert two.closed
    left = [process.command for process in await sandbox.commands.processes()]
    assert not [command for command in left if command.startswith("sleep 100") or "noprofile" in command]


async def test_a_terminal_is_one(sandbox: AsyncSandbox) -> None:
    async with await sandbox.pty(columns=101, rows=33, env={"PS1": "$ "}) as terminal:
        # A size is told beside the input: either may be first.
        await terminal.write(b"until stty size | grep '33 101'; do sleep 0.1; done; test -t 0 && echo is-a-tty\n")
        await terminal.write(b"echo [$TERM]\n")
        shown = await _shown(terminal, b"[xterm")
        assert b"33 101\r\n" in shown
        assert b"\nis-a-tty" in shown
        await terminal.resize(77, 22)
        await terminal.write(b"until stty size | grep '^22 77'; do sleep 0.1; done; sleep 300\n")
        await _shown(terminal, b"22 77\r\n")
        # Before the shell has given it the terminal, the signal would go to the shell.
        await _running(sandbox, "sleep 300")
        await terminal.write(b"\x03")
        await terminal.write(b"exit 7\n")
        await _shown(terminal, None)
    assert terminal.exit_code == 7
    async with await sandbox.pty(["sleep", "300"]):
        await _running(sandbox, "sleep 300")
    assert "sleep 300" not in [process.command for process in await sandbox.commands.processes()]


async def _shown(terminal: Terminal, wanted: bytes | None) -> bytes:
    """What the terminal shows until *wanted* is in it; until its end for None."""
    shown = b""
    try:
        async with asyncio.timeout(60):
            while wanted is None or wanted not in shown:
                data = await terminal.read()
                if not data:
                    assert wanted is None, f"the terminal ended without {wanted!r}; it showed {shown!r}"
                    break
                shown += data
    except TimeoutError:
        pytest.fail(f"not within 60 s: {wanted or 'its end'!r}; the terminal showed {shown!r}")
    return shown


async def _running(sandbox: AsyncSandbox, command: str) -> None:
    async with asyncio.timeout(20):
        while command not in [process.command for process in await sandbox.commands.processes()]:
            await asyncio.sleep(0.1)


async def test_an_image_with_nothing_but_busybox(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    template = manifests.template(image=images.BUSYBOX_IMAGE)
    async with await AsyncSandbox.create(template=template, namespace=kube.namespace) as sandbox:
        assert (await sandbox.commands.run(["echo", "x" * 50_000])).stdout == b"x" * 50_000 + b"\n"
        handle = await sandbox.commands.start("cat; echo err >&2; exit 4", stdin=True)
        await handle.send_stdin(b"hello\n")
        assert (await handle.read(wait=10)).stdout == b"hello\n"
        await handle.close_stdin()
        result = await handle.wait(timeout=20)
        assert (result.exit_code, result.stdout, result.stderr) == (4, b"hello\n", b"err\n")
        limited = await sandbox.commands.start("sleep 300 & wait", timeout=1)
        with pytest.raises(errors.CommandTimeout):
            await limited.wait(timeout=30)
        assert [info.exit_code for info in await sandbox.commands.list()] == [4, 143]
        await sandbox.files.write_files({"/tmp/page/a": b"x" * 100_000, "/tmp/page/b\n": b""})
        assert [info.name for info in await sandbox.files.list("/tmp/page")] == ["a", "b\n"]
        await sandbox.commands.run("httpd -p 127.0.0.1:8080 -h /tmp/page")
        async with await sandbox.forward(8080) as forward:
            assert await asyncio.gather(*(_page(f"{forward.url}/a") for _ in range(6))) == [b"x" * 100_000] * 6
        async with await sandbox.shell() as shell:
            await shell.run("cd /tmp; f() { pwd; }")
            assert (await shell.run("if")).exit_code == 2
            assert (await shell.run("f")).stdout == b"/tmp\n"
        assert [process.pid for process in await sandbox.commands.processes()]


async def _page(url: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.read()


async def test_what_has_been_silent_for_long_still_hears(
    sandbox: AsyncSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after an hour: many signs of life, and then a word.
    monkeypatch.setattr(remotecommand, "_KEEP_ALIVE_SECONDS", 0.1)
    async with await sandbox.shell() as shell, await sandbox.pty(["sh"]) as terminal:
        await asyncio.sleep(1)
        assert (await shell.run("echo on", timeout=10)).stdout == b"on\n"
        await terminal.write(b"exit 3\n")
        async with asyncio.timeout(10):
            async for _ in terminal:
                pass
        assert terminal.exit_code == 3


async def test_the_whole_of_a_long_output_stays_in_the_sandbox(sandbox: AsyncSandbox) -> None:
    # Whatever ran before in this process: the pieces in which output is read have had their memory by then.
    await sandbox.commands.run("seq -f %019.0f 400000", keep_output=2**30, max_output=1000, timeout=120, check=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = 2_000_000
    done = await sandbox.commands.run(
        f"seq -f %019.0f {lines}; cat >&2", stdin=b"in", keep_output=2**30, max_output=1000, timeout=120
    )
    assert done.ok and done.stderr == b"in"
    assert done.stdout.startswith(b"0000000000000000001\n")
    assert done.stdout.endswith(b"%019d\n" % lines)
    assert (len(done.stdout), done.omitted_bytes) == (1000, 20 * lines - 1000)
    count = await sandbox.commands.run(["wc", "-lc", done.stdout_path])
    assert [int(text) for text in count.stdout.split()[:2]] == [lines, 20 * lines]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 * 1024, "KiB of memory"
    with pytest.raises(errors.CommandTimeout) as caught:
        await sandbox.commands.run("echo begun; sleep 300", keep_output=1000, timeout=1)
    assert caught.value.result.stdout == b"begun\n"
