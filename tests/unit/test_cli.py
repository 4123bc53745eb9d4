"""The command line without a cluster: what is asked for is what was typed, and nonsense changes nothing."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from sandyard.cli import context, files, options, sandboxes, tables
from sandyard.cli.main import main
from sandyard.client import errors
from tests.unit.local_pod import serving


@pytest.fixture(autouse=True)
def no_cluster(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever gets as far as the cluster fails by its own name."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rm"], "name a sandbox, or give --label or --all"),
        (["reap"], "say which sandboxes: --label, --older-than, or --all"),
        (["reap", "--older-than", "-1"], "not in the range"),
        (["create"], "give either --pool or --image, or --language"),
        (["create", "--pool", "a", "--image", "b"], "give either --pool or --image, or --language"),
        (["run", "--", "ls"], "give either --pool or --image, or --language"),
        (["run", "--pool", "a"], "Missing argument 'COMMAND...'"),
        (["create", "--pool", "a", "-e", "A"], "'A' is not NAME=VALUE"),
        (["create", "--pool", "a", "-l", "=x"], "'=x' is not NAME=VALUE"),
        (["exec", "x"], "Missing argument 'COMMAND...'"),
        (["exec", "x", "--timout", "5", "--", "ls"], "--timout: no such option here"),
        (["exec", "x", "-n", "ns", "ls"], "-n: no such option here"),
        (["run", "--pool", "p", "--tty", "--", "ls"], "--tty: no such option here"),
        (["exec", "-t", "--bg", "x", "--", "ls"], "-t goes with neither --bg nor --timeout"),
        (["exec", "-t", "--timeout", "3", "x", "--", "ls"], "-t goes with neither --bg nor --timeout"),
        (["doctor", "--pool", "a", "--image", "b"], "give either --pool or --image"),
        (["cp", "a", "b"], "NAME:PATH"),
        (["cp", "a:b", "c:d"], "NAME:PATH"),
        (["ttl", "x", "0"], "not in the range"),
        (["pool", "scale", "x", "many"], "is not a valid integer"),
        (["pool", "create", "x"], "Missing option '--image'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(words: list[str], told: str) -> None:
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert told in done.output


@pytest.mark.parametrize("words", [["uninstall"], ["uninstall", "--crds"]])
def test_nothing_is_uninstalled_without_a_yes(words: list[str]) -> None:
    done = CliRunner().invoke(main, words, input="n\n")
    assert done.exit_code == 1
    assert "Aborted" in done.output
    assert "kubeconfig" not in done.output, "it has asked the cluster before"


def test_without_a_cluster_one_line_says_so() -> None:
    done = run("ls")
    assert done.exit_code == 1
    assert done.output.startswith("sandyard: ")
    assert "kubeconfig" in done.output
    assert "Traceback" not in done.output


def test_a_pool_is_what_its_options_say() -> None:
    done = run("pool", "create", "py", "--image", "python:3.12", "--replicas", "3", "--max", "9", "--cpu", "500m",
               "--network", "Internet", "--language", "python", "--dry-run")  # fmt: skip
    assert yaml.safe_load(done.output) == {
        "apiVersion": "sandyard.dev/v1alpha1",
        "kind": "SandboxPool",
        "metadata": {"name": "py", "labels": {"sandyard.dev/language": "python"}},
        "spec": {
            "replicas": 3,
            "maxSandboxes": 9,
            "template": {"image": "python:3.12", "resources": {"cpu": "500m"}, "network": {"egress": "Internet"}},
        },
    }
    plain = yaml.safe_load(run("pool", "create", "py", "--image", "a", "--dry-run").output)
    assert plain["spec"] == {"replicas": 1, "template": {"image": "a"}}
    assert plain["metadata"] == {"name": "py"}


def test_a_sandbox_lives_five_minutes_unless_somebody_says_otherwise() -> None:
    (ttl,) = [option for option in sandboxes.create.params if option.name == "ttl"]
    assert ttl.default == 300
    common: dict[str, Any] = {"pool": "a", "image": None, "language": None, "idle": None}
    assert options.wanted(**common, ttl=60)["timeout"] == 60
    assert options.wanted(**common, ttl=0)["timeout"] is None, "as its pool says"
    assert options.wanted(pool=None, image="i", language=None, ttl=1, idle=7)["template"] == {"image": "i"}
    assert options.wanted(pool=None, image="i", language=None, ttl=1, idle=7)["idle_timeout"] == 7


def test_a_command_stands_as_it_was_typed() -> None:
    nothing: Any = None
    assert options.words(nothing, nothing, ("--", "ls", "--", "-l")) == ["ls", "--", "-l"]
    assert options.words(nothing, nothing, ("ls", "--help")) == ["ls", "--help"]


def test_a_value_may_hold_the_sign_that_parts_it_from_its_name() -> None:
    nothing: Any = None
    assert options.pairs(nothing, nothing, ["A=b=c", "B="]) == {"A": "b=c", "B": ""}
    with pytest.raises(click.BadParameter):
        options.pairs(nothing, nothing, ["A"])


@pytest.mark.parametrize(
    ("text", "place"),
    [("mine:data", ("mine", "data")), ("mine:", ("mine", ".")), ("./a:b", None), ("a/b:c", None), ("data", None),
     (":x", None), ("mine:/a:b", ("mine", "/a:b"))],
)  # fmt: skip
def test_a_place_in_a_sandbox_is_told_from_a_path_here(text: str, place: tuple[str, str] | None) -> None:
    assert files._place(text) == place


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172799, "47h"), (172800, "2d")],
)
def test_a_time_span_reads_as_kubectl_writes_it(seconds: float, text: str) -> None:
    assert tables.age(seconds) == text


def test_a_table_is_as_wide_as_need_be_and_obeys_no_escape_sequence() -> None:
    columns = (
        tables.Column("NAME", lambda item: item["name"]),
        tables.Column("N", lambda item: item["n"]),
        tables.Column("MORE", lambda _item: "x", wide=True),
    )
    items = [{"name": "a\x1b[2J", "n": None}, {"name": "longer-name", "n": 7}]
    assert tables.table(items, columns).split("\n") == ["NAME         N", "a [2J", "longer-name  7"]
    assert tables.table(items, columns, wide=True).split("\n")[0] == "NAME         N  MORE"


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (errors.ExecTransportError("the stream broke", started=True), 125, "the stream broke"),
        (errors.SandboxError("no such sandbox"), 1, "no such sandbox ["),
        (FileNotFoundError(2, "No such file or directory", "here.txt"), 1, "No such file or directory: here.txt"),
    ],
)
def test_an_error_ends_the_program_with_a_line_and_a_code_of_its_own(error: Exception, code: int, told: str) -> None:
    async def job() -> None:
        raise error

    with pytest.raises(context.Ended) as caught:
        context.Context(None).run(job())
    assert caught.value.exit_code == code
    assert told in caught.value.message


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_each_shell(shell: str) -> None:
    done = run("completion", shell)
    assert done.exit_code == 0, done.output
    assert "_SANDYARD_COMPLETE" in done.output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_command_in_the_sandbox_and_is_told_by_the_exit_code(
    number: signal.Signals, code: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = f"echo begun; sleep 300 # {tmp_path}"
    with serving(tmp_path, monkeypatch):
        # Whoever runs these tests (nohup, a shell's background) may ignore signals, which is inherited and respected.
        cli = ["env", "--default-signal", sys.executable, "-m", "sandyard.cli.main"]
        words = [*cli, "exec", "s", "--", "sh", "-c", word]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
    # The command's own shell says so where its child has ended first.
    said = said.removeprefix("Terminated\n")
    assert (process.returncode, said.count("\n")) == (code, 1), said
    left = [one for one in pathlib.Path("/proc").glob("[0-9]*/cmdline") if word in _text(one)]
    assert not left


def test_a_port_leads_there_until_it_is_interrupted(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, monkeypatch), socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        cli = ["env", "--default-signal", sys.executable, "-m", "sandyard.cli.main"]
        words = [*cli, "port-forward", "s", f":{port}"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = re.fullmatch(rf"Forwarding from 127.0.0.1:(\d+) -> {port}\n", process.stdout.readline())
            assert told is not None
            with socket.create_connection(("127.0.0.1", int(told[1])), timeout=20) as near:
                server.settimeout(20)
                far, _ = server.accept()
                with far:
                    far.sendall(b"hello")
                    assert near.recv(5) == b"hello"
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize("ports", ["x", "80:x", "70000", "1:2:3", "80:", "-1:80", "53/udp", "9" * 5000, "٣"])
def test_a_port_that_is_none_is_a_mistake_of_the_line(ports: str) -> None:
    done = run("port-forward", "s", "--", ports)
    assert done.exit_code == 2
    assert "is not PORT, LOCAL:PORT or :PORT" in done.output


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_what_is_waited_for_is_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, monkeypatch) as pod:
        ready = {"type": "Ready", "status": "False", "reason": "Unschedulable", "message": "no room\x1b[2J"}
        pod.change(phase="Pending", conditions=[ready])
        words = [sys.executable, "-m", "sandyard.cli.main", "create", "--pool", "p"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == "sandyard: waiting for s: Unschedulable: no room [2J\n"
            pod.turn_ready()
            out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "s\n")


@pytest.mark.parametrize(
    ("words", "stdin", "code", "told"),
    [
        ("exec -i s -- cat", "<&-", 2, "standard input is closed"),
        ("exec -t s -- cat", "<&-", 2, "standard input is closed"),
        ("write s f", "<&-", 2, "standard input is closed"),
        ("exec -i s -- cat", "0>/dev/null", 1, "standard input cannot be read: Bad file descriptor"),
        ("write s f", "0>/dev/null", 1, "standard input cannot be read: Bad file descriptor"),
        ("exec s -- cat", "<&-", 0, ""),
    ],
)
def test_input_that_cannot_be_read_is_told_at_once(
    words: str, stdin: str, code: int, told: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, monkeypatch):
        done = subprocess.run(["sh", "-c", f"exec {sys.executable} -m sandyard.cli.main {words} {stdin}"],
                              capture_output=True, text=True, timeout=30, check=False)  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (code, 1 if told else 0), done.stderr
    assert told in done.stderr


ANYWHERE = [
    ("-n ns ls", "ls -n ns"), ("--context c -n ns get s", "get s --context c -n ns"),
    ("-n ns pool ls", "pool ls -n ns"), ("-A ls", "ls -A"), ("--kubeconfig f ls", "ls --kubeconfig f"),
    ("-n ns exec s -- ls", "exec s -n ns -- ls"), ("-n ns exec s -- ls", "exec -n ns s -- ls"),
    ("-n ns run --pool p -- ls", "run --pool p -n ns -- ls"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "behind"), ANYWHERE)
def test_options_of_the_connection_may_stand_anywhere(
    before: str, behind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, ...]] = []

    def cluster(self: context.Context, **_: object) -> None:
        seen.append((self.namespace, self.everywhere, self.name, self.kubeconfig))
        raise errors.SandboxNotFound("stop")

    monkeypatch.setattr(context.Context, "cluster", cluster)
    assert run(*before.split()).exit_code == run(*behind.split()).exit_code
    assert len(seen) == 2
    assert seen[0] == seen[1] != (None, False, None, None)


@pytest.mark.parametrize("words", ["s git log -n 3 -- file", "s sh -c x -- -n y", "s -- ls -n ns -A", "s ls -A"])
def test_options_of_the_other_command_are_its_own(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def use(self: context.Context, *_: object) -> int:
        seen.append((self.namespace, self.everywhere))
        return 0

    monkeypatch.setattr(context.Context, "use", use)
    assert run("exec", *words.split()).exit_code == 0
    assert seen == [(None, False)]


@pytest.mark.parametrize("words", ["get s -A", "exec s -A -- ls", "create --pool p -A"])
def test_all_namespaces_are_for_lists(words: str) -> None:
    done = run(*words.split())
    assert done.exit_code == 2, done.output
    assert "-A is for lists" in done.output


@pytest.mark.parametrize(
    ("words", "code"),
    [("exec s -- no-such", 127), ("exec s -- /etc/passwd", 126), ("exec s --timeout 0.3 -- sleep 60", 124),
     ("exec s -w /no/such -- ls", 125), ("exec s -- sh -c 'exit 3'", 3), ("-n other exec s -- ls", 125)],
)  # fmt: skip
def test_exec_has_exit_codes_of_its_own(
    words: str, code: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, monkeypatch):
        done = run(*shlex.split(words))
    assert done.exit_code == code, done.output


def test_a_sandbox_is_described_with_its_events(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path, monkeypatch) as pod:
        described, listed, everywhere = run("describe", "s"), run("events", "s"), run("ls", "-A")
        asked = [path for method, path, _ in pod.asked if method == "GET"]
    for done in (described, listed):
        assert done.exit_code == 0, done.output
        assert "Sandbox/s  no [2J room" in done.output and "Pod" not in done.output.replace("Pod:", "")
    assert "Phase:      Ready" in described.output and "TYPE   STATUS  REASON" in described.output
    assert "involvedObject.name%3Ds,involvedObject.uid%3Du" in asked[0]
    assert everywhere.output.startswith("NAMESPACE  NAME  PHASE")


def cp(folder: pathlib.Path, *words: str) -> Result:
    here = os.getcwd()
    os.chdir(folder)
    try:
        return run("cp", *words)
    finally:
        os.chdir(here)


def test_a_copy_can_be_run_where_its_source_can(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    with serving(tmp_path, monkeypatch) as pod:
        pod.folder = tmp_path / "inside"
        for words in ("run.sh s:", "s:run.sh back.sh"):
            assert cp(tmp_path, *words.split()).exit_code == 0
    assert os.access(tmp_path / "inside" / "run.sh", os.X_OK)
    assert os.access(tmp_path / "back.sh", os.X_OK)


def test_copies_land_where_those_of_cp_do(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local, inside = tmp_path / "local", tmp_path / "inside"
    (local / "tree").mkdir(parents=True)
    (local / "f").write_text("x")
    (local / "tree" / "leaf").write_text("y")
    (inside / "dir").mkdir(parents=True)
    with serving(tmp_path, monkeypatch) as pod:
        pod.folder = inside
        for words, made in (
            ("f s:", "f"), ("f s:dir", "dir/f"), ("f s:dir/", "dir/f"), ("f s:new", "new"), ("tree s:", "tree/leaf"),
            ("tree s:copy", "copy/leaf"), ("tree s:copy", "copy/tree/leaf"), ("tree/. s:dir", "dir/leaf"),
        ):  # fmt: skip
            done = cp(local, *words.split())
            assert done.exit_code == 0, (words, done.output)
            assert (inside / made).is_file(), words
        (local / "back").mkdir()
        for words, made in (
            ("s:new .", "new"), ("s:new back", "back/new"), ("s:new back/", "back/new"), ("s:new other", "other"),
            ("s:copy back", "back/copy/leaf"), ("s:copy third", "third/leaf"), ("s:dir/. back", "back/leaf"),
        ):  # fmt: skip
            done = cp(local, *words.split())
            assert done.exit_code == 0, (words, done.output)
            assert (local / made).is_file(), words
        for words in ("f s:nothing/", "s:new nowhere/"):
            done = cp(local, *words.split())
            assert (done.exit_code, "there is no such folder" in done.output) == (1, True), words
