"""Whatever a sandbox answers, the client understands it or raises one of its own errors: nothing inside is believed."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandyard.cli import context
from sandyard.client import AsyncSandbox, answers, errors, metrics
from sandyard.client.code import code
from sandyard.client.commands import background
from sandyard.client.commands.processes import parse_processes
from sandyard.client.exec.stream import Tail
from sandyard.client.files import files, listing
from sandyard.client.result import CommandResult
from tests.unit.local_pod import local_pod

pytestmark = pytest.mark.timeout(60)
WORD = "0123456789abcdef0123456789abcdef"
START = b"\0" + WORD.encode() + b":"
DIGITS = b"9" * 5000
PROGRAM = code.Program("", "python", None, {}, b"", 1, 1000, 3, 1000)
quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# The end of a command


@pytest.mark.parametrize("code_", [b"word", b"99999", b"256", b"-7", b"-", b"", DIGITS, "²".encode(), b"0x1", b"1 "])
def test_a_mark_that_is_none_is_output(code_: bytes) -> None:
    tail = Tail(WORD, 10**6)
    forged = START + code_ + b"\0"
    assert tail.feed(START + b"+\0a" + forged + b"b") + tail.feed(START + b"7\0") == b"a" + forged + b"b"
    assert tail.exit_code == 7


def test_a_mark_that_never_ends_costs_no_memory_and_hides_nothing() -> None:
    tail = Tail(WORD, 1000)
    handed = tail.feed(START)
    for _ in range(1000):
        handed = tail.feed(b"1" * 60_000)
    assert handed == b"1" * 60_000
    assert len(tail._pending) < 100
    assert tail.seen == len(START) + 60_000_000


@pytest.mark.parametrize("repeated", [START + b"+\0", START, b"\0", START + b"1x"])
def test_many_beginnings_of_marks_are_output(repeated: bytes) -> None:
    tail = Tail(WORD, 10**6)
    tail.feed(START + b"+\0")
    assert tail.feed(repeated * 5000) + tail.rest() == repeated * 5000
    assert not tail.ended


@given(st.lists(st.sampled_from([START, b"+\0", b"7\0", b"\0", b"300\0", DIGITS]) | st.binary(max_size=5), max_size=12))
@quick
def test_any_stream_is_output_and_an_exit_code_at_most(pieces: list[bytes]) -> None:
    tail = Tail(WORD, 10**6)
    for piece in pieces:
        tail.feed(piece)
    tail.rest()
    assert tail.exit_code is None or 0 <= tail.exit_code <= 255


async def test_a_command_cannot_end_itself_by_a_mark_of_its_own() -> None:
    """It looks for the secret where a program can: in its environment and in the words of every process."""
    program = r"""
import os, re
said = open("/proc/self/environ", "rb").read() + b" " + open(f"/proc/{os.getppid()}/environ", "rb").read()
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        said += b" " + open(f"/proc/{pid}/cmdline", "rb").read()
    except OSError:
        pass
for word in set(re.findall(rb"[0-9a-f]{32}", said)):
    os.write(1, b"\0" + word + b":3\0")
    os.write(2, b"\0" + word + b":3\0")
