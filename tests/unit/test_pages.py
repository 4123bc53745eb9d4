"""How pages are followed: what counts as the output that a page shows."""

from __future__ import annotations

import pytest

from tests.support import pages

PAGE = "# A\n\n```sh\nnot run\n```\n\n```console\na\nb\n```\n\n```\nshown\n```\n\n```console\nc\n```\n"
TABLE = "NAME   READY   AGE\npython   True   11s\n"


def test_a_block_of_commands_has_the_output_that_follows_it() -> None:
    assert pages.commands(PAGE) == [pages.Commands("a\nb\n", "shown\n"), pages.Commands("c\n")]


@pytest.mark.parametrize("output", ["NAME    READY  AGE\npython  True   2m3s\n", f"before\n{TABLE}after\n"])
def test_ages_spaces_and_other_lines_do_not_count(output: str) -> None:
    assert pages.differs(TABLE, output) == ""


@pytest.mark.parametrize("output", ["", "python True 11s\nNAME READY AGE\n", "NAME READY AGE\npython False 11s\n"])
def test_what_the_page_shows_and_the_output_has_not_is_told(output: str) -> None:
    assert pages.differs(TABLE, output) in TABLE.splitlines()


def test_three_dots_stand_for_anything_and_for_nothing_else() -> None:
    assert pages.differs("image ...: not found\n", "image a/b:1: not found") == ""
    assert pages.differs("image ...: not found\n", "image a/b:1: found")
