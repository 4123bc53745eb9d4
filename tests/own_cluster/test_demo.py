"""The demo shows what README.md promises, and its end leaves nothing on the machine."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

from localcluster import paths, processes
from tests.support import cgroups


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
        # Before its closing words the pool is watched while a claim comes in.
        watched, _, closing = done.stdout.partition("$ sandyard pool watch\n")[2].partition("Done in ")
        assert re.search(r"Z python ready=True warm=\d/3 start=\d claimed=1 ", watched), watched
        assert closing
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
    assert not cgroups.files(f"/sandyard-{name}/", "cgroup.procs")
