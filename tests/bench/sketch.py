"""The claim path alone: what a pool of warm pods costs when nothing may go wrong.

It shows what the API server and this machine allow, and recovers from nothing.  Its pods have one container and no
proof, nothing is checked, nothing is told but Ready, and every write is sent as soon as it can be.  It serves one pool
of one namespace, with the rights of an administrator and no admission policies.

    KUBECONFIG=... python -m tests.bench.sketch NAMESPACE REPLICAS
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import OrderedDict, deque
from typing import Any, Final

import aiohttp
import kopf
import orjson
import uvloop

from sandyard.api import names
from sandyard.kube import config as kube_config
from tests.support import manifests

_MERGE: Final = {"Content-Type": "application/merge-patch+json"}
_JSON: Final = {"Content-Type": "application/json"}
_AT_ONCE: Final = 10


class Sketch:
    """One pool: pods that are warm, claims that wait."""

    def __init__(self, session: aiohttp.ClientSession, namespace: str, replicas: int) -> None:
        self._session = session
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._sandboxes = f"/apis/{names.API_VERSION}/namespaces/{namespace}/sandboxes"
        self._replicas = replicas
        self._warm: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._starting: set[str] = set()
        self._waiting: deque[tuple[str, str]] = deque()
        self._pod_of: dict[str, tuple[str, str]] = {}
        self._leaving: dict[str, str] = {}
        self._claimed: set[str] = set()
        self._seen: set[str] = set()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def sandbox_event(self, kind: str | None, body: Any) -> None:
        """kopf shows a Sandbox."""
        name, uid = body["metadata"]["name"], body["metadata"]["uid"]
        if kind == "DELETED":
            self._seen.discard(uid)
        elif body["metadata"].get("deletionTimestamp"):
            if uid in self._seen:
                self._seen.discard(uid)
                self._start(self._tear_down(name, uid))
        elif uid not in self._seen and not (body.get("status") or {}).get("podUID"):
            self._seen.add(uid)
            self._start(self._claim(name, uid))

    async def watch(self) -> None:
        """Follow the pods for ever."""
        selector = {"labelSelector": f"{names.LABEL_STATE}"}
        async with self._session.get(self._pods, params=selector) as reply:
            version = orjson.loads(await reply.read())["metadata"]["resourceVersion"]
        self._refill()
        while True:
            query = {**selector, "watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
            async with self._session.get(self._pods, params=query) as reply:
                rest = b""
                async for chunk in reply.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event = orjson.loads(line)
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            self._pod_event(event["type"], event["object"])

    def _pod_event(self, kind: str, pod: dict[str, Any]) -> None:
        metadata, name = pod["metadata"], pod["metadata"]["name"]
        if kind == "DELETED":
            self._starting.discard(name)
            self._warm.pop(name, None)
            self._claimed.discard(name)
            if name in self._leaving:
                self._start(self._release(self._leaving.pop(name)))
        elif "deletionTimestamp" in metadata:
            self._warm.pop(name, None)
        elif metadata["labels"][names.LABEL_STATE] == names.STATE_WARM and name not in self._claimed and _ready(pod):
            self._starting.discard(name)
            self._warm[name] = pod
            if self._waiting:
                self._start(self._claim(*self._waiting.popleft()))

    async def _claim(self, name: str, uid: str) -> None:
        while True:
            if not self._warm:
                self._waiting.append((name, uid))
                return
            pod_name, pod = self._warm.popitem(last=False)
            self._claimed.add(pod_name)
            self._pod_of[uid] = pod_name, pod["metadata"]["uid"]
            self._refill()
            owner = {"apiVersion": names.API_VERSION, "kind": names.SANDBOX_KIND, "name": name, "uid": uid,
                     "controller": True}  # fmt: skip
            labels = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: uid}
            version = pod["metadata"]["resourceVersion"]
            changes = {"metadata": {"resourceVersion": version, "labels": labels, "ownerReferences": [owner]}}
            if await self._send("PATCH", f"{self._pods}/{pod_name}", changes, _MERGE) == 200:
                break
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        told = [
            {"type": kind, "status": "True", "reason": "Claimed", "message": "", "lastTransitionTime": now,
             "observedGeneration": 1}
            for kind in ("Ready", "Claimed", "RuntimeIsolated", "NetworkEnforced")
        ]  # fmt: skip
        status = {
            "phase": "Ready", "start": "Warm", "podName": pod_name, "podUID": pod["metadata"]["uid"],
            "podIP": pod["status"].get("podIP"), "nodeName": pod["spec"].get("nodeName"), "observedGeneration": 1,
            "readyAt": now, "conditions": told,
        }  # fmt: skip
        await self._send("PATCH", f"{self._sandboxes}/{name}/status", {"status": status}, _MERGE)

    async def _tear_down(self, name: str, uid: str) -> None:
        pod_name, pod_uid = self._pod_of.pop(uid, ("", ""))
        if not pod_name:
            await self._release(name)
            return
        self._leaving[pod_name] = name
        await self._send("DELETE", f"{self._pods}/{pod_name}", {"preconditions": {"uid": pod_uid}}, _JSON)

    async def _release(self, name: str) -> None:
        await self._send("PATCH", f"{self._sandboxes}/{name}", {"metadata": {"finalizers": None}}, _MERGE)

    def _refill(self) -> None:
        for _ in range(self._replicas - len(self._warm) - len(self._starting)):
            self._start(self._create())

    async def _create(self) -> None:
        name = f"pool-{secrets.token_hex(4)}"
        self._starting.add(name)
        container = {"name": "sandbox", "image": manifests.IMAGE,
                     "resources": {"limits": {"cpu": "1", "memory": "128Mi"}, "requests": {"cpu": "5m"}}}  # fmt: skip
        spec = {"runtimeClassName": "gvisor", "automountServiceAccountToken": False, "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 2, "containers": [container]}  # fmt: skip
        body = {"metadata": {"name": name, "labels": {names.LABEL_STATE: names.STATE_WARM}}, "spec": spec}
        async with self._places:
            if await self._send("POST", self._pods, body, _JSON) != 201:
                self._starting.discard(name)

    async def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> int:
        async with self._session.request(method, path, data=orjson.dumps(body), headers=headers) as reply:
            await reply.read()
            return reply.status

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


async def main(namespace: str, replicas: int) -> None:
    """Serve until the process ends."""
    config = kube_config.load()
    connector = aiohttp.TCPConnector(ssl=config.ssl_context() or True, limit=64, keepalive_timeout=120)
    forever = aiohttp.ClientTimeout(total=None)
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.queueing.idle_timeout = 1.0
    async with aiohttp.ClientSession(config.server, connector=connector, timeout=forever) as session:
        sketch = Sketch(session, namespace, replicas)

        @kopf.on.login(registry=registry)
        async def _(**_: Any) -> kopf.ConnectionInfo:
            return kopf.ConnectionInfo(server=config.server, ca_path=config.ca_file,
                                       certificate_path=config.certificate_file,
                                       private_key_path=config.key_file)  # fmt: skip

        @kopf.on.event(names.GROUP, names.VERSION, names.SANDBOXES, registry=registry)
        async def _(event: Any, body: Any, **_: Any) -> None:
            sketch.sandbox_event(event["type"], body)

        watching = asyncio.create_task(sketch.watch())
        await kopf.operator(registry=registry, settings=settings, namespaces=[namespace], standalone=True)
        watching.cancel()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2])))
