"""Whatever a sandbox says, a parser of ours gives a value or an error of ours: every one of them, fuzzed."""

from __future__ import annotations

import random
import subprocess
import time

import pytest

from localcluster import paths
from sandyard.client import errors
from tests.support import soak
from tests.support.parsers import PARSERS, Parser, mutated

pytestmark = [pytest.mark.soak, pytest.mark.timeout(soak.rounds(short=60, long=300))]


@pytest.mark.parametrize("name", PARSERS)
def test_it_reads_what_it_is_meant_to_read(name: str) -> None:
    for seed in PARSERS[name].seeds:
        PARSERS[name].parse(seed)


@pytest.mark.parametrize("name", PARSERS)
def test_it_reads_anything_or_says_so(name: str) -> None:
    """In the long form by what atheris makes of the seeds, led by the parser's own branches."""
    if soak.long_form():
        done = subprocess.run(
            [paths.REPOSITORY / "hack" / "fuzz", name, "60"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert "stat::number_of_executed_units" in done.stderr
        return
    chance = random.Random(soak.seed())
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        data = mutated(chance.choice(PARSERS[name].seeds), chance)
        try:
            PARSERS[name].take(data)
        except Exception as error:
            raise AssertionError(f"{name}: {data[:2000]!r}") from error


def test_an_error_that_is_none_of_ours_is_one() -> None:
    def fails(data: bytes) -> None:
        raise errors.BadAnswer("x") if data else ValueError("x")

    Parser(fails, []).take(b"x")
    with pytest.raises(ValueError, match="x"):
        Parser(fails, []).take(b"")
