"""Odd arguments, names, files and times: the client does what is meant, or says in its own words that it cannot."""

from __future__ import annotations

import inspect
import math
import pathlib
import pickle
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from sandyard.client import AsyncSandbox, Sandbox, errors
from sandyard.client.result import CommandResult
from sandyard.client.session.cluster import explain
from sandyard.kube.errors import ApiError
from tests.unit.local_pod import LocalPod, serving
from tests.unit.shells import SHELLS, run

pytestmark = pytest.mark.timeout(60)
HALF = "a\ud83d"
Call = Callable[[AsyncSandbox], Any]


# Errors


KINDS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.SandboxError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_whole_from_another_process(kind: type[errors.SandboxError]) -> None:
    needed = {"phase": "Failed", "started": True, "exit_code": 7, "result": CommandResult(3, b"out")}
    options = {name: value for name, value in needed.items() if name in inspect.signature(kind).parameters}
    error = kind("why", **options, sandbox="s")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(back), str(back), vars(back)) == (kind, "why", vars(error))


def test_a_message_that_has_no_end_has_one() -> None:
    said = str(errors.SandboxError(f"begin{'x' * 10**6}end"))
    assert said.startswith("begin") and said.endswith("end") and len(said) < 5000


def test_of_a_field_that_is_unknown_the_error_says_no_more_than_that() -> None:
    why = 'strict decoding error: unknown field "spec.network.egres"'
    whole = f' "" is invalid: patch: Invalid value: "{"x" * 2000}": {why}'
    assert str(explain(ApiError(422, {"message": whole}))) == why


# Arguments


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 0, -1])
async def test_a_time_that_is_none_is_told_by_every_call(inside: tuple[LocalPod, AsyncSandbox], wrong: float) -> None:
    pod, sandbox = inside
    async with await sandbox.shell() as shell:
        before = pod.execs
        for call in (
            sandbox.commands.run("true", timeout=wrong), sandbox.commands.start("true", timeout=wrong),
            sandbox.commands.run("true", timeout=wrong, keep_output=9), shell.run("true", timeout=wrong),
            sandbox.run_code("1", timeout=wrong),
        ):  # fmt: skip
            with pytest.raises(errors.InvalidArgument, match=r"timeout: .* not above zero and finite"):
                await call  # type: ignore[misc]
        with pytest.raises(errors.InvalidArgument, match="interval"):
            await anext(sandbox.files.watch_dir(interval=wrong))
        assert pod.execs == before


@pytest.mark.parametrize("wrong", ["60", True, False, 0, -1, math.nan, math.inf, b"5", [5]])
async def test_a_lifetime_that_is_none_is_told(inside: tuple[LocalPod, AsyncSandbox], wrong: Any) -> None:
    pod, sandbox = inside
    before = pod.execs
    with pytest.raises(errors.InvalidArgument, match=r"seconds: .* is not from 1"):
        await sandbox.set_timeout(wrong)
    assert pod.execs == before


@pytest.mark.parametrize("wrong", [3, "cobol", b"python"])
async def test_a_language_that_is_none_is_told(inside: tuple[LocalPod, AsyncSandbox], wrong: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match="language"):
        await inside[1].contexts.create(wrong)
    with pytest.raises(errors.InvalidArgument, match="language"):
        await inside[1].run_code("1", language=wrong)


