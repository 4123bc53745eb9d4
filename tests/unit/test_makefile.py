"""`make help` lists what there is, with the time that it takes."""

from __future__ import annotations

import re
import subprocess

import pytest

from localcluster import paths

TEXT = (paths.REPOSITORY / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z][a-z-]*):", TEXT, re.MULTILINE)
LISTED = dict(re.findall(r"^([a-z-]+):.*## (.*)$", TEXT, re.MULTILINE))
TIME = re.compile(r"\(.*\b(seconds|minutes?|hours?)\b.*\)")


def test_every_target_is_phony() -> None:
    """A file or folder of that name would keep it from running."""
    (phony,) = re.findall(r"^\.PHONY: (.*)$", TEXT, re.MULTILINE)
    assert sorted(phony.split()) == sorted(TARGETS)


@pytest.mark.parametrize("target", LISTED)
def test_each_that_is_listed_says_how_long_it_takes(target: str) -> None:
    assert TIME.search(LISTED[target])


def test_help_lists_them() -> None:
    words = ["make", "--no-print-directory", "help"]
    done = subprocess.run(words, cwd=paths.REPOSITORY, text=True, capture_output=True, check=True)
    assert [line.split()[1] for line in done.stdout.splitlines()] == list(LISTED)
    assert {"api-oldest", "down", "clean", "generate"} <= set(LISTED)
