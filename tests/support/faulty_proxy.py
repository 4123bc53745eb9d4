"""A proxy between an operator and its API server that does to requests what networks and servers do.

It notes each write, and what no operator of ours may ever send.  It speaks plain HTTP to the operator: what is
tried here is what becomes of requests, and TLS has tests of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import pathlib
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.ports import free_port

__all__ = ["SLOW_SECONDS", "FaultyProxy", "Rule", "Write"]

SLOW_SECONDS = 0.3
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
# Neither the lease nor Events are what a Sandbox's life consists of.
_ASIDE = ("leases", "events")
_HOP = ("transfer-encoding", "content-length", "connection", "content-encoding", "date", "server")


@dataclass(frozen=True)
class Write:
    """A write of the operator's: the how many-th since the last `watch_over`, and what it is."""

    number: int
    verb: str
    resource: str
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        """Verb and resource."""
        return f"{self.verb} {self.resource}"


# What happens to a write: "" (nothing), a status code, or before, between, after: its connection is cut there.
Rule = Callable[[Write], str]


class FaultyProxy:
    """Runs in a thread of its own until stopped.

    Attributes
    ----------
    rule
        Asked of each write.
    cut
        Called at a cut, before the connection is closed: kills the operator, for example.
    trigger
        Called with a pod's namespace and name instead of an exec in it, which has no node: its container ends.
    watches
        What happens to watches: "" (nothing), silent, broken (in the middle of a line), gone (an ERROR event),
        refused (410), replayed (each line twice), undecodable.
    network
        What happens to every request: "" (nothing), slow (each takes `SLOW_SECONDS` more), hole (it is taken and never
        answered), unauthorized (401), stale (a list is as it was when it was asked for first).
    forbidden
        Writes that no operator may send, as sentences.
    """

    def __init__(self, kubeconfig: pathlib.Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._server = cluster["server"]
        self._kubeconfig = config
        self._tls = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
        if "certificate-authority-data" in cluster:
            data = base64.b64decode(cluster["certificate-authority-data"]).decode()
            self._tls = ssl.create_default_context(cadata=data)
        self.port = free_port()
        self.rule: Rule = lambda _write: ""
        self.cut: Callable[[], None] = lambda: None
        self.trigger: Callable[[str, str], None] = lambda _namespace, _name: None
        self.watches = ""
        self.network = ""
        self._lists: dict[str, bytes] = {}
        self.writes: list[Write] = []
        self.forbidden: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    def config(self, target: pathlib.Path) -> pathlib.Path:
        """A kubeconfig that leads through here, with the same credentials."""
        made = json.loads(json.dumps(self._kubeconfig))
        made["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        target.write_text(json.dumps(made))
        return target

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._call(self._open())

    def stop(self) -> None:
        """End all of it."""
        self._call(self._close())
        if self._session is not None:
            self._call(self._session.close())
        self._call(self._end_requests())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def away(self, away: bool) -> None:
        """The API server is away: connections break and are refused; or it is back."""
        self._call(self._close() if away else self._open())

    def watch_over(self, rule: Rule) -> None:
        """Count writes anew, and ask *rule* about each."""
        self.writes, self.rule = [], rule

    def _call(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _open(self) -> None:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None)
            connector = aiohttp.TCPConnector(limit=0, ssl=self._tls)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=True)
        application = web.Application(client_max_size=1 << 24)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def _close(self) -> None:
        if self._runner is not None:
            for server in list(self._runner.server.connections if self._runner.server else ()):
                if server.transport is not None:
                    server.transport.abort()
            await self._runner.cleanup()
            self._runner = None

    async def _end_requests(self) -> None:
        """Requests whose connection is gone know it the next time they wake."""
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        verdict = ""
        parts = [part for part in request.path.split("/") if part]
        enters = parts[-1] == "exec"
        if (request.method in _WRITES or enters) and not any(part in _ASIDE for part in parts):
            write = self._note(request.method, parts, body)
            verdict = self.rule(write)
        if self.network == "unauthorized":
            return _status(401)
        if self.network == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        while self.network == "hole":
            await asyncio.sleep(0.05)
        if verdict.isdigit():
            return _status(int(verdict))
        if verdict == "before":
            return self._cut(request)
        if enters:
            return self._enter(request, parts, verdict)
        if request.query.get("watch") in ("1", "true"):
            return await self._watch(request)
        if self.network == "stale" and request.method == "GET" and (content := self._lists.get(request.path_qs)):
            return web.Response(body=content, content_type="application/json")
        assert self._session is not None
        async with self._session.request(
            request.method, self._server + request.path_qs, data=body or None, headers=_headers(request)
        ) as reply:
            content = await reply.read()
            if request.method == "GET" and reply.status == 200 and b'"items":' in content[:4096]:
                self._lists.setdefault(request.path_qs, content)
            if verdict == "between":
                return self._cut(request)
            kept = {key: value for key, value in reply.headers.items() if key.lower() not in _HOP}
            answer = web.Response(status=reply.status, body=content, headers=kept)
        if verdict == "after":
            await answer.prepare(request)
            await answer.write_eof()
            await asyncio.sleep(0)
            return self._cut(request)
        return answer

    def _note(self, verb: str, parts: list[str], body: bytes) -> Write:
        after = parts.index("namespaces") + 2 if "namespaces" in parts else len(parts) - 1
        resource = "/".join([parts[after], *parts[after + 2 :]]) if after < len(parts) else parts[-1]
        sent = json.loads(body) if body else {}
        write = Write(len(self.writes) + 1, verb, resource, sent if isinstance(sent, dict) else {})
        self.writes.append(write)
        if verb == "DELETE" and resource == "pods":
            if not (write.body.get("preconditions") or {}).get("uid"):
                self.forbidden.append(f"a pod is deleted by its name alone: {'/'.join(parts)}")
            if write.body.get("gracePeriodSeconds") == 0:
                self.forbidden.append(f"a pod is deleted by force: {'/'.join(parts)}")
        return write

    def _enter(self, request: web.Request, parts: list[str], verdict: str) -> web.StreamResponse:
        """Nothing is answered by what ends with the container that it runs in."""
        self.trigger(parts[parts.index("namespaces") + 1], parts[-2])
        return self._cut(request) if verdict else self._broken(request)

    def _cut(self, request: web.Request) -> web.StreamResponse:
        self.cut()
        return self._broken(request)

    def _broken(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        if self.watches == "refused":
            return _status(410)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        async with self._session.get(self._server + request.path_qs, headers=_headers(request)) as reply:
            if reply.status != 200:
                return web.Response(status=reply.status, body=await reply.read(), content_type="application/json")
            await answer.prepare(request)
            with contextlib.suppress(ConnectionError):
                silent = False
                async for line in reply.content:
                    # A stream may end or say no more; none leaves something out and goes on.
                    silent = silent or self.watches == "silent"
                    if not silent and not await self._pass_on(request, answer, line):
                        break
        return answer

    async def _pass_on(self, request: web.Request, answer: web.StreamResponse, line: bytes) -> bool:
        """Send one line of a watch, as the fault has it; False: the stream is over."""
        fault = self.watches
        if fault in ("broken", "undecodable", "gone"):
            cut = {"broken": line[: len(line) // 2], "undecodable": b'{"type":"MODIFIED","object":{"metadata":7}}\n',
                   "gone": b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'}  # fmt: skip
            await answer.write(cut[fault])
            if fault != "undecodable" and request.transport is not None:
                request.transport.close()
            return False
        await answer.write(line + (line if fault == "replayed" else b""))
        return True


def _headers(request: web.Request) -> dict[str, str]:
    return {key: value for key, value in request.headers.items()
            if key.lower() in ("authorization", "content-type", "accept", "user-agent")}  # fmt: skip


def _status(code: int) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Injected",
              "message": f"{code}: a fault that was put in"}  # fmt: skip
    headers = {"Retry-After": "1"} if code in (429, 503) else {}
    return web.json_response(status, status=code, headers=headers)
