"""Whether a process may act: not before it has begun, and not after it has lost the lease."""

from __future__ import annotations

from typing import cast

from sandyard.engine.process.leadership import Leadership
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
