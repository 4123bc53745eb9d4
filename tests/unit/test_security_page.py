"""SECURITY.md says how to report a vulnerability, and which versions get fixes."""

from __future__ import annotations

import re
import tomllib

from localcluster import paths

PAGE = (paths.REPOSITORY / "SECURITY.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_it_names_a_private_way_to_report() -> None:
    told = section("Reporting a vulnerability")
    assert "*Report a vulnerability*" in told and "privately-reporting-a-security-vulnerability" in told


def test_the_newest_version_is_among_those_that_are_supported() -> None:
    version = tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    minor = version.rpartition(".")[0]
    assert re.search(rf"^\| .*\({re.escape(minor)}\) \| yes", section("Supported versions"), re.MULTILINE)