os.write(1, b"still here")
raise SystemExit(5)
"""
    async with local_pod() as (_, sandbox):
        done = await sandbox.commands.run(["python3", "-c", program])
        text = await sandbox.commands.run(
            ["sh", "-c", 'printf "\\000%s:3\\000" "$SANDYARD_EXEC"; printf "\\000%s:3\\000" "$sandyard_mark"; exit 5'],
            env={"sandyard_mark": WORD, "SHELLOPTS": "allexport"},
        )
    assert (done.exit_code, done.stdout.endswith(b"still here")) == (5, True)
    assert text.exit_code == 5


# Background commands


def chunk(head: bytes, out: bytes = b"") -> background.OutputChunk:
    return background._chunk("x", CommandResult(0, head + b"\n" + out, b""), 0, 0, 100)


HEADS = [b"abc 0 - 0 0", b"0 0 abc 0 0", b"0 0 99999 0 0", b"0 0 -7 0 0", b"0 0 " + DIGITS + b" 0 0", b"0 0", b"",
         b"0 0 0 0 0 0", b"\xff\xfe \xff - 0 0", b"-1 0 - 0 0"]  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_files_of_a_background_command_that_were_rewritten_are_an_error_of_ours(head: bytes) -> None:
    with pytest.raises(errors.BadAnswer):
        chunk(head)


def test_a_size_that_is_a_lie_ends_the_reading_all_the_same() -> None:
    assert chunk(b"1000 0 0 0 0").done
    assert not chunk(b"1000 0 0 0 0", b"some").done
    assert len(chunk(b"5 0 - 0 0", b"x" * 1000).stdout) == 100


@pytest.mark.parametrize(("file", "content"), [("exit", "abc"), ("exit", "9" * 6000), ("pid", "x"), ("start", "-"),
                                               ("cmd", "a\0b\0c\0d\0e\0f\0")])  # fmt: skip
async def test_a_list_leaves_out_what_was_rewritten(file: str, content: str) -> None:
    async with local_pod() as (_, sandbox):
        command = await sandbox.commands.start(["true"])
        other = await sandbox.commands.start(["true"])
        try:
            await command.wait()
            await asyncio.to_thread(pathlib.Path(f"/tmp/.sandyard/proc/{command.id}/{file}").write_text, content)
            found = {one.id: one for one in await sandbox.commands.list()}
            assert other.id in found
            assert (command.id in found) == (file == "cmd")
            if file == "exit":
                with pytest.raises(errors.BadAnswer, match=command.id):
                    await command.read()
        finally:
            await command.remove()
            await other.remove()


@given(st.binary(max_size=200) | st.lists(st.sampled_from([b"a" * 32, b"7", b"-", b"", DIGITS, b"x"]), max_size=12)
       .map(b"\0".join))  # fmt: skip
@quick
def test_lists_are_read_or_empty(printed: bytes) -> None:
    for one in background.parse_list(printed):
        assert one.exit_code is None or 0 <= one.exit_code <= 255
    parse_processes(printed)
    metrics.parse_environment(printed.decode(errors="replace"))
    code.cpu_seconds(printed)


LOOKS = ["proc 1 2 3", "cgroup nan 1 2", "proc inf 1 2", "disk 1 x", f"proc 1 {'9' * 5000} 1"]


@given(st.text(max_size=100) | st.lists(st.sampled_from(LOOKS), max_size=3).map("\n".join))
@quick
def test_measures_are_numbers_or_an_error_of_ours(printed: str) -> None:
    try:
        assert metrics.parse_usage(printed).cpu_cores >= 0
    except errors.SandboxError:
        pass


# What programs leave


@pytest.mark.parametrize(
    "said",
    [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 300 + b"]" * 300, b"NaN", b"[-Infinity]", b"1e999", DIGITS, b"x",
     b"\xff", b"", b'"' + b"x" * 2000 + b'"'],
    ids=lambda said: repr(said[:12]),
)  # fmt: skip
def test_a_value_that_is_none_is_named_and_not_believed(said: bytes) -> None:
    result = code._judge(CommandResult(0), None, {"result.json": said}, PROGRAM, closed=False)
    assert (result.outcome, result.value) == ("success", None)
    assert result.skipped[0].startswith("result.json: ")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3), max_leaves=9))  # fmt: skip
@quick
def test_every_other_value_comes_back(value: Any) -> None:
    assert answers.document(json.dumps(value).encode(), "x", most_bytes=10**6) == value


@pytest.mark.parametrize(
    "name",
    ["../../../../tmp/owned.csv", "/etc/x.csv", "a/b.csv", "..", "a\x1b[2J.csv", "a\n.csv", "C:x.csv", "..\\x.csv",
     "x" * 300 + ".csv", "a.exe", "", "\udcff.csv", "a\u202e.csv"],
)  # fmt: skip
def test_an_artifact_has_a_name_of_its_own_folder(name: str) -> None:
    result = code._judge(
        CommandResult(0), None, {f"artifacts/{name}": b"x", "artifacts/good.csv": b"y"}, PROGRAM, closed=False
    )
    assert [(one.name, one.content) for one in result.artifacts] == [("good.csv", b"y")]
    assert len(result.skipped) == 1
    assert result.skipped[0].isprintable()


def test_no_more_artifacts_than_asked_for_and_none_too_large() -> None:
    left = {"artifacts/a.csv": b"x" * 1001, **{f"artifacts/b{number}.csv": b"x" for number in range(9)}}
    result = code._judge(CommandResult(0), None, left, PROGRAM, closed=False)
    assert [one.name for one in result.artifacts] == ["b0.csv", "b1.csv", "b2.csv"]
    assert len(result.skipped) == 7


async def test_a_process_that_stays_behind_spoils_what_is_taken_and_raises_nothing(tmp_path: pathlib.Path) -> None:
    """It finds the script that collects, and writes into its stream."""
    behind = """
