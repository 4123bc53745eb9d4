"""Copies of one file: what changes meanwhile, how long names may be, and the modes that stay."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator

import pytest

from sandyard.client import AsyncSandbox, errors
from sandyard.client.exec import script
from sandyard.client.files import transfer
from sandyard.client.files.tools import Tools
from tests.unit.local_pod import LocalPod, local_pod
from tests.unit.shells import SHELLS

pytestmark = pytest.mark.timeout(60)
NOBODY = 65534
LARGE = 3_000_000


@pytest.fixture
async def inside(here: pathlib.Path) -> AsyncIterator[tuple[LocalPod, AsyncSandbox]]:
    async with local_pod() as (pod, sandbox):
        pod.folder = here
        yield pod, sandbox


@pytest.fixture(params=["with all", "no sha256sum", "no head", "no stat", "no readlink"])
def image(request: pytest.FixtureRequest, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A path that lacks a tool."""
    tools = here / ".tools"
    tools.mkdir()
    lacking = request.param.removeprefix("no ")
    for name in ("sh", "cat", "head", "wc", "stat", "readlink", "mkdir", "chmod", "rm", "dd", "sleep", "mv",
                 "sha256sum"):  # fmt: skip
        if name != lacking:
            (tools / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tools))
    return lacking


def umask() -> int:
    old = os.umask(0)
    os.umask(old)
    return old


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# One file that changes


@pytest.mark.parametrize("path", ["/proc/uptime", "/proc/self/stat", "/proc/sys/kernel/random/uuid", "/proc/meminfo"])
async def test_a_file_of_the_kernel_is_brought_as_read(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path, path: str
) -> None:
    (here / "link").symlink_to(path)
    for name in (path, "link"):
        assert (await sandbox.files.download(name, tmp_path / "copy")).bytes > 3
        assert (tmp_path / "copy").stat().st_size > 3
    assert (await sandbox.files.upload(path, "there")).bytes > 3
    assert (here / "there").stat().st_size > 3


@pytest.mark.usefixtures("image")
async def test_a_file_that_grows_is_brought_as_it_was(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path
) -> None:
    log = here / "log"
    log.write_bytes(b"x" * LARGE)

    def grow(_: int) -> None:
        if log.stat().st_size < 3 * LARGE:
            with log.open("ab") as file:
                file.write(b"y" * 100_000)

    done = await sandbox.files.download("log", tmp_path / "copy", on_progress=grow)
    assert (tmp_path / "copy").read_bytes() == b"x" * LARGE
    assert done.bytes == LARGE
    log.write_bytes(b"x" * LARGE)
    done = await sandbox.files.upload(log, "there", on_progress=grow)
    assert done.bytes == (here / "there").stat().st_size == LARGE
    assert log.stat().st_size > LARGE


async def test_a_file_that_is_replaced_is_brought_as_it_was(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path
) -> None:
    (here / "f").write_bytes(b"x" * LARGE)

    def replace(_: int) -> None:
        (here / "new").write_bytes(b"y" * 10)
        (here / "new").replace(here / "f")

    await sandbox.files.download("f", tmp_path / "copy", on_progress=replace)
    assert (tmp_path / "copy").read_bytes() == b"x" * LARGE
    (here / "f").write_bytes(b"x" * LARGE)
    await sandbox.files.upload(here / "f", "there", on_progress=replace)
    assert (here / "there").read_bytes() == b"x" * LARGE


@pytest.mark.parametrize("change", ["shorter", "other"])
async def test_what_was_never_there_as_one_is_not_brought(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path, change: str
) -> None:
    file = here / "f"
    (tmp_path / "copy").write_text("old")
    (here / "there").write_text("old")

    def spoil(_: int) -> None:
        if change == "shorter":
            os.truncate(file, 10)
        else:
            with file.open("r+b") as opened:
                opened.write(b"y" * 2 * LARGE)

    file.write_bytes(b"x" * 2 * LARGE)
    with pytest.raises(errors.SandboxError, match="changed while it was read; nothing was written"):
        await sandbox.files.download("f", tmp_path / "copy", on_progress=spoil)
    file.write_bytes(b"x" * 2 * LARGE)
    with pytest.raises(errors.InvalidArgument, match="changed while it was read; nothing was written"):
        await sandbox.files.upload(file, "there", on_progress=spoil)
    assert (tmp_path / "copy").read_text() == (here / "there").read_text() == "old"
    assert (set(os.listdir(here)), os.listdir(tmp_path)) == ({"f", "there"}, ["copy"])


