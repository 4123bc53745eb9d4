"""What runs around each command, on real shells."""

from __future__ import annotations

import os
import pathlib
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from yarl import URL

from sandyard.client.errors import InvalidArgument
from sandyard.client.exec import script
from sandyard.client.exec.stream import Tail
from tests.unit import shells
from tests.unit.shells import ID, NAMESPACE, SHELLS, run, run_with_an_open_input


def test_no_shell_is_left_out_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert shells.chosen({}) == []
    assert shells.chosen({"CI": "true"}) == list(shells.ALL)


@pytest.mark.parametrize("shell", SHELLS)
def test_streams_are_apart_and_bytes_are_exact(shell: str) -> None:
    done = run(shell, "printf '\\000\\377a'; printf 'b\\n\\n' >&2; exit 7")
    assert (done.code, done.out, done.err) == (7, b"\x00\xffa", b"b\n\n")
    data = bytes(range(256)) * 50
    assert run(shell, ["cat"], stdin=data).out == data
    assert run(shell, "cat", stdin=b"").out == b""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 128, 130, 137, 255])
def test_every_exit_code_comes_back(shell: str, code: int) -> None:
    assert run(shell, f"exit {code}").code == code


@pytest.mark.parametrize("shell", SHELLS)
def test_words_are_taken_as_they_stand(shell: str) -> None:
    words = ["printf", "%s|", "a b", "$HOME", "`id`", "'", '"', "\n", "-n", "*", ""]
    assert run(shell, words).out == "|".join([*words[2:], ""]).encode()
    text = 'it\'s "x"\n$A;`b`'
    assert run(shell, ["printenv", "A"], env={"A": text}).out == text.encode() + b"\n"
    assert run(shell, ["--", "x"]).code == 127


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_too_long_for_a_request_goes_ahead_of_the_input(shell: str) -> None:
    text = "it's \n" * 2000
    done = run(shell, ["sh", "-c", 'cat; printf %s "$1"', "x", text], stdin=b"\0input\n")
    assert done.out == b"\0input\n" + text.encode()
    assert run(shell, f"exit 7 # {'x' * 100_000}").code == 7
    # A name that is no text.
    assert run(shell, ["printf", "%s", "a\udcff"]).out == b"a\xff"
    for command in (["x", "x" * 2**17], ["x", *["y" * 120_000] * 18], "x" * 2**25, ["a\0b"]):
        with pytest.raises(InvalidArgument):
            run(shell, command)


@pytest.mark.parametrize("options", [{}, {"stdin": b"input", "length": 5}])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_text_may_be_longer_than_an_argument(shell: str, options: dict[str, Any]) -> None:
    """Of a megabyte, and with what a here-document would expand."""
    text = f"cat; : $((1+1)) `:` '{'é' * 500_000}'\necho \"$1$A\\$\"; exit 7\n" + "exit 1\n" * 20_000
    done = run(shell, text, env={"A": "a b"}, **options)
    assert (done.code, done.out, done.err) == (7, options.get("stdin", b"") + b"a b$\n", b"")
    assert done.seconds < 5


def test_a_small_command_travels_in_its_request_whole() -> None:
    """What does not costs two more processes; and some proxies take 8 KiB of a URL."""
    names = {"namespace": "n" * 63, "pod": "p" * 63}
    path = "https://10.96.0.1:443/api/v1/namespaces/{namespace}/pods/{pod}/exec".format(**names)
    for command in ("echo hello", ["python3", "-c", "print('it is', \"so\")\n" * 5]):
        request = script.run(ID, command, folder=".", env={}, watch_seconds=3600, stdin_bytes=0)
        assert request.preface == f"{request.mark}\n".encode()
        query = [("command", word) for word in request.words] + [("container", "sandbox"), ("stdin", "true")]
        assert len(str(URL(path).with_query(query))) < 8192 - 100


@pytest.mark.parametrize("shell", SHELLS)
def test_an_input_that_never_ends_ends_after_its_length(shell: str) -> None:
    data = bytes(range(256)) * 300
    for size in (0, 1, len(data)):
        done = run(shell, "cat; exit 5", stdin=data, length=size)
        assert (done.code, done.out) == (5, data[:size])
    assert run(shell, ["sh", "-c", "kill -9 $$"], stdin=data, length=len(data)).code == 137


@pytest.mark.parametrize("shell", SHELLS)
def test_a_signal_is_told_as_the_shell_does_and_nothing_is_added(shell: str) -> None:
    done = run(shell, ["sh", "-c", "kill -9 $$"])
    assert (done.code, done.out, done.err) == (137, b"", b"")
    assert run(shell, ["no-such-program"]).code == 127


