"""The command line on real sandboxes."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pty
import select
import stat
import subprocess
import sys
import time

import pytest

from sandyard import AsyncSandbox
from tests.support import manifests
from tests.support.kube import Kube, until


@pytest.fixture
def cli(pool: Kube) -> Cli:
    """In the namespace of the module's pool."""
    return Cli(pool)


@pytest.fixture
def inside(standing: Kube, sandbox: AsyncSandbox) -> Cli:
    """In the namespace of the module's sandbox."""
    return Cli(standing)


class Cli:
    """Runs ``sandyard`` as a user would."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.environment = {**kube.environment, "PYTHONPATH": os.path.abspath("operator")}

    def run(self, *words: str, stdin: bytes = b"", code: int = 0) -> bytes:
        command = [sys.executable, "-m", "sandyard.cli.main", "-n", self.kube.namespace, *words]
        done = subprocess.run(command, input=stdin, capture_output=True, env=self.environment, timeout=120, check=False)
        self.stderr = done.stderr.decode()
        assert done.returncode == code, self.stderr
        return done.stdout

    def terminal(self, *words: str, typed: bytes) -> tuple[bytes, int]:
        """On a terminal of its own: what it shows, and the exit code."""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "sandyard.cli.main", "-n", self.kube.namespace, *words]
        shown = b""
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=self.environment) as process:
            os.close(theirs)
            os.write(ours, typed)
            # Linux says EIO when the last one has left the other end.
            with contextlib.suppress(OSError):
                while select.select([ours], [], [], 60)[0] and (piece := os.read(ours, 65536)):
                    shown += piece
            try:
                code = process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(shown) from None
        os.close(ours)
        return shown, code

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
    cli.run("exec", name, "--", "true", code=125)
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
    until("two", lambda: cli.text("pool", "ls").splitlines()[1].split()[:3] == ["python", "2", "2"], 60, interval=1)
    cli.run("pool", "scale", "python", "1")


def test_background_commands_and_processes(inside: Cli) -> None:
    id_ = inside.text("exec", "--bg", "standing", "--", "sh", "-c", "echo begun; echo err >&2; sleep 2; exit 9").strip()
    inside.run("logs", "-f", "standing", id_, code=9)
    assert inside.run("logs", "standing", id_) == b"begun\n"
    assert inside.stderr == "err\n"
    head, row = inside.text("ps", "--bg", "standing").splitlines()
    assert head.split()[:4] == ["ID", "PID", "STATE", "EXIT"]
    assert row.split()[0] == id_ and row.split()[2:4] == ["Ended", "9"]
    other = inside.text("exec", "--bg", "standing", "--", "sleep", "1000").strip()
    (pid,) = [line.split()[0] for line in inside.text("ps", "standing").splitlines() if line.endswith(" sleep 1000")]
    inside.run("kill", "standing", pid, "-s", "KILL")
    inside.run("logs", "-f", "standing", other, code=137)
    inside.run("kill", "standing", other)
    assert "had ended before" in inside.stderr
    inside.run("kill", "standing", "99999", code=1)
    assert "[CommandNotFound]" in inside.stderr
    head, row = inside.text("top").splitlines()
    assert head.split() == ["NAME", "CPU", "MEMORY", "DISK", "SOURCE"]
    assert row.split()[0] == "standing"
    assert json.loads(inside.text("top", "standing", "-o", "json"))["items"][0]["usage"]["memory_bytes"] > 0


def test_files_go_in_and_out(inside: Cli, tmp_path: pathlib.Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_bytes(b"\x00\xff")
    inside.run("cp", str(tmp_path / "tree"), "standing:tree")
    assert "1 files, 2 bytes" in inside.stderr
    inside.run("exec", "standing", "--", "ln", "-s", "/etc/passwd", "tree/out")
    inside.run("cp", "standing:tree", str(tmp_path / "back"))
    assert "skipped 'out'" in inside.stderr.replace("./", "")
    assert (tmp_path / "back" / "deep" / "file").read_bytes() == b"\x00\xff"
    inside.run("cp", "standing:tree/deep/file", str(tmp_path / "one"))
    assert (tmp_path / "one").read_bytes() == b"\x00\xff"
    inside.run("cp", "a", "b", code=2)
    inside.run("cp", "standing:nothing", str(tmp_path / "none"), code=1)
    assert "[FileNotFound]" in inside.stderr
    inside.run("write", "standing", "f", stdin=b"x = 1\n")
    inside.run("edit", "standing", "f", "--replace", "x = 1", "x = 2")
    assert inside.run("cat", "standing", "f") == b"x = 2\n"
    inside.run("edit", "standing", "f", "--replace", "x = 1", "x = 3", code=1)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/2/4/ "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    inside.environment["EDITOR"] = str(editor)
    inside.run("edit", "standing", "f")
    assert inside.run("cat", "standing", "f") == b"x = 4\n"
    inside.run("edit", "standing", "f")
    assert "is as it was" in inside.stderr


def test_a_terminal_of_ones_own(inside: Cli) -> None:
    shown, code = inside.terminal("shell", "standing", typed=b"test -t 0 && echo is-a-$((1+1))-tty; exit 7\n")
    assert b"is-a-2-tty" in shown
    assert code == 7
    shown, code = inside.terminal("exec", "-t", "standing", "--", "python3", "-q", typed=b"print(6 * 7)\nexit(3)\n")
    assert b"42" in shown
    assert code == 3
    inside.run("exec", "-t", "standing", "--", "true", code=2)
    assert "no terminal" in inside.stderr


def test_pools_are_made_and_told(cli: Cli) -> None:
    made = ("pool", "create", "second", "--image", manifests.IMAGE, "--replicas", "1", "--memory", "64Mi",
            "--language", "ruby")  # fmt: skip
    assert "kind: SandboxPool" in cli.text(*made, "--dry-run")
    assert cli.kube.get("sandboxpool", "second") is None
    cli.run(*made)
    cli.run("create", "--language", "bash", code=1)
    assert "sandyard.dev/language=bash" in cli.stderr
    name = cli.text("create", "--language", "rb", "--wait-seconds", "60").strip()
    assert cli.kube.status("sandbox", name)["poolName"] == "second"
    cli.kube.wait_for("sandboxpool", "second", "Full", timeout=60)
    told = cli.text("pool", "status", "second")
    assert "READY" in told and "CONDITION" not in told and "Stalled" in told
    cli.run(*made, code=1)
    assert "[AlreadyExists]" in cli.stderr
    cli.run("rm", name)
    cli.kube.delete("sandboxpool", "second")
    cli.run("pool", "create", "bad", "--image", "x", "--memory", "many", code=1)
    assert "[InvalidArgument]" in cli.stderr and "memory" in cli.stderr


def test_a_namespace_is_emptied(kube: Kube) -> None:
    cli = Cli(kube)
    kube.apply(manifests.pool("python", 0))
    for number in range(2):
        kube.apply(manifests.sandbox(f"s{number}", template=manifests.template()))
    cli.run("reap", code=2)
    assert cli.text("reap", "--older-than", "3600") == "0 sandboxes deleted\n"
    started = time.monotonic()
    assert cli.text("reap", "--all", "--pause-pools") == "2 sandboxes deleted\n"
    assert time.monotonic() - started < 60
    assert cli.kube.list("sandboxes") == []
    assert cli.kube.get("sandboxpool", "python")["spec"]["paused"]  # type: ignore[index]


def test_the_doctor_proves_isolation(cli: Cli) -> None:
    found = {row.split("  ")[1].strip() or row: row.split()[0] for row in cli.text("doctor").splitlines()[1:]}
    assert set(found.values()) == {"ok"}, found
    for name in ("kernel", "capabilities", "no way to: API server", "no way to: internet", "teardown"):
        assert any(name in key for key in found), found
    assert cli.kube.list("sandboxes") == []
    told = cli.text("doctor", "--pool", "nowhere", code=1)
    assert "FAIL" in told and "[NotFound]" in told
    assert "failed: sandbox" in cli.stderr
