"""A sandbox, as a program uses it: made, found, used, and always ended."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from sandyard.api import model, names
from sandyard.client.cluster import PODS, SANDBOXES, Cluster, explain
from sandyard.client.commands import Commands
from sandyard.client.errors import (
    InvalidArgument,
    OperatorUnavailable,
    SandboxDeleted,
    SandboxError,
    SandboxNotFound,
    SandboxNotReady,
    SandboxRestarted,
)
from sandyard.client.files import Files
from sandyard.client.info import SandboxInfo
from sandyard.client.lifeline import Lifeline
from sandyard.client.shell import Shell
from sandyard.client.terminal import Terminal
from sandyard.kube import errors

__all__ = ["AsyncSandbox"]

# A client stamps what it uses so often at most.
_STAMP_SECONDS = 20.0
_DEFAULT_LIFETIME = 300
# The operator says something of a new Sandbox within milliseconds.
_NOTICE_SECONDS = 4.5


class AsyncSandbox:
    """One sandbox. Make it with `create` or `connect`; leaving the context it was made in deletes it.

    Attributes
    ----------
    commands
        Runs commands in it.
    files
        Reads and writes its files.
    """

    def __init__(self, cluster: Cluster, body: Mapping[str, Any], *, own_cluster: bool, ends: bool) -> None:
        self._cluster = cluster
        self._own_cluster = own_cluster
        self._ends = ends
        self._body = SandboxInfo(body)
        self._stamped = 0.0
        self._lifeline = Lifeline(self._lost)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.commands = Commands(self)
        self.files = Files(self)

    # Making and finding

    @classmethod
    async def create(
        cls,
        pool: str | None = None,
        *,
        template: Mapping[str, Any] | None = None,
        name: str | None = None,
        namespace: str | None = None,
        timeout: int | None = _DEFAULT_LIFETIME,
        idle_timeout: int | None = None,
        env: Mapping[str, str] | None = None,
        network: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        wait_seconds: int | None = None,
        wait: bool = True,
        cluster: Cluster | None = None,
    ) -> Self:
        """Take a sandbox from *pool*, or start one of *template*.

        Parameters
        ----------
        timeout
            Seconds from Ready until it is deleted, whatever becomes of this program; None: what
            its pool says, or never.
        idle_timeout
            Seconds without use until it is deleted.
        env
            Further variables; with *pool* the sandbox is then started cold.
        wait_seconds
            How long to wait for a sandbox; None: what the pool says.
        wait
            False: return at once; use `wait_until_ready` later.

        Raises
        ------
        PoolExhausted
            The pool had none left in time.
        SandboxCreateError
            It could not be started; ``reason`` says why.
        OperatorUnavailable
            No operator takes notice of it; with *wait_seconds* that is how long one is waited for.
        """
        if (pool is None) == (template is None):
            raise InvalidArgument("give either a pool or a template")
        spec: dict[str, Any] = {"poolRef": {"name": pool}} if pool is not None else {"template": dict(template or {})}
        lifetime = {"seconds": timeout, "idleSeconds": idle_timeout}
        lifetime = {key: value for key, value in lifetime.items() if value is not None}
        if lifetime:
            spec["lifetime"] = lifetime
        if env:
            spec["env"] = [{"name": key, "value": value} for key, value in env.items()]
        if network is not None:
            spec["network"] = dict(network)
        if wait_seconds is not None:
            spec["waitSeconds"] = wait_seconds
        made_name = name or f"{(pool or 'sandbox')[:40].rstrip('-.')}-{secrets.token_hex(4)}"
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.SANDBOX_KIND,
            "metadata": {"name": made_name, **({"labels": dict(labels)} if labels else {})},
            "spec": spec,
        }
        async with _entered(cluster, namespace) as (opened, own):
            found = await opened.create(SANDBOXES, namespace or opened.namespace, body)
            sandbox = cls(opened, found, own_cluster=own, ends=True)
            if wait:
                try:
                    # Whoever says how long to wait for a sandbox also waits for a new leader.
                    notice = _NOTICE_SECONDS if wait_seconds is None else wait_seconds + _NOTICE_SECONDS
                    await sandbox._wait_until_ready(None, notice)
                except BaseException:
                    # Also when we are cancelled: nobody else knows of it.
                    with contextlib.suppress(SandboxError):
                        await asyncio.shield(sandbox._delete())
                    raise
            return sandbox

    @classmethod
    async def connect(cls, name: str, *, namespace: str | None = None, cluster: Cluster | None = None) -> Self:
        """Use a Sandbox that is there, waiting for one that is on its way; leaving its context does not delete it.

        One that is paused or suspended stays so: `resume` it.

        Raises
        ------
        SandboxNotFound
            There is none of that name.
        """
        async with _entered(cluster, namespace) as (opened, own):
            found = await opened.get(SANDBOXES, namespace or opened.namespace, name)
            sandbox = cls(opened, found, own_cluster=own, ends=False)
            if sandbox._body.phase in ("Pending", "Starting"):
                await sandbox.wait_until_ready()
            return sandbox

    @classmethod
    async def list(
        cls, *, labels: Mapping[str, str] | None = None, pool: str | None = None, namespace: str | None = None,
        cluster: Cluster | None = None,
    ) -> list[SandboxInfo]:  # fmt: skip
        """Sandboxes of a namespace, by labels and by pool."""
        query: dict[str, str] = {}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        if pool is not None:
            query["fieldSelector"] = f"spec.poolRef.name={pool}"
        opened = cluster or Cluster(namespace=namespace)
        async with contextlib.AsyncExitStack() as stack:
            if cluster is None:
                await stack.enter_async_context(opened)
            try:
                path = SANDBOXES.path(namespace or opened.namespace)
                found = await opened.client.items(path, query)
            except (errors.ApiError, errors.TransportError) as error:
                raise explain(error) from error
            return [SandboxInfo(item) for item in found]

    # What it is

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

    async def get_info(self) -> SandboxInfo:
        """The Sandbox as it is now.

        Raises
        ------
        SandboxNotFound
            It is gone.
        """
        found = await self._cluster.get(SANDBOXES, self.namespace, self.name)
        if found["metadata"]["uid"] != self.uid:
            raise SandboxNotFound(
                f"Sandbox {self.name!r} is gone; there is another one of that name", sandbox=self.name
            )
        self._body = SandboxInfo(found)
        return self._body

    async def is_running(self) -> bool:
        """Whether it is Ready now."""
        try:
            return (await self.get_info()).phase == "Ready"
        except SandboxNotFound:
            return False

    # Sessions

    async def shell(self, *, cwd: str = ".", env: Mapping[str, str] | None = None) -> Shell:
        """A shell in which one command finds what the one before has set; leaving its context ends it."""
        shell = Shell(self, cwd=cwd, env=env or {})
        return await shell.__aenter__()

    async def pty(
        self, command: Sequence[str] = (), *, columns: int = 80, rows: int = 24, cwd: str = ".",
        env: Mapping[str, str] | None = None,
    ) -> Terminal:  # fmt: skip
        """A command on a terminal, a shell if none is given; leaving its context ends it."""
        terminal = Terminal(self, command, (columns, rows), cwd, dict(env or {}))
        return await terminal.__aenter__()

    # Its life

    async def wait_until_ready(self, timeout: float | None = None) -> None:
        """Return when it is Ready.

        Raises
        ------
        SandboxCreateError, PoolExhausted, SandboxEnded, SandboxExpired, SandboxDeleted
            It will not be.
        SandboxNotReady
            Not within *timeout*.
        """
        await self._wait_until_ready(timeout, None)

    async def _wait_until_ready(self, timeout: float | None, notice: float | None) -> None:
        if await self._reaches("Ready", timeout, notice):
            return
        raise self._body.trouble() or SandboxNotReady(
            f"Sandbox {self.name!r} is not Ready within {timeout} s: {self._body.told('Ready')}",
            phase=self._body.phase, sandbox=self.name, reason=self._body.reason("Ready"),
        )  # fmt: skip

    async def set_timeout(self, seconds: int | None) -> None:
        """Let it live for so many seconds from now; None: without end, as far as its pool allows."""
        deadline = model.timestamp(time.time() + seconds) if seconds is not None else None
        await self._change({"lifetime": {"seconds": None, "deadline": deadline}})
        await self._reaches(None, None)

    async def pause(self) -> None:
        """Stop every process; memory is kept. Returns when all of them stand still."""
        await self._enter("Paused")

    async def suspend(self) -> None:
        """Delete its pod and keep its persistent workspace."""
        await self._enter("Suspended")

    async def resume(self) -> None:
        """Go on after `pause` or `suspend`."""
        await self._change({"desiredState": "Running"})
        await self.wait_until_ready()

    async def restart(self) -> None:
        """Go on in a new pod with the same persistent workspace."""
        await self.suspend()
        await self.resume()

    async def kill(self, *, wait: bool = True) -> bool:
        """Delete it and everything of it; with *wait* returns when that is done. False if it was gone already."""
        there = await self._delete()
        if wait:
            async with self._cluster.follow(SANDBOXES, self.namespace, self.name) as states:
                async for state in states:
                    if state is None or state["metadata"]["uid"] != self.uid:
                        break
        return there

    async def close(self) -> None:
        """End the connection; the sandbox stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._own_cluster:
            await self._cluster.__aexit__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._ends:
                await asyncio.shield(self._delete())
        finally:
            await self.close()

    # For the parts

    def _exec_path(self) -> str:
        return PODS.path(self.namespace, self.pod_name)

    def _background(self, task: asyncio.Task[Any]) -> None:
        """Keep a task that may outlast its call, until `close`."""
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever waits for it has been told; nobody else needs to be.
            task.exception()

    def _check_usable(self) -> None:
        """Raise if the last known state does not allow a command."""
        if not self.pod_name or self._body.phase != "Ready":
            raise self._body.trouble() or SandboxNotReady(
                f"Sandbox {self.name!r} is {self._body.phase}: {self._body.told('Ready')}", phase=self._body.phase,
                sandbox=self.name, reason=self._body.reason("Ready"),
            )  # fmt: skip

    async def _stamp(self) -> None:
        """Tell that it is used, where an idle time asks for it; once in a while is enough."""
        lifetime = self._body.get("spec", {}).get("lifetime") or {}
        if "idleSeconds" not in lifetime:
            return
        if time.monotonic() - self._stamped < min(_STAMP_SECONDS, lifetime["idleSeconds"] / 4):
            return
        self._stamped = time.monotonic()
        stamp = {names.ANNOTATION_ACTIVITY: model.timestamp(time.time())}
        await self._cluster.patch(SANDBOXES, self.namespace, self.name, {"metadata": {"annotations": stamp}})

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


@contextlib.asynccontextmanager
async def _entered(cluster: Cluster | None, namespace: str | None) -> AsyncIterator[tuple[Cluster, bool]]:
    """The given cluster, or one of the sandbox's own, which is closed again if something goes wrong."""
    if cluster is not None:
        yield cluster, False
        return
    opened = Cluster(namespace=namespace)
    await opened.__aenter__()
    try:
        yield opened, True
    except BaseException:
        await opened.__aexit__()
        raise
