"""Trees of this machine that cannot be read as a whole, and a tar that gives up."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import stat
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.files import archive, sources
from tests.unit.local_pod import LocalPod, local_pod

pytestmark = pytest.mark.timeout(60)
NOBODY = 65534


@pytest.fixture
async def inside(here: pathlib.Path) -> AsyncIterator[tuple[LocalPod, AsyncSandbox]]:
    async with local_pod() as (pod, sandbox):
        pod.folder = here
        yield pod, sandbox


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("plain", [False, True])
def test_what_may_not_be_entered_here_is_named(here: pathlib.Path, plain: bool) -> None:
    tree = here / "tree"
    for name in ("listed/inner", "sub/good", "locked/inner"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text("x")
    (tree / "listed").chmod(0o444)
    (tree / "locked").chmod(0)
    with nobody():
        done = (archive.pack_plain if plain else archive.pack)(tree, io.BytesIO())
        assert archive.read_only(tree) == [b"listed", b"locked"] or os.geteuid() == 0
    assert done.files == 1
    assert [text.split(":")[0] for text in done.skipped] == ["'listed/inner'", "'locked'"]
    assert all("Permission denied" in text for text in done.skipped)


class Racing(io.BytesIO):
    """Where it is written to, *change* is called once."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change

    def write(self, data: Any) -> int:
        change, self.change = self.change, None
        if change is not None:
            change()
        return super().write(data)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("became", ["gone", "a file", "a folder"])
def test_a_link_that_is_none_any_more_is_named(here: pathlib.Path, plain: bool, became: str) -> None:
    tree = here / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"x" * 600_000)
    (tree / "link").symlink_to("a")
    (tree / "z").write_text("z")
    real = os.lstat

    def change() -> None:
        (tree / "link").unlink()
        if became == "a file":
            (tree / "link").write_text("new")
        elif became == "a folder":
            (tree / "link").mkdir()

    def lstat(path: Any, **options: Any) -> os.stat_result:
        found = real(path, **options)
        if str(path) == str(tree / "link") and stat.S_ISLNK(found.st_mode):
            change()
        return found

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(pathlib.Path, "lstat", lstat)
        done = (archive.pack_plain if plain else archive.pack)(tree, io.BytesIO())
    assert done.files == 2
    assert len(done.skipped) == 1 and done.skipped[0].startswith("'link': ")


@pytest.mark.parametrize("plain", [False, True])
def test_a_file_that_has_become_a_pipe_is_not_waited_for(here: pathlib.Path, plain: bool) -> None:
    tree = here / "tree"
    tree.mkdir()
    for name in ("a", "b"):
        (tree / name).write_text(name)
    real = pathlib.Path.lstat

    def lstat(path: pathlib.Path) -> os.stat_result:
        found = real(path)
        if path.name == "a" and stat.S_ISREG(found.st_mode):
            path.unlink()
            os.mkfifo(path)
        return found

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(pathlib.Path, "lstat", lstat)
        done = (archive.pack_plain if plain else archive.pack)(tree, io.BytesIO())
    assert (done.files, len(done.skipped)) == (1, 1)


@pytest.mark.parametrize("plain", [False, True])
def test_a_file_that_cannot_be_read_to_its_end_is_named(
    here: pathlib.Path, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    (here / "tree").mkdir()
    # Of what is not mapped there is nothing to read.
    (here / "tree" / "memory").write_text("x" * 10)
    (here / "tree" / "z").write_text("z")
    real = sources.Whole.__init__

    def broken(whole: sources.Whole, file: Any) -> None:
        real(whole, open("/proc/self/mem", "rb") if whole_of(file) == "memory" else file)  # noqa: SIM115
        whole.size = 10 if whole_of(file) == "memory" else whole.size

    def whole_of(file: Any) -> str:
        return os.path.basename(os.readlink(f"/proc/self/fd/{file.fileno()}"))

    monkeypatch.setattr(sources.Whole, "__init__", broken)
    sent = io.BytesIO()
    done = (archive.pack_plain if plain else archive.pack)(here / "tree", sent)
    assert done.files == 2
    assert len(done.skipped) == 1 and done.skipped[0].startswith("'memory': ")


async def test_a_tar_that_gives_up_is_followed_by_another_way(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of busybox: a file that becomes shorter while it is packed ends it."""
    tree = here / "tree"
    tree.mkdir()
    (tree / "log").write_bytes(b"x" * 10_000_000)
    (tree / "other").write_text("other")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "tar").write_text(
        f'#!/bin/bash\nset -o pipefail\nbusybox tar "$@" | {{ head -c 100000; truncate -s 10 {tree}/log; cat; }}\n'
    )
    (tools / "tar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    done = await sandbox.files.download("tree", tmp_path / "back")
    assert (tmp_path / "back" / "other").read_text() == "other"
    assert (tmp_path / "back" / "log").read_bytes() == b"x" * 10
    assert done.files == 2


async def test_a_tar_that_fails_for_another_reason_fails(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "tree").mkdir()
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "tar").write_text("#!/bin/sh\nhead -c 100 /dev/zero\necho trouble >&2\nexit 3\n")
    (tools / "tar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with pytest.raises(errors.CommandFailed, match="trouble"):
        await sandbox.files.download("tree", tmp_path / "back")
