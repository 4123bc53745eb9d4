"""The operator's requests about its own two kinds: Sandboxes and pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sandyard.api import names
from sandyard.engine.cluster.isolation import Isolation, Version
from sandyard.engine.cluster.resources import POOLS, SANDBOXES
from sandyard.engine.cluster.writer import Take, Writer
from sandyard.engine.loops.turns import Urgency
from sandyard.engine.state import records
from sandyard.engine.state.records import AnyPool, AnySandbox, PoolRecord, UnreadablePool
from sandyard.kube import errors

__all__ = ["Objects"]

Record = TypeVar("Record", AnySandbox, AnyPool)


class Objects:
    """Sandboxes and pools, as the API server has them; each write names the very object."""

    def __init__(self, writer: Writer, isolation: Isolation) -> None:
        self._writer = writer
        self._isolation = isolation

    async def discoverable(self) -> bool:
        """Whether discovery names both of our kinds: kopf looks there once, and serves what it finds."""
        listed = await self._writer.ask("/apis") or {}
        if not any(group["name"] == names.GROUP for group in listed.get("groups") or ()):
            return False
        found = await self._writer.ask(f"/apis/{names.GROUP}/{names.VERSION}") or {}
        served = {resource["name"] for resource in found.get("resources") or ()}
        return {names.SANDBOXES, names.POOLS} <= served

    async def learn_server_version(self) -> None:
        """Ask the API server which version it is: some of what pools may ask for needs a newer one."""
        self._isolation.server_version = Version.of(await self._writer.ask("/version") or {})

    def server_time(self) -> float | None:
        """The API server's time at its last answer, in seconds since the epoch; None: it has told none."""
        return self._writer.server_time()

    async def sandboxes(self, namespaces: Sequence[str], take: Take) -> set[str]:
        """Hand all Sandboxes in *namespaces*, as they were sent, to *take*; returns the namespaces left out."""
        return await self._writer.each_page(SANDBOXES, namespaces, take)

    async def pools(self, namespaces: Sequence[str], take: Take) -> set[str]:
        """Hand all pools in *namespaces*, as they were sent, to *take*; returns the namespaces left out."""
        return await self._writer.each_page(POOLS, namespaces, take)

    async def is_there(self, record: AnySandbox | AnyPool) -> bool:
        """Whether the API server itself has that very object."""
        found = await self._writer.read(_path(record))
        return found is not None and found["metadata"]["uid"] == record.uid

    async def have_an_owner(self, body: Mapping[str, Any]) -> bool:
        """Whether the API server itself has a Sandbox or a pool that *body* refers to as its owner."""
        kinds = {names.SANDBOX_KIND: SANDBOXES, names.POOL_KIND: POOLS}
        namespace = body["metadata"]["namespace"]
        for reference in body["metadata"].get("ownerReferences") or ():
            if (kind := kinds.get(reference.get("kind"))) is not None:
                found = await self._writer.read(kind.path(namespace, reference["name"]))
                if found is not None and found["metadata"]["uid"] == reference["uid"]:
                    return True
        return False

    async def write_sandbox_status(
        self, sandbox: AnySandbox, status: Mapping[str, Any], urgency: Urgency
    ) -> AnySandbox:  # fmt: skip
        """Write the whole status of *sandbox*; returns it as it is then."""
        path = SANDBOXES.path(sandbox.namespace, sandbox.name, "status")
        return records.sandbox(await self._write_status(path, sandbox.uid, status, urgency))

    async def write_pool_status(self, pool: AnyPool, status: Mapping[str, Any]) -> AnyPool:
        """Write the whole status of *pool*; returns it as it is then."""
        path = POOLS.path(pool.namespace, pool.name, "status")
        return self._parse(pool, await self._write_status(path, pool.uid, status, Urgency.TELLING))

    async def _write_status(
        self, path: str, uid: str, status: Mapping[str, Any], urgency: Urgency
    ) -> dict[str, Any]:  # fmt: skip
        metadata: dict[str, Any] = {"uid": uid}
        try:
            return await self._writer.patch(path, {"metadata": metadata, "status": status}, urgency)
        except errors.ApiError as error:
            if not error.too_large:
                raise
        # All else of it is bounded, but for who has written which field: each applier adds a list of them.
        metadata["managedFields"] = [{}]
        return await self._writer.patch(path, {"metadata": metadata, "status": status}, urgency)

    async def add_finalizer(self, record: Record) -> Record:
        """Put our finalizer on, where admission has not done so; returns the object as it is then."""
        return await self._set_finalizers(record, [*record.finalizers, names.FINALIZER])

    async def remove_finalizer(self, record: Record) -> Record | None:
        """Take our finalizer off: nothing is left.

        Returns
        -------
        Record or None
            The object as it is then; None when it is gone. When others have changed it since it
            was read, the finalizer is still there, and the next attempt goes by what is returned.
        """
        try:
            return await self._set_finalizers(record, [name for name in record.finalizers if name != names.FINALIZER])
        except errors.ApiError as error:
            # That it is gone is not believed on one word: it would be left with its finalizer for ever.
            if not (error.conflict or error.not_found):
                raise
        current = await self._writer.read(_path(record))
        return self._parse(record, current) if current and current["metadata"]["uid"] == record.uid else None

    async def delete_sandbox(self, sandbox: AnySandbox) -> bool:
        """Delete that very Sandbox (it has expired); False: it is gone, or the API server sees a conflict."""
        return await self._writer.delete(_path(sandbox), sandbox.uid)

    async def _set_finalizers(self, record: Record, wanted: list[str]) -> Record:
        body = {"metadata": {"uid": record.uid, "resourceVersion": str(record.version), "finalizers": wanted or None}}
        urgency = Urgency.TEARDOWN if record.deleting else Urgency.START
        return self._parse(record, await self._writer.patch(_path(record), body, urgency))

    def _parse(self, like: Record, body: Mapping[str, Any]) -> Record:
        """*body* as a record of the same kind as *like*."""
        if isinstance(like, PoolRecord | UnreadablePool):
            return records.pool(body, self._isolation.probe(), self._isolation.policy, self._isolation.no_restart)
        return records.sandbox(body)


def _path(record: AnySandbox | AnyPool) -> str:
    resource = POOLS if isinstance(record, PoolRecord | UnreadablePool) else SANDBOXES
    return resource.path(record.namespace, record.name)
