"""The road map in docs/architecture.md leads to code that is there."""

from __future__ import annotations

import ast
import re

import pytest

from localcluster import paths

ARCHITECTURE = paths.REPOSITORY / "docs" / "architecture.md"
PACKAGE = paths.REPOSITORY / "operator" / "sandyard"
JOURNEYS = ("A claim", "A refill", "A teardown", "A restart for the next Sandbox", "`commands.run`")


def journeys() -> dict[str, list[tuple[str, str]]]:
    """File and function of each step, by journey."""
    _, _, text = ARCHITECTURE.read_text().partition("\n## Road map\n")
    found: dict[str, list[tuple[str, str]]] = {}
    for part in re.split(r"^### ", text.partition("\n## ")[0], flags=re.MULTILINE)[1:]:
        title, _, table = part.partition("\n")
        found[title] = re.findall(r"^\|[^|]+\| `([^`]+)` \| `([^`]+)` \|$", table, re.MULTILINE)
        assert len(found[title]) == len(re.findall(r"^\| \d", table, re.MULTILINE)), f"{title}: a row cannot be read"
    return found


def names(file: str) -> set[str]:
    """Functions of a module, and methods as ``Class.method``."""
    found = set()
    for node in ast.parse((PACKAGE / file).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            inner = (item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{item.name}" for item in inner}
    return found


def test_the_road_map_has_the_main_journeys() -> None:
    assert tuple(journeys()) == JOURNEYS
    assert all(len(steps) >= 5 for steps in journeys().values())


@pytest.mark.parametrize(
    ("file", "function"), sorted({step for steps in journeys().values() for step in steps}), ids=lambda text: text
)
def test_each_step_of_the_road_map_is_a_function_that_exists(file: str, function: str) -> None:
    assert function in names(file), f"docs/architecture.md names {function} in {file}; it is not there"