@pytest.mark.parametrize("watch", [0, 60])
@pytest.mark.parametrize("shell", SHELLS)
def test_on_a_busy_machine_too_the_shell_adds_nothing_when_its_command_is_killed(shell: str, watch: int) -> None:
    """Bash reports a killed job as soon as it sees it, which may be before it waits for it."""
    with ThreadPoolExecutor(12) as crowd:
        errors = set(crowd.map(lambda _: run(shell, ["sh", "-c", "kill -9 $$"], watch=watch).err, range(72)))
    assert errors == {b""}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_child_that_lives_on_does_not_hide_the_end(shell: str) -> None:
    request = script.run(ID, "sleep 5 & echo done", folder="/", env={}, watch_seconds=0)
    process = subprocess.Popen(
        [*shell.split(), *request.words[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(request.preface)
    process.stdin.close()
    tail, started = Tail(request.mark, 1000), time.monotonic()
    while not tail.ended:
        tail.feed(process.stdout.read1(100))  # type: ignore[attr-defined]
    assert time.monotonic() - started < 3
    assert tail.value() == b"done\n"
    process.stdout.close()
    process.wait()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_watch_inside_ends_everything_when_the_client_is_gone(shell: str) -> None:
    done = run(shell, "sleep 300 & setsid sleep 300 & (sleep 300 &) ; wait", watch=1)
    assert done.code == 143
    assert done.seconds < 15
    stubborn = run(shell, "trap '' TERM INT HUP; while :; do sleep 1; done", watch=1)
    assert stubborn.code == 137
    assert 5.5 < stubborn.seconds < 25


@pytest.mark.parametrize("shell", SHELLS)
def test_once_the_client_says_that_it_takes_longer_its_time_is_watched_inside(shell: str) -> None:
    """The stream stays open, as that of a client does of which nobody tells that it is gone."""
    # Names that the watch uses too.
    env = {"s": "1", "g": "1"}
    done = run(shell, "sleep 300 & setsid sleep 300 & (sleep 300 &) ; wait", watch=1, stdin=b"\n", length=0, env=env)
    assert done.code == 143
    assert done.seconds < 15
    # Called off with its command, with all that it has started.
    count = '"$@" >&2; until [ "$(pgrep -cx "sleep|sh|dash|bash|busybox")" = 1 ]; do sleep 0.1; done'
    request = script.run(ID, "sleep 0.5", folder="/", env=env, watch_seconds=60, stdin_bytes=0)
    words = [*NAMESPACE, "sh", "-c", count, "look", *shell.split(), *request.words[1:]]
    assert run_with_an_open_input(words, request.preface + b"\n").returncode == 0


@pytest.mark.parametrize("shell", SHELLS)
def test_a_small_command_costs_two_processes_beside_its_shell(shell: str) -> None:
    done = run(shell, "set -- /proc/[0-9]*; echo $#", watch=60, length=0)
    assert done.out == b"3\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_stubborn_child_goes_too_when_its_parent_has_died_of_the_first_signal(shell: str) -> None:
    stubborn = "sh -c 'trap \"\" TERM INT HUP; while :; do sleep 0.2; done'"
    request = script.run(ID, f"setsid {stubborn} & {stubborn} & wait", folder="/tmp", env={}, watch_seconds=1)
    look = f'"$@"; r=$?; while grep -qs SANDYARD_EXEC={ID} /proc/[0-9]*/environ; do sleep 0.2; done; exit $r'
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", look, "look", *shell.split(), *request.words[1:]], input=request.preface,
        capture_output=True, timeout=40, check=False,
    )  # fmt: skip
    assert done.returncode == 143


STUBBORN = "sh -c 'trap \"\" TERM INT HUP; while :; do sleep 0.2; done'"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("size", "command", "code"),
    [
        (0, "sleep 300", 143),
        # What a pipe holds may stay unread.
        (50_000, "sleep 300", 143),
        (300_000, "cat >/dev/null; setsid sleep 300 & (sleep 300 &) ; sleep 300", 143),
        (0, f"setsid {STUBBORN} & exec {STUBBORN}", 137),
    ],
)
def test_the_end_of_the_client_ends_everything(shell: str, size: int, command: str, code: int) -> None:
    """Also those in sessions of their own, and those that ignore the first signal."""
    request = script.run(ID, command, folder="/tmp", env={}, watch_seconds=0, stdin_bytes=size)
    look = f'"$@" <&9; r=$?; while grep -qs SANDYARD_EXEC={ID} /proc/[0-9]*/environ; do sleep 0.2; done; exit $r'
    words = [*NAMESPACE, "sh", "-c", f"exec 9<&0; {look}", "look", *shell.split(), *request.words[1:]]
    # Its end comes right behind the input.
    done = subprocess.run(words, input=request.preface + bytes(size), capture_output=True, timeout=40, check=False)
    # The first signal may come before it is ignored.
    assert done.returncode in (code, 143)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("stdin", [b"", b"x"])
def test_what_a_command_leaves_running_stays_when_the_client_goes_after_its_end(shell: str, stdin: bytes) -> None:
    request = script.run(ID, "sleep 297 & echo done", folder="/", env={}, watch_seconds=0, stdin_bytes=len(stdin))
    look = "sleep 0.7; n=0; until [ $(pgrep -cx sleep) -le 1 ] || [ $n -ge 50 ]; do n=$((n + 1)); sleep 0.2; done"
    words = [*NAMESPACE, "sh", "-c", f'"$@"; {look}; pgrep -cx sleep', "look", *shell.split(), *request.words[1:]]
    done = run_with_an_open_input(words, request.preface + stdin)
    assert b"done" in done.stdout
    # Its own, and none of ours.
    assert done.stdout.endswith(b"\x001\n"), done.stdout


def test_what_is_left_to_finish_in_is_time_and_not_rounds(tmp_path: pathlib.Path) -> None:
    """A look at all processes that takes a second, as on a busy machine: the grace is no longer for that."""
    # The shell looks up "sleep" between two looks: this one sleeps for ten times as long.
    slow = tmp_path / "sleep"
    slow.write_text('#!/bin/sh\nexec /usr/bin/sleep "$(echo "$1" | sed s/^0.1$/1/)"\n')
    slow.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = run(SHELLS[0], "trap '' TERM; while :; do /usr/bin/sleep 0.1; done", env=env, watch=1)
    assert done.code == 137
    # By rounds it would be a minute.
    assert 5.5 < done.seconds < 30


@pytest.mark.parametrize("shell", SHELLS)
def test_the_watch_goes_with_its_command(shell: str) -> None:
    assert run(shell, "true", watch=20).seconds < 5


@pytest.mark.parametrize(
    ("folder", "letter"), [("/no/such", "n"), ("/etc/passwd", "d"), ("-", "n"), ("/dev/null/x", "n")]
)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_folder_that_is_not_there_is_told_by_a_letter(shell: str, folder: str, letter: str) -> None:
    request = script.run(ID, "true", folder=folder, env={}, watch_seconds=0)
    done = subprocess.run([*shell.split(), *request.words[1:]], input=request.preface, capture_output=True, check=False)
    tail = Tail(request.mark, 1000)
    assert tail.feed(done.stdout) == b""
    assert (done.returncode, tail.refused, tail.exit_code, done.stderr) == (125, letter, 125, b"")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["no-such-program", "x"], 127, b"no-such-program: command not found\n"),
        (["/no/such"], 127, b"/no/such: no such file\n"),
        (["/etc/passwd"], 126, b"/etc/passwd: permission denied\n"),
        (["/etc"], 126, b"/etc: permission denied\n"),
        ([""], 127, b": command not found\n"),
        (["sandyard-run"], 127, b"sandyard-run: command not found\n"),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_what_cannot_be_run_is_named_and_our_script_is_not(
    shell: str, words: list[str], code: int, told: bytes
) -> None:
    done = run(shell, words)
    assert (done.code, done.out, done.err) == (code, b"", told)


