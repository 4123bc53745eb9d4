"""README.md is true: its commands are run as they stand."""

from __future__ import annotations

import re
import subprocess

from localcluster import paths
from tests.support.release import Installed

README = (paths.REPOSITORY / "README.md").read_text()
# Run elsewhere: the demo in tests/own_cluster, the tests by whoever runs this one.
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
