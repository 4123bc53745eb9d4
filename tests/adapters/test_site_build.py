"""The documentation's site can be built, with every link checked and a page for each alert."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

from localcluster import paths

TOP = paths.REPOSITORY
RULES = TOP / "charts" / "sandyard" / "templates" / "prometheusrule.yaml"


def run(*command: str | pathlib.Path, timeout: float) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "SITE_REPOSITORY": "https://git.example/o/r"}
    return subprocess.run(words, cwd=TOP, env=environment, text=True, capture_output=True, timeout=timeout, check=False)


def test_the_site_is_built_with_every_link_and_a_page_for_each_alert(tmp_path: pathlib.Path) -> None:
    uv, python = TOP / ".venv" / "bin" / "uv", tmp_path / "venv" / "bin" / "python"
    assert run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", timeout=60).returncode == 0
    locked = ("--require-hashes", "requirements-docs.lock")
    got = run(uv, "pip", "sync", "--quiet", "--python", python, *locked, timeout=300)
    assert got.returncode == 0, got.stderr[-300:]
    made = tmp_path / "site"
    done = run(python, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", made, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    alerts = re.findall(r"runbook_url: \{\{ \. \}\}/(\S+)", RULES.read_text())
    assert alerts
    for page in (*alerts, "../security/", "../tour/", "../comparison/"):
        assert (made / "runbooks" / page / "index.html").exists(), page