@pytest.mark.parametrize("name", ["watch", "end", "tagged", "tenths"])
def test_a_program_may_have_any_name(name: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / name).write_text("#!/bin/sh\necho ran\n")
    (tmp_path / name).chmod(0o755)
    assert run(SHELLS[0], [name], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, watch=5).out == b"ran\n"


@pytest.mark.parametrize("folder", ["-", "--", "-p", "- x", "sub"])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_folder_may_have_any_name(shell: str, folder: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / folder).mkdir()
    request = script.run(ID, ["pwd"], folder=folder, env={"CDPATH": "/:/tmp"}, watch_seconds=0)
    done = subprocess.run(
        [*shell.split(), *request.words[1:]], input=request.preface, capture_output=True, check=True, cwd=tmp_path
    )
    tail = Tail(request.mark, 1000)
    assert tail.feed(done.stdout) == f"{tmp_path}/{folder}\n".encode()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("said", "ends"), [(b"", True), (b"\n\n", True), (b"q\n", False)])
def test_a_leash_ends_what_it_holds_unless_it_is_let_go(shell: str, said: bytes, ends: bool) -> None:
    # Between fork and exec it does not carry the id yet: a command's own shell does.
    begun = "until grep -q SANDYARD_EXEC= /proc/$a/environ; do sleep 0.02; done"
    held = (
        f'SANDYARD_EXEC={ID} setsid sleep 60 & a=$!; {begun}; {shell} -c "$1" x {ID} TERM 1; kill -s 0 $a && echo lives'
    )
    leash = script.leash(ID, "TERM")[2]
    done = subprocess.run([*NAMESPACE, "sh", "-c", held, "x", leash], input=said, capture_output=True, timeout=30,
                          check=False)  # fmt: skip
    assert (b"lives" not in done.stdout) is ends, done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_a_process_that_one_look_misses_is_ended_all_the_same(shell: str) -> None:
    seen = "n=$(($(cat n) + 1)); echo $n >n; [ $n -eq 1 ] || ! kill -s 0 $a || echo $a"
    looks = f"{script.text('functions')}\nsandyard_tagged() {{ {seen}; }}"
    code = f"{looks}\necho 0 >n; sleep 60 & a=$!; sandyard_end x TERM 1"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*NAMESPACE, *shell.split(), "-c", f"{code}; wait $a; echo $?"], cwd=folder,
                              capture_output=True, timeout=30, check=False)  # fmt: skip
    assert done.stdout == b"143\n", done.stderr
