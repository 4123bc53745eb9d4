"""Ports of a sandbox, from this machine: against a pod that is this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import shutil
import sys
from collections.abc import AsyncIterator

import pytest

from sandyard.client import AsyncSandbox, errors
from tests.unit.local_pod import LocalPod

pytestmark = pytest.mark.timeout(60)
DATA = os.urandom(700_000)


@contextlib.asynccontextmanager
async def echo(host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that sends all back once all has come; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, host, 0) as server:
        yield server.sockets[0].getsockname()[1]


async def exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    received = await reader.read()
    writer.close()
    return received


@pytest.fixture(params=["perl", "python3"])
def tool(request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The only program of the image that can reach a port."""
    # This Python, and not what stands in the way as a script, which needs other programs.
    found = os.path.realpath(sys.executable) if request.param == "python3" else shutil.which(request.param)
    assert found is not None
    (tmp_path / request.param).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    return request.param


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_each_byte_goes_both_ways_and_so_does_the_end(
    inside: tuple[LocalPod, AsyncSandbox], tool: str, host: str
) -> None:
    _, sandbox = inside
    async with echo(host) as port, await sandbox.forward(port) as forward:
        assert await asyncio.gather(*(exchange(forward.local_port, DATA[n:]) for n in range(3))) == [
            DATA[n:] for n in range(3)
        ]
        assert forward.url == f"http://127.0.0.1:{forward.local_port}"


async def test_bash_alone_will_do(
    inside: tuple[LocalPod, AsyncSandbox], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bash", "cat"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path))

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello " + await reader.readline())
        await writer.drain()
        writer.close()

    _, sandbox = inside
    async with (
        await asyncio.start_server(greet, "127.0.0.1", 0) as server,
        await sandbox.forward(server.sockets[0].getsockname()[1]) as forward,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.local_port)
        writer.write(b"you\n")
        assert await reader.read() == b"hello you\n"
        writer.close()


async def test_what_is_not_reached_is_told_and_the_next_is_tried(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    pod, sandbox = inside
    told: list[str] = []
    async with echo() as free:
        pass
    async with await sandbox.forward(free, on_problem=told.append) as forward:
        assert await exchange(forward.local_port, b"x") == b""
        assert told and f"port {free}: " in told[0] and "refused" in told[0]
        pod.forbidden = True
        assert await exchange(forward.local_port, b"x") == b""
        assert "create on pods/exec" in told[1]


async def test_an_image_that_can_reach_no_port_says_so(
    inside: tuple[LocalPod, AsyncSandbox], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sandbox = inside
    monkeypatch.setenv("PATH", str(tmp_path))
    told: list[str] = []
    async with await sandbox.forward(80, on_problem=told.append) as forward:
        assert await exchange(forward.local_port, b"x") == b""
    assert "none of perl, python3, nc and bash" in told[0]


async def test_leaving_closes_the_port_and_what_came_by_it(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    _, sandbox = inside
    async with echo() as port:
        async with await sandbox.forward(port) as forward:
            reader, writer = await asyncio.open_connection("127.0.0.1", forward.local_port)
            writer.write(b"x")
            await writer.drain()
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", forward.local_port)


async def test_a_forward_ends_with_its_sandbox(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    pod, sandbox = inside
    async with echo() as port, await sandbox.forward(port) as forward:
        waiting = asyncio.create_task(forward.wait())
        assert await exchange(forward.local_port, b"x") == b"x"
        assert not waiting.done()
        pod.change("DELETED")
        with pytest.raises(errors.SandboxDeleted):
            await waiting


async def test_a_forward_of_a_sandbox_that_was_killed_says_so(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    pod, sandbox = inside
    async with await sandbox.forward(80) as forward:
        pod.forgets = True
        await sandbox.kill()
        with pytest.raises(errors.SandboxDeleted):
            await forward.wait()


@pytest.mark.parametrize(("port", "local"), [(0, 0), (65536, 0), (-1, 0), (80, 65536), (80, -1)])
async def test_what_is_no_port_is_refused(inside: tuple[LocalPod, AsyncSandbox], port: int, local: int) -> None:
    _, sandbox = inside
    with pytest.raises(errors.InvalidArgument, match="is no port"):
        await sandbox.forward(port, local)


async def test_a_port_of_this_machine_that_is_taken_is_named(inside: tuple[LocalPod, AsyncSandbox]) -> None:
    _, sandbox = inside
    async with echo() as taken:
        with pytest.raises(errors.InvalidArgument, match=f"cannot listen on 127.0.0.1:{taken}: Address already in use"):
            await sandbox.forward(80, taken)
