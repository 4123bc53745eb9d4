"""The sandbox environment of inspect_ai: its own checks of one, and evaluations as it runs them."""

from __future__ import annotations

import inspect
import pathlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from inspect_ai import Task, eval_async
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.scorer import includes
from inspect_ai.solver import Generate, TaskState, solver
from inspect_ai.tool import bash
from inspect_ai.util import (
    OutputLimitExceededError,
    SandboxUnavailableError,
    SandboxUserUnsupportedError,
    override_sandbox_output_limit,
    sandbox,
)
from inspect_ai.util._sandbox import self_check

from localcluster import paths
from sandyard.adapters.inspect_ai import SandyardConfig, SandyardSandboxEnvironment
from sandyard.client.errors import InvalidArgument
from tests.unit.local_pod import LocalPod

CHECKS = {name: check for name, check in vars(self_check).items() if name.startswith("test_")}
# It makes a second user, as root.
OTHER_USERS = {"test_exec_as_user"}

# These prove what a user may not do.
ALLOWED = re.compile("not_allowed|without_permissions")


@pytest.fixture
async def environment(pod: LocalPod) -> AsyncIterator[SandyardSandboxEnvironment]:
    made = await SandyardSandboxEnvironment.sample_init("task", "python", {})
    try:
        yield made["default"].as_type(SandyardSandboxEnvironment)
    finally:
        await SandyardSandboxEnvironment.sample_cleanup("task", "python", made, False)


async def evaluate(task: Task, **options: Any) -> EvalLog:
    (log,) = await eval_async(task, model="mockllm/model", log_format="json", **options)
    return log


def test_only_what_needs_a_second_user_is_left_out() -> None:
    assert CHECKS.keys() > OTHER_USERS
    assert len(CHECKS) >= 30


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - OTHER_USERS))
async def test_inspects_own_check_of_an_environment_passes(
    environment: SandyardSandboxEnvironment, pod: LocalPod, name: str
) -> None:
    if not ALLOWED.search(name):
        # They read what this machine may keep from others.
        pod.user = None
    await CHECKS[name](environment)


async def test_a_sample_works_in_a_sandbox_of_its_own_which_is_deleted(pod: LocalPod, tmp_path: pathlib.Path) -> None:
    @solver
    def working() -> Any:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            state.output.completion = str(await bash(timeout=30)("cat notes/a.txt setup.txt"))
            return state

        return solve

    task = Task(
        dataset=[Sample("Read.", target="forty-two", files={"notes/a.txt": "forty-"}, setup="echo two > setup.txt")],
        solver=working(), scorer=includes(), sandbox=("sandyard", "python"),
    )  # fmt: skip
    log = await evaluate(task, log_dir=str(tmp_path))
    assert log.status == "success", log.error
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1
    assert pod.deleted
    assert [body["spec"]["poolRef"]["name"] for method, _, body in pod.asked if method == "POST"] == ["python"]
    assert SandyardSandboxEnvironment._clusters == {}


async def test_a_sample_that_fails_leaves_no_sandbox(pod: LocalPod, tmp_path: pathlib.Path) -> None:
    @solver
    def failing() -> Any:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            await sandbox().exec(["true"])
            raise RuntimeError("the solver is at fault")

        return solve

    task = Task(dataset=[Sample("Do.")], solver=failing(), sandbox=("sandyard", "python"))
    log = await evaluate(task, log_dir=str(tmp_path))
    assert log.status == "error"
    assert log.error is not None
    assert "the solver is at fault" in log.error.message
    assert pod.deleted


@pytest.mark.usefixtures("pod")
async def test_without_a_pool_no_evaluation_begins() -> None:
    with pytest.raises(InvalidArgument, match=r'name a pool, \("sandyard", "POOL"\)'):
        await evaluate(Task(dataset=[Sample("Do.")], sandbox="sandyard"))


async def test_a_command_for_another_user_is_not_run_and_says_whose_the_sandbox_is(
    environment: SandyardSandboxEnvironment,
) -> None:
    with pytest.raises(
        SandboxUserUnsupportedError, match=r"template's user .*, and nothing as 'somebody'; leave it out"
    ):
        await environment.exec(["touch", "made"], user="somebody")
    with pytest.raises(FileNotFoundError):
        await environment.read_file("made")


async def test_the_sandboxes_own_user_may_be_named(environment: SandyardSandboxEnvironment) -> None:
    number = (await environment.exec(["id", "-u"])).stdout.strip()
    name = (await environment.exec(["id", "-un"])).stdout.strip()
    for own in (number, name):
        assert (await environment.exec(["id", "-u"], user=own)).stdout.strip() == number


async def test_a_command_whose_time_is_over_is_ended_and_not_run_again(
    environment: SandyardSandboxEnvironment,
) -> None:
    with pytest.raises(TimeoutError):
        await environment.exec(["sh", "-c", "echo once >> runs; sleep 60"], timeout=1)
    assert await environment.read_file("runs") == "once\n"
    assert "sleep 60" not in str([one.command for one in await environment.sandbox.commands.processes()])


