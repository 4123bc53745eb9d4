"""The list of bugs fits the tree: each patch goes in, and the test that it names is there."""

from __future__ import annotations

import pathlib
import re

import pytest

from localcluster import paths
from tests.support import attacks, mutants

TOP = paths.REPOSITORY
PATCHES = sorted(path.stem for path in mutants.FOLDER.glob("*.patch"))


@pytest.mark.parametrize("name", PATCHES)
def test_a_bug_still_goes_into_the_tree_and_its_test_is_there(name: str) -> None:
    mutant = mutants.read(mutants.FOLDER / f"{name}.patch")
    for file, text in mutants.mutated(mutant, TOP).items():
        assert file.startswith(("operator/", "charts/")), f"{file} is not part of what is shipped"
        if file.endswith(".py"):
            compile(text, file, "exec")
    file, _, test = mutant.killer.partition("::")
    text = (TOP / file).read_text()
    function, _, case = test.rpartition("::")[2].partition("[")
    function = test.partition("::")[0] if function == "runTest" else function
    assert re.search(rf"^(async )?def {function}\(|^{function} = ", text, re.MULTILINE), f"no {function} in {file}"
    case = case.removesuffix("]")
    if (attacks.FOLDER / f"{case}.yaml").is_file():
        return
    # Of two parameters, each has its own place.
    parts = [(case, ""), *((case[:at], case[at + 1 :]) for at, sign in enumerate(case) if sign == "-")]
    assert any(first in text and second in text for first, second in parts), f"no case {case} in {file}"


def test_no_bug_is_there_twice() -> None:
    diffs = [mutants.read(mutants.FOLDER / f"{name}.patch").hunks for name in PATCHES]
    assert len(set(diffs)) == len(diffs)


def made(tmp_path: pathlib.Path, text: str) -> mutants.Mutant:
    (tmp_path / "x.patch").write_text(f"It breaks.\nKilled by: tests/x.py::test_x\n{text}")
    return mutants.read(tmp_path / "x.patch")


DIFF = "--- a/f\n+++ b/f\n@@ -2,3 +2,3 @@\n before\n-old\n+new\n after\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("before\nold\nafter\n", "before\nnew\nafter\n"),
        ("moved\nmoved\nbefore\nold\nafter\n", "moved\nmoved\nbefore\nnew\nafter\n"),
        ("other\nold\nneighbours\n", "other\nnew\nneighbours\n"),
    ],
)
def test_a_patch_goes_in_where_lines_have_moved_and_neighbours_have_changed(
    tmp_path: pathlib.Path, text: str, expected: str
) -> None:
    (tmp_path / "f").write_text(text)
    assert mutants.mutated(made(tmp_path, DIFF), tmp_path) == {"f": expected}


def test_a_patch_finds_its_lines_in_the_file_that_they_have_moved_to(tmp_path: pathlib.Path) -> None:
    (tmp_path / "operator" / "new").mkdir(parents=True)
    (tmp_path / "operator" / "new" / "g").write_text("before\nold\nafter\n")
    assert mutants.mutated(made(tmp_path, DIFF), tmp_path) == {"operator/new/g": "before\nnew\nafter\n"}
    (tmp_path / "f").write_text("what has stayed\n")
    assert "b/operator/new/g" in mutants.refreshed(made(tmp_path, DIFF), tmp_path)
    (tmp_path / "operator" / "h").write_text("before\nold\nafter\n")
    with pytest.raises(mutants.PatchError, match="write the patch anew"):
        mutants.mutated(made(tmp_path, DIFF), tmp_path)


@pytest.mark.parametrize("text", ["before\nafter\n", "old\nx\nold\n"])
def test_a_patch_that_does_not_fit_any_more_is_no_guess(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(mutants.PatchError, match="write the patch anew"):
        mutants.mutated(made(tmp_path, DIFF), tmp_path)


def test_a_patch_without_its_test_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "y.patch").write_text(f"It breaks.\n{DIFF}")
    with pytest.raises(mutants.PatchError, match="Killed by"):
        mutants.read(tmp_path / "y.patch")
