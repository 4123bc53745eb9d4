"""What files hold, found and read as it is: lines, parts, text of other encodings; and arguments that are none."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandyard.client import AsyncSandbox, errors
from sandyard.client.exec import script
from sandyard.client.exec.lines import Lines
from sandyard.client.files.files import inserted
from tests.unit.local_pod import LocalPod, local_pod
from tests.unit.shells import SHELLS

pytestmark = pytest.mark.timeout(60)
NOBODY = 65534
LONGEST = 1024 * 1024


@pytest.fixture
async def inside(here: pathlib.Path) -> AsyncIterator[tuple[LocalPod, AsyncSandbox]]:
    async with local_pod() as (pod, sandbox):
        pod.folder = here
        yield pod, sandbox


# Lines


@pytest.mark.parametrize("end", [b"\r", b"\v", b"\f", b"\x1c", b"\x85", "\u2028".encode()])
async def test_a_line_ends_at_a_line_feed_and_nowhere_else(
    sandbox: AsyncSandbox, here: pathlib.Path, end: bytes
) -> None:
    (here / "f").write_bytes(b"a" + end + b"b\nc\n")
    await sandbox.files.insert("f", 1, "new")
    assert (here / "f").read_bytes() == b"a" + end + b"b\nnew\nc\n"
    assert (await sandbox.files.read_lines("f", 2, 2)).text == "new\n"
    assert (await sandbox.files.grep("new")).matches[0].line == 2
    await sandbox.files.insert("f", 9, "last")
    assert (here / "f").read_bytes() == b"a" + end + b"b\nnew\nc\nlast"


async def test_a_line_goes_to_the_end_of_a_file_whose_last_line_has_none(
    sandbox: AsyncSandbox, here: pathlib.Path
) -> None:
    (here / "f").write_bytes(b"a\r\nb")
    await sandbox.files.insert("f", 2, "c\n")
    await sandbox.files.insert("f", 1, "")
    assert (here / "f").read_bytes() == b"a\r\n\nb\nc\n"


async def lines_of(*pieces: bytes) -> list[str]:
    found: list[str] = []
    output = Lines(found.append)
    for piece in pieces:
        await output(piece)
    await output.end()
    return found


@pytest.mark.parametrize("size", [LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST, 2 * LONGEST + 5])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_a_long_line_and_the_next_one_do_not_run_into_each_other(size: int, end: bytes) -> None:
    whole = b"x" * size + end + b"next" + end
    once = await lines_of(whole)
    assert once[-1] == "next"
    assert "".join(once[:-1]) == "x" * size
    assert all(0 < len(line) <= LONGEST for line in once)
    for cut in (1, LONGEST, size, size + 1):
        assert await lines_of(whole[:cut], whole[cut:]) == once


async def test_no_character_is_torn_where_a_long_line_is() -> None:
    for text in ("é" * LONGEST, "x" + "é" * LONGEST, "€" * LONGEST, "xx" + "😀" * LONGEST):
        for found in (await lines_of(text.encode() + b"\nnext\n"), await lines_of(text.encode(), b"\nnext\n")):
            assert "".join(found[:-1]) == text
            assert found[-1] == "next"
    # What is none is cut anyhow.
    assert "".join(await lines_of(b"\x80" * (LONGEST + 9))) == "\ufffd" * (LONGEST + 9)
    assert "\r" * 3 in "".join(await lines_of(b"x" * (LONGEST - 2) + b"\r\r\ry\n"))


# Parts of a file


@pytest.mark.parametrize("part", [{"offset": 1}, {"length": 3}, {"offset": 1, "length": 3}, {}])
async def test_a_part_of_what_cannot_be_read_is_an_error(
    inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path, part: dict[str, int]
) -> None:
    pod, sandbox = inside
    pod.user = NOBODY
    (here / "secret").write_text("x" * 10)
    (here / "secret").chmod(0)
    (here / "locked").mkdir()
    (here / "locked" / "f").write_text("x" * 10)
    (here / "locked").chmod(0)
    (here / "dangling").symlink_to("nowhere")
    for path, kind in (("missing", errors.SandboxFileNotFound), ("dangling", errors.SandboxFileNotFound),
                       ("no/folder", errors.SandboxFileNotFound), ("secret", errors.PermissionDenied),
                       ("locked/f", errors.PermissionDenied), ("/tmp", errors.IsADirectory)):  # fmt: skip
        with pytest.raises(kind, match=path):
            await sandbox.files.read(path, **part)
    (here / "f").write_bytes(b"0123456789" * 20_000)
    content = (here / "f").read_bytes()
    begin = part.get("offset", 0)
    assert await sandbox.files.read("f", **part) == content[begin : begin + part.get("length", len(content))]
    assert await sandbox.files.read("f", offset=10**6) == b""
    assert await sandbox.files.read("f", offset=5, length=0) == b""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_file_that_breaks_off_is_an_error(shell: str, here: pathlib.Path) -> None:
    """Of what is not mapped there is nothing to read."""
    run = [*shell.split(), "-c", script.text("part"), "x"]
    done = subprocess.run([*run, "/proc/self/mem", "2", "10"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"rror" in done.stderr
    (here / "f").write_bytes(b"x" * 10**6)
    done = subprocess.run([*run, str(here / "f"), "2", "10"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x" * 10, b"")


# Text


async def test_a_line_of_another_encoding_hides_nothing(sandbox: AsyncSandbox, here: pathlib.Path) -> None:
    (here / "latin").write_bytes("caf\u00e9 needle\nneedle\n".encode("latin-1") + b"x\n" * 50_000 + b"last needle\n")
    (here / "late").write_bytes(b"needle\n" + b"x" * 40_000 + "\n\u00e9 needle\nneedle\n".encode("latin-1"))
    (here / "utf-16").write_bytes("needle\n".encode("utf-16"))
    (here / "binary").write_bytes(b"needle\n\0\nneedle\n")
    (here / "odd\nname é").write_bytes(b"\xff\xfeneedle\n")
    (here / "no").write_text("nothing\n")
    found = (await sandbox.files.grep("needle")).matches
    assert sorted((one.path, one.line) for one in found) == [
        ("late", 1), ("late", 3), ("late", 4), ("latin", 1), ("latin", 2), ("latin", 50_003), ("odd\nname é", 1)
    ]  # fmt: skip
    assert (await sandbox.files.grep("caf. needle")).matches == []
    assert (await sandbox.files.grep("no such text")).matches == []
    assert (await sandbox.files.grep("NEEDLE", ignore_case=True, max_results=2)).truncated
    with pytest.raises(errors.InvalidArgument, match="pattern"):
        await sandbox.files.grep("(")


@pytest.mark.parametrize("lacking", ["xargs", "gnu"])
async def test_lines_are_found_with_less_than_all_tools(
    sandbox: AsyncSandbox, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    (here / "f").write_text("needle\n")
    (here / "binary").write_bytes(b"needle\n\0\nneedle\n")
    tools = here / ".tools"
    tools.mkdir()
    for name in ("sh", "find", "grep", "head", "xargs", "sleep", "cat"):
        if name != lacking:
            (tools / name).symlink_to(shutil.which("busybox" if lacking == "gnu" and name == "grep" else name) or "")
    monkeypatch.setenv("PATH", str(tools))
    found = (await sandbox.files.grep("needle")).matches
    assert ("f", 1) in {(one.path, one.line) for one in found}


# Variables of the sandbox's own

VARIABLES = {"CDPATH": "/:/tmp", "TAR_OPTIONS": "--exclude=a", "GREP_OPTIONS": "-v"}


@pytest.mark.parametrize(("name", "value"), VARIABLES.items(), ids=VARIABLES)
async def test_a_variable_of_the_pod_changes_no_answer_of_ours(
    inside: tuple[LocalPod, AsyncSandbox], here: pathlib.Path, tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch, name: str, value: str,
) -> None:  # fmt: skip
    _, sandbox = inside
    other = tmp_path / "other"
    for place, content in ((here, "right\n"), (other, "wrong\n")):
        (place / "data").mkdir(parents=True)
        (place / "data" / "a").write_text(content)
    value = f"{other}:{value}" if name == "CDPATH" else value
    monkeypatch.setenv(name, value)
    files = sandbox.files
    assert [one.name for one in await files.list("data")] == ["a"]
    assert [one.text for one in (await files.grep("right", "data")).matches] == ["right"]
    assert (await files.download("data", tmp_path / "back")).files == 1
    assert (tmp_path / "back" / "a").read_text() == "right\n"
    (tmp_path / "back" / "b").write_text("more")
    await files.upload(tmp_path / "back", "data")
    assert (here / "data" / "b").read_text() == "more"
    await files.write_files({"data/c": "1", "data/d": "2"})
    await files.copy("data", "data2")
    assert {one.name for one in (here / "data").iterdir()} == {one.name for one in (here / "data2").iterdir()}
    assert [one.name for one in (other / "data").iterdir()] == ["a"]
    # The tenant's own commands have it.
    assert (await sandbox.commands.run(f'printf %s "${name}"')).stdout.decode() == value


# Arguments

PATH: Any = pathlib.PurePosixPath("/tmp/x")
CALLS: dict[str, Callable[[AsyncSandbox], Awaitable[object]]] = {
    "a path": lambda sandbox: sandbox.files.read(PATH), "a number": lambda sandbox: sandbox.files.read(5),  # type: ignore[arg-type]
    "an old path": lambda sandbox: sandbox.files.rename(PATH, "x"),
    "a new path": lambda sandbox: sandbox.files.copy("x", PATH), "nothing": lambda sandbox: sandbox.files.list(None),  # type: ignore[arg-type]
    "a written path": lambda sandbox: sandbox.files.write(PATH, "x"),
    "a path of many": lambda sandbox: sandbox.files.write_files({PATH: "x", "y": "z"}),
    "a path of one": lambda sandbox: sandbox.files.write_files({PATH: "x"}),
    "a target": lambda sandbox: sandbox.files.upload("/etc/hostname", PATH),
    "a source": lambda sandbox: sandbox.files.download(PATH, "/tmp/y"),
    "an offset": lambda sandbox: sandbox.files.read("x", offset="1"),  # type: ignore[arg-type]
    "a length": lambda sandbox: sandbox.files.read("x", length=1.5),  # type: ignore[arg-type]
    "a line": lambda sandbox: sandbox.files.read_lines("x", "1"),  # type: ignore[arg-type]
    "a last line": lambda sandbox: sandbox.files.read_lines("x", 1, 2.5),  # type: ignore[arg-type]
    "a place": lambda sandbox: sandbox.files.insert("x", "1", "text"),  # type: ignore[arg-type]
    "a pattern": lambda sandbox: sandbox.files.grep(b"x"),  # type: ignore[arg-type]
    "fewer than none": lambda sandbox: sandbox.files.grep("x", max_results=-1),
    "results": lambda sandbox: sandbox.files.grep("x", max_results="5"),  # type: ignore[arg-type]
    "a command": lambda sandbox: sandbox.commands.run(5),  # type: ignore[arg-type]
    "bytes": lambda sandbox: sandbox.commands.run(b"ls"),  # type: ignore[arg-type]
    "no words": lambda sandbox: sandbox.commands.run([]), "nothing to run": lambda sandbox: sandbox.commands.run(None),  # type: ignore[arg-type]
    "a word": lambda sandbox: sandbox.commands.run(["sleep", 5]),  # type: ignore[list-item]
    "a word that is a path": lambda sandbox: sandbox.commands.start(["cat", PATH]),
    "a terminal's word": lambda sandbox: sandbox.pty(["sleep", 5]),  # type: ignore[list-item]
    "a folder": lambda sandbox: sandbox.commands.run("true", cwd=PATH),
    "a folder behind": lambda sandbox: sandbox.commands.start("true", cwd=PATH),
    "a terminal's folder": lambda sandbox: sandbox.pty(["true"], cwd=PATH),
    "a time": lambda sandbox: sandbox.commands.run("true", timeout="5"),  # type: ignore[arg-type]
    "a time behind": lambda sandbox: sandbox.commands.start("true", timeout="5"),  # type: ignore[arg-type]
    "a program's time": lambda sandbox: sandbox.run_code("1", timeout="5"),  # type: ignore[arg-type]
    "kept output": lambda sandbox: sandbox.commands.run("true", keep_output=-1),
    "most output": lambda sandbox: sandbox.commands.run("true", max_output=-1),
    "most output behind": lambda sandbox: sandbox.commands.start("true", max_output="1"),  # type: ignore[arg-type]
    "limited output": lambda sandbox: sandbox.commands.run("true", output_limit="1"),  # type: ignore[arg-type]
    "an id": lambda sandbox: sandbox.commands.connect(5),  # type: ignore[arg-type]
    "an id to end": lambda sandbox: sandbox.commands.end(5),  # type: ignore[arg-type]
    "a signal": lambda sandbox: sandbox.commands.kill(1, 15),  # type: ignore[arg-type]
    "a program": lambda sandbox: sandbox.run_code(b"print(1)"),  # type: ignore[arg-type]
    "no program": lambda sandbox: sandbox.run_code(None),  # type: ignore[arg-type]
    "a number of artifacts": lambda sandbox: sandbox.run_code("1", max_artifacts="9"),  # type: ignore[arg-type]
    "a size of artifacts": lambda sandbox: sandbox.run_code("1", max_artifact_bytes=-1),
    "variables": lambda sandbox: sandbox.commands.run("true", env=["A=1"]),  # type: ignore[arg-type]
    "a variable's value": lambda sandbox: sandbox.commands.run("true", env={"A": 1}),  # type: ignore[dict-item]
    "no value": lambda sandbox: sandbox.commands.start("true", env={"A": None}),  # type: ignore[dict-item]
    "a variable's name": lambda sandbox: sandbox.shell(env={1: "a"}),  # type: ignore[dict-item]
    "a port as text": lambda sandbox: sandbox.forward("80"),  # type: ignore[arg-type]
    "half a port": lambda sandbox: sandbox.forward(80.5),  # type: ignore[arg-type]
    "no columns": lambda sandbox: sandbox.pty(["true"], columns=0),
    "rows as text": lambda sandbox: sandbox.pty(["true"], rows="9"),  # type: ignore[arg-type]
    "changes by name": lambda sandbox: sandbox.files.edit("f", {"a": "b"}),  # type: ignore[arg-type]
    "half a change": lambda sandbox: sandbox.files.edit("f", [("a",)]),  # type: ignore[list-item]
    "a change as text": lambda sandbox: sandbox.files.edit("f", ["ab"]),  # type: ignore[list-item]
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_an_argument_of_another_kind_is_told(
    inside: tuple[LocalPod, AsyncSandbox], call: Callable[[AsyncSandbox], Awaitable[object]]
) -> None:
    pod, sandbox = inside
    with pytest.raises((errors.InvalidArgument, errors.CommandNotFound)):
        await call(sandbox)
    assert pod.execs == 0


async def test_a_time_to_wait_is_a_number(sandbox: AsyncSandbox) -> None:
    handle = await sandbox.commands.start("true")
    try:
        for wrong in ("5", float("nan"), -1):
            for call in (handle.wait(timeout=wrong), handle.read(wait=wrong), handle.kill(grace=wrong)):  # type: ignore[arg-type]
                with pytest.raises(errors.InvalidArgument):
                    await call
    finally:
        await handle.remove()


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\x85", b"\v"]), max_size=20).map(b"".join), st.integers(0, 5))
def test_what_is_inserted_is_the_next_line(content: bytes, after: int) -> None:
    found = inserted(content, after, b"new").split(b"\n")
    lines = content.split(b"\n")
    count = len(lines) - (lines[-1] == b"")
    place = min(after, count)
    assert found[place] == b"new"
    assert found[:place] + found[place + 1 :] == (lines if place < count else lines[:place])
