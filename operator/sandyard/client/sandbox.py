"""A sandbox, as a program uses it: created or found, used, and always deleted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from sandyard.api import rfc3339
from sandyard.client import manifest, metrics
from sandyard.client.code.code import CodeResult, Program, run_code
from sandyard.client.commands.commands import Commands
from sandyard.client.commands.shell import Shell
from sandyard.client.commands.terminal import Terminal
from sandyard.client.creating import entered, make, pool_for, wait_until_ready
from sandyard.client.errors import (
    InvalidArgument,
    SandboxClosed,
    SandboxDeleted,
    SandboxError,
    SandboxExists,
    SandboxNotFound,
    checked,
)
from sandyard.client.exec import runner, script
from sandyard.client.exec.command import Command, Input, Output
from sandyard.client.files.files import Files
from sandyard.client.info import SandboxInfo
from sandyard.client.metrics import Environment, Metrics
from sandyard.client.result import DEFAULT_KEEP
from sandyard.client.session.cluster import POD_METRICS, SANDBOXES, Cluster
from sandyard.client.session.session import Session
from sandyard.kube import errors

__all__ = ["AsyncSandbox"]

_DEFAULT_LIFETIME = 300
# The operator says something of a new Sandbox within milliseconds.
_NOTICE_SECONDS = 4.5


class AsyncSandbox:
    """One sandbox. `create` takes or starts one, `connect` finds one; leaving the context of `create` deletes it.

    Attributes
    ----------
    commands
        Runs commands in the sandbox.
    files
        Reads and writes the sandbox's files.
    """

    def __init__(self, cluster: Cluster, body: Mapping[str, Any], *, own_cluster: bool, ends: bool) -> None:
        self._session = Session(cluster, body)
        self._own_cluster = own_cluster
        self._ends = ends
        self.commands = Commands(self._session)
        self.files = Files(self._session)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} in namespace {self.namespace!r}: {self._session.info.phase}>"

    @property
    def name(self) -> str:
        """Name of the Sandbox."""
        return self._session.name

    @property
    def namespace(self) -> str:
        """Namespace of the Sandbox."""
        return self._session.namespace

    @property
    def uid(self) -> str:
        """UID of the Sandbox."""
        return self._session.uid

    @property
    def pod_name(self) -> str:
        """Name of the Sandbox's pod; empty while there is none."""
        return self._session.pod_name

    # Making and finding

    @classmethod
    async def create(
        cls,
        pool: str | None = None,
        *,
        template: Mapping[str, Any] | str | None = None,
        language: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        timeout: int | None = _DEFAULT_LIFETIME,
        idle_timeout: int | None = None,
        env: Mapping[str, str] | None = None,
        network: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
        wait_seconds: int | None = None,
        wait: bool = True,
        exist_ok: bool = False,
        cluster: Cluster | None = None,
    ) -> Self:
        """Take a sandbox from *pool* or from the pool for *language*, or start one of *template*.

        Parameters
        ----------
        template
            As in ``spec.template`` of a Sandbox; a text is its image.
        language
            Take a sandbox from the pool that carries the label ``sandyard.dev/language`` with this value.
        timeout
            Seconds from now until the sandbox is deleted, whatever becomes of it and of this program; None:
            as long as the pool says, or for ever.
        idle_timeout
            Seconds without use until the sandbox is deleted.
        env
            More environment variables; with *pool* they force a cold start.
        wait_seconds
            Seconds to wait for a sandbox, also for one that needs somebody's help (a pool that is yet to be
            made, an image); None: as long as the pool says, and no longer than it takes to know.
        wait
            False: return at once; call `wait_until_ready` later.
        exist_ok
            With *name*: where a Sandbox of that name exists, `connect` to it. Its creator deletes it.

        Raises
        ------
        PoolExhausted
            The pool had no sandbox left in time.
        SandboxCreateError
            The sandbox could not be started, or needs somebody's help; ``reason`` says why.
        OperatorUnavailable
            No operator takes notice of the Sandbox, not even within *wait_seconds*, where given.
        """
        if [pool, template, language].count(None) != 2:
            raise InvalidArgument("give either a pool or a template, or a language")
        async with entered(cluster, namespace) as (opened, own):
            if language is not None:
                pool = await pool_for(opened, namespace or opened.namespace, language)
            body = manifest.sandbox(
                pool=pool, template=template, name=name, timeout=timeout, idle_timeout=idle_timeout, env=env,
                network=network, labels=labels, wait_seconds=wait_seconds, now=time.time(),
            )  # fmt: skip
            ends = True
            try:
                found = await make(opened, namespace or opened.namespace, body)
            except SandboxExists:
                if not exist_ok or name is None:
                    raise
                found, ends = await opened.get(SANDBOXES, namespace or opened.namespace, name), False
            sandbox = cls(opened, found, own_cluster=own, ends=ends)
            if wait and (ends or sandbox._session.info.phase in ("Pending", "Starting")):
                try:
                    # Whoever says how long to wait for a sandbox also waits for a new leader.
                    notice = _NOTICE_SECONDS if wait_seconds is None else wait_seconds + _NOTICE_SECONDS
                    await wait_until_ready(sandbox._session, notice=notice, patient=wait_seconds is not None)
                except BaseException:
                    # Also when we are cancelled: nobody else knows of it.
                    if ends:
                        with contextlib.suppress(SandboxError):
                            await asyncio.shield(sandbox._session.delete())
                    raise
            return sandbox

    @classmethod
    async def connect(cls, name: str, *, namespace: str | None = None, cluster: Cluster | None = None) -> Self:
        """Use a Sandbox that exists; leaving its context does not delete it.

        Waits for a Sandbox that is still starting. A paused or suspended one stays so until you `resume` it.

        Raises
        ------
        SandboxNotFound
            No Sandbox has that name.
        """
        async with entered(cluster, namespace) as (opened, own):
            found = await opened.get(SANDBOXES, namespace or opened.namespace, name)
            sandbox = cls(opened, found, own_cluster=own, ends=False)
            if sandbox._session.info.phase in ("Pending", "Starting"):
                await wait_until_ready(sandbox._session, patient=False)
            return sandbox

    @classmethod
    async def list(
        cls, *, labels: Mapping[str, str] | None = None, pool: str | None = None, namespace: str | None = None,
        cluster: Cluster | None = None,
    ) -> list[SandboxInfo]:  # fmt: skip
        """List the Sandboxes of a namespace, by labels and by pool."""
        query: dict[str, str] = {}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        if pool is not None:
            query["fieldSelector"] = f"spec.poolRef.name={pool}"
        opened = cluster or Cluster(namespace=namespace)
        async with contextlib.AsyncExitStack() as stack:
            if cluster is None:
                await stack.enter_async_context(opened)
            found = await opened.items(SANDBOXES, namespace or opened.namespace, query)
            return [SandboxInfo(item) for item in found]

    # What it is

    async def get_info(self) -> SandboxInfo:
        """Read the Sandbox as it is now.

        Raises
        ------
        SandboxNotFound
            The Sandbox is gone.
        """
        return await self._session.refresh()

    async def is_running(self) -> bool:
        """Whether the Sandbox is Ready now."""
        try:
            return (await self.get_info()).phase == "Ready"
        except (SandboxNotFound, SandboxDeleted):
            return False

    # Programs and sessions

    async def run_code(
        self,
        code: str,
        language: str = "python",
        *,
        args: Mapping[str, Any] | Sequence[Any] | None = None,
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
        stdin: Input = b"",
        on_stdout: Output | None = None,
        on_stderr: Output | None = None,
        output_limit: int = DEFAULT_KEEP,
        max_artifacts: int = 10,
        max_artifact_bytes: int = DEFAULT_KEEP,
    ) -> CodeResult:
        """Run a program and return its outcome; what the program itself does raises nothing.

        The program runs in a folder of its own, which is removed afterwards. Files to take back go to
        ``$SANDYARD_ARTIFACTS``.

        Parameters
        ----------
        language
            python, javascript, typescript, go, rust, bash or ruby; the image must be able to run it.
        args
            Arguments for the program's ``main``, by name or in order; the result's ``value`` is what
            ``main`` returns, which may be asynchronous. In Go, Rust and Bash the program reads
            ``$SANDYARD_ARGS`` and writes ``$SANDYARD_RESULT`` itself, both JSON.
        """
        program = Program(
            code, language, args, env or {}, stdin, timeout, output_limit, max_artifacts, max_artifact_bytes
        )
        return await run_code(self._session, program, on_stdout, on_stderr)

    async def shell(self, *, cwd: str = ".", env: Mapping[str, str] | None = None) -> Shell:
        """Open a shell that keeps what its commands set; leaving its context ends the shell."""
        shell = Shell(self._session, cwd=cwd, env=env or {})
        return await shell.__aenter__()

    async def pty(
        self, command: Sequence[str] = (), *, columns: int = 80, rows: int = 24, cwd: str = ".",
        env: Mapping[str, str] | None = None,
    ) -> Terminal:  # fmt: skip
        """Run *command* on a terminal, or a shell without one; leaving its context ends the command."""
        terminal = Terminal(self._session, command, (columns, rows), cwd, dict(env or {}))
        return await terminal.__aenter__()

    async def get_metrics(self) -> Metrics:
        """Measure CPU, memory and disk in use now, by the metrics API or else from inside the sandbox."""
        printed = await self._look("usage", "1")
        inside = metrics.parse_usage(printed)
        try:
            body = await self._session.cluster.client.get(POD_METRICS.path(self.namespace, self.pod_name))
        except (errors.ApiError, errors.TransportError):
            return inside
        return metrics.parse_pod_metrics(body, inside)

    async def get_environment(self) -> Environment:
        """Look up what is inside: system, user, processors, memory, disks, tools."""
        return metrics.parse_environment(await self._look("environment"))

    async def _look(self, part: str, *words: str) -> str:
        """What one of the client's scripts prints inside."""
        command = Command(
            ["/bin/sh", "-c", script.text(part), f"sandyard-{part}", *words], env={"LC_ALL": "C"}
        )  # fmt: skip
        return checked(await runner.run(self._session, command), self.name).stdout_text

    # Its life

    async def wait_until_ready(self, timeout: float | None = None) -> None:
        """Return when the Sandbox is Ready.

        Raises
        ------
        SandboxCreateError, PoolExhausted, SandboxEnded, SandboxExpired, SandboxDeleted
            The Sandbox will never be Ready.
        SandboxNotReady
            The Sandbox is not Ready within *timeout* seconds.
        """
        await wait_until_ready(self._session, timeout=timeout)

    async def set_timeout(self, seconds: int | None) -> None:
        """Let the sandbox live for *seconds* from now; None: for ever, as far as its pool allows."""
        manifest.check_seconds("seconds", seconds)
        deadline = rfc3339.timestamp(time.time() + seconds) if seconds is not None else None
        await self._session.change({"lifetime": {"seconds": None, "deadline": deadline}})
        await self._session.reaches(None, None)

    async def pause(self) -> None:
        """Stop every process and keep its memory. Returns when all processes stand still."""
        await self._session.enter("Paused")

    async def suspend(self) -> None:
        """Delete the pod and keep the persistent workspace."""
        await self._session.enter("Suspended")

    async def resume(self) -> None:
        """Resume after `pause` or `suspend`; returns when the Sandbox is Ready."""
        await self._session.change({"desiredState": "Running"})
        await self.wait_until_ready()

    async def restart(self) -> None:
        """Continue in a new pod with the same persistent workspace."""
        await self.suspend()
        await self.resume()

    async def kill(self, *, wait: bool = True) -> bool:
        """Delete the Sandbox with all that belongs to it; with *wait*, return when it is gone.

        Nothing is left to be closed then. Returns False if the Sandbox was gone before.
        """
        there = await self._session.delete()
        if wait:
            await self._session.gone()
        await self._close(SandboxDeleted(f"Sandbox {self.name!r} was deleted", sandbox=self.name))
        return there

    async def close(self) -> None:
        """Close the connection; the sandbox stays."""
        await self._close(SandboxClosed(f"this handle of Sandbox {self.name!r} is closed", sandbox=self.name))

    async def _close(self, over: SandboxError) -> None:
        await self._session.close(over)
        if self._own_cluster:
            await self._session.cluster.__aexit__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._ends:
                await asyncio.shield(self._session.delete())
        finally:
            await self.close()
