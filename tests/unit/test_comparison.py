"""docs/comparison.md: whom it names, what it says of each, and how it is found."""

from __future__ import annotations

import re

import pytest
import yaml

from localcluster import paths

PAGE = (paths.REPOSITORY / "docs" / "comparison.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
OTHERS = {
    "agent-sandbox": "github.com/kubernetes-sigs/agent-sandbox",
    "OpenKruise Agents": "github.com/openkruise/agents",
    "OpenSandbox": "github.com/opensandbox-group/OpenSandbox",
    "e2b": "github.com/e2b-dev/",
}


@pytest.mark.parametrize("name", OTHERS)
def test_each_is_told_with_its_sources_what_differs_and_when_to_choose_it(name: str) -> None:
    told = SECTIONS[name]
    assert f"https://{OTHERS[name]}" in told
    assert "What differs: " in told and f"**Choose {name}**" in told
    assert re.search(rf"^\| {name} \|", PAGE, re.MULTILINE)


def test_the_page_says_as_of_when_and_when_sandyard_is_the_wrong_choice() -> None:
    assert re.search(r"as we read them in \w+ 20\d\d", PAGE)
    assert "It is the wrong choice for" in SECTIONS["Choose Sandyard"]


def test_it_is_found_from_the_readme_and_on_the_site() -> None:
    readme = (paths.REPOSITORY / "README.md").read_text()
    when_not = readme.partition("when not to use it\n")[2].partition("\n## ")[0]
    assert "(docs/comparison.md)" in when_not and all(name in when_not for name in OTHERS)
    nav = yaml.safe_load((paths.REPOSITORY / "mkdocs.yml").read_text())["nav"]
    assert "comparison.md" in [page for part in nav for page in part.values()]
