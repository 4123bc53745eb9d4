"""The operator as a whole, by properties: whatever goes wrong, and in whatever order.

After every step the promises hold; at the end of each history everything is put right, and
nothing may be missing, doubled or left. An instrument that looks the other way says nothing: a
run counts what it has met, and fails where that is not enough.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from localcluster import paths
from tests.support import soak
from tests.unit import model
from tests.unit.simulated_wire import FAULTS

HISTORIES = 44
# Another seed in each run; too few for each to meet everything.
FRESH = 15
STEPS = 60


def test_whatever_goes_wrong_nothing_is_doubled_lost_harmed_or_left() -> None:
    """The same histories in each run, so that a failure speaks of the change at hand."""
    seen: Counter[str] = Counter()
    for number in range(HISTORIES):
        model.run(0, number, STEPS, seen)
    assert not missing(seen), f"it looked the other way: {table(seen)}"


@pytest.mark.soak
@pytest.mark.timeout(soak.rounds(short=600, long=3600))
def test_histories_that_nobody_has_seen_yet_end_well_too() -> None:
    seed, seen = soak.seed(), Counter[str]()
    for number in range(soak.rounds(short=FRESH, long=50 * HISTORIES)):
        model.run(seed, number, STEPS, seen)
    assert not soak.long_form() or not missing(seen), f"it looked the other way: {table(seen)}"


def test_a_seed_repeats_its_histories_in_another_process() -> None:
    """Nothing depends on the order of a set, which each process has its own: a failure could not be repeated."""
    play = (
        "from collections import Counter; from tests.unit import model\n"
        "for number in range(6): print(model.run(3, number, 60, Counter()))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", play], cwd=paths.REPOSITORY, check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for hashes in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1


def missing(seen: Counter[str]) -> list[str]:
    """What a run has not met often enough to say anything about it."""
    # A status has nothing that guards it against what was written meanwhile (`simulated_wire`).
    enough = {f"{what} {fault}": 2 for what in ("claim", "ready") for fault in FAULTS}
    del enough["ready late"]
    enough |= {f"{what} ok": 40 for what in ("claim", "ready", "status", "create", "delete", "finalizer")}
    enough |= {
        f"{what} ok": 3 for what in ("network", "request", "restart", "return", "exec", "workspace", "expire", "policy")
    }
    enough |= {"namespace deleted": 1, "pool made anew": 1, "leader replaced": 5, "refused to an old leader": 5}
    enough |= {"ended Failed PoolExhausted": 3, "ended Expired Expired": 3, "ended Failed PodLost": 3}
    short = [f"{name}: {seen[name]} of {count}" for name, count in enough.items() if seen[name] < count]
    for what, count in {"create": 6, "delete": 6, "status": 6, "finalizer": 2}.items():
        faults = sum(seen[f"{what} {fault}"] for fault in FAULTS)
        short += [f"{what} with a fault: {faults} of {count}"] if faults < count else []
    return short


def table(seen: Counter[str]) -> str:
    """Everything that a run has met, what is missing first."""
    return "\n".join(["", *missing(seen), "", *(f"{count:6} {name}" for name, count in sorted(seen.items()))])
