"""Whether this process is the one that acts."""

from __future__ import annotations

from sandyard.kube.lease import Lease

__all__ = ["Leadership"]


class Leadership:
    """The lease, and what it allows; without one (a single replica) this process always acts once it has begun."""

    def __init__(self, lease: Lease | None) -> None:
        self._lease = lease
        self._leading = False

    @property
    def elected(self) -> bool:
        """Whether there is a lease that can be lost."""
        return self._lease is not None

    def may_write(self) -> bool:
        """Whether this process may write at this moment: a leader that was stopped finds out here."""
        return self._leading and (self._lease is None or self._lease.valid)

    async def begin(self) -> None:
        """Return when this process leads."""
        if self._lease is not None:
            await self._lease.acquire()
        self._leading = True

    async def keep(self) -> None:
        """Return when the lease is lost."""
        assert self._lease is not None
        await self._lease.keep()
        self._leading = False

    async def release(self) -> None:
        """Give the lease back, so that a standby need not wait."""
        if self._lease is not None:
            await self._lease.release()
