"""Files of a sandbox, by the client, on real gVisor pods."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import pathlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sandyard import AsyncSandbox
from sandyard.client import errors
from sandyard.client.exec import script
from tests.support import soak
from tests.support.kube import Kube

NAMES = ["a b", "-rf", "$HOME", "it's", '"x"', "new\nline", "*", ".hidden", "ünïcødé", "back\\slash"]


async def test_bytes_come_back_as_they_went(sandbox: AsyncSandbox) -> None:
    for size in (0, 1, 65535, 65536, 65537, 12 * 10**6):
        data = os.urandom(min(size, 10**6)) * max(1, size // 10**6)
        await sandbox.files.write("deep/er/file", data)
        assert await sandbox.files.read("deep/er/file") == data, size
    await sandbox.files.write("text", "zwölf\n")
    await sandbox.files.append("text", b"\x00end")
    assert await sandbox.files.read("text") == "zwölf\n".encode() + b"\x00end"


async def test_names_are_taken_as_they_stand(sandbox: AsyncSandbox) -> None:
    await sandbox.files.mkdir("folder")
    for name in NAMES:
        await sandbox.files.write(f"folder/{name}", name)
        assert await sandbox.files.read_text(f"folder/{name}") == name
    found = await sandbox.files.list("folder")
    assert [info.name for info in found] == sorted(NAMES)
    assert all(info.is_file and info.size == len(info.name.encode()) and info.uid == 1000 for info in found)
    await sandbox.files.rename("folder", "else/where")
    await sandbox.files.copy("else/where", "copy")
    assert len(await sandbox.files.list("copy")) == len(NAMES)
    await sandbox.files.remove("copy", recursive=True)
    assert not await sandbox.files.exists("copy")


async def test_an_edit_is_exact_and_whole_or_not_at_all(sandbox: AsyncSandbox) -> None:
    text = "one $& two\ntwo \\1 three\r\nno end"
    await sandbox.files.write("f", text)
    assert await sandbox.files.edit("f", [("$& two", "\\0 'two'"), ("no end", "$`")]) == 2
    assert await sandbox.files.read_text("f") == "one \\0 'two'\ntwo \\1 three\r\n$`"
    for changes, told in {(("three", "3"), ("four", "4")): "not in the file", (("two", "2"),): "2 times"}.items():
        with pytest.raises(errors.InvalidArgument, match=told):
            await sandbox.files.edit("f", list(changes))
    assert "three" in await sandbox.files.read_text("f"), "nothing of it was done"
    assert await sandbox.files.edit("f", [("two", "2")], replace_all=True) == 2


async def test_a_written_file_keeps_its_mode_and_leaves_nothing_beside_it(sandbox: AsyncSandbox) -> None:
    await sandbox.files.write("run.sh", "#!/bin/sh\n")
    await sandbox.commands.run("chmod 751 run.sh", check=True)
    await sandbox.files.write("run.sh", "#!/bin/sh\necho hi\n")
    assert (await sandbox.files.stat("run.sh")).mode & 0o777 == 0o751
    assert [info.name for info in await sandbox.files.list()] == ["run.sh"]


async def test_errors_say_what_is_wrong_and_are_python_s_own_too(sandbox: AsyncSandbox) -> None:
    files = sandbox.files
    await files.mkdir("folder")
    with pytest.raises(FileNotFoundError) as caught:
        await files.read("nothing")
    assert isinstance(caught.value, errors.SandboxFileNotFound)
    assert caught.value.sandbox == sandbox.name
    with pytest.raises(IsADirectoryError):
        await files.read("folder")
    with pytest.raises(IsADirectoryError):
        await files.write("folder", b"")
    with pytest.raises(PermissionError):
        await files.read("/etc/shadow")
    with pytest.raises(PermissionError):
        await files.write("/etc/new", b"")
    with pytest.raises(FileNotFoundError):
        await files.remove("nothing")
    with pytest.raises(FileNotFoundError):
        await files.list("nothing")
    with pytest.raises(errors.InvalidArgument, match="is not a path"):
        await files.read("a\0b")
    await files.write("long", b"x" * 101)
    with pytest.raises(errors.InvalidArgument, match="longer than max_bytes"):
        await files.read("long", max_bytes=100)


async def test_parts_of_a_file(sandbox: AsyncSandbox) -> None:
    files = sandbox.files
    await files.write("f", "one\r\ntwo\n\nfour\nfive")
    assert await files.read("f", offset=5, length=3) == b"two"
    assert await files.read("f", offset=15) == b"five"
    assert await files.read("f", offset=100) == b""
    lines = await files.read_lines("f", 2, 4)
    assert (lines.text, lines.start, lines.total_lines) == ("two\n\nfour\n", 2, 5)
    assert (await files.read_lines("f", 5)).text == "five"
    assert (await files.read_lines("f", 6)).text == ""
    assert (await files.read_lines("f", 1, 1)).text == "one\r\n"
    for start, end in ((0, None), (3, 2)):
        with pytest.raises(errors.InvalidArgument):
            await files.read_lines("f", start, end)
    for path, kind in (("nothing", FileNotFoundError), ("/etc", IsADirectoryError), ("/etc/shadow", PermissionError)):
        with pytest.raises(kind):
            await files.read_lines(path)
    await asyncio.gather(*(files.append("many", f"{number}\n" * 100) for number in range(8)))
    assert sorted(set((await files.read_text("many")).splitlines())) == [str(number) for number in range(8)]
    assert (await files.read_lines("many", 800)).total_lines == 800
    await files.insert("f", 0, "zero\n")
    await files.insert("f", 2, "two and a half")
    await files.insert("f", 1000, "six")
    assert await files.read_text("f") == "zero\none\r\ntwo and a half\ntwo\n\nfour\nfive\nsix"


async def test_lines_are_found(sandbox: AsyncSandbox) -> None:
    files = sandbox.files
    await sandbox.commands.run("mkdir -p a/.git a/node_modules 'b c' && for d in a a/.git a/node_modules 'b c'; do "
                               "printf 'x\\nneedle \"1\"\\n-e it\\n' > \"$d/f:1:.txt\"; done; "
                               "printf 'needle\\000' > binary", check=True)  # fmt: skip
    found = await files.grep('needle "[0-9]"')
    assert sorted((match.path, match.line, match.text) for match in found.matches) == [
        ("a/f:1:.txt", 2, 'needle "1"'), ("b c/f:1:.txt", 2, 'needle "1"')]  # fmt: skip
    assert not found.truncated
    assert [match.line for match in (await files.grep("-e it", "a")).matches] == [3]
    assert (await files.grep("NEEDLE", "a", ignore_case=True)).matches
    assert (await files.grep('"[0-9]"', fixed=True)).matches == []
    await files.write("many", "hit '$x'\n" * 1000)
    many = await files.grep("'$x'", fixed=True)
    assert (len(many.matches), many.truncated) == (200, True)
    with pytest.raises(errors.InvalidArgument, match="pattern"):
        await files.grep("(")
    with pytest.raises(FileNotFoundError):
        await files.grep("x", "nowhere")


async def test_trees_go_in_and_come_out(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    for number in range(2000):
        (source / "deep" / f"{number} file").write_text(f"{number}\n" * 10)
    (source / "run").write_bytes(os.urandom(3_000_000))
    (source / "run").chmod(0o750)
    (source / "link").symlink_to("deep/7 file")
    told: list[int] = []
    sent = await sandbox.files.upload(source, "tree", on_progress=told.append)
    assert sent.files == 2001
    assert told[-1] == sent.bytes
    assert (await sandbox.files.stat("tree/run")).mode & 0o777 == 0o750
    assert (await sandbox.commands.run("cat tree/link; ls tree/deep | wc -l")).stdout.endswith(b"2000\n")
    # What a sandbox may put in the way: links that lead out, and a pipe that never ends.
    await sandbox.commands.run("ln -s /etc/passwd tree/out; ln -s ../../.. tree/up; mkfifo tree/pipe", check=True)
    back = tmp_path / "back"
    received = await sandbox.files.download("tree", back)
    assert received.files == 2001
    assert len(received.skipped) == 3, received.skipped
    assert (back / "run").read_bytes() == (source / "run").read_bytes()
    assert (back / "run").stat().st_mode & 0o777 == 0o750
    assert os.readlink(back / "link") == "deep/7 file"
    assert len(list((back / "deep").iterdir())) == 2000
    with pytest.raises(errors.TransferLimitExceeded):
        await sandbox.files.download("tree", tmp_path / "less", max_bytes=1_000_000)
    with pytest.raises(errors.TransferLimitExceeded):
        await sandbox.files.download("tree", tmp_path / "fewer", max_files=10)
    with pytest.raises(FileNotFoundError):
        await sandbox.files.download("nothing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


async def test_an_upload_that_breaks_off_leaves_the_old_file(sandbox: AsyncSandbox) -> None:
    await sandbox.files.write("f", "old")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 1_000_000
        raise ConnectionResetError("mine")

    with pytest.raises(ConnectionResetError, match="mine"):
        await sandbox.files._tools.run(script.text("write"), "f", "2000000", "tag", stdin=pieces())
    assert await sandbox.files.read_text("f") == "old"
    task = asyncio.create_task(sandbox.files.write("f", b"x" * 150_000_000))
    await asyncio.sleep(0.7)  # somewhere in the middle
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await sandbox.files.read_text("f") == "old"
    assert [info.name for info in await sandbox.files.list()] == ["f"]


@pytest.mark.alone
@pytest.mark.soak
async def test_a_big_file_is_verified_and_not_much_slower_than_by_kubectl(
    standing: Kube, sandbox: AsyncSandbox, tmp_path: pathlib.Path
) -> None:
    big, back = tmp_path / "big", tmp_path / "back"
    big.write_bytes(os.urandom(2**20) * soak.rounds(short=60, long=200))
    place = f"{sandbox.namespace}/{sandbox.pod_name}:/workspace/theirs"
    best: dict[str, float] = {}
    broken: list[errors.ExecTransportError] = []

    async def timed(name: str, work: Callable[[], Awaitable[object]]) -> None:
        started = time.monotonic()
        try:
            await work()
        except errors.ExecTransportError as error:
            # Twice a stream broke (1006), a minute after an API server was restarted; nobody has found out why.
            broken.append(error)
            await work()
        best[name] = min(best.get(name, 1e9), time.monotonic() - started)

    def within() -> bool:
        return best["up"] <= 2 * best["their up"] and best["down"] <= 2 * best["their down"]

    # The best of each tells what it takes; on a busy machine it takes more rounds to see one.
    for number in range(8):
        if number >= 2 and within():
            break
        await timed("up", lambda: sandbox.files.upload(big, "ours"))
        await timed("down", lambda: sandbox.files.download("ours", back))
        await sandbox.files.remove("ours")
        for name, source, target in (("their up", str(big), place), ("their down", place, str(tmp_path / "b2"))):
            copy = functools.partial(asyncio.to_thread, standing.kubectl, "cp", source, target, "-c", "sandbox")
            await timed(name, copy)
        await sandbox.files.remove("theirs")
    print({name: f"{seconds:.1f} s" for name, seconds in best.items()})
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(big.read_bytes()).digest()
    assert within(), best
    assert len(broken) <= 1, broken
