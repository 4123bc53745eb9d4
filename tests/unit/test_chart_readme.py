"""The charts' READMEs list every value as values.yaml and its schema say it."""

from __future__ import annotations

import pytest
import yaml

from localcluster import paths
from pages import chart_readme

CHARTS = paths.REPOSITORY / "charts"
TEXT = """
# All of it.
group:
  # Of a part,
  # in two lines.
  part: 1
  list: [a, "b|c"]
empty: {}
# Far from what follows.

alone:
"""


def test_comments_are_of_the_value_below_them() -> None:
    found = {value.path: (value.told, value.default, value.group) for value in chart_readme.values(TEXT)}
    assert found == {
        "group": ("All of it.", {"part": 1, "list": ["a", "b|c"]}, True),
        "group.part": ("Of a part, in two lines.", 1, False),
        "group.list": ("", ["a", "b|c"], False),
        "empty": ("", {}, False),
        "alone": ("", None, False),
    }


def test_a_page_keeps_what_is_around_its_table_and_escapes_what_would_end_a_cell() -> None:
    schema = {"definitions": {"n": {"type": "integer"}}, "properties": {
        "group": {"properties": {"part": {"$ref": "#/definitions/n"}}}}}  # fmt: skip
    once = chart_readme.page("Before.\n<!-- End of what is generated. -->\nAfter.\n", TEXT, schema)
    assert "| `group.part` | integer | `1` | Of a part, in two lines. |" in once
    assert r'`["a", "b\|c"]`' in once
    assert once == chart_readme.page(once, TEXT, schema)


@pytest.mark.parametrize("chart", ["sandyard", "sandyard-pools"])
def test_every_value_says_what_it_is(chart: str) -> None:
    text = (CHARTS / chart / "values.yaml").read_text()
    assert [value.path for value in chart_readme.values(text) if not value.group and not value.told] == []


def test_it_says_why_there_are_no_further_arguments() -> None:
    """The operator reads none: what would be given there is for extraEnv."""
    assert "There is no `extraArgs`" in (CHARTS / "sandyard" / "README.md").read_text()
    assert "args:" not in (CHARTS / "sandyard" / "templates" / "deployment.yaml").read_text()
    main = (paths.REPOSITORY / "operator" / "sandyard" / "handlers" / "main.py").read_text()
    assert "argv" not in main and "argparse" not in main


@pytest.mark.parametrize("chart", ["sandyard", "sandyard-pools"])
def test_every_value_is_in_the_readme(chart: str) -> None:
    text = (CHARTS / chart / "values.yaml").read_text()
    page = (CHARTS / chart / "README.md").read_text()

    def leaves(part: object, path: str = "") -> list[str]:
        if not isinstance(part, dict) or not part:
            return [path]
        return [leaf for key, value in part.items() for leaf in leaves(value, f"{path}.{key}".strip("."))]

    for path in leaves(yaml.safe_load(text)):
        shown = [path.rsplit(".", cut)[0] for cut in range(path.count(".") + 1)]
        assert any(f"| `{name}` |" in page for name in shown), path
