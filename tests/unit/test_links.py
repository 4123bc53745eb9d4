"""Every link of every page leads somewhere: to a file of the tree, and to a heading that it has. No network."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

from localcluster import paths
from pages import site

TOP = paths.REPOSITORY
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def pages() -> list[str]:
    """Those at the top, and those of the docs and the charts."""
    found = [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "charts").rglob("*.md")]
    return sorted(str(path.relative_to(TOP)) for path in found)


def anchors(text: str) -> set[str]:
    """As the forges and mkdocs make them of headings."""
    found = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in found}


def dead(page: pathlib.Path) -> list[str]:
    wrong = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target.read_text())):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_somewhere(page: str) -> None:
    assert dead(TOP / page) == []


def test_a_dead_link_is_found(tmp_path: pathlib.Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A: b\n[x](#a-b) [y](#none) [z](other.md) [w](https://example.com)\n```\n[v](code.md)\n```\n")
    assert dead(page) == ["#none", "other.md"]


def listed(part: object) -> list[str]:
    if isinstance(part, str):
        return [part]
    items = part.values() if isinstance(part, dict) else part
    return [name for item in items for name in listed(item)]  # type: ignore[attr-defined]


def test_the_site_has_every_page() -> None:
    names = listed(yaml.safe_load((TOP / "mkdocs.yml").read_text())["nav"])
    assert len(names) == len(set(names))
    hosts = {place: source for source, place in site.GUESTS.items()}
    assert {hosts.get(name, f"docs/{name}") for name in names} == set(pages())