CALLS: dict[str, Call] = {
    "a command": lambda sandbox: sandbox.commands.run(HALF),
    "a word": lambda sandbox: sandbox.commands.run(["echo", HALF]),
    "a variable": lambda sandbox: sandbox.commands.run("true", env={"A": HALF}),
    "a folder": lambda sandbox: sandbox.commands.run("true", cwd=HALF),
    "a command in the background": lambda sandbox: sandbox.commands.start(HALF),
    "a path": lambda sandbox: sandbox.files.read(HALF),
    "a text": lambda sandbox: sandbox.files.write("/nowhere/f", HALF),
    "a line": lambda sandbox: sandbox.files.append("/nowhere/f", HALF),
    "a program": lambda sandbox: sandbox.run_code(HALF),
    "a shell's folder": lambda sandbox: sandbox.shell(cwd=HALF),
    "a terminal's word": lambda sandbox: sandbox.pty(["echo", HALF]),
    "a terminal's byte": lambda sandbox: sandbox.pty(["echo", "a\udcff"]),
    "a terminal's zero": lambda sandbox: sandbox.pty(["echo", "a\0"]),
    "a shell's zero": lambda sandbox: sandbox.shell(env={"A": "a\0"}),
    "no bytes": lambda sandbox: sandbox.commands.run("cat", stdin="text"),
    "no JSON": lambda sandbox: sandbox.run_code("def main(x): pass", args=[{1, 2}]),
    "no number": lambda sandbox: sandbox.run_code("def main(x): pass", args=[math.nan]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_what_cannot_be_sent_is_an_argument_that_is_wrong(
    inside: tuple[LocalPod, AsyncSandbox], call: Call
) -> None:
    pod, sandbox = inside
    with pytest.raises(errors.InvalidArgument):
        await call(sandbox)
    assert pod.execs == 0


async def test_a_half_character_in_a_session_leaves_the_session(sandbox: AsyncSandbox) -> None:
    async with await sandbox.shell() as shell:
        with pytest.raises(errors.InvalidArgument, match="half a character"):
            await shell.run(f"echo {HALF}")
        assert (await shell.run("echo 'a\udcff'")).stdout == b"a\xff\n"


async def test_a_program_may_hold_bytes_that_are_no_text(sandbox: AsyncSandbox) -> None:
    assert (await sandbox.run_code("printf 'caf\udce9'", "bash")).stdout == b"caf\xe9"


NAMES = ["", "a=b"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_variable_that_no_program_can_have_is_refused_wherever_it_is_given(
    inside: tuple[LocalPod, AsyncSandbox], name: str
) -> None:
    pod, sandbox = inside
    env = {name: "1"}
    for call in (sandbox.commands.start("true", env=env), sandbox.shell(env=env), sandbox.pty(env=env)):
        with pytest.raises(errors.InvalidArgument, match="env: "):
            await call  # type: ignore[misc]
    assert pod.execs == 0
    with pytest.raises(errors.InvalidArgument, match="env: "):
        await sandbox.contexts.create(env=env)


@pytest.mark.parametrize("name", ["../other", "a/b", "a?x=y", "..", "A", "", "a#", "%2e%2e", "x" * 254, "a\n", "-a"])
async def test_a_name_leads_nowhere_but_to_a_sandbox(inside: tuple[LocalPod, AsyncSandbox], name: str) -> None:
    """What a program's own user types, for example."""
    pod, sandbox = inside
    cluster = sandbox._session.cluster
    for call in (AsyncSandbox.connect(name, cluster=cluster), AsyncSandbox.create(name, cluster=cluster),
                 AsyncSandbox.connect("s", namespace=name or "A", cluster=cluster),
                 AsyncSandbox.list(pool=name, cluster=cluster),
                 AsyncSandbox.create("p", name=name or "A", cluster=cluster)):  # fmt: skip
        with pytest.raises(errors.InvalidArgument, match="is no name"):
            await call
    with pytest.raises(errors.InvalidArgument, match="labels"):
        await AsyncSandbox.list(labels={"a": "b,c=d"}, cluster=cluster)
    assert not pod.asked


@pytest.mark.parametrize("phase", ["ready", "Nope", ""])
async def test_a_phase_that_is_none_is_told(inside: tuple[LocalPod, AsyncSandbox], phase: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="none of Pending, Starting, Ready"):
        await AsyncSandbox.list(phase=phase, cluster=inside[1]._session.cluster)


def test_a_call_within_a_callback_is_refused_and_does_not_hang(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, monkeypatch), Sandbox.connect("s") as sandbox:
        with pytest.raises(errors.InvalidArgument, match="another thread"):
            sandbox.commands.run("echo x", on_stdout=lambda _: sandbox.commands.run("true"))  # type: ignore[arg-type]
        assert sandbox.commands.run("echo x").stdout == b"x\n"


@pytest.mark.parametrize("first", ["atexit.register(end)", "pass"])
def test_a_sandbox_is_killed_while_the_program_ends(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """By a function that was registered before the client's own or behind it, of a server that has a name."""
    text = f"""
        import atexit
        from sandyard import Sandbox
        def end():
            print(sandbox.kill(wait=False), flush=True)
        {first}
        sandbox = Sandbox.create("p")
        {"pass" if first != "pass" else "atexit.register(end)"}
        # As if its connections had been idle for too long: it needs new ones.
        sandbox._behind._session.cluster.forgotten = True
    """
    with serving(tmp_path, monkeypatch) as pod:
        config = tmp_path / "kubeconfig"
        config.write_text(config.read_text().replace("127.0.0.1", "localhost"))
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True,
                              timeout=40, check=False)  # fmt: skip
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert pod.deleted


# What is run


async def test_a_shell_that_cannot_read_its_script_is_no_success(
    sandbox: AsyncSandbox, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = f"echo ran; : {'x' * 20_000}"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.ExecTransportError, match="needs dd or head") as caught:
        await sandbox.commands.run(long)
    assert not caught.value.started
    (tmp_path / "head").symlink_to(str(shutil.which("head", path="/usr/bin:/bin")))
    assert (await sandbox.commands.run(long)).stdout == b"ran\n"


@pytest.mark.parametrize("words", [["cd", "/nowhere"], [".", "/nowhere"], ["eval", "("], ["exec", "/nowhere"],
                                   ["umask", "x"], ["shift", "9"]], ids=" ".join)  # fmt: skip
@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_has_of_its_own_says_nothing_of_our_script(shell: str, words: list[str]) -> None:
    done = run(shell, words)
    assert done.code != 0
    assert b"sandyard" not in done.err
    assert run(shell, ["exit", "7"]).code == 7


@pytest.mark.parametrize("shell", SHELLS)
def test_a_time_out_of_the_pods_own_ends_no_command(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bash ends each of its reads after TMOUT seconds, those of our script too."""
    monkeypatch.setenv("TMOUT", "1")
    for options in ({"length": 0}, {"length": 1, "stdin": b"x"}):
        done = run(shell, "sleep 2.5; echo $TMOUT", watch=60, **options)  # type: ignore[arg-type]
        assert (done.code, done.out) == (0, b"1\n")


async def test_many_artifacts_cost_no_program_each(sandbox: AsyncSandbox) -> None:
    program = """
import os
for n in range(5_000):
    open(os.environ["SANDYARD_ARTIFACTS"] + f"/{n:05}.csv", "w").close()
def main(): return 5
"""
    done = await sandbox.run_code(program, args=[])
    assert (done.value, len(done.artifacts)) == (5, 10), done.skipped[:3]


@pytest.mark.parametrize(
    ("program", "last"),
    [("def f(x): return 1 / x\ndef main(x): return f(x - x)", b"ZeroDivisionError: division by zero\n"),
     ("async def main(x): raise KeyError(x)", b"KeyError: 1\n"), ("def main(x): return {1}", b"JSON serializable\n"),
     ("def main(): pass", b"but 1 was given\n"), ("1", b"no attribute 'main'\n"), ("def f(:", b"invalid syntax\n")],
)  # fmt: skip
async def test_an_error_of_a_program_is_told_by_its_own_lines(sandbox: AsyncSandbox, program: str, last: bytes) -> None:
    done = await sandbox.run_code(program, args=[1])
    assert done.outcome == "program_error"
    assert done.stderr.endswith(last), done.stderr
    assert b"call.py" not in done.stderr
    assert (b'main.py", line 1, in f' in done.stderr) == ("f(x)" in program)


async def test_a_signal_or_a_grace_that_is_none_ends_nothing(sandbox: AsyncSandbox) -> None:
    command = await sandbox.commands.start(["sleep", "60"])
    try:
        for call in (command.kill("NOPE"), sandbox.commands.end(command.id, "15"), command.kill(grace=math.nan),
                     sandbox.commands.end(command.id, grace=-1)):  # fmt: skip
            with pytest.raises(errors.InvalidArgument, match=r"unknown signal|grace"):
                await call  # type: ignore[misc]
        assert (await command.read()).exit_code is None
        assert await command.kill("sigterm", grace=0.5)
        assert (await command.wait(20)).exit_code == 143
    finally:
        await command.remove()


@pytest.mark.parametrize(
    ("first", "told"),
    [("#!/nonexistent/x -y", b"its interpreter /nonexistent/x is not there\n"),
     ("#! /bin/sh\r", b"its interpreter /bin/sh\r is not there\n")],
)  # fmt: skip
@pytest.mark.parametrize("shell", SHELLS)
def test_an_interpreter_that_is_not_there_is_named(shell: str, first: str, told: bytes, tmp_path: pathlib.Path) -> None:
    """As of a script that was written with the ends of lines of Windows."""
    script = tmp_path / "script"
    script.write_bytes(first.encode() + b"\necho ran\n")
    script.chmod(0o755)
    done = run(shell, [str(script)])
    assert (done.code, done.err) == (127, f"{script}: ".encode() + told)
    for fine in (b"#! /bin/sh -e\necho ran\n", b"#!/bin/sh\necho ran\n", b"echo ran\n"):
        script.write_bytes(fine)
        assert run(shell, [str(script)]).out == b"ran\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [(["no-such"], 127, b"no-such: command not found"), (["/no/such"], 127, b"/no/such: no such file"),
     (["/etc"], 126, b"/etc: permission denied"), (["exit", "7"], 7, b""), (["sh", "-c", "exit 3"], 3, b"")],
)  # fmt: skip
async def test_what_cannot_be_run_is_told_alike_in_the_background_and_on_a_terminal(
    sandbox: AsyncSandbox, words: list[str], code: int, told: bytes
) -> None:
    command = await sandbox.commands.start(words)
    try:
        done = await command.wait(20)
        assert (done.exit_code, done.stderr.strip()) == (code, told)
    finally:
        await command.remove()
    async with await sandbox.pty(words) as terminal:
        said = b"".join([data async for data in terminal])
    assert (terminal.exit_code, said.strip()) == (code, told)
