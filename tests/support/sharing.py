"""One run of tests, shared by several pytest processes: each file goes to whichever of them comes to it first.

A pytest plugin: ``-p tests.support.sharing --share=FOLDER``, with the same folder and the same tests for each.
"""

from __future__ import annotations

import pathlib

import pytest

__all__ = ["Share", "pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share", type=pathlib.Path, metavar="FOLDER", help="run the files that no other process has taken"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--share") is not None:
        config.pluginmanager.register(Share(config.getoption("--share")))


class Share:
    """The files that this process has taken; in *folder* each has an empty file of its name once it is taken."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._ours: dict[str, bool] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Pass over a test of a file that another process has taken, as if it were not there."""
        name = item.nodeid.partition("::")[0].replace("/", ".")
        if name not in self._ours:
            self._ours[name] = self._take(name)
        return None if self._ours[name] else True

    def _take(self, name: str) -> bool:
        try:
            (self._folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
