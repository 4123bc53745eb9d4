"""Answers on every address of the outside namespace, which are its arguments: a run-alone program.

TCP 53, 80 and 443 reply with one line that names the address that was reached; UDP 53 echoes.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast


async def _tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    address, port = writer.get_extra_info("sockname")[:2]
    body = f"reached {address}:{port}\n".encode()
    try:
        await asyncio.wait_for(reader.read(4096), timeout=5)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        writer.write(head + body)
        await writer.drain()
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not every Python's transport says that it is a DatagramTransport.
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    for port in (53, 80, 443):
        await asyncio.start_server(_tcp, "0.0.0.0", port)
    for address in sys.argv[1:]:
        # By an endpoint for all of them, every answer would come from the same address.
        await loop.create_datagram_endpoint(_Echo, local_addr=(address, 53))
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
