"""Pass bytes on between a local port and an address: ``forward.py PORT HOST:PORT``. It knows no protocol."""

import asyncio
import sys

_CHUNK_BYTES = 2**18


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(_CHUNK_BYTES):
            target.write(chunk)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()


async def _serve(port: int, host: str, target: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(host, target, limit=_CHUNK_BYTES)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=_CHUNK_BYTES, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    address, _, number = sys.argv[2].rpartition(":")
    asyncio.run(_serve(int(sys.argv[1]), address, int(number)))
