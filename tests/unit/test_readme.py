"""README.md names what there is."""

from __future__ import annotations

import re

from localcluster import paths

README = (paths.REPOSITORY / "README.md").read_text()


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"\]\(([^):]+)\)|`((?:docs|examples|charts|hack)/[\w./-]+)`", README):
        path = name[0] or name[1]
        assert (paths.REPOSITORY / path).exists(), path


def test_the_times_that_it_begins_with_were_measured() -> None:
    """At 20 a second, as the page that `make bench` writes has them."""
    measured = (paths.REPOSITORY / "docs" / "performance.md").read_text()
    found = re.search(r"^\| 20/s \| (\d+) · (\d+) \|", measured, re.MULTILINE)
    assert found
    # Wherever its lines are broken.
    beginning = " ".join(README.partition("## ")[0].split())
    assert f"half of them within {found[1]} ms, 99 of 100 within {found[2]} ms" in beginning
    assert "(docs/performance.md) at 20 a second" in beginning
