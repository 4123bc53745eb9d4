"""README.md names what there is."""

from __future__ import annotations

import re

from localcluster import paths

README = (paths.REPOSITORY / "README.md").read_text()


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"\]\(([^):]+)\)|`((?:docs|examples|charts|hack)/[\w./-]+)`", README):
        path = name[0] or name[1]
        assert (paths.REPOSITORY / path).exists(), path
