"""The documentation's site: how links lead about on it. `make adapters` builds it, with packages of its own."""

from __future__ import annotations

import re

import pytest
import yaml

from localcluster import paths
from pages import site

TOP = paths.REPOSITORY
AT = "https://git.example/o/r"


@pytest.mark.parametrize(
    ("source", "link", "wanted"),
    [
        ("docs/index.md", "[a](pools.md#b)", "[a](pools.md#b)"),
        ("docs/index.md", "[a](../SECURITY.md)", "[a](security.md)"),
        ("docs/runbooks/X.md", "[a](../pools.md) [b](../../README.md)", "[a](../pools.md) [b](../tour.md)"),
        ("README.md", "![a](docs/x.svg) [b](docs/pools.md#c)", "![a](x.svg) [b](pools.md#c)"),
        ("charts/sandyard/README.md", "[a](../../docs/sizing.md)", "[a](sizing.md)"),
        ("docs/index.md", "[`a[1]`](../tests/x.py)", f"[`a[1]`]({AT}/blob/main/tests/x.py)"),
        ("docs/index.md", "[a](https://b.example) [c](#d)", "[a](https://b.example) [c](#d)"),
        ("docs/index.md", "```\n[a](../tests/x.py)\n```\n", "```\n[a](../tests/x.py)\n```\n"),
        ("CHANGELOG.md", "[0.1.0]: ../../releases/tag/v0.1.0", f"[0.1.0]: {AT}/releases/tag/v0.1.0"),
    ],
)
def test_a_link_leads_to_the_site_or_to_the_repository(source: str, link: str, wanted: str) -> None:
    assert site.rewritten(link, source, AT) == wanted


def test_without_a_repository_the_text_of_a_link_is_left() -> None:
    assert (
        site.rewritten("see [a](../tests/x.py) and [b](../SECURITY.md)", "docs/x.md", "")
        == "see a and [b](security.md)"
    )
    assert site.rewritten("x\n\n[0.1.0]: ../../releases/tag/v0.1.0\n", "CHANGELOG.md", "") == "x\n\n\n"


def test_the_first_page_leads_nowhere_else() -> None:
    assert "](http" not in site.rewritten((TOP / "docs" / "index.md").read_text(), "docs/index.md", AT)


def test_links_are_checked_strictly() -> None:
    config = yaml.safe_load((TOP / "mkdocs.yml").read_text())
    assert set(config["validation"]["links"].values()) == {"warn"}
    assert config["hooks"] == ["hack/pages/site.py"]
    steps = yaml.safe_load((TOP / ".github" / "workflows" / "ci.yaml").read_text())["jobs"]["docs"]["steps"]
    assert any(
        "--with-requirements requirements-docs.lock mkdocs build --strict" in step.get("run", "") for step in steps
    )


def test_what_makes_the_site_has_one_version() -> None:
    (pinned,) = re.findall(r'^    "mkdocs-material==([\d.]+)",$', (TOP / "pyproject.toml").read_text(), re.MULTILINE)
    assert f"mkdocs-material=={pinned} " in (TOP / "requirements-docs.lock").read_text()
