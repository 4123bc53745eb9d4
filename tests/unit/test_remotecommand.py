"""The exec stream: frames, exit codes, and that silence is never success."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from sandyard.kube import errors, remotecommand
from sandyard.kube.client import Client
from sandyard.kube.config import ClusterConfig

Script = Callable[[web.WebSocketResponse], Awaitable[None]]
SUCCESS = b"\x03" + json.dumps({"status": "Success"}).encode()


def failure(code: str) -> bytes:
    causes = [{"reason": "ExitCode", "message": code}]
    return b"\x03" + json.dumps({"status": "Failure", "message": "ended", "details": {"causes": causes}}).encode()


@asynccontextmanager
async def served(
    script: Script, protocol: str = "v5.channel.k8s.io", refuse: int = 0, asked: dict[str, str] | None = None
) -> AsyncIterator[Client]:
    """A server of execs; *asked* is filled with what the query of the request says."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if asked is not None:
            asked.update(request.query)
        if request.headers["Accept"] != "*/*":
            return web.Response(status=406)
        if refuse:
            return web.Response(status=refuse)
        socket = web.WebSocketResponse(protocols=(protocol,), max_msg_size=0)
        await socket.prepare(request)
        await script(socket)
        await socket.close()
        return socket

    async with at(handle) as client:
        yield client


@asynccontextmanager
async def at(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[Client]:
    """A client of a server that answers as *handle* does."""
    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    try:
        async with Client(ClusterConfig(server=f"http://127.0.0.1:{port}")) as client:
            yield client
    finally:
        await runner.cleanup()


async def run(client: Client, stdin: bytes = b"", seconds: float = 5, limit: int = 1 << 20) -> remotecommand.Completed:
    return await remotecommand.run(
        client, "/api/v1/namespaces/ns/pods/p", ["x"], container="c", stdin=stdin, timeout_seconds=seconds,
        limit_bytes=limit,
    )  # fmt: skip


async def test_streams_are_kept_apart_and_bytes_stay_bytes() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        for frame in (b"\x01out\xff\n", b"\x02err", b"\x01", b"\x01\x00more", failure("7")):
            await socket.send_bytes(frame)

    async with served(script) as client:
        done = await run(client)
    assert (done.stdout, done.stderr) == (b"out\xff\n\x00more", b"err")
    assert done.exit == remotecommand.Exit(7, "ended")


async def test_input_arrives_whole_and_its_end_too() -> None:
    """An echo: it answers while it still reads, and ends at the end of its input."""

    async def script(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            if message.data == b"\xff\x00":
                await socket.send_bytes(SUCCESS)
                return
            assert message.data[0] == remotecommand.STDIN
            assert len(message.data) <= 256 * 1024 + 1
            await socket.send_bytes(b"\x01" + message.data[1:])

    data = bytes(range(256)) * 4096
    async with served(script) as client:
        done = await run(client, data, limit=1 << 21)
    assert done.stdout == data
    assert done.exit.code == 0


@pytest.mark.parametrize("channel", [remotecommand.STDOUT, remotecommand.STDERR])
async def test_one_that_writes_without_end_is_left_at_the_limit(channel: int) -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while not socket.closed:
                await socket.send_bytes(bytes((channel,)) + b"y" * 1000)
                await asyncio.sleep(0)

    async with served(script) as client:
        async with asyncio.timeout(3):
            done = await run(client, limit=2500, seconds=60)
    assert (len(done.stdout) + len(done.stderr), done.truncated) == (2500, True)
    assert done.exit == remotecommand.Exit(None, "more than 2500 bytes of output")


async def test_output_up_to_the_limit_of_each_stream_is_whole() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        for frame in (b"\x01" + b"y" * 1000, b"\x02" + b"n" * 1000, SUCCESS):
            await socket.send_bytes(frame)

    async with served(script) as client:
        done = await run(client, limit=1000)
    assert (len(done.stdout), len(done.stderr), done.truncated, done.exit.code) == (1000, 1000, False, 0)


async def test_one_that_ends_without_reading_its_input_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_self: remotecommand.Exec, _frame: bytes) -> None:
        raise errors.TransportError("exec: Cannot write to closing transport")

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(failure("3"))

    monkeypatch.setattr(remotecommand.Exec, "_send", broken)
    async with served(script) as client:
        assert (await run(client, b"x" * 1000)).exit.code == 3


@pytest.mark.parametrize("tty", [False, True])
async def test_a_terminal_has_its_size_and_no_stream_of_errors(tty: bool) -> None:
    sent: list[bytes] = []

    async def script(socket: web.WebSocketResponse) -> None:
        sent.append((await socket.receive()).data)
        await socket.send_bytes(SUCCESS)

    asked: dict[str, str] = {}
    async with (
        served(script, asked=asked) as client,
        remotecommand.open_exec(client, "/pods/p", ["x"], container="c", tty=tty) as process,
    ):
        await process.resize(120, 40)
        assert [piece async for piece in process] == []
    assert sent == [b'\x04{"Width":120,"Height":40}']
    assert (asked["tty"], asked["stderr"]) == (("true", "false") if tty else ("false", "true"))


@pytest.mark.parametrize("tty", [False, True])
async def test_a_silent_stream_is_kept_alive_without_a_change(monkeypatch: pytest.MonkeyPatch, tty: bool) -> None:
    """A second size that nobody asked for has the API server read no more of what is no terminal."""
    monkeypatch.setattr(remotecommand, "_KEEP_ALIVE_SECONDS", 0.01)
    sent: list[WSMsgType | bytes] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=(remotecommand.V5,), autoping=False)
        await socket.prepare(request)
        while len(sent) < 3:
            message = await socket.receive()
            sent.append(message.data if message.type is WSMsgType.BINARY else message.type)
        await socket.send_bytes(SUCCESS)
        await socket.close()
        return socket

    async with (
        at(handle) as client,
        remotecommand.open_exec(client, "/pods/p", ["x"], container="c", tty=tty) as process,
        asyncio.timeout(5),
    ):
        assert [piece async for piece in process] == []
    assert sent == ([b'\x04{"Width":80,"Height":24}'] if tty else [WSMsgType.PING]) * 3


