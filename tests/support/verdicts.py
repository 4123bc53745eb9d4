"""A pytest plugin that writes what became of each test, and by which error: ``-p tests.support.verdicts``."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Generator
from typing import Any

import pytest

from tests.support import mutants

_found: dict[str, dict[str, Any]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if call.when == "call" or report.failed:
        kinds = [kind.__name__ for kind in type(call.excinfo.value).__mro__] if call.excinfo is not None else []
        _found.setdefault(
            item.nodeid,
            {
                "when": call.when,
                "passed": report.passed,
                "errors": kinds,
                "text": str(call.excinfo.value)[:300] if call.excinfo is not None else "",
            },
        )
        # At once: a test that has noticed may still hang when its fixtures end.
        pathlib.Path(os.environ[mutants.VERDICTS]).write_text(json.dumps(_found))
    return report
