"""What opens a stream is sent once.

aiohttp sends a GET again whose connection ends before an answer comes.  For a read that is right, but an exec that
nobody has answered may run all the same, and would run twice.
"""

from __future__ import annotations

import aiohttp
from aiohttp import hdrs

__all__ = ["send_once"]


class _Unanswered(aiohttp.ClientError):
    """No error of those upon which aiohttp tries again."""


async def send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request; one that opens a websocket is not sent again. A middleware of aiohttp's."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if hdrs.UPGRADE not in request.headers:
            raise
        raise _Unanswered(repr(error)) from error