async def test_a_stream_that_breaks_off_is_no_success() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\x01almost")

    async with served(script) as client:
        with pytest.raises(errors.TransportError, match="without a status"):
            await run(client)


@pytest.mark.parametrize("kept_connection", [False, True])
async def test_an_exec_that_nobody_answers_is_not_sent_again(kept_connection: bool) -> None:
    """It may run all the same; a watch, which may be asked for twice, is."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if kept_connection and len(asked) == 1:
            return web.Response(text="")
        assert request.transport is not None
        request.transport.abort()
        return web.Response(status=500)

    async with at(handle) as client:
        if kept_connection:
            assert [line async for line in client.watch("/pods", {}, inactivity_seconds=5)] == []
            asked[1:] = []
        with pytest.raises(errors.TransportError):
            await run(client)
        assert asked[int(kept_connection) :] == ["/api/v1/namespaces/ns/pods/p/exec"]
        with pytest.raises(errors.TransportError):
            assert [line async for line in client.watch("/pods", {}, inactivity_seconds=5)] == []
    assert asked[-2:] == ["/pods", "/pods"]


async def test_one_that_takes_too_long_is_cut_off() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(30)

    async with served(script) as client:
        with pytest.raises(errors.TransportError, match=r"not finished within 0\.2 s"):
            await run(client, seconds=0.2)


async def test_an_old_server_is_told_by_name() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()

    async with served(script, protocol="v4.channel.k8s.io") as client:
        with pytest.raises(errors.ApiError, match=r"v5\.channel\.k8s\.io"):
            await run(client)


async def test_a_refusal_means_that_nothing_has_started() -> None:
    async with served(lambda _socket: asyncio.sleep(0), refuse=403) as client:
        with pytest.raises(errors.ApiError) as caught:
            await run(client)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"status":"Success"}', 0),
        (failure("0")[1:], 0),
        (failure("255")[1:], 255),
        (failure("many")[1:], None),
        (b'{"status":"Failure","message":"cannot start"}', None),
        (b"not json", None),
        (b"", None),
    ],
)
def test_an_exit_code_is_what_the_server_says_or_unknown(data: bytes, code: int | None) -> None:
    assert remotecommand.parse_status(data).code == code
