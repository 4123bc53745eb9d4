"""The client behind what stands between people and their clusters: a proxy that cuts what is idle, and a slow line."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import time
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandyard import AsyncSandbox
from sandyard.client import Cluster, errors
from sandyard.kube import config as kube_config
from sandyard.kube import remotecommand

_PIECE = 16 * 1024


@asynccontextmanager
async def behind_a_proxy(
    sandbox: AsyncSandbox, *, idle_seconds: float = 1000, bytes_per_second: float = 1e9
) -> AsyncIterator[AsyncSandbox]:
    """The same sandbox through a proxy on this machine that only sees bytes."""
    config = kube_config.load()
    server = urllib.parse.urlsplit(config.server)

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, heard: list[float]) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_PIECE):
                heard[0] = time.monotonic()
                target.write(data)
                await target.drain()
                await asyncio.sleep(len(data) / bytes_per_second)
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(server.hostname, server.port)
        heard = [time.monotonic()]
        tasks = [asyncio.create_task(pass_on(reader, back, heard)), asyncio.create_task(pass_on(there, writer, heard))]
        try:
            while time.monotonic() - heard[0] < idle_seconds and not any(task.done() for task in tasks):
                await asyncio.sleep(0.1)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (writer, back):
                end.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    through = dataclasses.replace(config, server=f"https://127.0.0.1:{port}")
    try:
        async with Cluster(namespace=sandbox.namespace, config=through) as cluster:
            again = await AsyncSandbox.connect(sandbox.name, cluster=cluster)
            yield again
            await again.close()
    finally:
        listening.close()


async def test_a_silent_command_outlives_a_proxy_that_cuts_what_is_idle(
    sandbox: AsyncSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Far apart: on a busy machine a sign of life comes late.
    async with behind_a_proxy(sandbox, idle_seconds=5) as again:
        monkeypatch.setattr(remotecommand, "_KEEP_ALIVE_SECONDS", 0.5)
        assert (await again.commands.run("sleep 11; echo end")).stdout == b"end\n"
        # Without a sign of life it would not.
        monkeypatch.setattr(remotecommand, "_KEEP_ALIVE_SECONDS", 1000.0)
        with pytest.raises(errors.ExecTransportError) as caught:
            await again.commands.run("sleep 11; echo end")
        assert caught.value.started


async def test_bytes_are_exact_on_a_slow_line(sandbox: AsyncSandbox) -> None:
    data = os.urandom(3_000_000)
    async with behind_a_proxy(sandbox, bytes_per_second=10e6 / 8) as again:
        out, err = hashlib.sha256(), hashlib.sha256()
        started = time.monotonic()
        done = await again.commands.run(
            "tee /dev/stderr", stdin=data, on_stdout=out.update, on_stderr=err.update, timeout=120
        )
        assert done.ok
        assert time.monotonic() - started > 4, "the line is slow"
        assert out.digest() == err.digest() == hashlib.sha256(data).digest()
