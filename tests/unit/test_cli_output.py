"""The command line's own output: where it cannot be written, the program ends as others do, and says no more."""

from __future__ import annotations

import os
import pathlib
import pty
import subprocess
import sys

import pytest

from tests.unit.local_pod import serving

pytestmark = pytest.mark.timeout(60)
CLI = f"{sys.executable} -m sandyard.cli.main"


def shell(text: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", text], capture_output=True, timeout=40, check=False)


@pytest.mark.parametrize(
    ("text", "out", "told"),
    [
        (f"{CLI} exec s -- yes | head -n 1; echo ${{PIPESTATUS[0]}}", b"y\n141\n", b""),
        (f"{CLI} exec s -- echo hi >&-; echo $?", b"125\n", b"sandyard: standard output is closed; redirect it to "
         b"/dev/null\n"),
        (f"{CLI} exec s -- true >&-; echo $?", b"0\n", b""),
        (f"{CLI} exec s -- sh -c 'echo hi >&2' 2>&-; echo $?", b"0\n", b""),
        (f"{CLI} exec s -- echo hi >/dev/full; echo $?", b"125\n", b"sandyard: No space left on device\n"),
        *((f"{CLI} {words} >/dev/full; echo $?", b"1\n", b"sandyard: No space left on device\n")
          for words in ("ls", "ls -o json", "--version", "ls --help")),
        (f"{CLI} ls -o json | true; echo ${{PIPESTATUS[0]}}", b"141\n", b""),
        (f"printf 'echo caf\\351' | {CLI} run-code s -l bash; echo $?", b"caf\xe9\n0\n", b""),
    ],
)  # fmt: skip
def test_what_cannot_be_written_or_is_no_text_ends_it_in_good_order(
    text: str, out: bytes, told: bytes | None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, monkeypatch):
        done = shell(text)
    assert done.stdout == out, done
    assert told is None or done.stderr == told, done
    assert b"Traceback" not in done.stderr


def test_a_terminal_that_is_closed_ends_it_whether_sighup_is_heard_or_not(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read what is closed would take a processor for ever."""
    begin = "import fcntl, os, signal, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    begin += "signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    words = [sys.executable, "-c", begin, "-m", "sandyard.cli.main", "exec", "-t", "s", "--", "sh", "-c",
             "echo begun; sleep 300"]  # fmt: skip
    with serving(tmp_path, monkeypatch):
        near, far = pty.openpty()
        with subprocess.Popen(words, stdin=far, stdout=far, stderr=subprocess.PIPE) as process:
            os.close(far)
            said = b""
            while b"begun" not in said:
                said += os.read(near, 1000)
            os.close(near)
            _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (129, b"sandyard: the terminal was closed\n")
