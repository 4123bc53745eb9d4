"""docs/client.md is true: its programs and commands are run as they stand."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from localcluster import paths
from tests.support.kube import Kube, until

TEXT = (paths.REPOSITORY / "docs" / "client.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
# What each of them prints.
PRINTED = [
    "2\n 0\n",
    "['Ready']\nkept\n True\nLinux",
    "b'LOUD\\n'\nb'begun\\n' False\nTrue [True]\n200\nTrue\nhello x\n/tmp\n",
    "success {'sum': 42} sum.csv True\ntime\n",
    "area\n 12.566370614359172 [None]\nZeroDivisionError division by zero",
    "one and a half\n2\n b'one'\n",
]


@pytest.fixture
def place(pool: Kube, tmp_path: pathlib.Path) -> dict[str, str]:
    """An environment in which ``sandyard`` is a command, and the namespace of the module's pool the usual one."""
    config = tmp_path / "kubeconfig"
    shutil.copy(pool.kubeconfig, config)
    pool.run("kubectl", f"--kubeconfig={config}", "config", "set-context", "--current", f"--namespace={pool.namespace}")
    command = tmp_path / "bin" / "sandyard"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m sandyard.cli.main "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{pool.environment['PATH']}"
    return {**pool.environment, "PATH": path, "KUBECONFIG": str(config), "PYTHONPATH": os.path.abspath("operator")}


def test_every_program_prints_what_it_should(pool: Kube, place: dict[str, str]) -> None:
    assert len(PROGRAMS) == len(PRINTED)
    for program, printed in zip(PROGRAMS, PRINTED, strict=True):
        done = subprocess.run(
            [sys.executable, "-c", program], env=place, text=True, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(printed)
    until("nothing is left", lambda: pool.list("sandboxes") == [], 30)


def test_every_command_works(pool: Kube, place: dict[str, str]) -> None:
    (commands,) = re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{commands}"], env=place, cwd=paths.REPOSITORY, text=True,
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for told in ("1\n2\n", "working\n", "kind: SandboxPool", "no way to: internet"):
        assert told in done.stdout, done.stdout
    assert "FAIL" not in done.stdout
    until("nothing is left", lambda: pool.list("sandboxes") == [], 30)
