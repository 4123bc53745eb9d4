"""The client's own small parts: the tree of errors, results, tables."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from sandyard.cli import tables
from sandyard.cli.main import main
from sandyard.client import errors, waiting
from sandyard.client.commands.background import BackgroundCommand
from sandyard.client.commands.commands import Commands
from sandyard.client.commands.forward import Forward
from sandyard.client.commands.shell import Shell
from sandyard.client.commands.terminal import Terminal
from sandyard.client.exec.call import Call
from sandyard.client.exec.command import Command, Sinks
from sandyard.client.exec.script import Request
from sandyard.client.files import listing
from sandyard.client.files.files import Files
from sandyard.client.info import SandboxInfo
from sandyard.client.result import CommandResult
from sandyard.client.sandbox import AsyncSandbox
from sandyard.client.session.cluster import SANDBOXES, Cluster, explain
from sandyard.client.session.session import Session
from sandyard.client.sync import (
    Sandbox,
    SyncBackgroundCommand,
    SyncCommands,
    SyncFiles,
    SyncForward,
    SyncShell,
    SyncTerminal,
)
from sandyard.kube import errors as kube_errors
from sandyard.kube import remotecommand
from sandyard.kube.config import ClusterConfig
from sandyard.kube.remotecommand import Exit


def kinds(root: type[errors.SandboxError] = errors.SandboxError) -> list[type[errors.SandboxError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]


def test_every_error_has_a_code_of_its_own_and_is_exported() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(set(codes)) == len(codes)
    assert {kind.__name__ for kind in kinds()} == set(errors.__all__)


@pytest.mark.parametrize(
    ("status", "reason", "kind", "retryable"),
    [
        (401, "Unauthorized", errors.Unauthorized, False),
        (403, "Forbidden", errors.Unauthorized, False),
        (404, "NotFound", errors.SandboxNotFound, False),
        (409, "AlreadyExists", errors.SandboxExists, False),
        (409, "Conflict", errors.InvalidArgument, False),
        (422, "Invalid", errors.InvalidArgument, False),
        (429, "TooManyRequests", errors.Unavailable, True),
        (500, "InternalError", errors.Unavailable, True),
        (503, "ServiceUnavailable", errors.Unavailable, True),
    ],
)
def test_each_refusal_has_its_error(status: int, reason: str, kind: type[errors.SandboxError], retryable: bool) -> None:
    found = explain(kube_errors.ApiError(status, {"reason": reason, "message": "why"}), "s")
    assert type(found) is kind
    assert (found.retryable, found.sandbox, "why" in str(found)) == (retryable, "s", True)
    assert explain(kube_errors.TransportError("cut"), "s").retryable


def test_only_what_has_not_started_is_retryable() -> None:
    assert errors.ExecTransportError("x", started=False).retryable
    assert not errors.ExecTransportError("x", started=True).retryable


def test_a_result_reads_as_of_subprocess() -> None:
    result = CommandResult(137, b"\xff", b"e\n", omitted_bytes=3)
    assert (result.ok, result.signal, result.truncated, result.stdout_text) == (False, 9, True, "\ufffd")
    assert CommandResult(0).ok
    assert CommandResult(None).signal is None


def test_names_of_files_may_hold_anything_but_a_zero() -> None:
    told = b"./a\nb\0./\xff\0./a\0\0"
    told += b"81a4 3 1700000000 1000 1000 ./a\nb\n41ed 0 1700000000 0 0 ./\xff\n81a4 1 2 3 4 ./a\n"
    first, second, third = listing.parse(told)
    assert (first.name, first.is_file, first.size, first.uid) == ("a\nb", True, 3, 1000)
    assert (second.name, second.is_dir) == ("\udcff", True)
    assert (third.name, third.size) == ("a", 1)


def test_a_folder_that_changes_while_it_is_listed_is_listed() -> None:
    told = b"./gone\0./kept\0\0" + b"81a4 1 1 0 0 ./new\n81a4 2 1 0 0 ./kept\n"
    assert [(one.name, one.size) for one in listing.parse(told)] == [("new", 1), ("kept", 2)]
    assert listing.parse(b"\0") == []


def test_what_has_become_of_files_is_told_once() -> None:
    before = listing.parse(b"\0" + b"81a4 1 1 0 0 ./a\n81a4 1 1 0 0 ./b\n81a4 1 1 0 0 ./same\n")
    now = listing.parse(b"\0" + b"81a4 2 1 0 0 ./b\n81a4 1 1 0 0 ./c\n81a4 1 1 0 0 ./same\n")
    told = [(change.kind, change.path, change.info.size) for change in listing.changes(before, now)]
    assert told == [("removed", "a", 1), ("created", "c", 1), ("changed", "b", 2)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-5, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200000, "2d")],
)
def test_time_spans_read_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert tables.age(seconds) == text


def test_a_table_obeys_no_escape_sequences() -> None:
    item = {"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Ready", "poolName": "\x1b[31mred\n"}}  # fmt: skip
    text = tables.table([item], tables.SANDBOXES)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["create"], "give either --pool or --image"),
        (["create", "--pool", "a", "--image", "b"], "give either --pool or --image"),
        (["create", "--pool", "a", "-e", "broken"], "is not NAME=VALUE"),
        (["rm"], "name a sandbox, or give --label or --all"),
        (["exec", "s"], "Missing argument 'COMMAND...'"),
        (["ttl", "s", "0"], "0 is not in the range"),
        (["nothing"], "No such command"),
    ],
)
def test_wrong_use_says_what_is_wrong(words: list[str], told: str) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert told in done.output


@pytest.mark.parametrize("words", [[], ["create"], ["exec"], ["run"], ["ls"], ["pool", "ls"], ["rm"], ["cat"], ["ttl"]])
def test_everything_has_help(words: list[str]) -> None:
    done = CliRunner().invoke(main, [*words, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output


async def test_neither_or_both_sources_are_refused_before_anything_is_sent() -> None:
    options: list[dict[str, Any]] = [{}, {"pool": "a", "template": {"image": "b"}}]
    for wrong in options:
        with pytest.raises(errors.InvalidArgument, match="either a pool or a template"):
            await AsyncSandbox.create(**wrong)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ({"phase": "Pending"}, None),
        ({"phase": "Starting"}, None),
        ({"phase": "Ready"}, None),
        ({"phase": "Paused"}, None),
        ({"phase": "Suspended"}, None),
        ({"phase": "Terminating"}, errors.SandboxDeleted),
        ({"phase": "Expired", "reason": "Idle"}, errors.SandboxExpired),
        ({"phase": "Failed", "reason": "PoolExhausted"}, errors.PoolExhausted),
        ({"phase": "Failed", "reason": "ImagePullBackOff"}, errors.SandboxCreateError),
        ({"phase": "Failed", "reason": "PodLost", "lastTermination": {}}, errors.SandboxCreateError),
        ({"phase": "Failed", "reason": "PodLost", "lastTermination": {"reason": "PodLost"}}, errors.SandboxDeleted),
        ({"phase": "Failed", "reason": "OOMKilled", "lastTermination": {"exitCode": 137}}, errors.SandboxEnded),
        ({"phase": "Succeeded", "reason": "Completed", "lastTermination": {"exitCode": 0}}, errors.SandboxEnded),
    ],
)
def test_each_end_has_its_error(status: dict[str, Any], kind: type[errors.SandboxError] | None) -> None:
    reason = status.pop("reason", "X")
    ready = {"type": "Ready", "status": "False", "reason": reason, "message": "why"}
    found = SandboxInfo({"metadata": {"name": "s"}, "status": {**status, "conditions": [ready]}}).trouble()
    assert (type(found) if found else None) is kind
    if found is not None and kind is not errors.SandboxDeleted:
        assert (found.reason, found.sandbox) == (reason, "s")


@pytest.mark.parametrize(
    ("code", "message", "never"),
    [
        (None, "error executing command: failed to exec in container: failed to load task: deadline exceeded", True),
        (None, "failed to exec in container: failed to create exec x: busy", True),
        (None, "failed to exec in container: failed to start exec: OCI runtime exec failed", False),
        (1, "failed to load task", False),
        (0, "", False),
    ],
)  # fmt: skip
def test_only_what_could_not_begin_is_begun_again(code: int | None, message: str, never: bool) -> None:
    session: Any = None
    call = Call(session, "id", Request([], mark="id"), Command([]), Sinks())
    assert not call.never_started
    call.exit = Exit(code, message)
    assert call.never_started is never


@pytest.mark.parametrize(
    ("said", "code", "torn"),
    [
        (b"\0id:+\0out", 128, True),
        (b"\0id:+\0out", 137, False),
        (b"\0id:+\0out", None, False),
        (b"\0id:+\0out\0id:128\0", 128, False),
        (b"no such folder", 125, False),
    ],
)
def test_an_exit_code_of_the_runtime_is_none_of_the_command(said: bytes, code: int | None, torn: bool) -> None:
    session: Any = None
    call = Call(session, "id", Request([], mark="id"), Command([]), Sinks())
    call.stdout.feed(said)
    assert not call.torn_off
    call.exit = Exit(code)
    assert call.torn_off is torn


def test_the_synchronous_face_has_every_call_and_waits_for_its_end() -> None:
    faces: list[tuple[type, type]] = [
        (SyncCommands, Commands), (SyncFiles, Files), (SyncShell, Shell), (SyncBackgroundCommand, BackgroundCommand),
        (SyncTerminal, Terminal), (SyncForward, Forward),
        (Sandbox, AsyncSandbox),
    ]  # fmt: skip
    for ours, theirs in faces:
        public = {name: value for name, value in vars(theirs).items() if name[0] != "_"}
        kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
        calls = {name for name, value in public.items() if any(is_kind(value) for is_kind in kinds)}
        assert calls == {name for name in vars(ours) if name[0] != "_" and callable(getattr(ours, name))} - {
            "create", "connect", "list"
        } | (calls & {"connect", "list"})  # fmt: skip
        assert all(getattr(ours, name).__doc__ == getattr(theirs, name).__doc__ for name in calls)

    class Fake:
        _session = None

        async def read(self, path: str) -> str:
            await asyncio.sleep(0)
            if path == "nothing":
                raise errors.SandboxFileNotFound(path)
            return path

    async def read(self: Fake, path: str) -> str:
        return await self.read(path)

    behind: Any = SyncFiles(Fake())  # type: ignore[arg-type]
    assert waiting.wait(read)(behind, "a") == "a"
    with pytest.raises(FileNotFoundError):
        waiting.wait(read)(behind, "nothing")


async def test_a_request_has_its_time() -> None:
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Cluster(request_timeout=0.3, config=ClusterConfig(f"http://127.0.0.1:{port}")) as cluster:
        started = time.monotonic()
        with pytest.raises(errors.Unavailable) as caught:
            await cluster.get(SANDBOXES, "default", "s")
        # Three tries, since reading twice is no harm.
        assert time.monotonic() - started < 5
        assert caught.value.retryable
        for writer in held:
            writer.close()


@pytest.mark.parametrize(("minor", "older"), [("29", True), ("29+", True), ("30", False), ("33+", False), ("x", False)])
async def test_an_older_server_is_known_by_its_version(minor: str, older: bool) -> None:
    async def version(_: web.Request) -> web.Response:
        return web.json_response({"major": "1", "minor": minor})

    application = web.Application()
    application.router.add_get("/version", version)
    async with TestServer(application) as server, Cluster(config=ClusterConfig(str(server.make_url("")))) as cluster:
        assert await cluster.falls_back() is older
        assert (cluster.exec_protocol == remotecommand.V4) is older
        assert not await cluster.falls_back() or not older


@pytest.mark.parametrize("minor", ["29", "33"])
async def test_a_session_is_opened_as_an_older_server_speaks(minor: str) -> None:
    async def version(_: web.Request) -> web.Response:
        return web.json_response({"major": "1", "minor": minor})

    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(remotecommand.V4,))
        await socket.prepare(request)
        await socket.send_bytes(b"\x01hello")
        await socket.send_bytes(b'\x03{"status":"Success"}')
        return socket

    application = web.Application()
    application.router.add_get("/version", version)
    application.router.add_get("/api/v1/namespaces/default/pods/p/exec", answer)
    async with TestServer(application) as server, Cluster(config=ClusterConfig(str(server.make_url("")))) as cluster:
        body = {"metadata": {"name": "s", "namespace": "default", "uid": "u"}, "status": {"podName": "p"}}
        opened = Session(cluster, body).open_interactive(["sh"])
        if minor == "33":
            with pytest.raises(kube_errors.ApiError, match="does not speak"):
                await opened.__aenter__()
            return
        async with opened as process:
            assert [data async for _, data in process] == [b"hello"]
