"""Tells every call on a sandbox when the sandbox can no longer be used, by one watch for all calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sandyard.client.errors import SandboxError, Unauthorized, Unavailable

__all__ = ["EndWatch"]

_RETRY_SECONDS = 0.5


class EndWatch:
    """Runs *look*, which returns why the Sandbox has ended, while a call holds it; and *beside*, to keep it in use."""

    def __init__(
        self, look: Callable[[], Awaitable[SandboxError]], beside: Callable[[], Coroutine[Any, Any, None]] | None = None
    ) -> None:
        self._look = look
        self._beside = beside
        self._other: asyncio.Task[None] | None = None
        self._holders = 0
        self._task: asyncio.Task[SandboxError] | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[asyncio.Task[SandboxError]]:
        """A task that returns the reason; all holders share it, so do not cancel it."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        if self._beside is not None and self._other is None:
            self._other = asyncio.create_task(self._beside())
        self._holders += 1
        try:
            yield self._task
        finally:
            self._holders -= 1
            if not self._holders:
                tasks = [task for task in (self._task, self._other) if task is not None]
                self._task = self._other = None
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> SandboxError:
        while True:
            try:
                return await self._look()
            except Unavailable:
                # The command's own stream tells whether it is lost.
                await asyncio.sleep(_RETRY_SECONDS)
            except Unauthorized:
                # Whoever may exec but not watch learns of it from the stream alone.
                await asyncio.Future()
            except SandboxError as error:
                return error
