"""Runs a process in a container, over the exec websocket (v5.channel.k8s.io).

Bytes in and bytes out, in frames of (channel, data); nothing is decoded and nothing is buffered
here.  Success is what the server's Status says, never silence: a stream that breaks off has no
exit code.  Protocol: KEP-4006; only v5 (Kubernetes >= 1.30) can close stdin, v4 is the same but for that.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
import msgspec
import orjson

from sandyard.kube import errors
from sandyard.kube.client import Client

__all__ = ["STDERR", "STDIN", "STDOUT", "V4", "V5", "Completed", "Exec", "Exit", "open_exec", "run"]

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
_STATUS: Final = 3
_RESIZE: Final = 4
_CLOSE: Final = 255
V5: Final = "v5.channel.k8s.io"
V4: Final = "v4.channel.k8s.io"
# Larger frames are reset by some proxies.
_FRAME_BYTES: Final = 256 * 1024
_KEEP_ALIVE_SECONDS: Final = 30.0


class _Cause(msgspec.Struct):
    reason: str | None = None
    message: str | None = None


class _Details(msgspec.Struct):
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct):
    """metav1.Status, as far as it says how a command ended."""

    status: str | None = None
    message: str | None = None
    details: _Details | None = None


@dataclass(frozen=True)
class Exit:
    """How the process ended.

    Attributes
    ----------
    code
        Exit code; None when the server could not tell, for example because it could not start it.
    message
        What the server said of a failure.
    """

    code: int | None
    message: str = ""


@dataclass(frozen=True)
class Completed:
    """A process that has run to its end.

    Attributes
    ----------
    truncated
        Whether it wrote more than the limit: nobody has read on, so how it ended is not known.
    """

    exit: Exit
    stdout: bytes
    stderr: bytes
    truncated: bool


class Exec:
    """A process under way; iterate over it for its output."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, tty: bool = False) -> None:
        self._socket = socket
        self._tty = tty
        # Where it cannot be closed, whoever writes to it must tell its length.
        self._stdin_open = socket.protocol == V5
        self._size = (80, 24)
        self.exit: Exit | None = None

    async def write(self, data: bytes) -> None:
        """Send *data* to the process's standard input."""
        view = memoryview(data)
        for start in range(0, len(view), _FRAME_BYTES):
            await self._send(bytes((STDIN,)) + view[start : start + _FRAME_BYTES])
            # That the connection is lost is told to its owner by the event loop alone.
            await asyncio.sleep(0)

    async def close_stdin(self) -> None:
        """End of file on standard input; standard output stays open. Nothing happens on v4."""
        if self._stdin_open:
            self._stdin_open = False
            await self._send(bytes((_CLOSE, STDIN)))

    async def resize(self, columns: int, rows: int) -> None:
        """Tell a terminal its size."""
        self._size = (columns, rows)
        await self._send(bytes((_RESIZE,)) + orjson.dumps({"Width": columns, "Height": rows}))

    async def keep_alive(self) -> None:
        """Say something that changes nothing: it keeps every idle timer on the way from firing.

        To a terminal its size, which goes all the way. Of any other process the API server takes one size, and from
        the second on reads nothing more of the stream: neither input nor its end would arrive.
        """
        if self._tty:
            await self.resize(*self._size)
        else:
            await self._sent(self._socket.ping())

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        """Output as (channel, data), until the process has ended.

        Raises
        ------
        TransportError
            The stream broke off: whether the process still runs is not known.
        """
        while self.exit is None:
            try:
                message = await self._socket.receive()
            except (aiohttp.ClientError, OSError) as error:
                raise errors.TransportError(f"exec: {error!r}") from error
            if message.type is aiohttp.WSMsgType.BINARY:
                channel, data = message.data[0], message.data[1:]
                if channel == _STATUS:
                    self.exit = parse_status(data)
                elif channel in (STDOUT, STDERR) and data:
                    yield channel, data
            elif message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
                raise errors.TransportError(f"exec: the stream ended without a status (code {self._socket.close_code})")
            elif message.type is aiohttp.WSMsgType.ERROR:
                raise errors.TransportError(f"exec: {self._socket.exception()!r}")

    async def _send(self, frame: bytes) -> None:
        await self._sent(self._socket.send_bytes(frame))

    async def _sent(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            raise errors.TransportError(f"exec: the stream has ended ({error})") from error


@asynccontextmanager
async def open_exec(
    client: Client, path: str, command: Sequence[str], *, container: str, stdin: bool = True, tty: bool = False,
    protocol: str = V5,
) -> AsyncIterator[Exec]:  # fmt: skip
    """Start *command* in a container of the pod at *path* (``…/pods/NAME``).

    Keep the command short: it travels in the URL. Send scripts through standard input.

    Raises
    ------
    ApiError
        The server refused; nothing has started.
    TransportError
        No connection, or no answer: it may have started, without an input.
    """
    query = [("command", word) for word in command]
    query += [("container", container), ("stdout", "true"), ("stderr", str(not tty).lower())]
    query += [("stdin", str(stdin).lower()), ("tty", str(tty).lower())]
    async with client.websocket(f"{path}/exec", query, protocol) as socket:
        process = Exec(socket, tty=tty)
        keeper = asyncio.create_task(_keep_alive(process))
        try:
            yield process
        finally:
            keeper.cancel()


async def run(
    client: Client,
    path: str,
    command: Sequence[str],
    *,
    container: str,
    stdin: bytes = b"",
    timeout_seconds: float,
    limit_bytes: int = 1024 * 1024,
    protocol: str = V5,
) -> Completed:
    """Run *command* to its end, or until it has written more than *limit_bytes* to one of its streams.

    Raises
    ------
    ApiError
        The server refused; nothing has started.
    TransportError
        The stream broke off, or the process took longer than *timeout_seconds*: it may run on.
    """
    kept = {STDOUT: bytearray(), STDERR: bytearray()}
    truncated = False
    try:
        async with asyncio.timeout(timeout_seconds):
            async with open_exec(client, path, command, container=container, protocol=protocol) as process:
                # Side by side: a process that answers while it reads would block us both.
                feeding = asyncio.create_task(_feed(process, stdin))
                try:
                    async for channel, data in process:
                        room = limit_bytes - len(kept[channel])
                        kept[channel] += data[:room]
                        if len(data) > room:
                            # Whoever writes without end would have us read for as long as we have patience.
                            truncated = True
                            process.exit = Exit(None, f"more than {limit_bytes} bytes of output")
                finally:
                    feeding.cancel()
    except TimeoutError as error:
        raise errors.TransportError(f"exec: not finished within {timeout_seconds:g} s") from error
    assert process.exit is not None
    return Completed(process.exit, bytes(kept[STDOUT]), bytes(kept[STDERR]), truncated)


def parse_status(data: bytes) -> Exit:
    """The exit code from the Status that ends an exec; missing is unknown, never 0."""
    try:
        status = msgspec.json.decode(data, type=_Status)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return Exit(None, data[:500].decode(errors="replace"))
    if status.status == "Success":
        return Exit(0)
    causes = status.details.causes or () if status.details is not None else ()
    text = next((cause.message for cause in causes if cause.reason == "ExitCode"), None)
    return Exit(int(text) if text and re.fullmatch("[0-9]{1,9}", text) else None, status.message or "")


async def _feed(process: Exec, data: bytes) -> None:
    try:
        await process.write(data)
        await process.close_stdin()
    except errors.TransportError:
        # The process may end without reading its input; its Status tells.
        return


async def _keep_alive(process: Exec) -> None:
    while True:
        await asyncio.sleep(_KEEP_ALIVE_SECONDS)
        try:
            await process.keep_alive()
        except errors.TransportError:
            return
