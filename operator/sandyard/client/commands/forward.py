"""A port of this machine that leads to one of a sandbox.

Each connection is an exec of its own that runs a program of the image, since gVisor's network is
not where Kubernetes' own port forwarding looks for it (google/gvisor#3811).  So a server that
listens on the sandbox's loopback only is reached too, in a closed network as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from sandyard.client import answers
from sandyard.client.errors import InvalidArgument, SandboxError
from sandyard.client.exec import script
from sandyard.client.session.session import Session
from sandyard.kube import errors, remotecommand

__all__ = ["Forward", "check_port"]

_log = logging.getLogger(__name__)
# Each is a process in the sandbox; whoever connects beyond them waits.
_MOST_CONNECTIONS: Final = 64
_PIECE_BYTES: Final = 64 * 1024
_MESSAGE_BYTES: Final = 2000


class Forward:
    """A listening port of this machine; leaving its context closes it and all that came by it.

    Attributes
    ----------
    port
        The sandbox's port.
    address, local_port
        Where this machine listens.
    """

    def __init__(
        self, session: Session, port: int, local_port: int, address: str, on_problem: Callable[[str], None] | None
    ) -> None:
        check_port("port", port, least=1)
        check_port("local_port", local_port)
        self.port = port
        self.address = address
        self.local_port = local_port
        self._session = session
        self._words = ["/bin/sh", "-c", script.text("relay"), "sandyard-relay", str(port)]
        self._on_problem = on_problem or _log.warning
        self._places = asyncio.Semaphore(_MOST_CONNECTIONS)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.local_port}"

    async def wait(self) -> None:
        """Wait while the sandbox can be used.

        Raises
        ------
        SandboxError
            Why it no longer can.
        """
        await self._session.check_usable()
        async with self._session.end_watch.held() as losing:
            raise (await asyncio.shield(losing)).with_traceback(None)

    async def close(self) -> None:
        """Close the port and its connections."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def __aenter__(self) -> Self:
        if self._server is None:
            await self._session.check_usable()
            try:
                self._server = await asyncio.start_server(self._accept, self.address, self.local_port)
            except OSError as error:
                why = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
                raise InvalidArgument(f"cannot listen on {self.address}:{self.local_port}: {why}") from error
            self.local_port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        try:
            async with self._places, self._session.end_watch.held():
                await self._join(reader, writer)
        except SandboxError as error:
            self._on_problem(f"port {self.port}: {error}")
        except (errors.ApiError, errors.TransportError) as error:
            self._on_problem(f"port {self.port}: {self._session.explain_exec(error)}")
        except (ConnectionError, asyncio.CancelledError):
            # Whoever has connected is gone, or all are to go.
            pass
        finally:
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._session.check_usable()
        turn = await self._session.exec_limit.turn()
        turn.settle()
        said = b""
        async with self._session.open_interactive(self._words) as process:
            sending = asyncio.create_task(_send(reader, process))
            try:
                async for channel, data in process:
                    turn.release()
                    if channel == remotecommand.STDOUT:
                        writer.write(data)
                        await writer.drain()
                    else:
                        said = (said + data)[-_MESSAGE_BYTES:]
            finally:
                turn.release()
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        if process.exit is not None and process.exit.code != 0:
            last = answers.text(said.decode(errors="replace").strip().rpartition("\n")[2], 300)
            self._on_problem(f"port {self.port}: {last or process.exit.message}")


async def _send(reader: asyncio.StreamReader, process: remotecommand.Exec) -> None:
    with contextlib.suppress(errors.TransportError, ConnectionError):
        while data := await reader.read(_PIECE_BYTES):
            await process.write(data)
        await process.close_stdin()


def check_port(what: str, port: int, least: int = 0) -> None:
    """Raise `InvalidArgument` unless *port* is the number of one."""
    if isinstance(port, bool) or not isinstance(port, int) or not least <= port <= 65535:
        raise InvalidArgument(f"{what}: {port!r} is no port; give {least} to 65535")