async def test_a_copy_that_was_spoiled_on_its_way_is_noticed(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "f").write_bytes(b"x" * 1000)
    tools = tmp_path / "tools"
    tools.mkdir()
    spoiling = 'case "$*" in *bs=1000*) /usr/bin/dd "$@" | tr x y ;; *) exec /usr/bin/dd "$@" ;; esac'
    (tools / "dd").write_text(f"#!/bin/sh\n{spoiling}\n")
    (tools / "sha256sum").write_text("#!/bin/sh\ntr y x | /usr/bin/sha256sum\n")
    for name in ("dd", "sha256sum"):
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with pytest.raises(errors.ExecTransportError, match="changed while it was read"):
        await sandbox.files.download("f", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# Names


@pytest.mark.parametrize("name", ["x" * 255, "x" * 237, "ä" * 127])
async def test_a_copy_may_have_the_longest_name(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path, name: str
) -> None:
    (here / name).write_text("long")
    assert (await sandbox.files.download(name, tmp_path / name)).files == 1
    assert (await sandbox.files.upload(tmp_path / name, name)).files == 1
    assert os.listdir(tmp_path) == [name]


# Modes


@pytest.mark.parametrize("bits", [0o755, 0o644, 0o700, 0o600, 0o444, 0o777, 0o4755, 0o711])
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
async def test_a_new_copy_has_the_mode_that_cp_gives(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path, bits: int, mask: int
) -> None:
    source = here / "run.sh"
    source.write_text("#!/bin/sh\n")
    source.chmod(bits)
    old = os.umask(mask)
    try:
        await sandbox.files.upload(source, "up")
        await sandbox.files.download("run.sh", tmp_path / "down")
    finally:
        os.umask(old)
    wanted = bits & 0o777 & ~mask
    assert (oct(mode(here / "up")), oct(mode(tmp_path / "down"))) == (oct(wanted), oct(wanted))


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o755, 0o400])
async def test_a_file_that_is_replaced_keeps_its_mode(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path, bits: int
) -> None:
    source = here / "source"
    source.write_text("new")
    source.chmod(0o644)
    for place in (here / "there", tmp_path / "there"):
        place.write_text("old")
        place.chmod(bits)
    await sandbox.files.upload(source, "there")
    await sandbox.files.download("source", tmp_path / "there")
    assert (here / "there").read_text() == (tmp_path / "there").read_text() == "new"
    assert mode(here / "there") == mode(tmp_path / "there") == bits


async def test_what_is_on_its_way_is_nobody_elses(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path
) -> None:
    (here / "secret").write_bytes(b"x" * LARGE)
    (here / "secret").chmod(0o600)
    seen = set[int]()
    await sandbox.files.download(
        "secret", tmp_path / "copy", on_progress=lambda _: seen.update(map(mode, tmp_path.iterdir()))
    )
    assert seen == {0o600}


async def test_a_copy_without_stat_has_the_usual_mode(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, here: pathlib.Path, image: str
) -> None:
    for name in ("plain", "run.sh"):
        (here / name).write_text("x")
    (here / "run.sh").chmod(0o755)
    for name in ("plain", "run.sh"):
        await sandbox.files.download(name, tmp_path / name)
        await sandbox.files.upload(here / name, f"there-{name}")
        assert mode(here / f"there-{name}") == mode(here / name)
    assert mode(tmp_path / "plain") == 0o666 & ~umask()
    assert mode(tmp_path / "run.sh") == (0o666 & ~umask() if image == "stat" else 0o755)


@pytest.mark.parametrize("shell", SHELLS)
def test_one_file_goes_in_and_out_by_every_shell(shell: str, here: pathlib.Path) -> None:
    content, digest = b"x" * 100_000, hashlib.sha256(b"x" * 100_000).hexdigest()
    words = ["x", "sub/f", "100000", "tag", digest, transfer._symbolic(0o751)]
    run = [*shell.split(), "-c"]
    done = subprocess.run(
        [*run, script.text("write"), *words], input=content, cwd=here, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert ((here / "sub" / "f").read_bytes(), mode(here / "sub" / "f")) == (content, 0o751 & ~umask())
    done = subprocess.run([*run, script.text("fetch"), "x", "sub/f"], cwd=here, capture_output=True, check=True)
    assert (done.stdout, done.stderr.decode()) == (content, f"{0o751 & ~umask():o} {digest}\n")
    done = subprocess.run([*run, script.text("fetch"), "x", "none"], cwd=here, capture_output=True, check=False)
    assert done.returncode != 0
    assert Tools.knows(done.stderr.decode()) in ("No such file", "no such file")
