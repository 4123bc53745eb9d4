"""docs/porting.md is true as far as our side goes: each call that it names is there, and takes what it is given."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from localcluster import paths
from sandyard.client import Sandbox
from sandyard.client.sync import SyncCommands, SyncContexts, SyncFiles

TEXT = (paths.REPOSITORY / "docs" / "porting.md").read_text()
ROWS = re.findall(r"^\| (.+) \| (.+) \|$", TEXT, re.MULTILINE)
CALLS = sorted({call for _, ours in ROWS for call in re.findall(r"`((?:Sandbox|sandbox)\.[^`]+)`", ours)})
_PARTS = {"commands": SyncCommands, "contexts": SyncContexts, "files": SyncFiles}


def test_each_call_stands_for_one_of_ours() -> None:
    assert len(CALLS) > 30
    assert all(theirs and ours for theirs, ours in ROWS)


@pytest.mark.parametrize("text", CALLS)
def test_a_call_is_there_and_takes_what_it_is_given(text: str) -> None:
    tree = ast.parse(text.replace("[...]", "[0]").replace("(...)", "({})"), mode="eval").body
    where = tree.func if isinstance(tree, ast.Call) else tree
    _, *names = ast.unparse(where).split(".")
    found: Any = functools.reduce(lambda owner, name: _PARTS.get(name) or getattr(owner, name), names, Sandbox)
    if isinstance(tree, ast.Call):
        _accepts(found, tree, method=text[0] == "s")


def _accepts(call: Callable[..., Any], tree: ast.Call, *, method: bool) -> None:
    given = [None] * (len(tree.args) + method)
    options = {keyword.arg: None for keyword in tree.keywords if keyword.arg}
    inspect.signature(call).bind(*given, **options)
