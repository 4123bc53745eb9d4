"""Odd files and names of files: the client does what is meant, or says in its own words that it cannot."""

from __future__ import annotations

import asyncio
import io
import math
import os
import pathlib
import socket
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.files import archive, files

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def here() -> Iterator[pathlib.Path]:
    """A folder with a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield pathlib.Path(made)


# Files that are none


@pytest.fixture(params=["pipe", "socket"])
def special(request: pytest.FixtureRequest, here: pathlib.Path) -> Iterator[pathlib.Path]:
    path = here / "special"
    if request.param == "pipe":
        os.mkfifo(path)
        yield path
        return
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        yield path


async def test_what_would_be_waited_for_without_end_is_told_at_once(
    sandbox: AsyncSandbox, special: pathlib.Path, here: pathlib.Path
) -> None:
    (here / "link").symlink_to(special)
    for path in (str(special), str(here / "link")):
        for call in (sandbox.files.read(path), sandbox.files.read(path, length=3), sandbox.files.read_lines(path),
                     sandbox.files.append(path, b"x"), sandbox.files.edit(path, [("a", "b")]),
                     sandbox.files.download(path, here / "copy")):  # fmt: skip
            async with asyncio.timeout(20):
                with pytest.raises(errors.InvalidArgument, match="not a plain file"):
                    await call
    assert (await sandbox.files.stat(str(special))).size == 0


TOGETHER = {
    "a file twice": {"f": "1", "sub/../f": "2"}, "a file and one within it": {"f": "1", "f/sub/g": "2"},
    "a number": {"g": "1", "f": 5}, "pairs": [("f", "1")],
}  # fmt: skip


@pytest.mark.parametrize("wrong", TOGETHER.values(), ids=TOGETHER)
async def test_files_that_cannot_be_written_together_are_all_left_out(
    sandbox: AsyncSandbox, here: pathlib.Path, wrong: Any
) -> None:
    if isinstance(wrong, dict):
        wrong = {f"{here}/{path}": content for path, content in wrong.items()}
    with pytest.raises(errors.InvalidArgument, match=r"same file|would lie within|neither text nor bytes|no mapping"):
        await sandbox.files.write_files(wrong)
    assert not os.listdir(here)
    await sandbox.files.write_files({f"{here}/a": "1", f"{here}/ab": "2", f"{here}/b/a": b"3", f"{here}/b/b": ""})
    assert (here / "b" / "a").read_text() == "3"


async def test_the_first_folder_of_all_is_one_too(sandbox: AsyncSandbox) -> None:
    name = f"/sandyard-test-{os.getpid()}"
    with pytest.raises(errors.IsADirectory, match="/tmp: Is a directory"):
        await sandbox.files.write("/tmp", b"x")
    if os.access("/", os.W_OK):
        await sandbox.files.write(name, b"x")
        assert await sandbox.files.read(name) == b"x"
        await sandbox.files.remove(name)


@pytest.mark.parametrize("depth", [0, -1, 1.5, math.nan])
async def test_a_depth_that_is_none_is_told(sandbox: AsyncSandbox, depth: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match="depth: "):
        await sandbox.files.list("/tmp", depth=depth)


async def test_a_copy_goes_where_a_link_of_this_machine_leads_and_takes_no_devices_place(
    sandbox: AsyncSandbox, here: pathlib.Path
) -> None:
    (here / "inside").write_text("new")
    (here / "real").write_text("old")
    (here / "link").symlink_to("real")
    (here / "dangling").symlink_to("made")
    for name, real in (("link", "real"), ("dangling", "made")):
        await sandbox.files.download(str(here / "inside"), here / name)
        assert (here / name).is_symlink()
        assert (here / real).read_text() == "new"
    os.mkfifo(here / "pipe")
    (here / "to-null").symlink_to("/dev/null")
    for special in ("pipe", "to-null"):
        with pytest.raises(errors.InvalidArgument, match="not a plain file of this machine"):
            await sandbox.files.download(str(here / "inside"), here / special)
        with pytest.raises(errors.InvalidArgument, match="not a plain file of this machine"):
            await sandbox.files.upload(here / special, str(here / "copy"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    # What the kernel makes as it is read has no size before.
    await sandbox.files.upload("/proc/sys/kernel/random/poolsize", str(here / "poolsize"))
    assert (here / "poolsize").read_text().strip().isdigit()


@pytest.mark.parametrize("plain", [False, True])
def test_a_tree_of_this_machine_that_changes_is_sent_as_far_as_it_can_be(tmp_path: pathlib.Path, plain: bool) -> None:
    tree, back = tmp_path / "tree", tmp_path / "back"
    (tree / "sub").mkdir(parents=True)
    for name in ("a", "gone", "log", "sub/z"):
        (tree / name).write_bytes(b"x" * 1_000_000)

    class Target(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() == 0:
                (tree / "gone").unlink()
            if self.tell() > 1_200_000:
                os.truncate(tree / "log", 10)
            return super().write(data)

    sent = Target()
    done = (archive.pack_plain if plain else archive.pack)(tree, sent)
    assert done.files == 3
    assert len(done.skipped) == 1 and "'log': became shorter" in done.skipped[0]
    sent.seek(0)
    if plain:
        assert sent.getvalue().endswith(b"x" * 1000 + b"end 0 0\n")
        return
    archive.unpack(archive.read_tar(sent), back, archive.Limits(10**9, 99))
    assert (back / "sub" / "z").read_bytes() == b"x" * 1_000_000
    assert (back / "log").stat().st_size == 1_000_000


async def test_a_line_is_found_whatever_is_in_it_and_in_its_files_name(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "a\nb:3:c").write_bytes(b"10%\r20%\rneedle\r\n")
    (tmp_path / "other").write_bytes(b"x\nneedle:1:y\n")
    found = (await sandbox.files.grep("needle", str(tmp_path))).matches
    assert {(one.path, one.line, one.text) for one in found} == {
        ("a\nb:3:c", 1, "10%\r20%\rneedle"), ("other", 2, "needle:1:y")
    }  # fmt: skip
    assert [one.path for one in files._matches(b"./a:3:x:4:y\nno\n")] == ["a"]


async def test_a_new_name_is_the_one_that_was_given(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    """Nothing gets into a folder of that name, under another."""
    for name in ("tree/sub", "there/sub"):
        (here / name).mkdir(parents=True)
    for name in ("file", "tree/new", "there/old", "there/sub/both", "tree/sub/both"):
        (here / name).write_text(name)
    files_, there = sandbox.files, f"{here}/there"
    for call in (files_.rename(f"{here}/file", there), files_.copy(f"{here}/file", there),
                 files_.rename(f"{here}/tree", there)):  # fmt: skip
        with pytest.raises(errors.IsADirectory, match="there: Is a directory"):
            await call
    for _ in range(2):
        await sandbox.files.copy(f"{here}/tree", f"{here}/there")
        assert {one.name for one in await sandbox.files.list(f"{here}/there", depth=9)} == {
            "new", "old", "sub", "sub/both"
        }  # fmt: skip
    assert (here / "there" / "sub" / "both").read_text() == "tree/sub/both"
    await sandbox.files.rename(f"{here}/tree", f"{here}/above/it")
    await sandbox.files.rename(f"{here}/file", f"{here}/there/old")
    assert (here / "there" / "old").read_text() == "file"


async def test_what_is_above_a_file_is_told_if_it_is_no_folder(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    (here / "file").write_text("x")
    (here / "dangling").symlink_to("nowhere")
    os.mkfifo(here / "pipe")
    for name in ("file", "pipe"):
        with pytest.raises(errors.InvalidArgument, match=f"{name}: Not a directory"):
            await sandbox.files.write(f"{here}/{name}/x", b"x")
    with pytest.raises(errors.SandboxFileNotFound, match="dangling: a link that leads nowhere"):
        await sandbox.files.write(f"{here}/dangling/x", b"x")
    for long in ("x" * 256, "a/" * 3000):
        with pytest.raises(errors.InvalidArgument, match="File name too long"):
            await sandbox.files.read(f"{here}/{long}")
