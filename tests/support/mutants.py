"""Realistic bugs as patches: what a patch says, and how it is put into a copy of the tree.

A patch in ``tests/mutants`` begins with a sentence that names the bug and a line
``Killed by: tests/unit/test_x.py::test_y``; a small unified diff of one or more files follows.
"""

from __future__ import annotations

import difflib
import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["FOLDER", "VERDICTS", "Hunk", "Mutant", "PatchError", "mutated", "read", "read_all", "refreshed"]

FOLDER: Final = pathlib.Path(__file__).resolve().parents[1] / "mutants"
# Environment variable: the file that `tests.support.verdicts` writes.
VERDICTS: Final = "SANDYARD_VERDICTS"
_KILLER = "Killed by: "
_ERROR = "Dies by: "


class PatchError(Exception):
    """A patch cannot be read, or does not fit the tree any more."""


@dataclass(frozen=True)
class Hunk:
    """One place of one file: lines with their marks (blank, minus, plus).

    Attributes
    ----------
    start
        Number of the first line in the original file, where the search begins.
    """

    file: str
    start: int
    lines: tuple[str, ...]

    def sides(self, context: bool) -> tuple[list[str], list[str], int]:
        """Lines before and after, and how many lines of context were left out at the beginning."""
        lines, skipped = list(self.lines), 0
        if not context:
            while lines and lines[0].startswith(" "):
                lines.pop(0)
                skipped += 1
            while lines and lines[-1].startswith(" "):
                lines.pop()
        old = [line[1:] for line in lines if not line.startswith("+")]
        return old, [line[1:] for line in lines if not line.startswith("-")], skipped


@dataclass(frozen=True)
class Mutant:
    """A bug and the test that notices it.

    Attributes
    ----------
    killer
        Node id of the test.
    error
        Name of the exception that the test ends with, where that is not a failed assertion.
    """

    name: str
    sentence: str
    killer: str
    error: str
    hunks: tuple[Hunk, ...]

    @property
    def files(self) -> list[str]:
        """Files that it changes."""
        return sorted({hunk.file for hunk in self.hunks})


def read(path: pathlib.Path) -> Mutant:
    """Read one patch.

    Raises
    ------
    PatchError
        The header is not complete, or there is no diff.
    """
    header, mark, body = path.read_text().partition("--- a/")
    lines = header.strip().splitlines()
    killers = [line.removeprefix(_KILLER).strip() for line in lines if line.startswith(_KILLER)]
    error = next((line.removeprefix(_ERROR).strip() for line in lines if line.startswith(_ERROR)), "")
    sentence = " ".join(line for line in lines if not line.startswith((_KILLER, _ERROR)))
    if not sentence or len(killers) != 1 or "::" not in killers[0]:
        raise PatchError(f"{path.name}: begin with a sentence about the bug and a line '{_KILLER}FILE::TEST'")
    hunks = _hunks(path.name, mark + body)
    if not hunks:
        raise PatchError(f"{path.name}: there is no diff")
    return Mutant(path.stem, sentence, killers[0], error, hunks)


def read_all(folder: pathlib.Path = FOLDER) -> list[Mutant]:
    """All mutants, by name."""
    return [read(path) for path in sorted(folder.glob("*.patch"))]


def mutated(mutant: Mutant, top: pathlib.Path, texts: Mapping[str, str] | None = None) -> dict[str, str]:
    """The text of each changed file with the bug in it.

    Lines may have moved, also to another file of ours, and their neighbours may have changed, as
    long as the lines that are changed are there, and there once.

    Parameters
    ----------
    texts
        Files that are not as they lie in *top*: another mutant has changed them already.

    Raises
    ------
    PatchError
        The patch does not fit any more, or changes nothing.
    """
    changed = dict[str, str]()
    for hunk in mutant.hunks:
        now = {**(texts or {}), **changed}
        file = hunk.file if (top / hunk.file).is_file() else _moved(hunk, top)
        before = now.get(file) or ((top / file).read_text() if file else "")
        after = _applied(hunk, before)
        if after is None and file == hunk.file:
            # A part of a file has gone to another.
            file = _moved(hunk, top)
            after = _applied(hunk, now.get(file) or (top / file).read_text()) if file else None
        if after is None:
            raise PatchError(
                f"{mutant.name}: {hunk.file} has changed where the bug goes in; write the patch anew, or delete it "
                "with the code that it was about"
            )
        changed[file] = after
    return changed


def refreshed(mutant: Mutant, top: pathlib.Path) -> str:
    """The patch as it would be written today: with the file's present place and line numbers."""
    header = [mutant.sentence, f"{_KILLER}{mutant.killer}", *([f"{_ERROR}{mutant.error}"] if mutant.error else [])]
    diffs = [
        line
        for file, after in sorted(mutated(mutant, top).items())
        for line in difflib.unified_diff(
            (top / file).read_text().splitlines(), after.splitlines(), f"a/{file}", f"b/{file}", n=1, lineterm=""
        )
    ]
    return "\n".join([*header, *diffs]) + "\n"


def _hunks(name: str, diff: str) -> tuple[Hunk, ...]:
    found: list[Hunk] = []
    file, start, lines = "", 0, list[str]()
    for line in [*diff.splitlines(), "@@ -0 +0 @@"]:
        if line.startswith(("--- a/", "+++ b/", "@@ ")) and lines:
            found.append(Hunk(file, start, tuple(lines)))
            lines = []
        if line.startswith("--- a/"):
            continue
        if line.startswith("+++ b/"):
            file = line.removeprefix("+++ b/").split("\t")[0]
        elif line.startswith("@@ "):
            match = re.match(r"@@ -(\d+)", line)
            start = int(match[1]) if match else 0
        elif line[:1] in (" ", "+", "-"):
            lines.append(line)
        elif not line:
            lines.append(" ")
        elif not line.startswith(("\\", "diff ", "index ")):
            raise PatchError(f"{name}: no line of a diff: {line!r}")
    return tuple(found)


def _moved(hunk: Hunk, top: pathlib.Path) -> str:
    """The one other file of ours that *hunk* fits as it stands; empty if there is none, or more than one."""
    found = [
        path
        for folder in ("operator", "charts")
        for path in (top / folder).rglob(f"*{pathlib.PurePath(hunk.file).suffix}")
        if path.is_file() and _places(hunk, path.read_text().splitlines(), context=True)
    ]
    return str(found[0].relative_to(top)) if len(found) == 1 else ""


def _places(hunk: Hunk, lines: list[str], *, context: bool) -> list[int]:
    old = hunk.sides(context)[0]
    return [at for at in range(len(lines) - len(old) + 1) if lines[at : at + len(old)] == old] if old else []


def _applied(hunk: Hunk, text: str) -> str | None:
    """*text* with the bug; None where it does not fit."""
    lines = text.splitlines()
    for context in (True, False):
        old, new, skipped = hunk.sides(context)
        places = _places(hunk, lines, context=context)
        if len(places) > 1 and context:
            # Near where it was: the same lines may stand in several functions.
            places = [min(places, key=lambda at: abs(at + 1 - hunk.start - skipped))]
        if len(places) == 1 and old != new:
            at = places[0]
            return "\n".join([*lines[:at], *new, *lines[at + len(old) :]]) + "\n"
    return None