@pytest.mark.parametrize(
    ("stream", "given"),
    [("", "text"), ("", b"\x00bytes"), (" >&2", "ä"), ("", None)],
    ids=["text", "bytes", "error", "none"],
)
async def test_input_goes_in_and_output_comes_out_as_it_is(
    environment: SandyardSandboxEnvironment, stream: str, given: str | bytes | None
) -> None:
    done = await environment.exec(["sh", "-c", f"cat{stream}"], input=given)
    expected = given.decode() if isinstance(given, bytes) else given or ""
    assert (done.stderr if stream else done.stdout) == expected


async def test_variables_reach_the_command(environment: SandyardSandboxEnvironment) -> None:
    assert (await environment.exec(["sh", "-c", "echo $n"], env={"n": "3"})).stdout == "3\n"


async def test_a_folder_that_is_not_there_is_told(environment: SandyardSandboxEnvironment) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        await environment.exec(["true"], cwd="nowhere")


@pytest.mark.parametrize("code", ["echo permission denied >&2; exit 126", "echo said; exit 126", "exit 126"])
async def test_a_program_that_says_so_itself_is_only_an_exit_code(
    environment: SandyardSandboxEnvironment, code: str
) -> None:
    done = await environment.exec(["sh", "-c", code])
    assert done.returncode == 126


async def test_line_ends_stay_as_they_are(environment: SandyardSandboxEnvironment) -> None:
    await environment.write_file("a.txt", "one\r\ntwo\n")
    assert await environment.read_file("a.txt") == "one\r\ntwo\n"


async def test_a_file_that_is_no_text_is_told_and_output_is_shown_as_well_as_it_can_be(
    environment: SandyardSandboxEnvironment,
) -> None:
    await environment.write_file("a", b"\xc3\x28")
    with pytest.raises(UnicodeDecodeError):
        await environment.read_file("a")
    assert (await environment.exec(["cat", "a"])).stdout == "\ufffd("


async def test_too_much_output_is_told_with_its_beginning(
    environment: SandyardSandboxEnvironment,
) -> None:
    with override_sandbox_output_limit(1000), pytest.raises(OutputLimitExceededError) as raised:
        await environment.exec(["sh", "-c", "echo first; yes"])
    assert raised.value.truncated_output is not None
    assert raised.value.truncated_output.startswith("first\ny\n")


async def test_a_terminal_is_one_command_away(environment: SandyardSandboxEnvironment) -> None:
    connection = await environment.connection()
    assert (connection.type, connection.command) == ("sandyard", "sandyard shell -n default s")
    assert connection.container == "p"
    with pytest.raises(SandboxUserUnsupportedError, match="somebody"):
        await environment.connection(user="somebody")


async def test_a_sandbox_that_is_gone_is_told_from_a_command_that_fails(pod: LocalPod) -> None:
    made = await SandyardSandboxEnvironment.sample_init("task", "python", {})
    environment = made["default"].as_type(SandyardSandboxEnvironment)
    await environment.sandbox.kill()
    for call in (environment.exec(["true"]), environment.read_file("a"), environment.write_file("a", "b")):
        with pytest.raises(SandboxUnavailableError, match="was deleted"):
            await call
    with pytest.raises(ConnectionError):
        await environment.connection()
    await SandyardSandboxEnvironment.sample_cleanup("task", "python", made, True)


def test_a_configuration_survives_a_log_and_can_be_kept_in_a_set() -> None:
    asked = SandyardConfig(template={"image": "python:3.12", "resources": {"cpu": "1"}}, env={"a": "b"}, timeout=60)
    again = SandyardSandboxEnvironment.config_deserialize(asked.model_dump(mode="json"))
    assert again == asked
    assert len({asked, again, SandyardConfig(pool="python")}) == 2


@pytest.mark.parametrize(
    "wrong", [{}, {"pool": "a", "template": "b"}, {"pool": "a", "tiemout": 3}, {"pool": "a", "timeout": 0}]
)
def test_a_configuration_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        SandyardConfig(**wrong)


async def test_one_of_them_can_be_deleted_by_name(pod: LocalPod) -> None:
    with pytest.raises(InvalidArgument, match="name the sandbox"):
        await SandyardSandboxEnvironment.cli_cleanup(None)
    assert not pod.deleted
    await SandyardSandboxEnvironment.cli_cleanup("s")
    assert pod.deleted


def test_each_call_takes_what_inspect_gives_it() -> None:
    base = SandyardSandboxEnvironment.__mro__[1]
    for name in ("exec", "read_file", "write_file", "connection", "sample_init", "sample_cleanup", "task_init"):
        theirs, ours = (
            inspect.signature(getattr(kind, name)).parameters for kind in (base, SandyardSandboxEnvironment)
        )
        assert list(ours) == list(theirs), name


def test_the_example_of_the_page_runs(pod: LocalPod, tmp_path: pathlib.Path) -> None:
    text = (paths.REPOSITORY / "docs" / "porting.md").read_text()
    (program,) = re.findall(r"^```python\n(from inspect_ai .*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "task.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "task.py"], cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("success\n")
    assert pod.deleted
