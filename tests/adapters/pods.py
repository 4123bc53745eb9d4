"""A pod that is this machine, whose commands run without rights."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from tests.unit.local_pod import LocalPod, serving

NOBODY = 65534


@contextlib.contextmanager
def nobodys_pod(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPod]:
    """The pod, with a kubeconfig that leads to it."""
    # Not below pytest's own folder, which others may not enter.
    with tempfile.TemporaryDirectory() as folder, serving(pathlib.Path(folder), monkeypatch) as made:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            made.user = NOBODY
        made.folder = pathlib.Path(folder)
        made.forgets = True
        _give_python(made.folder / ".programs", monkeypatch)
        # Where packages keep what is to outlive a run.
        monkeypatch.setenv("XDG_STATE_HOME", f"{folder}/state")
        monkeypatch.setenv("XDG_DATA_HOME", f"{folder}/data")
        yield made


def _give_python(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``python`` be what ``python3`` is, as in the images that the packages have in mind."""
    folder.mkdir()
    (folder / "python").write_text('#!/bin/sh\nexec python3 "$@"\n')
    (folder / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
