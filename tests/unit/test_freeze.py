"""Stopping and continuing every process, in a process namespace of the test's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sandyard.api import names
from sandyard.sandbox import freeze

# Two busy processes and a sleeper; a counter shows whether time goes on for them.
_INSIDE = """
set -e
cd "$(mktemp -d)"
(n=0; while :; do n=$((n + 1)); echo $n >counter; sleep 0.01; done) &
(while :; do :; done) &
sleep 600 &
until [ -s counter ]; do sleep 0.01; done
cat >stop <<'STOP'
{stop}
STOP
cat >go <<'GO'
{go}
GO
look() {{
  before=$(cat counter)
  # On a busy machine what runs may stand for a while; what is stopped stands for ever.
  for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    sleep 0.1
    [ "$before" = "$(cat counter)" ] || {{ echo moving; return; }}
  done
  echo still
}}
"""


def namespace(text: str, shell: str = "sh") -> str:
    """Run *text* as a child of process 1 of a new process namespace: process 1 is spared."""
    stop, go = freeze.script(stopped=True).decode(), freeze.script(stopped=False).decode()
    whole = _INSIDE.format(stop=stop, go=go) + text
    # The one who drives must not be stopped with the rest: it is process 1 here.
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", shell, "-c", whole],
        text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_everything_stops_and_goes_on(shell: str) -> None:
    said = namespace(f"look; {shell} -s <stop; look; {shell} -s <go; look", shell)
    first, stopped, second, running, third = said.split("\n")[:5]
    assert (first, second, third) == ("moving", "still", "moving")
    report = freeze.read(0, (stopped + "\n").encode(), "", stopped=True)
    assert report.done
    assert report.count >= 3
    assert freeze.read(0, (running + "\n").encode(), "", stopped=False).done


def test_a_process_that_forks_as_fast_as_it_can_is_stopped_too() -> None:
    forks = "(while :; do (exit 0) & wait; done) & (while :; do (sleep 0.001 &); done) &\n"
    said = namespace(forks + "sh -s <stop; look")
    assert freeze.read(0, said.splitlines(keepends=True)[0].encode(), "", stopped=True).done
    assert "still" in said


# A program that starts another waits within the kernel until that one has begun, and here it never does: the file
# that it is to read first is a pipe that nobody writes to.
_HALF_STARTED = """
mkfifo pipe
cat >spawn.py <<'PY'
import os
os.posix_spawn("/bin/true", ["true"], {{}}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, "pipe", os.O_RDONLY, 0)])
PY
{python} -S spawn.py &
until grep -q "^State:.D" /proc/$!/status; do sleep 0.01; done
"""


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_one_whose_child_is_stopped_before_it_begins_counts_as_stopped(shell: str) -> None:
    """It can run nothing until the child goes on; dash and Python start every program in this way."""
    half = _HALF_STARTED.format(python=sys.executable)
    go_on = f"{shell} -s <go; : >pipe; look\n"
    said = namespace(f"{half}{shell} -s <stop; look; {go_on}wait $! && echo ended", shell).split("\n")
    report = freeze.read(0, f"{said[0]}\n".encode(), "", stopped=True)
    assert report.done, said
    assert report.count >= 5
    assert (said[1], said[3], said[4]) == ("still", "moving", "ended")


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_process_of_another_user_is_none_of_the_sandboxs(shell: str) -> None:
    """What restarts the pod lies beside it, as a user of its own."""
    beside = f"setpriv --reuid {names.GUARD_UID} --clear-groups sleep 100 & sleep 0.3"
    inside = f"{beside}; setpriv --reuid 65533 --clear-groups {shell} -s"
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside],
        input=freeze.script(stopped=True), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == b"sandyard: stopped 0\n", done.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, b"sandyard: stopped 3\n"), (0, b""), (0, b"sandyard: stopped 3"), (1, b"sandyard: stopped 3\n"),
        (0, b"sandyard: running 3\n"), (0, b"sandyard: stopped 0\n"), (0, b"sandyard: stopped -1\n"),
        (0, b"x\nsandyard: stopped 3\n"), (0, b"sandyard: stopped 3\nmore\n"), (0, b"sandyard: stopped 3 \n"),
        (0, b"sandyard: stopped\t3\n"), (0, b"sandyard: stopped 99999999999\n"), (0, b"[" * 60000), (0, b"\xff\x00\n"),
        (0, b"sandyard: " + b"9" * 10**6),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_just_the_scripts_own_is_not_believed(code: int | None, said: bytes) -> None:
    for stopped in (True, False):
        # The same, had it been asked to continue them.
        told = said if stopped else said.replace(b"running 3", b"x").replace(b"stopped 0", b"x")
        found = freeze.read(code, told.replace(b"stopped", b"stopped" if stopped else b"running"), "", stopped=stopped)
        assert not found.done
        assert found.why
        assert len(found.why) < 500


def test_what_keeps_it_from_standing_still_is_told() -> None:
    assert "12, 13" in freeze.read(3, b"sandyard: left 12 13\n", "", stopped=True).why
    assert "\x1b" not in freeze.read(3, b"sandyard: left \x1b[2J 13\n", "", stopped=True).why
    assert "no /bin/sh" in freeze.read(127, b"", "", stopped=True).why
    missing = 'exec: "/bin/sh": stat /bin/sh: no such file or directory'
    assert "no /bin/sh" in freeze.read(None, b"", missing, stopped=True).why
