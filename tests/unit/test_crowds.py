"""A namespace with far more Sandboxes than it may have costs others nothing."""

from __future__ import annotations

import dataclasses
import random
import time

import pytest

from sandyard.api.reasons import Phase
from sandyard.engine.state import records
from sandyard.engine.state.records import AnySandbox
from sandyard.engine.state.sandboxes import SandboxTable
from sandyard.podspec.bounds import Bounds, Policy
from sandyard.sandbox import decide
from sandyard.sandbox.status import Status
from tests.unit.simulation import World
from tests.unit.views import view


def made(number: int, namespace: str = "ns", second: int = 0) -> AnySandbox:
    metadata = {
        "name": f"s{number}", "namespace": namespace, "uid": f"u{number:06}", "resourceVersion": "1",
        "creationTimestamp": f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z",
    }  # fmt: skip
    return records.sandbox({"metadata": metadata, "spec": {"poolRef": {"name": "pool"}}})


def changed(record: AnySandbox, phase: Phase) -> AnySandbox:
    return dataclasses.replace(record, version=record.version + 1, status=Status(phase=phase))


def look_seconds(table: SandboxTable, record: AnySandbox) -> float:
    """Processor time of ten looks, of the fastest of a few."""
    found = []
    for _ in range(20):
        began = time.process_time()
        for _ in range(10):
            table.older(record)
        found.append(time.process_time() - began)
    return min(found)


def test_a_look_costs_the_same_however_many_there_are() -> None:
    """Ten thousand that wait look again and again: by the number of the others it would be all the loop has."""
    took = []
    for size in (100, 20_000):
        table = SandboxTable()
        for number in range(size):
            table.put(made(number), 0.0)
        assert table.older(made(size)) == size
        took.append(look_seconds(table, made(size)))
    assert took[1] < 20 * max(took[0], 1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_those_before_one_are_counted_as_they_come_end_and_go(seed: int) -> None:
    dice, table = random.Random(seed), SandboxTable()
    there: dict[str, AnySandbox] = {}
    for number in range(300):
        record = made(number, dice.choice(["a", "b"]), dice.randrange(100))
        table.put(record, 0.0)
        there[record.uid] = record
        other = dice.choice(list(there.values()))
        match dice.randrange(4):
            case 0:
                table.drop(other.uid)
                del there[other.uid]
            case 1:
                there[other.uid] = after = changed(other, dice.choice([Phase.FAILED, Phase.READY, Phase.EXPIRED]))
                table.put(after, 0.0)
            case 2:
                there[other.uid] = after = changed(other, dice.choice([Phase.SUCCEEDED, Phase.PENDING]))
                table.merge(other, after)
        asked = dice.choice([*there.values(), record])
        born = (asked.created_at, asked.uid)
        older = [one for one in there.values() if one.namespace == asked.namespace and not one.status.ended
                 and (one.created_at, one.uid) < born]  # fmt: skip
        assert table.older(asked) == len(older)
    for uid in list(there):
        table.drop(uid)
    assert not table._living


def test_who_is_far_back_looks_less_often_and_nobody_never() -> None:
    waits = []
    for older in (3, 100, 5_000):
        step = decide.decide(dataclasses.replace(view(), older=older, bounds=Bounds(max_sandboxes=3)))
        assert step.requeue_after is not None
        waits.append(step.requeue_after)
    assert waits[0] <= 1.0
    assert waits == sorted(waits)
    assert 30 <= waits[2] <= 300


def test_one_that_ends_costs_no_write_of_everybody_who_waits() -> None:
    world = World(settings={"policy": Policy(Bounds(max_sandboxes=2))})
    world.api.change("sandboxpools", "pool", {"spec": {"maxSandboxes": None}})
    world.prompt(4)
    for number in range(60):
        world.claim(f"s{number:02}")
        world.now += 1
    world.prompt(60)
    before = len([write for write in world.api.sent if write.what == "status"])
    world.api.remove(("sandboxes", "s00"))
    world.prompt(40)
    assert world.api.objects["sandboxes", "s02"]["status"]["phase"] == "Ready"
    assert len([write for write in world.api.sent if write.what == "status"]) - before < 25
    world.close()
