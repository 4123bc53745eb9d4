"""What the libraries of docs/dependencies.md cost, beside what they stand for: ``python -m tests.bench.libraries``.

Times are CPU time of this process, so that a busy machine changes them little; the last column says how many
times the work of the first row of its block.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import msgspec
import orjson
import uvloop
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from sandyard.api.objects import Pod

_SECONDS = 0.5
_REQUESTS = 3000
_AT_ONCE = 20


class _Metadata(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str
    namespace: str
    uid: str
    resource_version: str = Field(alias="resourceVersion")
    labels: dict[str, str] = {}


class _Pod(BaseModel):
    """The little of a pod that pydantic is asked for; msgspec's has more."""

    model_config = ConfigDict(extra="ignore")
    metadata: _Metadata
    spec: dict[str, Any]
    status: dict[str, Any]


def pod() -> dict[str, Any]:
    """A pod as an API server sends it, managed fields included."""
    container = {
        "name": "sandbox", "image": "docker.io/library/python:3.12-slim", "command": ["/bin/sh", "-c", "sleep 1"],
        "env": [{"name": f"VARIABLE_{number}", "value": "x" * 20} for number in range(10)],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "512Mi"}},
        "volumeMounts": [{"name": f"volume-{number}", "mountPath": f"/v{number}"} for number in range(4)],
        "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    ready = [
        {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    fields = {f"f:field{number}": {".": {}, "f:name": {}, "f:value": {}} for number in range(40)}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "python-abcde", "namespace": "default", "uid": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
            "resourceVersion": "123456", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {f"sandyard.dev/label-{number}": "value" for number in range(6)},
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": fields}] * 2,
        },
        "spec": {"containers": [container], "initContainers": [container], "nodeName": "node"},
        "status": {
            "phase": "Running", "podIP": "10.0.0.7", "conditions": ready,
            "containerStatuses": [
                {"name": "sandbox", "ready": True, "restartCount": 0, "image": "python", "imageID": "sha256:0",
                 "containerID": "containerd://0", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
            ],
        },
    }  # fmt: skip


def cost(work: Callable[[], object]) -> float:
    """Seconds of CPU time of one call."""
    calls, started = 0, time.process_time()
    while time.process_time() - started < _SECONDS:
        for _ in range(50):
            work()
        calls += 50
    return (time.process_time() - started) / calls


async def requests() -> float:
    """Seconds of CPU time of one HTTP request and its answer, both in this process."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"{}", content_type="application/json")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:

        async def some() -> None:
            for _ in range(_REQUESTS // _AT_ONCE):
                async with session.get(f"http://{host}:{port}/") as response:
                    await response.read()

        started = time.process_time()
        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
        seconds = time.process_time() - started
    await runner.cleanup()
    return seconds / _REQUESTS


def run(loop: Callable[[], asyncio.AbstractEventLoop], job: Coroutine[Any, Any, float]) -> float:
    """Run *job* on a loop of its own."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(job)


def main() -> None:
    """Print every block as a table in Markdown."""
    body = pod()
    data = orjson.dumps(body)
    decoder = msgspec.json.Decoder(Pod)
    blocks: list[list[tuple[str, float]]] = [
        [("orjson.loads of a pod", cost(lambda: orjson.loads(data))), ("json.loads", cost(lambda: json.loads(data)))],
        [("orjson.dumps of a pod", cost(lambda: orjson.dumps(body))),
         ("json.dumps", cost(lambda: json.dumps(body).encode()))],
        [("msgspec: a pod as a structure", cost(lambda: decoder.decode(data))),
         ("orjson: a pod as a dictionary", cost(lambda: orjson.loads(data))),
         ("pydantic: a small part of a pod", cost(lambda: _Pod.model_validate_json(data)))],
        [("uvloop: a request and its answer", run(uvloop.new_event_loop, requests())),
         ("asyncio", run(asyncio.new_event_loop, requests()))],
    ]  # fmt: skip
    print(f"a pod of {len(data)} bytes\n\n| what | µs | times |\n| --- | ---: | ---: |")
    for block in blocks:
        for name, seconds in block:
            print(f"| {name} | {seconds * 1e6:.1f} | {seconds / block[0][1]:.1f} |")


if __name__ == "__main__":
    main()
