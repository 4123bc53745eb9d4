"""Several pytest processes that share one run: each file is run by one of them, whole."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap

from localcluster import paths

# Says who runs what; the first test of a file holds it until a test of another file has run, in another process.
FILE = """
import os, pathlib, time
import pytest

LOG = pathlib.Path({log!r})

def note(what):
    with LOG.open("a") as file:
        file.write(f"{{os.getpid()}} {{what}}\\n")

@pytest.fixture(scope="module")
def made():
    note("{name} begins")
    yield
    note("{name} ends")

def test_one(made):
    deadline = time.monotonic() + 300
    while len({{line.split()[0] for line in LOG.read_text().splitlines()}}) < 2:
        assert time.monotonic() < deadline, "the other process runs nothing"
        time.sleep(0.01)

def test_two(made):
    note("{name} test_two")
"""


def test_two_processes_share_the_files_and_each_is_run_once_and_whole(tmp_path: pathlib.Path) -> None:
    log, taken, files = tmp_path / "log", tmp_path / "taken", tmp_path / "files"
    taken.mkdir()
    files.mkdir()
    names = ["test_a", "test_b", "test_c", "test_d"]
    for name in names:
        (files / f"{name}.py").write_text(textwrap.dedent(FILE.format(log=str(log), name=name)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.sharing", f"--share={taken}",
               "-p", "no:cacheprovider", f"--rootdir={files}", str(files)]  # fmt: skip
    running = [
        subprocess.Popen(command, cwd=paths.REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    shown = [process.communicate(timeout=400)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], shown
    lines = [line.split(maxsplit=1) for line in log.read_text().splitlines()]
    assert len({process for process, _ in lines}) == 2, "one of them ran nothing"
    told = [[what for process, what in lines if what.startswith(name)] for name in names]
    assert told == [[f"{name} begins", f"{name} test_two", f"{name} ends"] for name in names]
    for name in names:
        assert len({process for process, what in lines if what.startswith(name)}) == 1, "a file was torn in two"
    # Whoever comes later finds nothing to do, and that is no failure.
    done = subprocess.run(command, cwd=paths.REPOSITORY, text=True, capture_output=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout
    assert log.read_text().count("begins") == len(names)
