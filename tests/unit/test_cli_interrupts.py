"""Ctrl-C at any moment ends a command of the program: it says nothing but that, and leaves nothing running."""

from __future__ import annotations

import pathlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support import soak
from tests.support.kube import until
from tests.unit.local_pod import LocalPod, serving

pytestmark = [pytest.mark.soak, pytest.mark.timeout(soak.rounds(short=120, long=600))]
MOMENTS = soak.rounds(short=8, long=30)
COMMANDS = {
    "exec": ["exec", "s", "--", "sh", "-c", "echo begun; sleep 300 # {mark}"],
    "exec with input": ["exec", "-i", "s", "--", "sh", "-c", "cat; sleep 300 # {mark}"],
    "run": ["run", "--pool", "python", "--", "sh", "-c", "echo begun; sleep 300 # {mark}"],
    "cp up": ["cp", "{mark}/many", "s:{mark}/copied"],
    "cp down": ["cp", "s:{mark}/many", "{mark}/copied"],
}


@pytest.fixture
def pod(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPod]:
    with serving(tmp_path, monkeypatch) as made:
        made.pools = ["python"]
        yield made


@pytest.mark.parametrize("what", COMMANDS)
def test_ctrl_c_at_any_moment_ends_it_and_all_that_it_has_begun(
    what: str, pod: LocalPod, tmp_path: pathlib.Path
) -> None:
    chance = random.Random(soak.seed())
    many = tmp_path / "many"
    many.mkdir()
    for number in range(400):
        (many / str(number)).write_bytes(b"x" * 20_000)
    words = [word.format(mark=tmp_path) for word in COMMANDS[what]]
    ended = 0
    for _ in range(MOMENTS):
        pod.asked.clear()
        code, said = interrupted(words, chance.uniform(0.02, 1.6))
        if "Traceback" in said and ", in main" not in said:
            # Python had not come to the first line of the program yet.
            continue
        assert "Traceback" not in said and "Error" not in said and said.count("\n") <= 1 + what.startswith("cp"), said
        # By the signal itself, which a shell tells as 130 too, where Python was about to be gone.
        assert code in (130, -2) or (code == 0 and what.startswith("cp")), (code, said)
        ended += code == 130
        until("nothing of it runs", lambda: not left(str(tmp_path)), timeout=20)
        if any(method == "POST" for method, _, _ in pod.asked):
            assert pod.deleted
    assert ended > 0


def interrupted(words: list[str], seconds: float) -> tuple[int, str]:
    """The exit code of the program, and what it has said, where Ctrl-C came after so many seconds."""
    # Whoever runs these tests may ignore the signal, which is inherited.
    cli = ["env", "--default-signal", sys.executable, "-m", "sandyard.cli.begin"]
    with subprocess.Popen([*cli, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        # Not while env or the interpreter begins: those have no handler.
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while process.poll() is None and not int(caught(status.read_text()), 16) & 0b10:
            time.sleep(0.005)
        time.sleep(seconds)
        process.send_signal(2)
        _, said = process.communicate(timeout=40)
    return process.returncode, said


def caught(status: str) -> str:
    return next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))


def left(mark: str) -> list[str]:
    """What still runs with the mark in its words."""
    found = []
    for one in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = one.read_text(errors="replace")
        except OSError:
            continue
        if mark in words and "pytest" not in words:
            found.append(words)
    return found
