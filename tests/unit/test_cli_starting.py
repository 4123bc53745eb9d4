"""Commands that need no pod wait for none, and what becomes of names and of what runs behind is told."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sandyard.cli.main import main
from sandyard.client import Sandbox
from tests.unit.local_pod import LocalPod, serving

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def pod(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPod]:
    with serving(tmp_path, monkeypatch) as made:
        yield made


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture(params=["Starting", "Pending", "Stalled"])
def starting(request: pytest.FixtureRequest, pod: LocalPod) -> LocalPod:
    """The Sandbox is yet to come, or never does without somebody's help."""
    reason = "PoolNotFound" if request.param == "Stalled" else "Starting"
    conditions = [{"type": "Ready", "status": "False", "reason": reason, "message": "not yet"}]
    if request.param == "Stalled":
        conditions.append({"type": "Stalled", "status": "True", "reason": reason, "message": "no such pool"})
    phase = "Starting" if request.param == "Starting" else "Pending"
    pod.body = {**pod.body, "status": {**pod.body["status"], "phase": phase, "podName": "", "conditions": conditions}}
    return pod


def test_its_time_is_set_before_it_is_there(starting: LocalPod) -> None:
    done = run("ttl", "s", "600")
    assert (done.exit_code, done.output) == (0, "")
    (asked,) = [body for method, _, body in starting.asked if method == "PATCH"]
    assert asked["spec"]["lifetime"]["deadline"]


def test_it_is_suspended_before_it_is_there(starting: LocalPod, monkeypatch: pytest.MonkeyPatch) -> None:
    async def enters(_session: object, state: str) -> None:
        entered.append(state)

    entered: list[str] = []
    monkeypatch.setattr("sandyard.client.session.session.Session.enter", enters)
    assert (run("suspend", "s").exit_code, entered) == (0, ["Suspended"])


def test_what_is_not_there_keeps_nobody_from_the_rest(pod: LocalPod) -> None:
    done = run("rm", "nosuch", "s", "other", "s")
    assert done.exit_code == 1
    assert done.output.splitlines()[0] == "s deleted" and done.output.count("[NotFound]") == 2, done.output
    assert pod.deleted and [method for method, _, _ in pod.asked] == ["DELETE"]


@pytest.mark.parametrize("flag", ["-r", "-R", "--recursive"])
def test_cp_is_typed_as_cp(pod: LocalPod, tmp_path: pathlib.Path, flag: str) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "f").write_text("x")
    pod.folder = tmp_path
    done = run("cp", flag, str(tmp_path / "tree"), "s:copy")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "copy" / "f").read_text() == "x"


LIMITS: list[tuple[dict[str, Any], list[str], int, str]] = [
    ({"timeout": 1}, ["sleep", "60"], 124, "its time was over"), ({}, ["sh", "-c", "exit 5"], 5, ""),
    ({"max_output": 10}, ["sh", "-c", "head -c 200000 /dev/zero; exit 3"], 3, "more than is kept"),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "words", "code", "told"), LIMITS)
@pytest.mark.usefixtures("pod")
def test_the_end_of_what_runs_behind_is_told_as_that_of_a_command(
    limits: dict[str, Any], words: list[str], code: int, told: str
) -> None:
    with Sandbox.connect("s") as sandbox:
        handle = sandbox.commands.start(words, **limits)
        done, again = run("logs", "-f", "s", handle.id), run("logs", "s", handle.id)
        assert (done.exit_code, told in done.stderr) == (code, True), done.stderr
        assert (again.exit_code, told in again.stderr) == (0, True), again.stderr
        handle.remove()
