"""For all unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.simulation import World


@pytest.fixture
def world() -> Iterator[World]:
    """A pool with two warm pods, and nobody who starts more; a file may have another of its own."""
    made = World()
    made.prompt(4)
    yield made
    made.close()
