"""One Sandbox as all parts of the client share it: its object, its execs, and what ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from sandyard.api import names, rfc3339
from sandyard.api.reasons import Phase
from sandyard.client.errors import (
    OperatorUnavailable,
    SandboxDeleted,
    SandboxError,
    SandboxNotFound,
    SandboxRestarted,
    Unauthorized,
)
from sandyard.client.info import SandboxInfo
from sandyard.client.session.activity import Activity
from sandyard.client.session.cluster import PODS, SANDBOXES, Cluster, explain
from sandyard.client.session.end_watch import EndWatch
from sandyard.client.session.exec_limit import ExecLimit
from sandyard.kube import errors, remotecommand

__all__ = ["NOTICE_SECONDS", "Session"]

# An operator that runs sees a change within milliseconds; a new leader may take over first.
NOTICE_SECONDS: Final = 60.0


class Session:
    """A Sandbox in use.

    Attributes
    ----------
    cluster
        The connection to its cluster.
    info
        The Sandbox as last seen.
    exec_limit
        Bounds how many commands its node begins at once.
    end_watch
        Tells every call when the Sandbox can no longer be used.
    process
        Id of the process in which it began.
    """

    def __init__(self, cluster: Cluster, body: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.info = SandboxInfo(body)
        self.begin()

    def begin(self) -> None:
        """Begin anew, with nothing under way: at first, and in a process that was forked."""
        self.process = os.getpid()
        self.exec_limit = ExecLimit()
        self.end_watch = EndWatch(self._why_ended, beside=Activity(self.cluster, lambda: self.info).run)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over: SandboxError | None = None

    @property
    def name(self) -> str:
        """Name of the Sandbox."""
        return self.info.name

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.info["metadata"]["namespace"])

    @property
    def closed(self) -> bool:
        """Whether it was given up: no call is possible any more."""
        return self._over is not None

    @property
    def uid(self) -> str:
        """Its UID."""
        return str(self.info["metadata"]["uid"])

    @property
    def pod_name(self) -> str:
        """Name of its pod; empty while there is none."""
        return str(self.info.get("status", {}).get("podName", ""))

    # Execs

    async def check_usable(self) -> None:
        """Raise if the Sandbox's state does not allow a command: the last known one, or else the present one."""
        self._check_open()
        if not self._is_usable():
            with contextlib.suppress(Unauthorized):
                await self.refresh()
        if not self._is_usable():
            raise self._unusable()

    def explain_exec(self, error: errors.ApiError | errors.TransportError) -> SandboxError:
        """The client's error for an exec that could not be begun; which right is missing is not in the answer."""
        if isinstance(error, errors.ApiError) and error.status == 403:
            return Unauthorized(
                f"you may not run anything in Sandbox {self.name!r}: it needs the rights get and create on pods/exec, "
                f"and create on sandboxes/exec ({names.GROUP}), in namespace {self.namespace} [{error.message}]",
                sandbox=self.name, reason=error.reason,
            )  # fmt: skip
        if isinstance(error, errors.ApiError) and error.status == 404:
            if not self._is_usable():
                return self._unusable()
            return SandboxNotFound(f"the pod of Sandbox {self.name!r} is gone", sandbox=self.name)
        return explain(error, self.name)

    def open_exec(self, words: Sequence[str], *, tty: bool = False) -> AbstractAsyncContextManager[remotecommand.Exec]:
        """An exec in its container, by the protocol that the server speaks."""
        return remotecommand.open_exec(
            self.cluster.client, self._pod_path(), words, container=names.CONTAINER, tty=tty,
            protocol=self.cluster.exec_protocol,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def open_interactive(
        self, words: Sequence[str], *, tty: bool = False
    ) -> AsyncIterator[remotecommand.Exec]:  # fmt: skip
        """An exec whose input lasts as long as itself, so that a server of any version will do."""
        async with contextlib.AsyncExitStack() as stack:
            pod = self.pod_name
            try:
                process = await stack.enter_async_context(self.open_exec(words, tty=tty))
            except errors.ApiError as error:
                if not await self.has_left(pod, error) and not await self.cluster.falls_back():
                    raise
                process = await stack.enter_async_context(self.open_exec(words, tty=tty))
            yield process

    async def has_left(self, pod: str, error: BaseException | None) -> bool:
        """Whether *pod*, which was not found, is not the Sandbox's any more, and another one can be used."""
        if not isinstance(error, errors.ApiError) or not error.not_found:
            return False
        if self.pod_name == pod:
            with contextlib.suppress(SandboxError):
                await self.refresh()
        return self.pod_name != pod and self._is_usable()

    async def run_own(self, words: Sequence[str], timeout_seconds: float) -> remotecommand.Completed:
        """Run a small command of the client's own; it does not count against `exec_limit`."""
        return await remotecommand.run(
            self.cluster.client, self._pod_path(), words, container=names.CONTAINER, timeout_seconds=timeout_seconds,
            protocol=self.cluster.exec_protocol,
        )  # fmt: skip

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold on to a task that may outlast its call, until `close`."""
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    async def close(self, over: SandboxError) -> None:
        """Cancel the tasks that are kept; every later call raises *over*."""
        self._over = self._over or over
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # The object

    async def refresh(self) -> SandboxInfo:
        """Read the Sandbox anew.

        Raises
        ------
        SandboxNotFound
            It is gone.
        """
        self._check_open()
        found = await self.cluster.get(SANDBOXES, self.namespace, self.name)
        if found["metadata"]["uid"] != self.uid:
            raise SandboxNotFound(
                f"Sandbox {self.name!r} is gone; there is another one of that name", sandbox=self.name
            )
        self.info = SandboxInfo(found)
        return self.info

    async def change(self, spec: Mapping[str, Any], *, used: bool = False) -> None:
        """Merge *spec* into the Sandbox's own; *used*: this is a use of it, which ends an idle time."""
        self._check_open()
        stamp = {"annotations": {names.ANNOTATION_ACTIVITY: rfc3339.timestamp(time.time())}} if used else {}
        body = {"metadata": {"uid": self.uid, **stamp}, "spec": spec}
        self.info = SandboxInfo(await self.cluster.patch(SANDBOXES, self.namespace, self.name, body))

    async def change_network(self, network: Mapping[str, Any]) -> None:
        """Put *network* in the place of the Sandbox's own, and return when it holds.

        Raises
        ------
        SandboxNotReady
            It cannot have it.
        """
        old = self.info.get("spec", {}).get("network") or {}
        await self.change({"network": {**dict.fromkeys(old), **network}})
        await self.seen()
        if trouble := self.info.trouble():
            raise trouble
        if self.info.stalled:
            raise self.info.not_ready(f"cannot have that network: {self.info.message('Stalled')}")

    async def enter(self, state: str) -> None:
        """Ask for a ``desiredState`` and return when the Sandbox is in it.

        Raises
        ------
        SandboxNotReady
            It cannot be.
        """
        await self.change({"desiredState": state})

        def stops(info: SandboxInfo) -> bool:
            return info.wanted != state or (info.over and state == Phase.PAUSED)

        if not await self.reaches(state, None, NOTICE_SECONDS, stops=stops):
            why = self.info.message("Stalled") or self.info.message("Ready")
            if self.info.wanted != state:
                why = f"it was asked to be {self.info.wanted} meanwhile"
            raise self.info.trouble() or self.info.not_ready(f"cannot be {state.lower()}: {why}")

    async def seen(self) -> None:
        """Return when the operator has seen the present spec.

        Raises
        ------
        OperatorUnavailable
            No operator has within a minute.
        """
        await self.reaches(None, None, NOTICE_SECONDS)

    async def reaches(
        self, phase: str | None, timeout: float | None, notice: float | None = None, *,
        stops: Callable[[SandboxInfo], bool] | None = None,
    ) -> bool:  # fmt: skip
        """Wait until the operator has seen the present spec and the Sandbox is in *phase* (None: any).

        Returns False when the Sandbox will never be in that phase, is not in time, or when *stops* says so of
        what is seen.

        Raises
        ------
        OperatorUnavailable
            No operator has seen the present spec within *notice* seconds.
        SandboxDeleted
            It is gone.
        """
        self._check_open()
        end = time.monotonic() + timeout if timeout is not None else None
        noticed = notice is None
        try:
            async with (
                asyncio.timeout(timeout if noticed else notice) as limit,
                self.cluster.follow(SANDBOXES, self.namespace, self.name) as states,
            ):
                async for state in states:
                    if state is None or state["metadata"]["uid"] != self.uid:
                        raise SandboxDeleted(f"Sandbox {self.name!r} is gone", sandbox=self.name)
                    self.info = SandboxInfo(state)
                    seen = state.get("status", {}).get("observedGeneration", -1)
                    current = seen >= state["metadata"].get("generation", 0)
                    if not noticed and current:
                        noticed = True
                        limit.reschedule(end and asyncio.get_running_loop().time() + end - time.monotonic())
                    if current and phase in (None, self.info.phase):
                        return True
                    refused = current and phase in ("Paused", "Suspended") and self.info.stalled
                    hopeless = self.info.trouble() is not None or (stops is not None and stops(self.info))
                    if (current and hopeless) or refused:
                        return False
        except TimeoutError:
            if not noticed and notice is not None:
                raise self._unseen(notice) from None
            return False
        return False

    async def delete(self) -> bool:
        """Delete the Sandbox; False if it was gone already."""
        if isinstance(self._over, SandboxDeleted):
            return False
        self._check_open()
        return await self.cluster.delete(SANDBOXES, self.namespace, self.name, self.uid)

    async def gone(self) -> None:
        """Return when nothing of the Sandbox is left.

        Raises
        ------
        OperatorUnavailable
            No operator has begun with its end within a minute.
        """
        if self._over is not None:
            return
        try:
            async with (
                asyncio.timeout(NOTICE_SECONDS) as limit,
                self.cluster.follow(SANDBOXES, self.namespace, self.name) as states,
            ):
                async for state in states:
                    if state is None or state["metadata"]["uid"] != self.uid:
                        return
                    if SandboxInfo(state).phase == Phase.TERMINATING:
                        limit.reschedule(None)
        except TimeoutError:
            raise self._unseen(NOTICE_SECONDS) from None

    async def _why_ended(self) -> SandboxError:
        """Return why the Sandbox can no longer be used, as soon as that is so."""
        pod_uid = self.info.get("status", {}).get("podUID")
        if not pod_uid:
            return self.info.trouble() or self._has_no_pod()
        async with self.cluster.follow(SANDBOXES, self.namespace, self.name) as states:
            async for state in states:
                if state is None or state["metadata"]["uid"] != self.uid or "deletionTimestamp" in state["metadata"]:
                    return SandboxDeleted(f"Sandbox {self.name!r} was deleted", sandbox=self.name)
                self.info = SandboxInfo(state)
                trouble = self.info.trouble()
                if trouble is not None:
                    return trouble
                now = state.get("status", {}).get("podUID")
                if now != pod_uid:
                    text = f"Sandbox {self.name!r} has another pod now"
                    reason = self.info.reason("Ready")
                    return SandboxRestarted(text, sandbox=self.name, reason=reason) if now else self._has_no_pod()
        return SandboxDeleted(f"Sandbox {self.name!r} was deleted", sandbox=self.name)

    def _unseen(self, seconds: float) -> OperatorUnavailable:
        text = f"no operator has reconciled Sandbox {self.name!r} within {seconds:g} s: check that it runs"
        return OperatorUnavailable(text, sandbox=self.name)

    def _has_no_pod(self) -> SandboxRestarted:
        text = f"Sandbox {self.name!r} has no pod"
        return SandboxRestarted(text, sandbox=self.name, reason=self.info.reason("Ready"))

    def _is_usable(self) -> bool:
        return bool(self.pod_name) and self.info.phase == "Ready"

    def _unusable(self) -> SandboxError:
        return self.info.trouble() or self.info.not_ready(f"is {self.info.phase}: {self.info.message('Ready')}")

    def _check_open(self) -> None:
        if self._over is not None:
            raise self._over.with_traceback(None)

    def _pod_path(self) -> str:
        return PODS.path(self.namespace, self.pod_name)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever waits for it gets its exception; nobody else needs it.
            task.exception()
