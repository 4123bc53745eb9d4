"""For all unit tests."""

from __future__ import annotations

import pathlib
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sandyard.client import AsyncSandbox
from sandyard.client.code.contexts import CodeContext
from tests.unit import shells
from tests.unit.local_pod import LocalPod, local_pod
from tests.unit.simulation import World


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which shells the client's scripts were run on: not every machine has all."""
    missing = [shell for shell in shells.ALL if shell not in shells.SHELLS]
    terminalreporter.write_line(
        f"shells of the client's scripts: {', '.join(shells.SHELLS)}; missing: {', '.join(missing) or 'none'}"
    )


@pytest.fixture(autouse=True)
def no_rule_asks_without_end(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Rules that ask the same question again and again would do so for ever; what a test looks at may not show it."""
    yield
    assert "no decision" not in {record.message for record in caplog.get_records("call") if hasattr(record, "message")}


@pytest.fixture
def world() -> Iterator[World]:
    """A pool with two warm pods, and nobody who starts more; a file may have another of its own."""
    made = World()
    made.prompt(4)
    yield made
    made.close()


@pytest.fixture
def here() -> Iterator[pathlib.Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        folder = pathlib.Path(made)
        folder.chmod(0o777)
        yield folder
        subprocess.run(["chmod", "-R", "u+rwX", made], check=False)


@pytest.fixture
async def inside(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[LocalPod, AsyncSandbox]]:
    """A sandbox whose commands run on this machine, and its pod; the contexts that a test makes go with it."""
    async with local_pod() as (pod, sandbox):
        create, made = sandbox.contexts.create, list[CodeContext]()

        async def noted(*args: Any, **options: Any) -> CodeContext:
            made.append(await create(*args, **options))
            return made[-1]

        monkeypatch.setattr(sandbox.contexts, "create", noted)
        yield pod, sandbox
        for one in made:
            await one.remove()


@pytest.fixture
def sandbox(inside: tuple[LocalPod, AsyncSandbox]) -> AsyncSandbox:
    return inside[1]
