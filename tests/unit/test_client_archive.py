"""Trees out of a sandbox: hostile archives write nothing outside, and fill no disk."""

from __future__ import annotations

import io
import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandyard.client.errors import BadAnswer, TransferLimitExceeded
from sandyard.client.exec import script
from sandyard.client.files import archive
from sandyard.client.files.archive import Limits
from tests.unit.shells import SHELLS

MANY = Limits(10**9, 10**6)


def tar(*members: tuple[str, bytes, bytes | str]) -> io.BytesIO:
    """A tar of (name, type, content or target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o4777
            if isinstance(content, str):
                info.linkname = content
                made.addfile(info)
            else:
                info.size = len(content)
                made.addfile(info, io.BytesIO(content))
    buffer.seek(0)
    return buffer


FILE, FOLDER, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture
def top(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("mine")
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


@pytest.mark.parametrize(
    "members",
    [
        [("../outside/new", FILE, b"x")],
        [("/tmp/sandyard-new", FILE, b"x")],
        [("a/../../outside/new", FILE, b"x")],
        [("link", LINK, "../outside"), ("link/new", FILE, b"x")],
        [("link", LINK, "/"), ("link/tmp/sandyard-new", FILE, b"x")],
        [("a", LINK, "b/.."), ("b", LINK, ".."), ("a/x", FILE, b"x")],
        [("secret", HARD, "../outside/secret"), ("secret", FILE, b"x")],
        [("a/b", LINK, "../../outside/secret"), ("a/b", FILE, b"x")],
        [("a", LINK, "x" * 5000 + "/../.." * 3)],
        [("x/y/b", LINK, "../.."), ("a", LINK, "x/y/b/..")],
        [("dev", tarfile.CHRTYPE, b""), ("fifo", tarfile.FIFOTYPE, b"")],
    ],
)
def test_nothing_is_written_outside(top: pathlib.Path, members: list[tuple[str, bytes, bytes | str]]) -> None:
    done = archive.unpack(archive.read_tar(tar(*members)), top, MANY)
    assert [path.name for path in top.parent.iterdir() if path.name not in ("top", "outside")] == []
    assert [path.name for path in (top.parent / "outside").iterdir()] == ["secret"]
    assert (top.parent / "outside" / "secret").read_text() == "mine"
    assert not pathlib.Path("/tmp/sandyard-new").exists()
    for path in top.rglob("*"):
        assert path.resolve().is_relative_to(top.resolve())
        assert path.is_file() or path.is_dir() or path.is_symlink()
    assert done.skipped or done.files


@pytest.mark.parametrize(
    "entry",
    [("link/new", FILE, b"x"), ("link", FOLDER, ""), ("link/deep/new", FILE, b"x"), ("link/new", LINK, "y"),
     ("file", FILE, b"x"), ("dangling", FILE, b"x")],
)  # fmt: skip
def test_links_that_were_there_before_are_not_followed(
    top: pathlib.Path, entry: tuple[str, bytes, bytes | str]
) -> None:
    """Who unpacks twice into one folder, or beside others, finds links there that no archive has made."""
    outside = top.parent / "outside"
    before = outside.stat().st_mode
    (top / "link").symlink_to(outside)
    (top / "file").symlink_to(outside / "secret")
    (top / "dangling").symlink_to(outside / "new")
    done = archive.unpack(archive.read_tar(tar(entry)), top, MANY)
    # A file takes the place of a link of its name; behind a link there is nothing to be written.
    assert done.files == (entry[0] in ("file", "dangling"))
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "mine"
    assert outside.stat().st_mode == before


PARTS = st.sampled_from(["a", "b", "..", "c", "."])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
MEMBERS = st.lists(st.tuples(NAMES, st.sampled_from([FILE, FOLDER, LINK, HARD]), NAMES), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=MEMBERS)
def test_no_archive_whatever_writes_outside(tmp_path: pathlib.Path, members: list[tuple[str, bytes, str]]) -> None:
    base = tmp_path / "base"
    shutil.rmtree(base, ignore_errors=True)
    (base / "deep" / "top").mkdir(parents=True)
    before = sorted(os.listdir(base)), sorted(os.listdir(base / "deep"))
    stream = tar(*[(name, kind, b"x" if kind == FILE else target) for name, kind, target in members])
    archive.unpack(archive.read_tar(stream), base / "deep" / "top", MANY)
    assert (sorted(os.listdir(base)), sorted(os.listdir(base / "deep"))) == before
    top = (base / "deep" / "top").resolve()
    for path in top.rglob("*"):
        assert pathlib.Path(os.path.realpath(path)).is_relative_to(top)


def test_modes_are_kept_but_for_those_that_give_rights(top: pathlib.Path) -> None:
    archive.unpack(archive.read_tar(tar(("run", FILE, b"x"))), top, MANY)
    assert (top / "run").stat().st_mode & 0o7777 == 0o777


def test_the_disk_is_not_filled(top: pathlib.Path) -> None:
    with pytest.raises(TransferLimitExceeded, match="max_bytes"):
        archive.unpack(archive.read_tar(tar(("a", FILE, b"x" * 600), ("b", FILE, b"x" * 600))), top, Limits(1000, 10))
    assert sum(path.stat().st_size for path in top.rglob("*")) <= 1000
    with pytest.raises(TransferLimitExceeded, match="max_files"):
        archive.unpack(archive.read_tar(tar(*[(str(n), FOLDER, b"") for n in range(11)])), top, Limits(1000, 10))
    with pytest.raises(BadAnswer, match="no tar archive"):
        archive.unpack(archive.read_tar(io.BytesIO(b"rubbish" * 200)), top, MANY)


def fill(folder: pathlib.Path) -> None:
    """A tree with what trees have."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "data").write_bytes(bytes(range(256)) * 300)
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / " -odd 'name$").write_text("x")
    (folder / "empty").mkdir()
    (folder / "nothing").touch()
    (folder / "link").symlink_to("deep/er/data")
    (folder / ".hidden").write_text("y\n")


