"""Whether a process may act: not before it has begun, and not after it has lost the lease."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from sandyard.engine.listing import Listing
from sandyard.engine.loops.clock import Clock
from sandyard.engine.process.leadership import Leadership
from sandyard.kube import errors
from sandyard.kube.lease import Lease


class Held:
    """A lease that is valid all the time, whatever else happens."""

    valid = True

    async def acquire(self) -> None:
        """At once."""

    async def keep(self) -> None:
        """Lost at once."""


async def test_nothing_is_written_before_a_process_has_begun_to_lead() -> None:
    """Its caches may still be empty: all that it does not know of would look like something to sweep away."""
    for lease in (None, cast("Lease", Held())):
        leadership = Leadership(lease)
        assert not leadership.may_write()
        await leadership.begin()
        assert leadership.may_write()


async def test_who_has_lost_the_lease_writes_nothing_more_even_if_it_seems_to_last() -> None:
    leadership = Leadership(cast("Lease", Held()))
    await leadership.begin()
    await leadership.keep()
    assert not leadership.may_write()


async def test_a_lease_that_is_no_longer_valid_stops_its_holder_before_it_is_told() -> None:
    lease = Held()
    leadership = Leadership(cast("Lease", lease))
    await leadership.begin()
    lease.valid = False
    assert not leadership.may_write()


class Young:
    """A cluster whose definitions come after the operator; notes what it is asked."""

    def __init__(self) -> None:
        self.answers: list[Any] = [errors.NotConnected("refused"), errors.ApiError(503, {"message": "starting"}), False]
        self.asked: list[str] = []

    async def discoverable(self) -> bool:
        self.asked.append("discovery")
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    async def learn_server_version(self) -> None:
        self.asked.append("version")

    async def pools(self, _namespaces: Any, _take: Any) -> set[str]:
        self.asked.append("pools")
        return set()

    async def sandboxes(self, _namespaces: Any, _take: Any) -> set[str]:
        self.asked.append("sandboxes")
        return set()

    def server_time(self) -> None:
        """None is told."""


class Patient(Clock):
    """Notes how long somebody waits, who does not."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_an_operator_that_is_older_than_its_definitions_waits_for_them_and_then_reads_everything() -> None:
    cluster, clock = Young(), Patient()
    store, intake = SimpleNamespace(sandboxes={}, pools={}), SimpleNamespace(pool_shown=None, sandbox_shown=None)
    await Listing(cast("Any", store), cast("Any", cluster), cast("Any", intake), (), clock).first()
    # What a pool means depends on the version.
    assert cluster.asked == ["discovery"] * 4 + ["version", "pools", "sandboxes"]
    assert len(clock.waits) == 3 and 0 < clock.waits[0] < clock.waits[-1]


async def test_a_process_does_not_lead_before_the_lease_is_its_own_and_no_longer() -> None:
    taken, lost = asyncio.Event(), asyncio.Event()

    class Awaited(Held):
        async def acquire(self) -> None:
            await taken.wait()

        async def keep(self) -> None:
            await lost.wait()

    leadership = Leadership(cast("Lease", Awaited()))
    begins = asyncio.create_task(leadership.begin())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not begins.done()
    assert not leadership.may_write()
    taken.set()
    await begins
    assert leadership.may_write()
    keeps = asyncio.create_task(leadership.keep())
    await asyncio.sleep(0)
    assert not keeps.done()
    lost.set()
    await keeps
    assert not leadership.may_write()
