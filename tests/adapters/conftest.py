"""What the tests of several adapters have."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

import pytest

from tests.adapters.pods import nobodys_pod
from tests.unit.local_pod import LocalPod

if TYPE_CHECKING:
    from agents.sandbox.session import SandboxSession

# Where the OpenAI Agents SDK keeps its own programs in a sandbox, which is this machine.
PROGRAMS: Final = pathlib.Path("/tmp/openai-agents")


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPod]:
    """A pod that is this machine, with a kubeconfig that leads to it; what it runs has no rights."""
    with nobodys_pod(monkeypatch) as made:
        yield made


@pytest.fixture
def root(pod: LocalPod) -> Iterator[str]:
    """A workspace of the OpenAI Agents SDK: this machine's /workspace is nobody's."""
    before = PROGRAMS.exists()
    yield f"{pod.folder}/workspace"
    if not before:
        shutil.rmtree(PROGRAMS, ignore_errors=True)


@pytest.fixture
async def session(root: str) -> AsyncIterator[SandboxSession]:
    """A session of the OpenAI Agents SDK that has begun."""
    from agents.sandbox.manifest import Manifest

    from sandyard.adapters.openai_agents import SandyardSandboxClient, SandyardSandboxClientOptions

    client = SandyardSandboxClient()
    made = await client.create(
        manifest=Manifest(root=root, environment={"value": {"N": "3", "EMPTY": ""}}),
        options=SandyardSandboxClientOptions(pool="python"),
    )
    async with made:
        yield made
    await client.delete(made)
