"""What mkdocs asks for while it builds the site: pages from outside docs/ come along, and every link leads somewhere.

A hook of mkdocs (`hooks` of mkdocs.yml), which loads this file by itself. A link to what is not on the site leads to
the repository, at the address in ``SITE_REPOSITORY``; without one, its text is left.
"""

from __future__ import annotations

import os
import pathlib
import posixpath
import re
from typing import Any

__all__ = ["GUESTS", "on_files", "on_page_markdown", "rewritten"]

# Pages outside docs/, and where they are on the site.
GUESTS = {
    "README.md": "tour.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "charts/sandyard/README.md": "chart.md",
    "charts/sandyard-pools/README.md": "chart-of-pools.md",
}
_HOSTS = {place: source for source, place in GUESTS.items()}
_TOP = pathlib.Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
# Of the change log: what differs between two versions, which is the repository's to tell.
_REFERENCE = re.compile(r"^\[[^\]]+\]: \.\./\.\./(\S+)$", re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside."""
    from mkdocs.structure.files import File  # type: ignore[import-not-found, unused-ignore]

    for source, place in GUESTS.items():
        files.append(File.generated(config, place, abs_src_path=str(_TOP / source)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The page with its links as they are on the site."""
    place = page.file.src_uri
    return rewritten(markdown, _HOSTS.get(place, f"docs/{place}"), os.environ.get("SITE_REPOSITORY", ""))


def rewritten(text: str, source: str, repository: str) -> str:
    """*text* of the file *source* (from the top of the tree), with links for the site."""

    def link(found: re.Match[str]) -> str:
        target = found[2]
        if target.startswith("#") or re.match(r"[a-z]+:", target):
            return found[0]
        name, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
        place = _place(path)
        if place is None:
            return f"[{found[1]}]({repository}/blob/main/{path})" if repository else found[1]
        here = posixpath.dirname(_place(source) or "")
        return f"[{found[1]}]({posixpath.relpath(place, here or '.')}{'#' + anchor if anchor else ''})"

    def plain(part: str) -> str:
        return part if part.startswith("```") else _LINK.sub(link, part)

    made = "".join(plain(part) for part in _FENCE.split(text))
    return _REFERENCE.sub(lambda found: found[0].replace("../..", repository) if repository else "", made)


def _place(path: str) -> str | None:
    """Where a file of the tree is on the site; None: nowhere."""
    if path in GUESTS:
        return GUESTS[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else None
