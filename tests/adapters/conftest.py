"""A pod that is this machine, with a kubeconfig that leads to it; what it runs has no rights."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from tests.unit.local_pod import LocalPod, serving

NOBODY = 65534


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPod]:
    # Not below pytest's own folder, which others may not enter.
    with tempfile.TemporaryDirectory() as folder, serving(pathlib.Path(folder), monkeypatch) as made:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            made.user = NOBODY
        made.folder = pathlib.Path(folder)
        # Where packages keep what is to outlive a run.
        monkeypatch.setenv("XDG_STATE_HOME", f"{folder}/state")
        monkeypatch.setenv("XDG_DATA_HOME", f"{folder}/data")
        yield made
