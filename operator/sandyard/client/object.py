"""A Sandbox object as it was last seen, and how its states are followed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from sandyard.api import model, names
from sandyard.client.cluster import PODS, SANDBOXES, Cluster
from sandyard.client.errors import (
    OperatorUnavailable,
    SandboxDeleted,
    SandboxError,
    SandboxNotReady,
    SandboxRestarted,
)
from sandyard.client.info import SandboxInfo
from sandyard.client.lifeline import Lifeline
from sandyard.kube import errors, remotecommand

__all__ = ["SandboxObject"]

# A client stamps what it uses so often at most.
_STAMP_SECONDS = 20.0


class SandboxObject:
    """The object behind a sandbox."""

    def __init__(self, cluster: Cluster, body: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._body = SandboxInfo(body)
        self._stamped = 0.0
        self._lifeline = Lifeline(self._lost, beside=self._used)

    @property
    def name(self) -> str:
        """Name of the Sandbox."""
        return self._body.name

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self._body["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        """Its UID."""
        return str(self._body["metadata"]["uid"])

    @property
    def pod_name(self) -> str:
        """Name of its pod."""
        return str(self._body.get("status", {}).get("podName", ""))

    def _exec_path(self) -> str:
        return PODS.path(self.namespace, self.pod_name)

    def _open_exec(self, words: Sequence[str], *, tty: bool = False) -> AbstractAsyncContextManager[remotecommand.Exec]:
        """An exec in its container, as its server speaks."""
        cluster = self._cluster
        return remotecommand.open_exec(
            cluster.client, self._exec_path(), words, container=names.CONTAINER, tty=tty, protocol=cluster.exec_protocol
        )

    @contextlib.asynccontextmanager
    async def _open_session(self, words: Sequence[str], *, tty: bool = False) -> AsyncIterator[remotecommand.Exec]:
        """An exec whose input is not ended before itself: any server will do."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                process = await stack.enter_async_context(self._open_exec(words, tty=tty))
            except errors.ApiError:
                if not await self._cluster.falls_back():
                    raise
                process = await stack.enter_async_context(self._open_exec(words, tty=tty))
            yield process

    def _check_usable(self) -> None:
        """Raise if the last known state does not allow a command."""
        if not self.pod_name or self._body.phase != "Ready":
            raise self._body.trouble() or SandboxNotReady(
                f"Sandbox {self.name!r} is {self._body.phase}: {self._body.told('Ready')}", phase=self._body.phase,
                sandbox=self.name, reason=self._body.reason("Ready"),
            )  # fmt: skip

    def _stamp_seconds(self) -> float | None:
        """How often it must be told that it is used; None where no idle time asks for it."""
        lifetime, status = self._body.get("spec", {}).get("lifetime") or {}, self._body.get("status", {})
        idle = lifetime.get("idleSeconds")
        if idle is None and "lastActivityAt" in status and "expiresAt" in status:
            # Of its pool: what is left from the last use to the end is the idle time, or less.
            idle = model.seconds(status["expiresAt"]) - model.seconds(status["lastActivityAt"])
        return None if idle is None else max(0.5, min(_STAMP_SECONDS, idle / 4))

    async def _stamp(self) -> None:
        """Tell that it is used, unless that was told a moment ago."""
        seconds = self._stamp_seconds()
        if seconds is None or time.monotonic() - self._stamped < seconds:
            return
        stamp = {names.ANNOTATION_ACTIVITY: model.timestamp(time.time())}
        await self._cluster.patch(SANDBOXES, self.namespace, self.name, {"metadata": {"annotations": stamp}})
        self._stamped = time.monotonic()

    async def _used(self) -> None:
        """Tell so again and again; runs beside its commands, once for all of them."""
        while True:
            with contextlib.suppress(SandboxError):
                await self._stamp()
            await asyncio.sleep(self._stamp_seconds() or _STAMP_SECONDS)

    async def _lost(self) -> SandboxError:
        """Return why it can no longer be used, as soon as that is so; runs beside its commands."""
        pod_uid = self._body["status"]["podUID"]
        async with self._cluster.follow(SANDBOXES, self.namespace, self.name) as states:
            async for state in states:
                if state is None or state["metadata"]["uid"] != self.uid or "deletionTimestamp" in state["metadata"]:
                    return SandboxDeleted(f"Sandbox {self.name!r} was deleted", sandbox=self.name)
                self._body = SandboxInfo(state)
                trouble = self._body.trouble()
                if trouble is not None:
                    return trouble
                now = state.get("status", {}).get("podUID")
                if now != pod_uid:
                    text = f"Sandbox {self.name!r} has another pod now" if now else f"Sandbox {self.name!r} has no pod"
                    return SandboxRestarted(text, sandbox=self.name, reason=self._body.reason("Ready"))
        return SandboxDeleted(f"Sandbox {self.name!r} was deleted", sandbox=self.name)

    async def _enter(self, state: str) -> None:
        await self._change({"desiredState": state})
        if not await self._reaches(state, None):
            why = self._body.told("Stalled") or self._body.told("Ready")
            raise self._body.trouble() or SandboxNotReady(
                f"Sandbox {self.name!r} cannot be {state.lower()}: {why}",
                phase=self._body.phase, sandbox=self.name, reason=self._body.reason("Stalled"),
            )  # fmt: skip

    async def _change(self, spec: Mapping[str, Any]) -> None:
        body = {"metadata": {"uid": self.uid}, "spec": spec}
        self._body = SandboxInfo(await self._cluster.patch(SANDBOXES, self.namespace, self.name, body))

    async def _delete(self) -> bool:
        return await self._cluster.delete(SANDBOXES, self.namespace, self.name, self.uid)

    async def _reaches(self, phase: str | None, timeout: float | None, notice: float | None = None) -> bool:
        """Wait for *phase* (None: any), told of the present spec; False when it will not come, or not in time.

        Raises `OperatorUnavailable` when nothing at all is said of it within *notice* seconds.
        """
        end = time.monotonic() + timeout if timeout is not None else None
        noticed = notice is None
        try:
            async with (
                asyncio.timeout(timeout if noticed else notice) as limit,
                self._cluster.follow(SANDBOXES, self.namespace, self.name) as states,
            ):
                async for state in states:
                    if state is None or state["metadata"]["uid"] != self.uid:
                        raise SandboxDeleted(f"Sandbox {self.name!r} is gone", sandbox=self.name)
                    self._body = SandboxInfo(state)
                    seen = state.get("status", {}).get("observedGeneration", -1)
                    if not noticed and seen >= 0:
                        noticed = True
                        limit.reschedule(end and asyncio.get_running_loop().time() + end - time.monotonic())
                    current = seen >= state["metadata"].get("generation", 0)
                    if current and phase in (None, self._body.phase):
                        return True
                    refused = current and phase in ("Paused", "Suspended") and self._body.stalled
                    if (current and self._body.trouble() is not None) or refused:
                        return False
        except TimeoutError:
            if not noticed:
                raise OperatorUnavailable(
                    f"no operator has taken notice of Sandbox {self.name!r} within {notice:g} s; is it running?",
                    sandbox=self.name,
                ) from None
            return False
        return False
