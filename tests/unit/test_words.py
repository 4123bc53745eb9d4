"""Plain English: phrases that readers stumbled over stay out of what they read."""

from __future__ import annotations

import pathlib
import re

import pytest

from localcluster import paths

TOP = paths.REPOSITORY
# Each with what says it plainly.
PHRASES = {
    r"look after (its owner|the operator)": "check that it runs",
    r"stood in for": "replaced by",
    r"for luck": "to spare",
    r"comes never": "never comes",
    r"that there is not\b": "unknown",
    r"\bsubstitutes?\b": "a replacement",
    r"nobody (vouches|takes notice)": "untrusted; no operator is reconciling it",
    r"(sandboxes|them|pool) in milliseconds": "the figure, or from warm pools",
}


def texts() -> list[pathlib.Path]:
    """Pages, definitions of kinds, and the charts."""
    found = [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "crds").glob("*.yaml"),
             *(TOP / "charts").rglob("*"), TOP / "pyproject.toml", TOP / "mkdocs.yml"]  # fmt: skip
    return sorted(path for path in found if path.is_file())


def said(text: str, phrase: str) -> list[str]:
    """Where *text* says it, lines put together."""
    return [found.group() for found in re.finditer(phrase, re.sub(r"[#>\s]+", " ", text))]


@pytest.mark.parametrize("phrase", PHRASES)
def test_it_is_said_plainly(phrase: str) -> None:
    found = {str(path.relative_to(TOP)): said(path.read_text(), phrase) for path in texts()}
    assert {name: told for name, told in found.items() if told} == {}, PHRASES[phrase]


def test_what_is_broken_over_lines_is_found() -> None:
    assert said("# a range is stood\n# in for by", "stood in for") == ["stood in for"]


def test_the_page_of_behaviours_is_for_contributors() -> None:
    assert "behaviours.md" not in (TOP / "README.md").read_text()
    assert "(docs/behaviours.md)" in (TOP / "CONTRIBUTING.md").read_text()
    assert "behaviours.md" in (TOP / "mkdocs.yml").read_text().partition("- Contributing:")[2]
