"""The engine of one process: its caches, leadership, and what runs while it leads.

A standby keeps its caches as warm as the leader's and writes nothing; becoming leader is
adding every key to the queues.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from aiohttp import web

from sandyard.engine.caches import Caches
from sandyard.engine.health import Health
from sandyard.engine.process import http
from sandyard.engine.process.leadership import Leadership
from sandyard.engine.process.settings import Settings
from sandyard.engine.work import Work
from sandyard.kube.client import Client

__all__ = ["Engine"]

_log = logging.getLogger(__name__)


class Engine:
    """Made by `sandyard.engine.compose`. Feed it what kopf sees through `intake`, and run `run`."""

    def __init__(
        self, settings: Settings, client: Client, connections: Sequence[AbstractAsyncContextManager[Any]],
        leadership: Leadership, caches: Caches, health: Health, work: Work, lease_lost: Callable[[], None],
    ) -> None:  # fmt: skip
        self.settings = settings
        self.leadership = leadership
        self.intake = caches.intake
        self.queues = work.queues
        self.work = work
        self._client = client
        self._connections = connections
        self._caches = caches
        self._health = health
        self._lease_lost = lease_lost

    async def run(self, ready: asyncio.Event) -> None:
        """Work until cancelled, or until the lease is lost.

        Parameters
        ----------
        ready
            Set when the caches are filled, whether leader or not.
        """
        runner: web.AppRunner | None = None
        health = self._health
        async with AsyncExitStack() as connections:
            for connection in self._connections:
                await connections.enter_async_context(connection)
            try:
                runner = await http.serve(
                    self.settings.http_port, health.metrics, alive=health.alive, ready=health.not_ready,
                    collect=health.collect,
                )  # fmt: skip
                async with asyncio.TaskGroup() as group:
                    group.create_task(health.beat())
                    await self._caches.fill(group)
                    ready.set()
                    _log.info("caches filled", extra={"pods": len(self.work.store.pods)})
                    await self._client.warm_up()
                    await self._lead(group)
            finally:
                await self.leadership.release()
                if runner is not None:
                    await runner.cleanup()

    async def _lead(self, group: asyncio.TaskGroup) -> None:
        """Wait for the lease, then work until it is lost."""
        await self.leadership.begin()
        self._health.metrics.leader.set(1)
        _log.info("leading", extra={"identity": self.settings.identity})
        self.work.begin(group)
        if self.leadership.elected:
            await self.leadership.keep()
            _log.error("the lease is lost: another operator takes over")
            self._lease_lost()
        await asyncio.Event().wait()
