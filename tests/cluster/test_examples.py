"""The programs in ``examples/``, run as they stand, on real gVisor pods."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support import soak
from tests.support.kube import Kube, until


@pytest.fixture
def example(pool: Kube, tmp_path: pathlib.Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs one of ``examples/`` as it stands, in the namespace of the test."""
    config = tmp_path / "kubeconfig"
    shutil.copy(pool.kubeconfig, config)
    pool.run("kubectl", f"--kubeconfig={config}", "config", "set-context", "--current", f"--namespace={pool.namespace}")
    environment = {**os.environ, "PYTHONPATH": "operator", "KUBECONFIG": str(config)}

    def run(name: str, *words: str, text: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, f"examples/{name}", *words]
        return subprocess.run(
            command, env=environment, input=text, capture_output=True, text=True, timeout=timeout, check=True
        )

    return run


def test_the_example_that_runs_code(pool: Kube, example: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    lines = example("run_code.py").stdout.splitlines()
    assert lines[0].startswith("hello from ")
    assert lines[1] == "success 42 ['table.csv']"
    until("nothing is left", lambda: pool.list("sandboxes") == [], 30)


def test_the_example_of_a_session(pool: Kube, example: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = example("repl.py", text="cd /tmp\nexport A=5\necho $PWD $A\necho no >&2\n")
    assert done.stdout.splitlines()[1:] == ["/tmp 5", "the sandbox is gone"]
    assert done.stderr == "no\n"
    assert example("repl.py", text="exit 3\necho never\n").stdout.splitlines()[1:] == ["the sandbox is gone"]
    until("nothing is left", lambda: pool.list("sandboxes") == [], 30)


@pytest.mark.soak
def test_the_example_of_many_evaluations(pool: Kube, example: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    each, at_once = soak.rounds(short=1, long=8), soak.rounds(short=2, long=10)
    done = example("evaluate.py", str(4 * each), str(at_once), timeout=300)
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    outcomes = ("success", "program_error", "unauthorized_access", "resource_limit_exceeded (time)")
    assert {outcome: int(count) for count, outcome in lines} == dict.fromkeys(outcomes, each)
    until("nothing is left", lambda: pool.list("sandboxes") == [], 60)
