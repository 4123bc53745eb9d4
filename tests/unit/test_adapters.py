"""Adapters without the packages that they are for; with them, hack/adapters tests what they do."""

from __future__ import annotations

import importlib
import sys
import tomllib

import pytest

from localcluster import paths

PROJECT = tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text())["project"]
ADAPTERS = [
    ("deepagents", "deepagents", "deepagents"), ("inspect_ai", "inspect_ai", "inspect-ai"),
    ("openai_agents", "agents", "openai-agents"),
]  # fmt: skip
FOLDER = paths.REPOSITORY / "operator" / "sandyard" / "adapters"


@pytest.mark.parametrize(("module", "package", "extra"), ADAPTERS)
def test_one_without_its_package_says_which_extra_brings_it(
    module: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"sandyard.adapters.{module}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf"{package} is missing: pip install 'sandyard\[{extra}\]'"):
        importlib.import_module(f"sandyard.adapters.{module}")


def test_each_is_an_extra_with_tests_of_its_own() -> None:
    found = [*FOLDER.glob("*.py"), *(file.parent for file in FOLDER.glob("*/__init__.py"))]
    modules = {file.stem for file in found} - {"__init__", "mcp"}
    assert modules == {module for module, _, _ in ADAPTERS}
    for module, _, extra in ADAPTERS:
        assert PROJECT["optional-dependencies"][extra]
        assert (paths.REPOSITORY / "tests" / "adapters" / f"test_{module}.py").exists()


def test_inspect_ai_finds_its_adapter_by_itself() -> None:
    assert PROJECT["entry-points"]["inspect_ai"] == {"sandyard": "sandyard.adapters.inspect_ai"}
