"""Many users at once, and a watcher of its own that checks what the operator promises them."""

from __future__ import annotations

import asyncio
import os
import pathlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import msgspec

from sandyard.api import names
from sandyard.api.objects import Metadata, Pod
from sandyard.kube import config as kube_config
from sandyard.kube import errors
from sandyard.kube.client import Client
from sandyard.kube.informer import Informer
from sandyard.kube.paths import Resource
from tests.support import manifests

__all__ = ["Swarm", "run"]

_PODS = Resource("v1", "pods")
_SANDBOXES = Resource(names.API_VERSION, names.SANDBOXES)
_POOLS = Resource(names.API_VERSION, names.POOLS)
T = TypeVar("T")


class _Sandbox(msgspec.Struct, frozen=True):
    metadata: Metadata
    status: dict[str, Any] = {}


class Swarm:
    """Creates and deletes Sandboxes side by side; use it as an asynchronous context manager.

    Attributes
    ----------
    owners
        Every pod that was ever seen claimed, and the UIDs of its Sandboxes, one after the other.
    handed
        Every pod that a Sandbox's status has told, and the UIDs of those Sandboxes.
    violations
        Broken promises; a test ends with none.
    """

    def __init__(self, kubeconfig: pathlib.Path, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self.namespace = namespace
        self.owners: defaultdict[str, list[str]] = defaultdict(list)
        # How often a pod had been restarted when it became its Sandbox's.
        self._restarts: dict[str, int] = {}
        self.handed: defaultdict[str, set[str]] = defaultdict(set)
        self.violations: list[str] = []
        self.phases: dict[str, str] = {}
        self._changed: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        os.environ["KUBECONFIG"] = str(self._kubeconfig)
        config = kube_config.load()
        del os.environ["KUBECONFIG"]
        self.client = Client(config, timeout_seconds=30, connections=32)
        await self.client.__aenter__()
        pods = Informer(self.client, _PODS.path(self.namespace), Pod, self._pod)
        sandboxes = Informer(self.client, _SANDBOXES.path(self.namespace), _Sandbox, self._sandbox)
        self.pods, self.sandboxes = pods, sandboxes
        for informer in (pods, sandboxes):
            self._tasks.append(asyncio.create_task(informer.run()))
            await informer.synced.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.__aexit__()

    # Acts

    async def create(self, name: str, pool: str = "python", **spec: Any) -> None:
        """POST a Sandbox."""
        # Not yet seen is not gone: the watch may lag behind.
        self.phases[name] = "Pending"
        await self.client.create(_SANDBOXES.path(self.namespace), manifests.sandbox(name, pool, **spec))

    async def delete(self, name: str) -> None:
        """DELETE a Sandbox; one that is gone already is fine."""
        try:
            await self.client.delete(_SANDBOXES.path(self.namespace, name))
        except errors.ApiError as error:
            if not error.not_found:
                raise

    async def change(self, name: str, spec: dict[str, Any]) -> None:
        """PATCH a Sandbox's spec; one that is gone already is fine."""
        try:
            await self.client.merge_patch(_SANDBOXES.path(self.namespace, name), {"spec": spec})
        except errors.ApiError as error:
            if not error.not_found:
                raise

    async def change_pool(self, name: str, spec: dict[str, Any]) -> None:
        """PATCH a pool's spec."""
        await self.client.merge_patch(_POOLS.path(self.namespace, name), {"spec": spec})

    async def phase(self, name: str, *wanted: str, timeout: float = 180) -> str:
        """Wait until a Sandbox is in one of the phases; "" is gone."""
        async with asyncio.timeout(timeout):
            while self.phases.get(name, "") not in wanted:
                self._changed[name].clear()
                await self._changed[name].wait()
        return self.phases.get(name, "")

    async def until(self, what: str, check: Callable[[], bool], timeout: float = 180) -> None:
        """Wait until *check* is true of what the watches show."""
        try:
            async with asyncio.timeout(timeout):
                while not check():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{what}: not within {timeout} s; pods: {self.claimed()}") from None

    # What is seen

    def claimed(self) -> dict[str, str]:
        """Pods that belong to a Sandbox now, by name."""
        found = {}
        for pod in self.pods:
            owner = pod.metadata.labels.get(names.LABEL_SANDBOX_UID)
            if owner is not None:
                found[pod.metadata.name] = owner
        return found

    def _pod(self, _before: Pod | None, after: Pod | None) -> None:
        if after is None:
            return
        uid, owner = after.metadata.uid, after.metadata.labels.get(names.LABEL_SANDBOX_UID)
        if owner is None or self.owners[uid][-1:] == [owner]:
            return
        restarts = min((status.restart_count for status in after.status.container_statuses), default=0)
        if self.owners[uid] and restarts <= self._restarts[uid]:
            self.violations.append(f"pod {after.metadata.name} had two owners, and no restart between them")
        self.owners[uid].append(owner)
        self._restarts[uid] = restarts

    def judge(self) -> list[str]:
        """All promises broken until now, also those that the two watches tell together alone."""
        for uid, sandboxes in self.handed.items():
            if len(sandboxes) > 1 and not sandboxes <= set(self.owners.get(uid, ())):
                self.violations.append(f"pod {uid} was handed out to {len(sandboxes)}, and not all of them had it")
        return self.violations

    def _sandbox(self, before: _Sandbox | None, after: _Sandbox | None) -> None:
        item = after or before
        assert item is not None
        name = item.metadata.name
        self.phases[name] = "" if after is None else str(after.status.get("phase", "Pending"))
        if after is not None and after.status.get("phase") == "Ready":
            self.handed[str(after.status["podUID"])].add(after.metadata.uid)
        self._changed[name].set()


def run(kubeconfig: pathlib.Path, namespace: str, act: Callable[[Swarm], Awaitable[T]]) -> T:
    """Let *act* loose on a namespace; fails if a promise was broken."""

    async def main() -> T:
        async with Swarm(kubeconfig, namespace) as swarm:
            result = await act(swarm)
            assert swarm.judge() == []
            return result

    return asyncio.run(main())
