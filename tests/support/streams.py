"""What a sandbox's streams must bring through, whatever runs it."""

from __future__ import annotations

import asyncio
import hashlib
import os

from sandyard import AsyncSandbox

__all__ = ["check_bytes", "check_many"]

# What a result keeps of a stream.
_KEPT = 10 * 1024 * 1024


async def check_bytes(sandbox: AsyncSandbox) -> None:
    """In and out by both streams, at sizes around those of frames and pipes, and beyond what is kept."""
    for size in (0, 1, 4095, 32767, 32768, 32769, 10**6, 2 * 10**7):
        data = os.urandom(min(size, 10**6)) * (size // 10**6 or 1)
        out, err = hashlib.sha256(), hashlib.sha256()
        done = await sandbox.commands.run(
            "tee /dev/stderr", stdin=data, on_stdout=out.update, on_stderr=err.update, timeout=120
        )
        assert done.exit_code == 0
        assert out.digest() == err.digest() == hashlib.sha256(data).digest(), size
        assert done.omitted_bytes == 2 * max(0, len(data) - _KEPT)


async def check_many(sandbox: AsyncSandbox) -> None:
    """As many at once as would flood the node if they were let."""
    results = await asyncio.gather(*(sandbox.commands.run(f"echo {n}; echo {n} >&2", timeout=120) for n in range(64)))
    assert [int(result.stdout) for result in results] == list(range(64))
    assert [int(result.stderr) for result in results] == list(range(64))
