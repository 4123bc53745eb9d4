"""README.md is true: its commands are run as they stand, and the demo and its end are tried."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

from localcluster import paths, processes
from tests.cluster.conftest import Installed

README = (paths.REPOSITORY / "README.md").read_text()
# Run elsewhere: the demo below, the tests by whoever runs this one.
_ELSEWHERE = {"make demo", "make test", 'eval "$(hack/cluster env)"'}


def commands() -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and line not in _ELSEWHERE]


def test_the_tour_works_line_by_line(installed: Installed) -> None:
    script = "set -euo pipefail\n" + "\n".join(commands())
    assert "kubectl apply -f examples/python-pool.yaml" in script
    done = subprocess.run(
        ["bash", "-c", script], cwd=paths.REPOSITORY, env=installed.kube.environment, text=True, capture_output=True,
        timeout=300, check=False,
    )  # fmt: skip
    try:
        assert done.returncode == 0, done.stderr
        assert "\n42\n" in done.stdout
        assert "Starting gVisor" in done.stdout
        assert re.search(r"hello +Ready +Ready +Warm +python", done.stdout)
    finally:
        installed.kube.delete("sandboxes,sandboxpools", "--all")


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"\]\(([^):]+)\)|`((?:docs|examples|charts|hack)/[\w./-]+)`", README):
        path = name[0] or name[1]
        assert (paths.REPOSITORY / path).exists(), path


def test_the_demo_shows_what_it_promises_and_its_end_leaves_nothing() -> None:
    name = "demotest"
    try:
        done = subprocess.run(
            [sys.executable, "hack/demo", f"--name={name}"], cwd=paths.REPOSITORY, text=True, capture_output=True,
            timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "Starting gVisor" in done.stdout
        assert re.search(r"From `kubectl apply` to Ready: \d+ ms", done.stdout)
        assert re.search(r"connect to 10\.96\.0\.1:443: .*refused", done.stdout)
        slot = paths.Cluster.named(name).slot
    finally:
        down = subprocess.run(
            [sys.executable, "hack/cluster", "down", f"--name={name}"], cwd=paths.REPOSITORY, text=True,
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
    assert down.returncode == 0, down.stderr
    state = paths.state_dir() / "clusters" / name
    assert not state.exists()
    assert processes.of_tools(paths.cache_dir() / "tools", f"{state}/") == []
    assert str(state) not in pathlib.Path("/proc/self/mounts").read_text()
    assert not list(pathlib.Path("/run/netns").glob(f"sandyard-{name}*"))
    assert not pathlib.Path(f"/sys/class/net/sy{slot}host").exists()
    assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"**/sandyard-{name}"))
