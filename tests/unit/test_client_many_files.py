"""Many files in one call: a few execs, and of each file what one write promises."""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.client import AsyncSandbox, errors
from sandyard.client.files import many, places
from sandyard.client.files.tools import Tools
from sandyard.client.result import CommandResult
from tests.unit.local_pod import LocalPod, local_pod
from tests.unit.shells import SHELLS

pytestmark = pytest.mark.timeout(60)
NOBODY = 65534
PROGRAMS = ("sh", "cat", "head", "wc", "stat", "readlink", "mkdir", "chmod", "rm", "ln", "dd", "sleep", "mv",
            "tar", "tee", "sha256sum")  # fmt: skip
# What the image lacks.
LACKS = {"nothing": (), "tar": ("tar",), "tee": ("tee",), "sha256sum": ("sha256sum",), "stat": ("stat",)}


@pytest.fixture
def here() -> Iterator[pathlib.Path]:
    """A folder that everybody may write to, and where nobody may replace what is another's, like /tmp."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        folder = pathlib.Path(made)
        folder.chmod(0o1777)
        yield folder


@pytest.fixture
def disk(here: pathlib.Path) -> Iterator[pathlib.Path]:
    """One that a megabyte fills."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "none", str(here)], check=True)
    yield here
    subprocess.run(["umount", "--lazy", str(here)], check=True)


@pytest.fixture
async def inside(here: pathlib.Path) -> AsyncIterator[tuple[LocalPod, AsyncSandbox]]:
    async with local_pod() as (pod, sandbox):
        pod.folder = here
        yield pod, sandbox