def seen(folder: pathlib.Path) -> dict[str, object]:
    """What a tree holds."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else (
            path.stat().st_mode & 0o777, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }  # fmt: skip


@pytest.mark.parametrize("way", ["tar", "plain"])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_tree_goes_in_and_comes_out_as_it_was(tmp_path: pathlib.Path, shell: str, way: str) -> None:
    source, inside, back = tmp_path / "source", tmp_path / "inside", tmp_path / "back"
    source.mkdir()
    fill(source)
    buffer = io.BytesIO()
    done = (archive.pack if way == "tar" else archive.pack_plain)(source, buffer)
    assert (done.files, done.skipped) == (5, [])
    run = [*shell.split(), "-c"]
    environment = {**os.environ, "LC_ALL": "C"}
    subprocess.run([*run, script.text("unpack"), "x", str(inside), way], input=buffer.getvalue(), check=True,
                   env=environment)  # fmt: skip
    assert seen(inside) == seen(source)
    out = subprocess.run([*run, script.text("pack"), "x", str(inside), way], capture_output=True, check=True,
                         env=environment)  # fmt: skip
    entries = (archive.read_tar if way == "tar" else archive.read_plain)(io.BytesIO(out.stdout))
    assert archive.unpack(entries, back, MANY).skipped == []
    assert seen(back) == seen(source)
    # Once more over what is there.
    entries = (archive.read_tar if way == "tar" else archive.read_plain)(io.BytesIO(out.stdout))
    assert archive.unpack(entries, back, MANY).files == 5


def test_a_stream_that_breaks_off_is_told(top: pathlib.Path) -> None:
    whole = b"f 644 5\na\0\0hello" + b"end\n"
    assert archive.unpack(archive.read_plain(io.BytesIO(whole)), top, MANY).files == 1
    for cut in range(len(whole) - 1):
        with pytest.raises(BadAnswer):
            archive.unpack(archive.read_plain(io.BytesIO(whole[:cut])), top, MANY)
    for rubbish in (b"x 1 2\n", b"f 644 -5\n", b"f" * 500):
        with pytest.raises(BadAnswer):
            archive.unpack(archive.read_plain(io.BytesIO(rubbish)), top, MANY)


@pytest.mark.parametrize(("name", "why"), [("a/" * 3000 + "f", "its name is too long"),
                                           ("a/../../f", "leads out of the destination")])  # fmt: skip
def test_why_a_name_is_left_out_is_told(tmp_path: pathlib.Path, name: str, why: str) -> None:
    done = archive.unpack([(archive.Entry(name, "file", size=1), io.BytesIO(b"x"))], tmp_path / "out", MANY)
    assert (done.files, len(done.skipped)) == (0, 1) and done.skipped[0].endswith(f": {why}")
