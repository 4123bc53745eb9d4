"""The floor: the writes of a Sandbox's life, sent bare by the same client, as fast as the API server takes them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from typing import Any, Final

from sandyard.api import names
from sandyard.kube.paths import Resource
from tests.bench.crowd import SANDBOXES, Crowd

__all__ = ["floor"]

_PODS: Final = Resource("v1", "pods")
_AT_ONCE: Final = 16


async def floor(crowd: Crowd, seconds: float) -> float:
    """Lives a second for *seconds*; the pods of the pool that the sketch has left are what they use."""
    client, namespace = crowd.client, crowd.namespace
    assert crowd.finalizers, "a Sandbox that has none is gone before its last write"
    found = await client.items(_PODS.path(namespace), {"labelSelector": f"{names.LABEL_STATE}={names.STATE_WARM}"})
    pods = deque(item["metadata"]["name"] for item in found if "deletionTimestamp" not in item["metadata"])
    model = _bare(found[0])
    numbers, ends, lives = itertools.count(), time.monotonic() + seconds, 0

    async def live(name: str, pod: str) -> None:
        path, pod_path = SANDBOXES.path(namespace, name), _PODS.path(namespace, pod)
        made = await crowd.make(name, "python")
        claimed = {names.LABEL_STATE: names.STATE_CLAIMED, names.LABEL_SANDBOX_UID: made["metadata"]["uid"]}
        await client.merge_patch(pod_path, {"metadata": {"labels": claimed}})
        await client.merge_patch(f"{path}/status", {"status": {"phase": "Ready", "podName": pod, "start": "Warm"}})
        await client.delete(path)
        await client.delete(pod_path)
        await client.merge_patch(path, {"metadata": {"finalizers": None}})
        substitute = f"{pod.partition('.')[0]}.{next(numbers)}"
        await client.create(_PODS.path(namespace), {**model, "metadata": {**model["metadata"], "name": substitute}})
        pods.append(substitute)

    async def work(number: int) -> int:
        done = 0
        while time.monotonic() < ends:
            await live(f"floor-{number}-{done}", pods.popleft())
            done += 1
        return done

    lives = sum(await asyncio.gather(*(work(number) for number in range(_AT_ONCE))))
    return lives / seconds


def _bare(pod: dict[str, Any]) -> dict[str, Any]:
    """A pod like *pod*, to be created."""
    spec = {key: value for key, value in pod["spec"].items() if key not in ("nodeName", "volumes", "tolerations")}
    return {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": spec}
