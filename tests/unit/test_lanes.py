"""``hack/test``: what counts as a pass, and how its lanes end."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import pathlib
import re
import sys
import types
from collections.abc import Iterator

import pytest

from localcluster import paths

CASE = '<testcase classname="{layer}.test_x" name="test_y">{inner}</testcase>'
LAYERS = ("tests.unit", "tests.api", "tests.own_cluster", "tests.cluster")


@pytest.fixture
def suite() -> Iterator[types.ModuleType]:
    loader = importlib.machinery.SourceFileLoader("hack_test", str(paths.REPOSITORY / "hack" / "test"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    yield module
    del sys.modules[loader.name]


def run_of(suite: types.ModuleType, folder: pathlib.Path, layer: str, inner: str = "", status: int = 0) -> object:
    """A test run that has ended: its report has one test of *layer*."""
    report = folder / f"{layer}.xml"
    report.write_text(f"<testsuite>{CASE.format(layer=layer, inner=inner)}</testsuite>")
    return suite.Step(layer, [], report, status=status, lines=["", "=== 1 passed in 0.1s ==="])


def test_a_run_of_every_layer_is_a_pass(
    suite: types.ModuleType, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suite._judge([run_of(suite, tmp_path, layer) for layer in LAYERS]) == 0
    shown = capsys.readouterr().out
    assert "=== 1 passed in 0.1s ===" in shown
    assert shown.endswith("4 passed, 0 failed, 0 skipped\n")


def test_a_layer_that_ran_nothing_is_no_pass(
    suite: types.ModuleType, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suite._judge([run_of(suite, tmp_path, layer) for layer in LAYERS[:3]]) == 1
    assert "tests/cluster ran no test" in capsys.readouterr().out


def test_a_skipped_test_is_no_pass(
    suite: types.ModuleType, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [run_of(suite, tmp_path, layer) for layer in LAYERS[:3]]
    steps.append(run_of(suite, tmp_path, LAYERS[3], "<skipped/>"))
    assert suite._judge(steps) == 1
    assert "skipped: test_y" in capsys.readouterr().out


def test_a_step_that_failed_or_never_ran_is_no_pass(
    suite: types.ModuleType, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [run_of(suite, tmp_path, layer) for layer in LAYERS]
    assert suite._judge([*steps, suite.Step("lint", [])]) == 1
    assert "lint: not run" in capsys.readouterr().out
    assert suite._judge([*steps, suite.Step("lint", [], status=2)]) == 1
    assert "lint: exit status 2" in capsys.readouterr().out


def test_a_long_test_that_nobody_has_explained_is_named_and_is_a_pass(
    suite: types.ModuleType, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = re.findall(r"`(test_\w+::test_\w+)`", (paths.REPOSITORY / "CONTRIBUTING.md").read_text())[0]
    module, _, name = told.partition("::")
    steps = [run_of(suite, tmp_path, layer) for layer in LAYERS]
    ran = [(module, f"{name}[a]"), ("test_x", "test_slow"), ("test_x", "test_quick")]
    for step, (classname, test) in zip(steps, ran, strict=False):
        seconds = "59.9" if test == "test_quick" else "60.1"
        text = step.report.read_text()  # type: ignore[attr-defined]
        case = f'<testcase classname="tests.cluster.{classname}" name="{test}" time="{seconds}"/></testsuite>'
        step.report.write_text(text.replace("</testsuite>", case))  # type: ignore[attr-defined]
    assert suite._judge(steps) == 0
    shown = capsys.readouterr().out
    assert "test_x::test_slow" in shown
    assert "test_quick" not in shown and name not in shown


def test_a_failed_lint_ends_the_other_lane_in_order_and_nothing_follows(
    suite: types.ModuleType, tmp_path: pathlib.Path
) -> None:
    begun, cleared = tmp_path / "begun", tmp_path / "cleared"
    slow = f"""
import pathlib, time
pathlib.Path({str(begun)!r}).touch()
try:
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path({str(cleared)!r}).touch()
"""
    wait = (
        f"import pathlib, time\nwhile not pathlib.Path({str(begun)!r}).exists(): time.sleep(0.01)\nraise SystemExit(3)"
    )
    long_run = suite.Step("cluster", [sys.executable, "-c", slow], tmp_path / "none.xml")
    lint = suite.Step("lint", [sys.executable, "-c", wait])
    unit = suite.Step("unit", [sys.executable, "-c", ""], tmp_path / "none.xml")
    suite.lanes[:] = [suite.Lane("cluster", long_run), suite.Lane("beside", lint, unit)]
    suite._finish(suite.lanes)
    assert (lint.status, unit.status) == (3, None)
    assert cleared.exists()
    assert long_run.seconds < 30


def test_an_idle_step_leaves_the_machine_to_the_others_and_hurries_when_they_have_ended(
    suite: types.ModuleType, tmp_path: pathlib.Path
) -> None:
    """Linux shares the processors out by sessions, where it does so: what counts is the whole session's share."""
    wait = f"""
import pathlib, sys, time
group = pathlib.Path("/proc/self/autogroup")
deadline = time.monotonic() + 300
for wanted in sys.argv[1:]:
    while group.exists() and group.read_text().split()[-1] != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    pathlib.Path({str(tmp_path)!r}, wanted).touch()
"""
    other = f"""
import pathlib, time
deadline = time.monotonic() + 300
while not pathlib.Path({str(tmp_path)!r}, "19").exists() and time.monotonic() < deadline: time.sleep(0.01)
"""
    idle = suite.Step("unit", [sys.executable, "-c", wait, "19", "0"], tmp_path / "none.xml", idle=True)
    busy = suite.Step("alone", [sys.executable, "-c", other], tmp_path / "none.xml")
    suite.lanes[:] = [suite.Lane("alone", busy), suite.Lane("unit", idle)]
    suite._finish(suite.lanes)
    assert (busy.status, idle.status) == (0, 0)
    assert max(busy.seconds, idle.seconds) < 300