@pytest.fixture(params=LACKS.values(), ids=LACKS)
def image(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A path with everything but some tools."""
    with tempfile.TemporaryDirectory(dir="/tmp") as tools:
        for name in PROGRAMS:
            if name not in request.param:
                pathlib.Path(tools, name).symlink_to(shutil.which(name) or "")
        pathlib.Path(tools).chmod(0o755)
        monkeypatch.setenv("PATH", tools)
        yield


class ShellTools(Tools):
    """Runs shell code by one of this machine's shells."""

    sandbox = "s"

    def __init__(self, shell: str, folder: pathlib.Path) -> None:
        self._shell = shell
        self._folder = folder

    async def result(self, code: str, *_words: str, stdin: Any = b"", **_: Any) -> CommandResult:
        return await asyncio.to_thread(self._run, code, stdin)

    def _run(self, code: str, stdin: bytes) -> CommandResult:
        done = subprocess.run([*self._shell.split(), "-c", code], input=stdin, capture_output=True, check=False,
                              cwd=self._folder, env={**os.environ, "LC_ALL": "C"})  # fmt: skip
        return CommandResult(done.returncode, done.stdout, done.stderr)


def contents(folder: pathlib.Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def left_over(folder: pathlib.Path) -> list[str]:
    return [str(path) for path in folder.rglob(".sandyard-*")]


def lacking_tar(way: str) -> Any:
    """Looks at places, and finds that way to unpack."""

    async def look(*args: Any) -> tuple[str, list[places.Place]]:
        return way, (await places.look(*args))[1]

    return look


def fill(here: pathlib.Path) -> Mapping[str, bytes | str]:
    """What is there before, and what is then to be written."""
    (here / "old").mkdir()
    for name, mode in (("plain", 0o644), ("secret", 0o600), ("program", 0o755), ("open", 0o666)):
        (here / "old" / name).write_text("before")
        (here / "old" / name).chmod(mode)
    (here / "link").symlink_to("old/secret")
    (here / "far").symlink_to(here / "new-by-link")
    (here / "folder").symlink_to("old")
    return {
        "old/plain": "a", "old/program": b"\0\xff" * 70_000, "old/open": "", "link": "by a link", "far": "by another",
        "folder/within": "through a folder's link", "old/../beside": "up and down", str(here / "absolute"): "1",
        f"./deep/{'d' * 255}/{'n' * 255}": "long", "-o": "a dash", "-d/-e": "two", "$(id) 'q' \"": "quoted",
        "caf\xe9/\udcff": "no text", "a//b/./c": "slashes",
    }  # fmt: skip


def check(here: pathlib.Path, files: Mapping[str, bytes | str]) -> None:
    for name, content in files.items():
        found = (here / name).read_bytes()
        assert found == (content if isinstance(content, bytes) else content.encode()), name
    assert (here / "link").is_symlink() and (here / "far").is_symlink() and (here / "folder").is_symlink()
    assert not left_over(here)
    if not shutil.which("stat"):
        # As of a single one, its mode cannot be known then.
        return
    modes = {name: (here / name).stat().st_mode & 0o7777 for name in ("old/secret", "old/program", "old/open", "-o")}
    umask = os.umask(0)
    os.umask(umask)
    assert modes == {"old/secret": 0o600, "old/program": 0o755, "old/open": 0o666, "-o": 0o666 & ~umask}


@pytest.mark.usefixtures("image")
async def test_each_of_many_files_is_written_as_one_is(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    files = fill(here)
    for _ in range(2):
        await sandbox.files.write_files(files)
        check(here, files)


@pytest.mark.parametrize("way", ["tar", "plain"])
@pytest.mark.parametrize("shell", SHELLS)
async def test_any_shell_puts_many_files_in_their_places(
    shell: str, way: str, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fill(here)
    monkeypatch.setattr(many, "look", lacking_tar(way))
    contents = {path: data if isinstance(data, bytes) else data.encode() for path, data in files.items()}
    await many.write(ShellTools(shell, here), contents)
    check(here, files)


async def test_three_thousand_files_take_two_execs(inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path) -> None:
    pod, sandbox = inside
    files = {f"sub/{n % 20}/{n}\n": f"{n}\n" for n in range(3000)}
    await sandbox.files.write_files(files)
    assert pod.execs == 2
    assert contents(here) == files


@pytest.mark.usefixtures("image")
async def test_what_is_no_file_stays_and_nothing_is_written(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    os.mkfifo(here / "pipe")
    (here / "folder").mkdir()
    (here / "file").write_text("before")
    (here / "to-pipe").symlink_to("pipe")
    (here / "to-folder").symlink_to("folder")
    (here / "nowhere").symlink_to("not/there")
    (here / "same").symlink_to("other")
    for path, kind, told in (
        ("pipe", errors.InvalidArgument, "pipe: not a plain file"),
        ("to-pipe", errors.InvalidArgument, "to-pipe: not a plain file"),
        ("folder", errors.IsADirectory, "folder: Is a directory"),
        ("to-folder", errors.IsADirectory, "to-folder: Is a directory"),
        ("folder/", errors.IsADirectory, "folder/: Is a directory"),
        ("new/..", errors.IsADirectory, "new/..: Is a directory"),
        ("nowhere", errors.SandboxFileNotFound, "nowhere: a link that leads nowhere"),
        ("nowhere/f", errors.SandboxFileNotFound, "nowhere: a link that leads nowhere"),
        ("file/f", errors.InvalidArgument, "file: Not a directory"),
        ("n" * 256, errors.InvalidArgument, "File name too long"),
        ("same", errors.InvalidArgument, "'other' and 'same' are the same file"),
        ("", errors.InvalidArgument, "'' is not a path"),
        ("a\0b", errors.InvalidArgument, "is not a path"),
    ):
        with pytest.raises(kind, match=told):
            await sandbox.files.write_files({"other": "after", path: "after"})
        assert not (here / "other").exists(), path
        assert not left_over(here)
    assert stat.S_ISFIFO((here / "pipe").stat().st_mode)
    assert (here / "file").read_text() == "before"


async def test_what_cannot_be_put_in_its_place_is_named_and_the_rest_is_written(
    inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path
) -> None:
    pod, sandbox = inside
    pod.user = NOBODY
    (here / "theirs").write_text("before")
    (here / "theirs").chmod(0o666)
    told = "^theirs: .*not permitted; all 3 files were written but theirs$"
    with pytest.raises(errors.PermissionDenied, match=told):
        await sandbox.files.write_files({"a": "1", "theirs": "2", "sub/b": "3"})
    assert (here / "theirs").read_text() == "before"
    assert ((here / "a").read_text(), (here / "sub" / "b").read_text()) == ("1", "3")
    assert not left_over(here)


async def test_a_full_disk_is_told_and_nothing_is_written(sandbox: AsyncSandbox, disk: pathlib.Path) -> None:
    for size in (300_000, 600_000, 2_000_000):
        told = rf"^({disk}/.): tar: .*/.: .*(No space left on device|Wrote only .*); none of 4 files was written$"
        with pytest.raises(errors.NoSpace, match=told):
            await sandbox.files.write_files({f"{disk}/{name}": "x" * size for name in "abcd"})
        assert os.listdir(disk) == []


@pytest.mark.usefixtures("image")
async def test_what_breaks_off_is_written_nowhere(
    sandbox: AsyncSandbox, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_tar", "_plain"):
        whole = getattr(many, name)
        monkeypatch.setattr(many, name, lambda *args, whole=whole: whole(*args)[:1200])
    (here / "a").write_text("before")
    with pytest.raises(errors.SandboxError, match="none of 2 files was written"):
        await sandbox.files.write_files({"a": "x" * 2000, "b": "y"})
    assert os.listdir(here) == ["a"]
    assert (here / "a").read_text() == "before"


@pytest.mark.parametrize("way", ["tar", "plain"])
@pytest.mark.parametrize("shell", SHELLS)
async def test_what_arrives_changed_is_written_nowhere(
    shell: str, way: str, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = many._code
    monkeypatch.setattr(many, "_code", lambda *args: code(*args).replace("digest=", "digest=0"))
    monkeypatch.setattr(many, "look", lacking_tar(way))
    with pytest.raises(errors.CommandFailed, match="another sha256; none of 2 files was written"):
        await many.write(ShellTools(shell, here), {"a": b"x", "b": b"y"})
    assert os.listdir(here) == []


async def test_one_that_is_cancelled_leaves_each_file_as_it_was_or_is_to_be(
    inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path
) -> None:
    _, sandbox = inside
    for name in range(200):
        (here / str(name)).write_text("before")
    for seconds in (0.0, 0.01, 0.03, 0.06, 0.1, 0.2):
        writing = asyncio.ensure_future(sandbox.files.write_files({str(name): "after" * 5000 for name in range(200)}))
        await asyncio.sleep(seconds)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert not left_over(here)
        assert {(here / str(name)).read_text() for name in range(200)} <= {"before", "after" * 5000}


@given(st.lists(st.sampled_from([b"/w", b"//w", b"0022", b"tar", b"plain", b"looks", b"blind", b"", b"..", b"/a/../b",
                                 b"81a4 a/f\n", b"a1ff a\n", b"9" * 99, b"\xff"]), max_size=9))  # fmt: skip
def test_what_is_told_of_places_is_read_or_an_error_of_ours(said: list[bytes]) -> None:
    class Told(Tools):
        sandbox = "s"

        def __init__(self) -> None:
            pass

        async def run(self, *_: Any, **__: Any) -> bytes:
            return b"\0".join([*said, b""])

    try:
        _, found = asyncio.run(places.look(Told(), ["a/f", "g"]))
    except errors.SandboxError:
        return
    for place in found:
        assert place.folder.startswith("/") and ".." not in place.folder.split("/")
        assert place.name not in ("", ".", "..") and "/" not in place.name
