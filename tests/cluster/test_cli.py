"""The command line on real sandboxes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from tests.support import manifests
from tests.support.kube import Kube, until


@pytest.fixture
def cli(kube: Kube) -> Cli:
    kube.apply(manifests.pool("python", 1))
    kube.wait_for("sandboxpool", "python", "Ready", timeout=90)
    return Cli(kube)


class Cli:
    """Runs ``sandyard`` as a user would."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self._environment = {**kube.environment, "PYTHONPATH": os.path.abspath("operator")}

    def run(self, *words: str, stdin: bytes = b"", code: int = 0) -> bytes:
        command = [sys.executable, "-m", "sandyard.cli.main", "-n", self.kube.namespace, *words]
        done = subprocess.run(
            command, input=stdin, capture_output=True, env=self._environment, timeout=120, check=False
        )
        self.stderr = done.stderr.decode()
        assert done.returncode == code, self.stderr
        return done.stdout

    def text(self, *words: str, code: int = 0) -> str:
        return self.run(*words, code=code).decode()


def test_a_sandbox_from_its_making_to_its_end(cli: Cli) -> None:
    name = cli.text("create", "--pool", "python", "-l", "owner=me").strip()
    assert cli.run("exec", name, "--", "printf", "a\\000b") == b"a\x00b"
    assert cli.run("exec", "-i", name, "--", "cat", stdin=b"\xff\x00\n") == b"\xff\x00\n"
    cli.run("exec", name, "--", "sh", "-c", "echo no >&2; exit 42", code=42)
    assert cli.stderr == "no\n"
    cli.run("exec", "--timeout", "1", name, "--", "sleep", "100", code=124)
    cli.run("write", name, "notes/a", stdin=b"x\x00y")
    assert cli.run("cat", name, "notes/a") == b"x\x00y"
    cli.run("cat", name, "nothing", code=1)
    assert "[FileNotFound]" in cli.stderr
    head, row = cli.text("ls", "-l", "owner=me").splitlines()
    assert head.split()[:3] == ["NAME", "PHASE", "REASON"]
    assert row.split()[:5] == [name, "Ready", "Ready", "Warm", "python"]
    assert json.loads(cli.text("get", name, "-o", "json"))["metadata"]["name"] == name
    cli.run("pause", name)
    assert cli.text("ls").splitlines()[1].split()[1] == "Paused"
    cli.run("exec", name, "--", "true", code=1)
    assert "[NotReady]" in cli.stderr
    cli.run("resume", name)
    cli.run("ttl", name, "1000")
    assert cli.text("rm", name) == f"{name} deleted\n"
    assert cli.text("ls", "-o", "name") == ""


def test_run_leaves_nothing_whatever_happens(cli: Cli) -> None:
    assert b"Starting gVisor" in cli.run("run", "--pool", "python", "--", "dmesg")
    cli.run("run", "--pool", "python", "--", "sh", "-c", "exit 7", code=7)
    cli.run("run", "--pool", "python", "--wait-seconds", "1", "--label", "broken", "--", "true", code=2)
    until("nothing is left", lambda: cli.kube.list("sandboxes") == [], 30)


def test_what_is_wrong_is_said_in_one_line(cli: Cli) -> None:
    cli.run("get", "nobody", code=1)
    assert cli.stderr.startswith("sandyard: ") and "[NotFound]" in cli.stderr
    assert cli.stderr.count("\n") == 1
    cli.run("create", code=2)
    assert "give either --pool or --image" in cli.stderr
    started = time.monotonic()
    cli.run("create", "--pool", "nowhere", "--wait-seconds", "2", code=1)
    assert "PoolNotFound" in cli.stderr
    assert time.monotonic() - started < 20
    until("nothing is left", lambda: cli.kube.list("sandboxes") == [], 30)


def test_pools_are_shown_and_sized(cli: Cli) -> None:
    head, row = cli.text("pool", "ls").splitlines()
    assert head.split()[:3] == ["NAME", "DESIRED", "WARM"]
    assert row.split()[:3] == ["python", "1", "1"]
    cli.run("pool", "scale", "python", "2")
    until("two", lambda: cli.text("pool", "ls").splitlines()[1].split()[:3] == ["python", "2", "2"], 60)
