"""An API server with one Sandbox whose pod is this machine: an exec runs here, as the websocket asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from sandyard.client import AsyncSandbox, Cluster
from sandyard.kube import remotecommand
from sandyard.kube.config import ClusterConfig

__all__ = ["LocalPod", "local_pod", "serving"]

_POD = "/api/v1/namespaces/default/pods/p"
_SANDBOXES = "/apis/sandyard.dev/v1alpha1/namespaces/default/sandboxes"
_POOLS = "/apis/sandyard.dev/v1alpha1/namespaces/default/sandboxpools"
_CLOSE = 255


class LocalPod:
    """The Sandbox, its API server, and what was asked of it."""

    def __init__(self) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
        status = {"phase": "Ready", "podName": "p", "podUID": "pu", "conditions": [ready], "observedGeneration": 1}
        self.body: dict[str, Any] = {
            "metadata": {"name": "s", "namespace": "default", "uid": "u", "generation": 1, "resourceVersion": "1",
                         "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}, "status": status,
        }  # fmt: skip
        self.execs = 0
        # What was asked of the API server: method, path and query, body.
        self.asked: list[tuple[str, str, Any]] = []
        self.pools: list[str] = []
        self.deleted = False
        # Whether what was deleted is not found any more.
        self.forgets = False
        # Whether what is deleted stays: there is no operator.
        self.stays = False
        self.forbidden = False
        # Who runs what is run, and where; None: as the tests themselves.
        self.user: int | None = None
        self.folder: pathlib.Path | None = None
        # By how many seconds the node comes late with a terminal, which nobody waits for by then.
        self.late = 0.0
        self.loop: asyncio.AbstractEventLoop | None = None
        # Of execs that have ended by themselves: what they have left runs on until the pod ends.
        self._groups: list[int] = []
        self._watching: list[asyncio.Queue[dict[str, Any]]] = []
        self.application = web.Application()
        self.application.router.add_get(f"{_POD}/exec", self._exec)
        self.application.router.add_get(_SANDBOXES, self._list)
        self.application.router.add_get(f"{_SANDBOXES}/s", self._get)
        self.application.router.add_post(_SANDBOXES, self._create)
        self.application.router.add_patch(f"{_SANDBOXES}/s", self._patch)
        self.application.router.add_delete(f"{_SANDBOXES}/s", self._delete)
        self.application.router.add_get(_POOLS, self._list_pools)
        for everywhere in ("sandboxes", "sandboxpools"):
            self.application.router.add_get(f"/apis/sandyard.dev/v1alpha1/{everywhere}", self._list)
        self.application.router.add_get("/api/v1/namespaces/default/events", self._events)

    def ask(self, **spec: Any) -> None:
        """Somebody else changes the Sandbox's spec, and the operator sees that."""
        self.body = {**self.body, "spec": {**self.body["spec"], **spec}}
        self.change()

    def change(self, kind: str = "MODIFIED", **status: Any) -> None:
        """Change the Sandbox's status, and tell those who watch it."""
        self.body = {**self.body, "status": {**self.body["status"], **status}}
        for queue in self._watching:
            queue.put_nowait({"type": kind, "object": self.body})

    def turn_ready(self) -> None:
        """Let the Sandbox be Ready; from any thread."""
        assert self.loop is not None
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
        self.loop.call_soon_threadsafe(lambda: self.change(phase="Ready", conditions=[ready]))

    async def _note(self, request: web.Request) -> Any:
        body = await request.json()
        self.asked.append((request.method, request.path_qs, body))
        return body

    async def _create(self, request: web.Request) -> web.Response:
        body = await self._note(request)
        self.body = {**self.body, "spec": body["spec"]}
        self.deleted = False
        return web.json_response(self.body, status=201)

    async def _patch(self, request: web.Request) -> web.Response:
        asked = await self._note(request)
        self.body = {**self.body, "spec": {**self.body["spec"], **asked.get("spec", {})}}
        return web.json_response(self.body)

    async def _delete(self, request: web.Request) -> web.Response:
        await self._note(request)
        if self.deleted:
            return web.json_response({"reason": "NotFound", "message": "gone"}, status=404)
        if self.stays:
            return web.json_response(self.body)
        self.deleted = True
        for queue in self._watching:
            queue.put_nowait({"type": "DELETED", "object": self.body})
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _events(self, request: web.Request) -> web.Response:
        self.asked.append(("GET", request.path_qs, None))
        event = {"metadata": {"namespace": "default", "uid": "e"}, "type": "Warning", "reason": "Waiting",
                 "message": "no\x1b[2J room", "involvedObject": {"kind": "Sandbox", "name": "s"},
                 "lastTimestamp": "2026-01-01T00:00:00Z"}  # fmt: skip
        return web.json_response({"metadata": {}, "items": [event, {**event, "involvedObject": {"kind": "Pod"}}]})

    async def _list_pools(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"metadata": {}, "items": [{"metadata": {"name": name, "uid": name}} for name in self.pools]}
        )

    async def _get(self, _: web.Request) -> web.Response:
        if self.deleted and self.forgets:
            return web.json_response({"reason": "NotFound", "message": "gone"}, status=404)
        return web.json_response(self.body)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") not in ("1", "true"):
            items = [] if self.deleted else [self.body]
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._watching.append(queue)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                event = await queue.get()
                await response.write(web.json_response(event).body + b"\n")  # type: ignore[operator]
        finally:
            self._watching.remove(queue)

    async def _exec(self, request: web.Request) -> web.WebSocketResponse:
        self.execs += 1
        if self.forbidden:
            return web.json_response({"reason": "Forbidden", "message": "no"}, status=403)  # type: ignore[return-value]
        if self.late and request.query["tty"] == "true":
            await asyncio.shield(self._run_late(request.query.getall("command")))
        socket = web.WebSocketResponse(protocols=(remotecommand.V5,), max_msg_size=0)
        await socket.prepare(request)
        process = await asyncio.create_subprocess_exec(
            *request.query.getall("command"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, start_new_session=True, user=self.user, cwd=self.folder,
        )  # fmt: skip
        assert process.stdin and process.stdout and process.stderr
        feeding = asyncio.create_task(_feed(socket, process.stdin))
        speaking = [
            asyncio.create_task(_pump(process.stdout, socket, remotecommand.STDOUT)),
            asyncio.create_task(_pump(process.stderr, socket, remotecommand.STDERR)),
        ]
        said = asyncio.gather(*speaking)
        try:
            await asyncio.wait({feeding, said}, return_when=asyncio.FIRST_COMPLETED)
            if not said.done() or said.exception():
                # The client has gone; a real node would let the process run on.
                return socket
            code = await process.wait()
            await socket.send_bytes(b"\x03" + _status(code if code >= 0 else 128 - code))
            await socket.close()
        finally:
            if process.returncode is None:
                _kill(process.pid)
            self._groups.append(process.pid)
            for task in (*speaking, feeding):
                task.cancel()
            await asyncio.gather(*speaking, said, feeding, return_exceptions=True)
            # The end of a process is seen only once its output is read.
            await process.communicate()
        return socket

    async def _run_late(self, command: list[str]) -> None:
        await asyncio.sleep(self.late)
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._groups.append(process.pid)
        await process.wait()

    def end(self) -> None:
        """End what is left of all that was run."""
        for group in self._groups:
            _kill(group)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def serving(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPod]:
    """The pod in a thread of its own, with a kubeconfig that leads to it: for calls that wait, and other processes."""
    pod = LocalPod()
    loop = pod.loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = TestServer(pod.application)
    asyncio.run_coroutine_threadsafe(server.start_server(), loop).result(10)
    url = str(server.make_url("")).rstrip("/")
    config = {"clusters": [{"name": "c", "cluster": {"server": url}}], "users": [{"name": "u", "user": {}}],
              "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
              "current-context": "x", "kind": "Config", "apiVersion": "v1"}  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
    try:
        yield pod
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(30)
        pod.end()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.asynccontextmanager
async def local_pod() -> AsyncIterator[tuple[LocalPod, AsyncSandbox]]:
    """The pod, and a client's sandbox in it."""
    pod = LocalPod()
    async with TestServer(pod.application) as server:
        cluster = Cluster(namespace="default", config=ClusterConfig(str(server.make_url("")).rstrip("/")))
        sandbox = AsyncSandbox(cluster, pod.body, own_cluster=True, ends=False)
        await cluster.__aenter__()
        try:
            yield pod, sandbox
        finally:
            await sandbox.close()
            pod.end()


async def _pump(stream: asyncio.StreamReader, socket: web.WebSocketResponse, channel: int) -> None:
    while data := await stream.read(65536):
        await socket.send_bytes(bytes((channel,)) + data)


async def _feed(socket: web.WebSocketResponse, stdin: asyncio.StreamWriter) -> None:
    """What the client sends, until it goes; a process that reads no more does not end it."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            continue
        with contextlib.suppress(ConnectionError):
            if message.data[0] == remotecommand.STDIN:
                stdin.write(message.data[1:])
                await stdin.drain()
            elif message.data[0] == _CLOSE:
                stdin.close()


def _status(code: int) -> bytes:
    if code == 0:
        return b'{"status":"Success"}'
    causes = b'[{"reason":"ExitCode","message":"%d"}]' % code
    return b'{"status":"Failure","message":"ended","details":{"causes":%s}}' % causes
