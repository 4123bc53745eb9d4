"""What ``pip install`` gives: a light client and its commands, typed, without the operator's dependencies."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

from localcluster import paths

LOOK = """
import importlib.metadata, importlib.util, pathlib
from sandyard import AsyncSandbox, CommandResult, Sandbox
from sandyard.client.exec import script
package = pathlib.Path(script.__file__).parents[2]
assert (package / "py.typed").exists()
for part in (package / "client" / "exec" / "sh").glob("*.sh"):
    assert script.text(part.stem)
assert script.text("functions", "run").count("tagged")
for missing in ("kopf", "prometheus_client", "uvloop"):
    assert importlib.util.find_spec(missing) is None, missing
print(package)
"""


def test_the_wheel_is_a_light_client_with_its_commands(tmp_path: pathlib.Path) -> None:
    def run(*command: str | pathlib.Path) -> str:
        done = subprocess.run(
            [str(word) for word in command], cwd=tmp_path, text=True, capture_output=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    source = tmp_path / "source"
    # A build leaves things where it is made.
    shutil.copytree(paths.REPOSITORY / "operator", source / "operator", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(paths.REPOSITORY / name, source)
    uv = (sys.executable, "-m", "uv")
    run(*uv, "build", "--wheel", "--quiet", "--out-dir", tmp_path / "dist", source)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(*uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    programs = tmp_path / "env" / "bin"
    run(*uv, "pip", "install", "--quiet", "--python", programs / "python", wheel)
    assert str(tmp_path) in run(programs / "python", "-c", LOOK)
    assert run(programs / "sandyard", "--version").strip()
    assert "Isolated sandboxes" in run(programs / "kubectl-sandyard", "--help")
    run(*uv, "pip", "install", "--quiet", "--python", programs / "python", f"{wheel}[operator]")
    run(programs / "python", "-c", "import sandyard.handlers.main")