import os, time
end = time.monotonic() + 20
while time.monotonic() < end:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read()
            if b"sandyard-collect" in words and b"FOLDER" in words:
                with open(f"/proc/{pid}/fd/1", "wb") as out:
                    name = b"artifacts/../../../../tmp/owned.csv"
                    out.write((b"f 644 5" + bytes([10]) + name + bytes(2) + b"owned") * 50)
                raise SystemExit
        except OSError:
            pass
"""
    program = f"""
import os, subprocess, sys
behind = {behind!r}.replace("FOLDER", os.getcwd())
subprocess.Popen([sys.executable, "-c", behind], start_new_session=True, stdout=subprocess.DEVNULL)
open(os.environ["SANDYARD_ARTIFACTS"] + "/a.csv", "w").write("x" * 500)
"""
    async with local_pod() as (_, sandbox):
        done = await sandbox.run_code(program)
    assert done.outcome == "success"
    assert {one.name for one in done.artifacts} <= {"a.csv"}


# Files


LISTS = [b"./a\0\x0081a4 3 1 2 ./a\n", b"./a\0\0x 1 2 3 4 ./a\n", b"\x001 " + DIGITS + b" 1 1 1 ./a\n",
         b"\xff\0\0\xff\n", b"\0" + b"f" * 5000 + b" 1 1 1 1 ./a\n", b"./a\n\0\x0081a4 3 1 2 3 ./a\n",
         b"./a\0" * 9 + b"\0"]  # fmt: skip


@given(st.binary(max_size=60) | st.sampled_from(LISTS))
@quick
def test_lists_of_files_are_read_or_an_error_of_ours(printed: bytes) -> None:
    for read in (listing.parse, lambda said: listing.info("x", said)):
        try:
            read(printed)  # type: ignore[operator]
        except errors.SandboxError:
            pass
    for line in (printed, b"x:" + DIGITS + b":y", b"x\0" + DIGITS + b":y"):
        list(files._matches(line))


@pytest.mark.parametrize(
    ("tool", "call"),
    [
        ("stat", lambda sandbox: sandbox.files.stat("x")),
        ("wc", lambda sandbox: sandbox.files.read_lines("/etc/passwd")),
        ("sleep", lambda sandbox: sandbox.get_metrics()),
    ],
)
async def test_tools_of_the_image_that_lie_are_an_error_of_ours(
    tool: str, call: Callable[[AsyncSandbox], Any], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / tool
    fake.write_text("#!/bin/sh\nprintf '\\377 proc 1 x 3 %s' \"$(printf '%05000d' 7)\"\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    async with local_pod() as (_, sandbox):
        try:
            await call(sandbox)
        except errors.SandboxError:
            pass


async def test_text_that_is_none_is_told_by_its_place(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(b"ab\xff")
    async with local_pod() as (_, sandbox):
        with pytest.raises(errors.InvalidArgument, match="not UTF-8 at byte 2"):
            await sandbox.files.read_text(f"{tmp_path}/f")


# Terminals

ESCAPES = ["\x1b[2J", "\x9b2J", "\r", "\x07", "\u202e"]


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_message_is_obeyed_by_a_terminal(escape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert escape not in str(errors.SandboxError(f"a{escape}b\nc"))
    assert str(errors.SandboxError("a\nb")) == "a\nb"
    context.note(f"skipped {escape}")
    context.Ended(f"a{escape}b").show()
    assert escape not in capsys.readouterr().err


async def test_a_command_that_fails_says_nothing_to_the_terminal() -> None:
    async with local_pod() as (_, sandbox):
        with pytest.raises(errors.CommandFailed) as caught:
            await sandbox.commands.run("printf '\\033]0;owned\\007' >&2; exit 1", check=True)
        with pytest.raises(errors.SandboxFileNotFound) as missing:
            await sandbox.files.read("\x1b[31mx")
    await asyncio.sleep(0)
    assert "\x1b" not in str(caught.value) + str(missing.value)
