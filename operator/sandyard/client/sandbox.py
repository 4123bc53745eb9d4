"""A sandbox, as a program uses it: created or found, used, and always deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from sandyard.api import rfc3339
from sandyard.client import manifest, measuring
from sandyard.client.code.code import CodeResult, Program, run_code
from sandyard.client.code.contexts import Contexts, HasId, as_cell
from sandyard.client.commands.commands import Commands
from sandyard.client.commands.forward import Forward
from sandyard.client.commands.shell import Shell
from sandyard.client.commands.terminal import Terminal
from sandyard.client.creating import called, come, entered, find, make, pool_for, resume, starting, wait_until_ready
from sandyard.client.errors import InvalidArgument, SandboxClosed, SandboxDeleted, SandboxError, SandboxNotFound
from sandyard.client.exec.command import Input, Output
from sandyard.client.files.files import Files
from sandyard.client.info import SandboxInfo
from sandyard.client.metrics import Environment, Metrics
from sandyard.client.result import DEFAULT_KEEP
from sandyard.client.session.cluster import SANDBOXES, Cluster
from sandyard.client.session.session import Session

__all__ = ["AsyncSandbox"]

_DEFAULT_LIFETIME = 300


class AsyncSandbox:
    """One sandbox. `create` takes or starts one, `connect` finds one; leaving the context of `create` deletes it.

    Attributes
    ----------
    commands
        Runs commands in the sandbox.
    files
        Reads and writes the sandbox's files.
    contexts
        Starts and finds interpreters that keep what their cells set.
    """

    def __init__(self, cluster: Cluster, body: Mapping[str, Any], *, own_cluster: bool, ends: bool) -> None:
        self._session = Session(cluster, body)
        self._own_cluster = own_cluster
        self._ends = ends
        self.commands = Commands(self._session)
        self.files = Files(self._session)
        self.contexts = Contexts(self._session)

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
        on_timeout: Literal["delete", "stop", "suspend"] | None = None,
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
        on_timeout
            What becomes of it then: it is deleted, which is the default; stopped, so that the object is there for
            as long again; or suspended, with its persistent workspace, until `set_timeout` gives it more time.
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
            No operator reconciles the Sandbox, not even within *wait_seconds*, where given.
        """
        if [pool, template, language].count(None) != 2:
            raise InvalidArgument("give either a pool or a template, or a language")
        async with entered(cluster, namespace) as (opened, own):
            if language is not None:
                pool = await pool_for(opened, namespace or opened.namespace, language)
            body = manifest.sandbox(
                pool=pool, template=template, name=name, timeout=timeout, idle_timeout=idle_timeout,
                on_timeout=on_timeout, env=env, network=network, labels=labels, wait_seconds=wait_seconds,
                now=time.time(),
            )  # fmt: skip
            mine = exist_ok and name is not None
            found, made = await make(opened, namespace or opened.namespace, body, exist_ok=mine)
            sandbox = cls(opened, found, own_cluster=own, ends=made)
            if wait:
                await come(sandbox._session, wait_seconds, made=made)
            return sandbox

    @classmethod
    async def connect(
        cls, name: str, *, namespace: str | None = None, wait: bool = True, resume: bool = False,
        cluster: Cluster | None = None,
    ) -> Self:  # fmt: skip
        """Use a Sandbox that exists; leaving its context does not delete it.

        Waits for a Sandbox that is still starting, unless *wait* is False: enough to `get_info`, `set_timeout` and
        `kill`. A paused or suspended one stays so until you `resume` it, or is resumed with *resume*.

        Raises
        ------
        SandboxNotFound
            No Sandbox has that name.
        """
        async with entered(cluster, namespace) as (opened, own):
            found = await opened.get(SANDBOXES, namespace or opened.namespace, name)
            sandbox = cls(opened, found, own_cluster=own, ends=False)
            info = sandbox._session.info
            if resume and not wait:
                await sandbox._session.change({"desiredState": "Running"}, used=True)
            elif resume and (info.rests or info.wanted != "Running"):
                await sandbox.resume()
            elif wait and starting(sandbox._session.info):
                await wait_until_ready(sandbox._session, patient=False)
            return sandbox

    @classmethod
    async def list(
        cls, *, labels: Mapping[str, str] | None = None, pool: str | None = None, phase: str | None = None,
        namespace: str | None = None, cluster: Cluster | None = None,
    ) -> list[SandboxInfo]:  # fmt: skip
        """List the Sandboxes of a namespace, by labels, by pool and by phase (``"Ready"``).

        Raises
        ------
        InvalidArgument
            There is no such phase.
        """
        return await find(cluster, namespace, labels or {}, pool, phase)

    # What it is

    async def get_info(
        self: AsyncSandbox | str, *, namespace: str | None = None, cluster: Cluster | None = None
    ) -> SandboxInfo:  # fmt: skip
        """Read the Sandbox as it is now; of the class, of the Sandbox of that name: ``AsyncSandbox.get_info("name")``.

        Raises
        ------
        SandboxNotFound
            The Sandbox is gone.
        """
        async with called(self, namespace, cluster) as session:
            return session.info if isinstance(self, str) else await session.refresh()

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
        language: str | None = None,
        *,
        context: str | HasId | None = None,
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
            python (as none is given), javascript, typescript, go, rust, bash or ruby, as the image can run it.
        context
            Run it as a cell of this context (or of that id), which keeps what it sets: see `CodeContext.run`.
            *args*, *env* and *stdin* are not for cells.
        args
            Arguments for the program's ``main``, by name or in order; the result's ``value`` is what
            ``main`` returns, which may be asynchronous. In Go, Rust and Bash the program reads
            ``$SANDYARD_ARGS`` and writes ``$SANDYARD_RESULT`` itself, both JSON.
        """
        program = Program(
            code, language or "python", args, env or {}, stdin, timeout, output_limit, max_artifacts, max_artifact_bytes
        )
        if context is not None:
            cell = as_cell(self._session, context, program, language)
            return await cell.run(code, timeout=timeout, on_stdout=on_stdout, on_stderr=on_stderr,
                                  output_limit=output_limit, max_artifacts=max_artifacts,
                                  max_artifact_bytes=max_artifact_bytes)  # fmt: skip
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

    async def forward(
        self, port: int, local_port: int = 0, *, address: str = "127.0.0.1",
        on_problem: Callable[[str], None] | None = None,
    ) -> Forward:  # fmt: skip
        """Let a port of this machine lead to *port* of the sandbox; leaving its context closes it.

        The image needs one of perl, python3, nc and bash. *on_problem* is told why a connection was not made;
        default: a warning in the log.

        Parameters
        ----------
        local_port
            0: one that is free; ``local_port`` of the result says which.
        """
        return await Forward(self._session, port, local_port, address, on_problem).__aenter__()

    async def get_metrics(self) -> Metrics:
        """Measure CPU, memory and disk in use now, by the metrics API or else from inside the sandbox."""
        return await measuring.measure(self._session)

    async def get_environment(self) -> Environment:
        """Look up what is inside: system, user, processors, memory, disks, tools."""
        return await measuring.look_around(self._session)

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

    async def set_timeout(
        self: AsyncSandbox | str, seconds: int | None, *, namespace: str | None = None, cluster: Cluster | None = None
    ) -> None:  # fmt: skip
        """Let the sandbox live for *seconds* from now; None: for ever, as far as its pool allows. By name as well."""
        manifest.check_seconds("seconds", seconds)
        deadline = rfc3339.timestamp(time.time() + seconds) if seconds is not None else None
        async with called(self, namespace, cluster) as session:
            await session.change({"lifetime": {"seconds": None, "deadline": deadline}})
            await session.seen()

    async def update_network(self, network: Mapping[str, Any]) -> None:
        """Let the sandbox talk to what *network* says, as in ``spec.network``, and to nothing else from now on.

        Connections that stand may outlive a narrower network.

        Raises
        ------
        SandboxNotReady
            It cannot have that network, for example because its pool does not allow it.
        """
        await self._session.change_network(network)

    async def pause(self) -> None:
        """Stop every process and keep its memory. Returns when all processes stand still."""
        await self._session.enter("Paused")

    async def suspend(self) -> None:
        """Delete the pod and keep the persistent workspace."""
        await self._session.enter("Suspended")

    async def resume(self) -> None:
        """Resume after `pause`, `suspend` or an idle time; returns when the Sandbox is Ready.

        Raises
        ------
        SandboxExpired
            It is suspended since its time is over: `set_timeout` gives it more, and resumes it.
        SandboxCreateError
            It cannot be started again, or needs somebody's help (its pool is gone, an image); it goes on trying.
        SandboxNotReady
            Somebody has asked for something else meanwhile.
        """
        await resume(self._session)

    async def restart(self) -> None:
        """Continue in a new pod with the same persistent workspace."""
        await self.suspend()
        await self.resume()

    async def kill(
        self: AsyncSandbox | str, *, wait: bool = True, namespace: str | None = None, cluster: Cluster | None = None
    ) -> bool:  # fmt: skip
        """Delete the Sandbox with all that belongs to it; with *wait*, return when it is gone.

        Nothing is left to be closed then. Returns False if it was gone before. Of the class, it deletes the Sandbox of
        that name: ``AsyncSandbox.kill("name")``.
        """
        try:
            async with called(self, namespace, cluster) as session:
                there = await session.delete()
                if wait:
                    await session.gone()
        except SandboxNotFound:
            return False
        if not isinstance(self, str):
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
            # Whoever has closed it wants it to stay, or has deleted it.
            if self._ends and not self._session.closed:
                await asyncio.shield(self._session.delete())
        finally:
            await self.close()
