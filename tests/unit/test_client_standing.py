"""A tree that is copied into a sandbox writes through links, takes the place of nothing odd, and keeps second names."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.exec import script
from sandyard.client.files import standing
from tests.unit.shells import SHELLS
from tests.unit.test_client_trees import NOBODY

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["tar", "busybox tar", "no tar", "no find", "neither"], autouse=True)
def tools(request: pytest.FixtureRequest, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image's."""
    left_out = {"no tar": {"tar"}, "no find": {"find"}, "neither": {"tar", "find"}}.get(request.param, set())
    folder = here / "tools"
    folder.mkdir()
    for name in set(os.listdir("/usr/bin")) - left_out:
        (folder / name).symlink_to(f"/usr/bin/{name}")
    if request.param == "busybox tar":
        (folder / "tar").unlink()
        (folder / "tar").symlink_to("/usr/bin/busybox")
    monkeypatch.setenv("PATH", str(folder))


def made(folder: pathlib.Path, *files: str) -> pathlib.Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"new {name}")
    return folder


async def test_a_link_in_the_way_is_written_through(
    sandbox: AsyncSandbox, here: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    tree = made(tmp_path / "tree", "plain", "config", "sub/deep", "missing", "sub/-odd\nname")
    (here / "copy" / "sub").mkdir(parents=True)
    for name in ("real", "deeply", "odd"):
        (here / name).write_text("old")
    (here / "real").chmod(0o640)
    links = {"config": "../real", "sub/deep": str(here / "deeply"), "missing": "../made", "sub/-odd\nname": "../../odd"}
    if not os.access(here / "tools" / "tar", os.F_OK):
        # Without tar no name holds a line feed.
        del links["sub/-odd\nname"]
        (tree / "sub" / "-odd\nname").unlink()
    for name, target in links.items():
        (here / "copy" / name).symlink_to(target)
    for _ in range(2):
        done = await sandbox.files.upload(tree, str(here / "copy"))
        assert (done.files, done.skipped) == (1 + len(links), [])
        assert done.bytes == sum(len(f"new {name}") for name in ("plain", *links))
        for name, target in links.items():
            assert os.readlink(here / "copy" / name) == target
            assert (here / "copy" / name).read_text() == f"new {name}"
    assert stat.S_IMODE((here / "real").stat().st_mode) == 0o640
    assert (here / "made").read_text() == "new missing"


async def test_what_is_neither_file_nor_folder_stays_and_is_named(
    sandbox: AsyncSandbox, here: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    tree = made(
        tmp_path / "tree", "good", "fifo", "folder/inner", "elsewhere/inner", "loop", "to-folder", "piped/inner"
    )
    (tree / "link").symlink_to("good")
    copy, other = here / "copy", here / "other"
    other.mkdir()
    copy.mkdir()
    os.mkfifo(copy / "fifo")
    os.mkfifo(copy / "piped")
    (copy / "folder").symlink_to(other)
    (copy / "elsewhere").symlink_to("/nonexistent/place")
    (copy / "loop").symlink_to("loop")
    (copy / "to-folder").symlink_to(other)
    (copy / "link").symlink_to("of before")
    before = {name: stat.S_IFMT(os.lstat(copy / name).st_mode) for name in os.listdir(copy)}
    done = await sandbox.files.upload(tree, str(copy))
    assert {name: stat.S_IFMT(os.lstat(copy / name).st_mode) for name in before} == before
    assert (os.listdir(other), (copy / "good").read_text(), os.readlink(copy / "link")) == ([], "new good", "good")
    assert done.files == 1
    named = {text.partition(":")[0].strip("'") for text in done.skipped}
    assert named == {"fifo", "folder", "elsewhere", "loop", "to-folder", "piped"}


async def test_second_names_of_a_file_come_along_to_the_sandbox(
    sandbox: AsyncSandbox, here: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    tree = made(tmp_path / "tree", "a", "sub/other")
    for name in ("b", "sub/c"):
        os.link(tree / "a", tree / name)
    for number in range(2):
        (tree / "a").write_text(f"content {number}")
        done = await sandbox.files.upload(tree, str(here / "copy"))
        assert (done.files, done.skipped, done.bytes) == (4, [], len("content 0") + len("new sub/other"))
        names = [here / "copy" / name for name in ("a", "b", "sub/c")]
        assert [one.read_text() for one in names] == [f"content {number}"] * 3
        assert len({one.stat().st_ino for one in names}) == 1


async def test_a_second_name_of_what_is_written_through_a_link_is_a_file(
    sandbox: AsyncSandbox, here: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    tree = made(tmp_path / "tree", "a")
    os.link(tree / "a", tree / "b")
    (here / "copy").mkdir()
    (here / "copy" / "a").symlink_to("../real")
    done = await sandbox.files.upload(tree, str(here / "copy"))
    assert (done.files, done.skipped) == (2, [])
    assert [(here / name).read_text() for name in ("real", "copy/a", "copy/b")] == ["new a"] * 3
    assert os.readlink(here / "copy" / "a") == "../real"


@pytest.mark.parametrize("shell", SHELLS)
def test_any_shell_tells_what_stands_there(shell: str, here: pathlib.Path) -> None:
    tree = here / "tree"
    (tree / "sub" / ".hidden").mkdir(parents=True)
    (tree / "locked").mkdir()
    (tree / "file").write_text("")
    os.mkfifo(tree / "sub" / ".hidden" / "a\nb")
    (tree / "sub" / "to").symlink_to("../file")
    (tree / "sub" / "-n").symlink_to("/")
    (tree / "locked").chmod(0)
    done = subprocess.run([*shell.split(), "-c", script.text("odd"), "x", str(tree)], capture_output=True, user=NOBODY,
                          check=True)  # fmt: skip
    assert standing.parse(done.stdout) == {"sub/.hidden/a\nb": b"o", "sub/to": b"lf", "sub/-n": b"lo"}
    assert done.stderr == b""


@pytest.mark.parametrize("said", [b"x", b"a\0", b"a\0b\0", b"a\0lf\0b", b"a\0o\0b\0"])
def test_what_is_no_such_answer_is_an_error_of_ours(said: bytes) -> None:
    with pytest.raises(errors.BadAnswer):
        standing.parse(said)
