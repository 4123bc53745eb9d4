"""Files and trees as people have them: links, pipes, odd names, what is read-only, and what changes meanwhile."""

from __future__ import annotations

import asyncio
import io
import os
import pathlib
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.exec import script
from sandyard.client.files import archive
from sandyard.client.files.archive import Limits
from tests.unit.local_pod import LocalPod, local_pod
from tests.unit.shells import SHELLS

pytestmark = pytest.mark.timeout(60)
NOBODY = 65534
MANY = Limits(10**9, 10**6)
WAYS = ["tar", "plain"]


@pytest.fixture
async def inside(here: pathlib.Path) -> AsyncIterator[tuple[LocalPod, AsyncSandbox]]:
    async with local_pod() as (pod, sandbox):
        pod.folder = here
        yield pod, sandbox


@pytest.fixture
def without_tar(here: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path with everything but tar."""
    tools = here / ".tools"
    tools.mkdir()
    for name in ("sh", "cat", "head", "wc", "stat", "readlink", "mkdir", "chmod", "rm", "ln", "dd", "sleep", "mv"):
        (tools / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tools))


# One file


async def test_a_link_stays_and_what_it_names_is_written(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    (here / "sub").mkdir()
    (here / "real").write_text("one\n")
    (here / "link").symlink_to("real")
    (here / "far").symlink_to("../" + here.name + "/link")
    (here / "dangling").symlink_to("sub/new")
    await sandbox.files.write("link", "two\n")
    await sandbox.files.edit("far", [("two", "three")])
    await sandbox.files.insert("link", 1, "four\n")
    assert (here / "real").read_text() == "three\nfour\n"
    (here / "local").write_text("five\n")
    await sandbox.files.upload(here / "local", "far")
    assert (here / "real").read_text() == "five\n"
    await sandbox.files.write("dangling", "x")
    assert (here / "sub" / "new").read_text() == "x"
    assert all((here / name).is_symlink() for name in ("link", "far", "dangling"))


@pytest.mark.parametrize("target", ["nowhere/at/all", "loop"])
async def test_a_link_that_leads_nowhere_is_told(sandbox: AsyncSandbox, here: pathlib.Path, target: str) -> None:
    (here / "loop").symlink_to(target)
    with pytest.raises(errors.SandboxFileNotFound, match="loop"):
        await sandbox.files.write("loop", b"x")
    assert (here / "loop").is_symlink()


async def test_what_is_no_plain_file_is_not_replaced(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    os.mkfifo(here / "pipe")
    (here / "link").symlink_to("pipe")
    (here / "local").write_text("x")
    for path in ("pipe", "link"):
        for call in (sandbox.files.write(path, b"x"), sandbox.files.upload(here / "local", path)):
            with pytest.raises(errors.InvalidArgument, match="not a plain file"):
                await call  # type: ignore[misc]
    assert stat.S_ISFIFO((here / "pipe").stat().st_mode)
    for path in ("new/", "."):
        with pytest.raises(errors.IsADirectory):
            await sandbox.files.write(path, b"x")


async def test_many_who_write_the_same_at_once_all_write_it(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    (here / "f").write_text("old")
    await asyncio.gather(*(sandbox.files.write("f", "same") for _ in range(12)))
    assert (here / "f").read_text() == "same"
    await asyncio.gather(*(sandbox.files.write("f", f"{number % 3}" * 1000) for number in range(6)))
    assert len(set((here / "f").read_text())) == 1
    assert [info.name for info in await sandbox.files.list()] == ["f"]


@pytest.mark.parametrize("name", ["-", "--", "-n", "-rf x", "x" * 250, "a\nb", " ", "*", "$(id)", "\udcff"])
async def test_a_file_may_have_any_name(sandbox: AsyncSandbox, here: pathlib.Path, name: str) -> None:
    files = sandbox.files
    await files.write(name, "one\ntwo\n")
    await files.append(name, "three\n")
    assert await files.read(name) == b"one\ntwo\nthree\n"
    assert await files.read(name, offset=4, length=3) == b"two"
    assert (await files.read_lines(name, 2, 2)).text == "two\n"
    assert (await files.stat(name)).size == 14
    assert [info.name for info in await files.list()] == [name]
    await files.rename(name, "plain")
    await files.copy("plain", name)
    (await files.download(name, here / "back")).files  # noqa: B018
    assert (here / "back").read_bytes() == b"one\ntwo\nthree\n"
    await files.remove(name)
    await files.mkdir(name)
    await files.write(f"{name}/inner", "x")
    assert [info.name for info in await files.list(name)] == ["inner"]
    assert (await files.grep("x", name)).matches[0].path == "inner"
    assert (await files.download(name, here / "tree")).files == 1
    assert (await files.upload(here / "tree", name)).files == 1


@pytest.mark.parametrize("pattern", ["caf[éè]$", "^[[:alpha:]]+$", "^caf.$"])
async def test_patterns_are_of_characters_and_not_of_bytes(
    sandbox: AsyncSandbox, here: pathlib.Path, pattern: str
) -> None:
    (here / "f").write_text("café\n12\n", encoding="utf-8")
    assert [match.text for match in (await sandbox.files.grep(pattern)).matches] == ["café"]


# Trees out of a sandbox


async def test_second_names_of_a_file_come_along(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    tree, back = here / "tree", here / "back"
    (tree / "sub").mkdir(parents=True)
    (tree / "a").write_text("content")
    os.link(tree / "a", tree / "b")
    os.link(tree / "a", tree / "sub" / "c")
    for _ in range(2):
        done = await sandbox.files.download("tree", back)
        assert (done.files, done.skipped, done.bytes) == (3, [], 7)
        names = [back / "a", back / "b", back / "sub" / "c"]
        assert [one.read_text() for one in names] == ["content"] * 3
        assert len({one.stat().st_ino for one in names}) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shell", SHELLS)
def test_what_cannot_be_read_is_named_and_the_rest_is_brought(
    here: pathlib.Path, shell: str, way: str, tmp_path: pathlib.Path
) -> None:
    tree = here / "tree"
    (tree / "locked").mkdir(parents=True)
    (tree / "good").write_text("x")
    (tree / "secret").write_text("y")
    (tree / "secret").chmod(0)
    (tree / "locked" / "inner").write_text("z")
    (tree / "locked").chmod(0)
    done = subprocess.run([*shell.split(), "-c", script.text("pack"), "x", str(tree), way], capture_output=True,
                          user=NOBODY, check=False)  # fmt: skip
    read = archive.read_tar if way == "tar" else archive.read_plain
    assert archive.unpack(read(io.BytesIO(done.stdout)), tmp_path, MANY).files == 1
    assert (tmp_path / "good").read_text() == "x"
    assert b"secret" in done.stderr and b"locked" in done.stderr


async def test_the_result_names_what_was_not_brought(
    inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    pod, sandbox = inside
    pod.user = NOBODY
    (here / "tree").mkdir()
    (here / "tree" / "good").write_text("x")
    for name in ("one", "two\x1b[2J"):
        (here / "tree" / name).write_text("y")
        (here / "tree" / name).chmod(0)
    done = await sandbox.files.download("tree", tmp_path / "back")
    assert done.files == 1
    assert len(done.skipped) == 2
    assert "one" in done.skipped[0] and all("ermission denied" in text and text.isprintable() for text in done.skipped)
    (here / "tree").chmod(0)
    with pytest.raises(errors.PermissionDenied):
        await sandbox.files.download("tree", tmp_path / "none")


async def test_a_tree_that_changes_while_it_is_copied_is_brought(
    sandbox: AsyncSandbox, here: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (here / "tree").mkdir()
    (here / "tree" / "fixed").write_text("same")
    busy = "n=0; while [ -e go ]; do n=$((n+1)); echo $n >>tree/log; echo x >tree/f$n; rm -f tree/f$((n-50)); done"
    (here / "go").touch()
    writing = await sandbox.commands.start(busy)
    try:
        for _ in range(3):
            await sandbox.files.download("tree", tmp_path / "back")
            assert (tmp_path / "back" / "fixed").read_text() == "same"
    finally:
        (here / "go").unlink()
        await writing.remove()


async def test_files_of_the_kernel_are_brought_as_read(sandbox: AsyncSandbox, tmp_path: pathlib.Path) -> None:
    done = await sandbox.files.download("/proc/sys/kernel/random", tmp_path / "random")
    assert done.files > 3
    assert (tmp_path / "random" / "poolsize").read_text().strip().isdigit()


# Trees into a sandbox


@pytest.mark.parametrize("mode", [0o555, 0o500, 0o755])
async def test_a_read_only_tree_is_replaced_by_the_next(
    inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path, tmp_path: pathlib.Path, mode: int
) -> None:
    await _twice(inside, here, tmp_path, mode)


@pytest.mark.usefixtures("without_tar")
async def test_a_read_only_tree_is_replaced_without_tar(
    inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    await _twice(inside, here, tmp_path, 0o555)


async def _twice(inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path, tmp_path: pathlib.Path, mode: int) -> None:
    pod, sandbox = inside
    pod.user = NOBODY
    source = tmp_path / "source"
    (source / "sub" / "deep").mkdir(parents=True)
    try:
        for number in range(3):
            file = source / "sub" / "deep" / "f"
            for folder in (source / "sub", source / "sub" / "deep"):
                folder.chmod(0o755)
            file.unlink(missing_ok=True)
            file.write_text(str(number))
            file.chmod(0o444)
            for folder in (source / "sub" / "deep", source / "sub"):
                folder.chmod(mode)
            assert (await sandbox.files.upload(source, "copy")).files == 1
            there = here / "copy" / "sub" / "deep"
            assert (there / "f").read_text() == str(number)
            assert [stat.S_IMODE(one.stat().st_mode) for one in (there.parent, there, there / "f")] == [
                mode, mode, 0o444]  # fmt: skip
    finally:
        for folder in (source / "sub", source / "sub" / "deep"):
            folder.chmod(0o755)
