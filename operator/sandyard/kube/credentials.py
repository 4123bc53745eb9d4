"""Says who is asking: each request carries a token of now, and one that is refused is renewed once.

As kubectl's own client has it: what a kubeconfig says may change under a program that runs for long, its token's file
or what its credential plugin gives as well. A plugin may take its time, or never answer: the event loop goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import aiohttp
from aiohttp import hdrs

from sandyard.kube import errors
from sandyard.kube.config import ClusterConfig

__all__ = ["Credentials"]

T = TypeVar("T")
_ANSWER_SECONDS: Final = 30.0
_UNAUTHORIZED: Final = 401


class Credentials:
    """A middleware of aiohttp's for the requests to one cluster."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._asking = asyncio.Lock()

    async def __call__(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:  # fmt: skip
        """Send *request*.

        Raises
        ------
        NotConnected
            There is no token, or the credential plugin does not answer.
        """
        used = await self._present()
        if used:
            request.headers[hdrs.AUTHORIZATION] = used
        response = await send(request)
        if response.status != _UNAUTHORIZED:
            return response
        async with self._asking:
            new = await _aside(lambda: self._config.renewed(used))
        if new is None:
            return response
        response.release()
        request.headers[hdrs.AUTHORIZATION] = new
        return await send(request)

    async def _present(self) -> str | None:
        if self._config.answers_at_once:
            return self._config.authorization()
        async with self._asking:
            return await _aside(self._config.authorization)


async def _aside(ask: Callable[[], T]) -> T:
    """What *ask* returns, which may run another program."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await asyncio.to_thread(ask)
    except TimeoutError:
        text = f"the kubeconfig's credential plugin has not answered within {_ANSWER_SECONDS:g} s"
        raise errors.NotConnected(text) from None
    except RuntimeError:
        # The interpreter ends (``atexit``), and no thread can be asked any more.
        return ask()
