"""A command's variables are its own: none of the client's scripts takes one for its own, changes it or loses it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import string
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping

import pytest

from sandyard.api import variables
from sandyard.client import AsyncSandbox, errors
from sandyard.client.exec import script
from sandyard.podspec import containers
from tests.unit import objects, shells
from tests.unit.local_pod import local_pod
from tests.unit.shells import SHELLS

pytestmark = pytest.mark.timeout(60)
# Whatever a script may call its own.
NAMES = [*string.ascii_letters, "most", "in", "stdin", "size", "so", "se", "why", "OPTIND", "REPLY", "UID", "LINENO"]
VARIABLES = {name: f"7{name}" for name in NAMES if name not in ("OPTIND", "UID", "LINENO")}
SHOW = ["sh", "-c", "cat; tr '\\000' '\\n' </proc/self/environ"]


def told(printed: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in printed.decode().splitlines() if "=" in line)


@pytest.fixture(autouse=True)
def _python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter itself: what stands for it elsewhere may be a script, which has a shell of its own."""
    monkeypatch.setenv("PATH", f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.fixture(params=["of the command", "of the pod"])
async def sandbox(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[AsyncSandbox, Mapping[str, str]]]:
    """A sandbox, and the variables to give to each command: all of them, or none where the pod has them."""
    if request.param == "of the pod":
        for name, value in VARIABLES.items():
            monkeypatch.setenv(name, value)
    async with local_pod() as (_, made):
        yield made, {} if request.param == "of the pod" else VARIABLES


async def test_a_command_has_them_all_and_all_of_its_input(sandbox: tuple[AsyncSandbox, Mapping[str, str]]) -> None:
    inside, env = sandbox
    for timeout in (None, 20):
        done = await inside.commands.run(SHOW, env=env, stdin=b"abcdef\n", timeout=timeout)
        assert done.exit_code == 0
        assert done.stdout.startswith(b"abcdef\n")
        assert told(done.stdout).items() >= VARIABLES.items()
        assert done.stderr == b""


async def test_a_background_command_has_them_all(sandbox: tuple[AsyncSandbox, Mapping[str, str]]) -> None:
    inside, env = sandbox
    handle = await inside.commands.start(SHOW, env=env, stdin=True, timeout=20)
    try:
        await handle.send_stdin(b"abcdef\n")
        await handle.close_stdin()
        done = await handle.wait(timeout=20)
        assert (done.exit_code, done.stdout[:7]) == (0, b"abcdef\n")
        assert told(done.stdout).items() >= VARIABLES.items()
    finally:
        await handle.remove()


async def test_a_program_has_them_all(sandbox: tuple[AsyncSandbox, Mapping[str, str]]) -> None:
    inside, env = sandbox
    done = await inside.run_code("import json, os; print(json.dumps(dict(os.environ)))", env=env)
    assert json.loads(done.stdout).items() >= VARIABLES.items()


async def test_a_shell_has_them_all(sandbox: tuple[AsyncSandbox, Mapping[str, str]]) -> None:
    inside, env = sandbox
    async with await inside.shell(env=env) as shell:
        assert told((await shell.run("env")).stdout).items() >= VARIABLES.items()
        assert (await shell.run('echo "$n$m"')).stdout == b"7n7m\n"


async def test_files_are_read_and_written_whatever_the_pod_calls_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    async with local_pod() as (_, inside):
        files = inside.files
        await files.write(f"{tmp_path}/d/f", b"a\nb\n")
        assert (await files.read_lines(f"{tmp_path}/d/f", 2)).text == "b\n"
        assert [match.text for match in (await files.grep("b", f"{tmp_path}")).matches] == ["b"]
        assert [info.name for info in await files.list(f"{tmp_path}", depth=2)] == ["d", "d/f"]
        await inside.get_environment()
        await inside.get_metrics()


# As the scripts call their own, and what would change how they and their helpers run.
OWN = {f"_sy_{name}": f"7{name}" for name in string.ascii_lowercase} | {
    "sandyard_mark": "7", "CDPATH": "/", "POSIXLY_CORRECT": "7", "GREP_OPTIONS": "7", "PATH": "/nowhere",
}  # fmt: skip


async def test_a_command_has_those_that_the_scripts_use_too_and_they_run_as_before() -> None:
    show = ["/bin/sh", "-c", "while read -r l; do echo $l; done; exec /usr/bin/env"]
    async with local_pod() as (_, inside):
        for timeout in (None, 20):
            done = await inside.commands.run(show, env=OWN, stdin=b"abcdef\n", timeout=timeout, cwd="/tmp")
            assert (done.exit_code, done.stdout[:7]) == (0, b"abcdef\n"), done
            assert told(done.stdout).items() >= OWN.items()
        missing = await inside.commands.run(["cat"], env=OWN)
        assert (missing.exit_code, missing.stderr) == (127, b"cat: command not found\n")
        handle = await inside.commands.start(show, env=OWN, stdin=True, timeout=60)
        try:
            await handle.send_stdin(b"abcdef\n")
            await handle.close_stdin()
            done = await handle.wait(timeout=20)
            assert (done.exit_code, done.stdout[:7]) == (0, b"abcdef\n")
            assert told(done.stdout).items() >= OWN.items()
        finally:
            await handle.remove()
        async with await inside.shell(env=OWN, cwd="/tmp") as shell:
            # Some ~/.bashrc has a PATH of its own.
            assert told((await shell.run("/usr/bin/env")).stdout).items() >= OWN.items() - {("PATH", "/nowhere")}


@pytest.mark.parametrize("name", ["UID", "EUID", "PPID"])
@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_lets_nobody_set_costs_the_command_nothing(shell: str, name: str) -> None:
    request = script.run("0" * 32, "echo ran; exit 3", folder="/", env={name: "5"}, watch_seconds=0)
    done = subprocess.run(
        [*shell.split(), *request.words[1:]], input=request.preface, capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, b"ran\n" in done.stdout) == (3, True)
    assert b"UID" not in done.stderr and b"readonly" not in done.stderr


RAW = {"A.b": 'it\'s "1"\n2 $x `y`\n', "discovery.type": "single-node", "a-b": "", "-x": "=", ".x": "\t"}


@pytest.mark.parametrize("begin", ["run", "start", "shell"])
async def test_what_no_shell_has_a_name_for_arrives_from_the_pod(begin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = objects.template(env=[{"name": name, "value": value} for name, value in RAW.items()])
    for item in containers.main(template, (), None)["env"]:
        if item["name"] not in ("HOME", "USER", "LOGNAME"):
            monkeypatch.setenv(item["name"], item["value"].replace("$$", "$"))
    program = ["python3", "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    async with local_pod() as (_, inside), contextlib.AsyncExitStack() as stack:
        if begin == "run":
            printed = (await inside.commands.run(program)).stdout
            assert (await inside.commands.run(["no-such-program"])).exit_code == 127
        elif begin == "start":
            handle = await inside.commands.start(program)
            stack.push_async_callback(handle.remove)
            printed = (await handle.wait(timeout=20)).stdout
        else:
            shell = await stack.enter_async_context(await inside.shell())
            printed = (await shell.run("python3 -c 'import json, os; print(json.dumps(dict(os.environ)))'")).stdout
    assert json.loads(printed).items() >= RAW.items()


def test_a_pod_whose_names_any_shell_has_says_nothing_of_it() -> None:
    made = containers.main(objects.template(env=[{"name": "A_1", "value": "1"}]), (), None)["env"]
    assert [item["name"] for item in made] == ["HOME", "USER", "LOGNAME", "A_1"]


async def test_what_no_program_can_have_is_refused() -> None:
    async with local_pod() as (pod, inside):
        for name in ("", "a=b"):
            with pytest.raises(errors.InvalidArgument, match=r"env: .* is no name"):
                await inside.commands.run("true", env={name: "1"})
        assert pod.execs == 0


# What some shell keeps for itself, whatever it is given, or has no name for.
GIVEN = {
    **dict.fromkeys(sorted(variables.OWN), "7x"),
    "BASHPID": "7",
    "BASH_VERSION": "7",
    "BASH_FUNC_f%%": "() { :; }",
    **RAW,
}
PROGRAM = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("begin", ["run", "start", "run_code", "context", "shell", "pty"])
async def test_what_a_shell_keeps_to_itself_arrives_at_a_program(begin: str) -> None:
    async with local_pod() as (_, inside), contextlib.AsyncExitStack() as stack:
        if begin == "run":
            printed = (await inside.commands.run(["python3", "-c", PROGRAM], env=GIVEN, stdin=b"x")).stdout
            missing = await inside.commands.run(["no-such-program"], env=GIVEN)
            assert (missing.exit_code, missing.stderr) == (127, b"no-such-program: command not found\n")
        elif begin == "start":
            handle = await inside.commands.start(["python3", "-c", PROGRAM], env=GIVEN)
            stack.push_async_callback(handle.remove)
            printed = (await handle.wait(timeout=20)).stdout
        elif begin == "run_code":
            printed = (await inside.run_code(PROGRAM, env=GIVEN)).stdout
        elif begin == "context":
            context = await inside.contexts.create(env=GIVEN)
            stack.push_async_callback(context.remove)
            printed = (await context.run(PROGRAM)).stdout
        elif begin == "shell":
            # Of those that no shell has a name for; the others are the shell's own here.
            shell = await stack.enter_async_context(await inside.shell(env=RAW))
            printed = (await shell.run(f"python3 -c '{PROGRAM}'")).stdout
        else:
            terminal = await stack.enter_async_context(await inside.pty(["python3", "-c", PROGRAM], env=GIVEN))
            printed = b"".join([data async for data in terminal])
    assert json.loads(printed).items() >= (RAW if begin == "shell" else GIVEN).items()


@pytest.mark.parametrize("shell", SHELLS)
def test_it_arrives_whichever_shell_is_sh(shell: str) -> None:
    done = shells.run(shell, ["python3", "-c", PROGRAM], env=GIVEN)
    assert (done.code, done.err) == (0, b"")
    assert json.loads(done.out).items() >= GIVEN.items()
    assert shells.run(shell, ["env"], env={"UID": "it's", "A": "1"}, stdin=b"x", length=1).out.count(b"UID=it's\n") == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_every_variable_that_a_shell_makes_arrives(shell: str) -> None:
    """Of what this very shell has when nobody has given it one."""
    made = subprocess.run(["env", "-i", *shell.split(), "-c", "set"], capture_output=True, text=True, check=True).stdout
    names = {line.partition("=")[0] for line in made.splitlines() if re.match("[A-Za-z_]+=", line)} - {"PATH"}
    assert names >= {"IFS", "PPID"}
    given = dict.fromkeys(names, "7x")
    done = shells.run(shell, ["python3", "-c", PROGRAM], env=given)
    assert json.loads(done.out).items() >= given.items()


@pytest.mark.parametrize("begin", ["run", "start", "run_code"])
async def test_it_arrives_from_the_pod(begin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"UID": "1000", "RANDOM": "7", "a.b": "1", "BASHPID": "x"}
    template = objects.template(env=[{"name": name, "value": value} for name, value in given.items()])
    for item in containers.main(template, (), None)["env"]:
        if item["name"] not in ("HOME", "USER", "LOGNAME"):
            monkeypatch.setenv(item["name"], item["value"])
    async with local_pod() as (_, inside):
        if begin == "run":
            printed = (await inside.commands.run(["python3", "-c", PROGRAM])).stdout
        elif begin == "start":
            handle = await inside.commands.start(["python3", "-c", PROGRAM])
            printed = (await handle.wait(timeout=20)).stdout
            await handle.remove()
        else:
            printed = (await inside.run_code(PROGRAM)).stdout
    assert json.loads(printed).items() >= given.items()
