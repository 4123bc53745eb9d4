"""Users of one pool: Poisson arrivals drawn in advance, each claim held for some seconds and then deleted.

The load is open: who comes does not wait for those before.  A time runs from the moment just before the POST until a
watch of ours shows the Sandbox Ready.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import pathlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from sandyard.api import names
from sandyard.api.objects import Metadata
from sandyard.kube import config as kube_config
from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.informer import Informer
from sandyard.kube.paths import Resource
from tests.support import manifests

__all__ = ["POOLS", "SANDBOXES", "Crowd", "Outcome", "crowd", "percentile"]

SANDBOXES: Final = Resource(names.API_VERSION, names.SANDBOXES)
POOLS: Final = Resource(names.API_VERSION, names.POOLS)
_PODS: Final = Resource("v1", "pods")
_PATIENCE_SECONDS: Final = 60


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    start: str = ""
    pod_uid: str = msgspec.field(default="", name="podUID")


class _PoolStatus(msgspec.Struct, frozen=True):
    warm: int = 0


class _Pool(msgspec.Struct, frozen=True):
    metadata: Metadata
    status: _PoolStatus = _PoolStatus()


class _Sandbox(msgspec.Struct, frozen=True):
    metadata: Metadata
    status: _Status = _Status()


@dataclass
class Outcome:
    """What became of the claims of one run.

    Attributes
    ----------
    latencies
        From POST to Ready seen, of each claim that became Ready; s.
    cold, failed
        Claims that waited for a pod's start; claims that were not Ready within a minute.
    seconds
        From the first POST to the last Ready.
    doubles, leaks
        Pods that two Sandboxes were shown to have; pods that were still there when their Sandbox was not.
    late
        By how much the load itself came late, at most: a figure that is no small part of a latency spoils it; s.
    posts
        What the POST alone took: the part of a latency that no operator can shorten; s.
    """

    latencies: list[float] = field(default_factory=list)
    posts: list[float] = field(default_factory=list)
    cold: int = 0
    failed: int = 0
    seconds: float = 0.0
    doubles: int = 0
    leaks: int = 0
    late: float = 0.0


class Crowd:
    """Makes Sandboxes of the namespace *namespace* and watches them all.

    Attributes
    ----------
    levels
        When a pool's status was seen, by `time.perf_counter`, and how many pods were warm.
    finalizers
        What a Sandbox is made with: Sandyard's admission adds its own to what users send, others have none that does.
    """

    def __init__(self, client: Client, namespace: str, finalizers: Sequence[str] = ()) -> None:
        self.client = client
        self.namespace = namespace
        self.finalizers = finalizers
        self.doubles = 0
        self.gone = asyncio.Event()
        self.levels: list[tuple[float, int]] = []
        self._numbers = itertools.count()
        self._ready: dict[str, asyncio.Future[tuple[float, str]]] = {}
        self._there: set[str] = set()
        self._gone: set[str] = set()
        self._owners: dict[str, str] = {}

    async def steady(self, pool: str, rate: float, seconds: float, hold: float, seed: int) -> Outcome:
        """*rate* claims a second, on average, for *seconds*; each is held for *hold* seconds."""
        dice, arrivals, at = random.Random(seed), list[float](), 0.0
        while (at := at + dice.expovariate(rate)) < seconds:
            arrivals.append(at)
        return await self.arrive(pool, arrivals, hold)

    async def arrive(self, pool: str, arrivals: Sequence[float], hold: float) -> Outcome:
        """One claim at each of *arrivals*, in seconds from now; returns when nothing is left of them."""
        outcome, began = Outcome(), asyncio.get_running_loop().time() + 0.1
        doubles = self.doubles
        mine = [f"s-{next(self._numbers):06}" for _ in arrivals]
        claims = (self._claim(name, pool, began + at, hold, outcome) for name, at in zip(mine, arrivals, strict=True))
        ends = await asyncio.gather(*claims)
        outcome.seconds = max(ends) - began - min(arrivals) if ends else 0.0
        outcome.doubles = self.doubles - doubles
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while self._there.intersection(mine):
                self.gone.clear()
                await self.gone.wait()
        claimed = {"labelSelector": f"{names.LABEL_STATE}={names.STATE_CLAIMED}"}
        pods = await self.client.items(_PODS.path(self.namespace), claimed)
        outcome.leaks = sum(pod["metadata"]["labels"][names.LABEL_SANDBOX_UID] in self._gone for pod in pods)
        return outcome

    async def make(self, name: str, pool: str) -> dict[str, Any]:
        """Post a Sandbox, as a user does; what the API server made of it."""
        body = manifests.sandbox(name, pool)
        if self.finalizers:
            body["metadata"]["finalizers"] = list(self.finalizers)
        return await self.client.create(SANDBOXES.path(self.namespace), body)

    async def _claim(self, name: str, pool: str, at: float, hold: float, outcome: Outcome) -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(at - loop.time())
        outcome.late = max(outcome.late, loop.time() - at)
        path = SANDBOXES.path(self.namespace, name)
        ready = self.expect(name)
        self._there.add(name)
        began = time.perf_counter()
        await self.make(name, pool)
        outcome.posts.append(time.perf_counter() - began)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                ended, start = await ready
            outcome.latencies.append(ended - began)
            outcome.cold += start != "Warm"
        except TimeoutError:
            outcome.failed += 1
        finished = loop.time()
        await asyncio.sleep(hold)
        try:
            await self.client.delete(path)
        except errors.ApiError as error:
            if not error.not_found:
                raise
        return finished

    def expect(self, name: str) -> asyncio.Future[tuple[float, str]]:
        """When the Sandbox of that *name* is seen Ready, and how it was started."""
        ready = self._ready[name] = asyncio.get_running_loop().create_future()
        return ready

    def changed(self, before: _Sandbox | None, after: _Sandbox | None) -> None:
        """The watch shows a Sandbox."""
        if after is None:
            assert before is not None
            self._there.discard(before.metadata.name)
            self._gone.add(before.metadata.uid)
            self._ready.pop(before.metadata.name, None)
            self.gone.set()
            return
        if after.status.phase != "Ready":
            return
        if self._owners.setdefault(after.status.pod_uid, after.metadata.uid) != after.metadata.uid:
            self.doubles += 1
        ready = self._ready.get(after.metadata.name)
        if ready is not None and not ready.done():
            ready.set_result((time.perf_counter(), after.status.start))

    def pool_changed(self, _before: _Pool | None, after: _Pool | None) -> None:
        """The watch shows a pool."""
        if after is not None:
            self.levels.append((time.perf_counter(), after.status.warm))


@asynccontextmanager
async def crowd(
    kubeconfig: pathlib.Path, namespace: str, selector: dict[str, str] | None = None, finalizers: Sequence[str] = ()
) -> AsyncIterator[Crowd]:
    """Users of *namespace* who see their Sandboxes, or those that *selector* chooses, on a watch."""
    os.environ["KUBECONFIG"] = str(kubeconfig)
    config = kube_config.load()
    del os.environ["KUBECONFIG"]
    async with Client(config, timeout_seconds=30, connections=64) as client:
        made = Crowd(client, namespace, finalizers)
        informer = Informer(client, SANDBOXES.path(namespace), _Sandbox, made.changed, params=selector)
        pools = Informer(client, POOLS.path(namespace), _Pool, made.pool_changed)
        tasks = [asyncio.create_task(watch.run()) for watch in (informer, pools)]
        await informer.synced.wait()
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values* do not exceed; NaN where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
