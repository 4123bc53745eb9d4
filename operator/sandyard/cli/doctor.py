"""Looks whether this cluster keeps its promises: a sandbox is made, looked into, and must leave nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from sandyard.api import names
from sandyard.client import AsyncSandbox, Cluster, errors
from sandyard.client.session.cluster import PODS, POOLS
from sandyard.kube import errors as kube_errors
from sandyard.kube.paths import Resource

__all__ = ["Finding", "examine"]

_OLDEST = (1, 31)
_WAIT_SECONDS = 60
_SERVICES = Resource("v1", "services")
# Documented addresses of clouds' metadata services, and a public one (RFC 1122, vendors' own documents).
_METADATA = ("169.254.169.254", 80)
_PUBLIC = ("1.1.1.1", 443)
# Profiles under which nothing outside the cluster may be reached, as the label of a pod has them.
_CLOSED = (names.EGRESS_NONE, names.EGRESS_DNS)
# Tries one address with whatever the image has; 0: reached, 1: not, 3: nothing to try it with.
_REACH = r"""
if command -v python3 >/dev/null; then
  exec python3 -I -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)' "$1" "$2" 2>/dev/null
elif command -v nc >/dev/null; then nc -w 3 "$1" "$2" </dev/null >/dev/null 2>&1
elif command -v bash >/dev/null; then timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null
else exit 3
fi
[ $? = 0 ] || exit 1
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    result: Literal["ok", "FAIL", "unknown"]
    detail: str


async def examine(cluster: Cluster, pool: str | None, image: str | None) -> AsyncIterator[Finding]:
    """Everything that is looked at, one after the other; what is found first may end it."""
    version = await cluster.client.get("/version")
    number = tuple(int(re.sub(r"\D.*", "", str(version[key])) or 0) for key in ("major", "minor"))
    yield _finding("kubernetes", number >= _OLDEST, f"{version['gitVersion']}; 1.31 or newer is needed")
    try:
        served = {item["name"] for item in (await cluster.client.get(f"/apis/{names.API_VERSION}"))["resources"]}
    except kube_errors.ApiError as error:
        if not error.not_found:
            raise
        served = set()
    there = {names.SANDBOXES, names.POOLS} <= served
    yield _finding(
        "definitions", there, f"{names.API_VERSION}" + ("" if there else " is not served: install the chart")
    )
    if not there:
        return
    if not pool and not image:
        pool = await _some_pool(cluster)
        if pool is None:
            yield Finding("sandbox", "unknown", "there is no pool here: give --image or --pool")
            return
    try:
        if pool:
            await cluster.get(POOLS, cluster.namespace, pool)
        sandbox = await AsyncSandbox.create(
            pool, template={"image": image} if image else None, timeout=300, wait_seconds=_WAIT_SECONDS, cluster=cluster
        )
    except errors.SandboxError as error:
        yield Finding("sandbox", "FAIL", f"{error} [{error.code}]")
        return
    pod: dict[str, Any] = {}
    try:
        yield Finding("sandbox", "ok", f"{sandbox.name} is Ready")
        pod = await cluster.client.get(PODS.path(sandbox.namespace, sandbox.pod_name))
        async for finding in _outside(pod):
            yield finding
        async for finding in _inside(cluster, sandbox, pod):
            yield finding
    finally:
        await sandbox.kill()
        await sandbox.close()
    yield await _gone(cluster, pod)


def _finding(name: str, good: bool, detail: str) -> Finding:
    return Finding(name, "ok" if good else "FAIL", detail)


async def _some_pool(cluster: Cluster) -> str | None:
    found = await cluster.client.items(POOLS.path(cluster.namespace))
    return min((str(pool["metadata"]["name"]) for pool in found), default=None)


async def _outside(pod: dict[str, Any]) -> AsyncIterator[Finding]:
    """What the pod's object says."""
    spec = pod["spec"]
    runtime = spec.get("runtimeClassName")
    yield _finding("runtime class", bool(runtime), str(runtime or "none: it runs on the node's own kernel"))
    yield _finding("service account", spec.get("automountServiceAccountToken") is False, "no token is mounted")
    proofs = [one for one in pod["status"].get("initContainerStatuses", ()) if one["name"] == names.PROBE_CONTAINER]
    proven = any((one.get("state", {}).get("terminated") or {}).get("exitCode") == 0 for one in proofs)
    yield _finding("proof at the start", proven, "its first container has seen gVisor and a closed network")


async def _inside(cluster: Cluster, sandbox: AsyncSandbox, pod: dict[str, Any]) -> AsyncIterator[Finding]:
    """What a program in it sees, and what it can reach."""
    run = sandbox.commands.run
    kernel = (await run("cat /proc/version; dmesg 2>/dev/null | head -5")).stdout_text
    gvisor = "gVisor" in kernel or "Jan 10 15:06:54 PST 2016" in kernel
    yield _finding("kernel", gvisor, "gVisor" if gvisor else f"not gVisor: {kernel.splitlines()[0][:60]}")
    status = (await run("cat /proc/self/status")).stdout_text
    found = dict(re.findall(r"^(\w+):\s*(\S+)", status, re.MULTILINE))
    yield _finding("user", found.get("Uid") != "0", f"uid {found.get('Uid')}")
    capabilities = found.get("CapEff", "")
    yield _finding("capabilities", capabilities.strip("0") == "", f"effective {capabilities or 'unknown'}")
    token = await run("[ ! -e /var/run/secrets/kubernetes.io ]")
    yield _finding("credentials", token.ok, "no token of the cluster is in it")
    service = await cluster.client.get(_SERVICES.path("default", "kubernetes"))
    api = (str(service["spec"]["clusterIP"]), int(service["spec"]["ports"][0]["port"]))
    for name, (address, port) in (("API server", api), ("cloud metadata", _METADATA), ("internet", _PUBLIC)):
        tried = await run(["/bin/sh", "-c", _REACH.strip(), "sandyard-doctor", address, str(port)], timeout=20)
        # A pool may open the internet on purpose; the two others are closed under every profile.
        opened = name == "internet" and pod["metadata"].get("labels", {}).get(names.LABEL_EGRESS) not in _CLOSED
        if tried.exit_code not in (0, 1):
            yield Finding(f"no way to: {name}", "unknown", "the image has neither python3, nc nor bash to try it with")
        elif opened:
            yield Finding(f"way to: {name}", "ok", f"{address}:{port} as its network profile says")
        else:
            yield _finding(f"no way to: {name}", tried.exit_code == 1, f"{address}:{port}")


async def _gone(cluster: Cluster, pod: dict[str, Any]) -> Finding:
    metadata = pod.get("metadata", {})
    try:
        now = await cluster.client.get(PODS.path(metadata["namespace"], metadata["name"]))
    except (kube_errors.ApiError, KeyError) as error:
        missing = isinstance(error, KeyError) or error.not_found
        return _finding("teardown", missing, "its pod is gone" if missing else str(error))
    return _finding("teardown", now["metadata"]["uid"] != metadata["uid"], f"pod {metadata['name']} is still there")
