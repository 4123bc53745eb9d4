"""A sandbox environment of inspect_ai: each sample of an evaluation has a sandbox of its own.

Needs the extra ``sandyard[inspect-ai]``, by which inspect_ai knows ``sandbox=("sandyard", "python")``: sandboxes from
the pool ``python``.  A `SandyardConfig` in place of the name says more.
"""

from __future__ import annotations

import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar, Final, Literal, Self, overload

from sandyard.adapters import needs
from sandyard.client.errors import (
    ExecTransportError,
    InvalidArgument,
    OutputLimitExceeded,
    SandboxClosed,
    SandboxDeleted,
    SandboxEnded,
    SandboxError,
    SandboxExpired,
    SandboxNotReady,
    SandboxRestarted,
    Unauthorized,
    Unavailable,
)
from sandyard.client.result import CommandResult
from sandyard.client.sandbox import AsyncSandbox
from sandyard.client.session.cluster import Cluster

with needs("inspect-ai"):
    from inspect_ai.util import (
        ExecResult,
        OutputLimitExceededError,
        SandboxConnection,
        SandboxEnvironment,
        SandboxEnvironmentConfigType,
        SandboxEnvironmentLimits,
        SandboxUnavailableError,
        SandboxUserUnsupportedError,
        sandboxenv,
    )
    from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["SandyardConfig", "SandyardSandboxEnvironment"]

_log: Final = logging.getLogger(__name__)
# A sandbox whose evaluation was killed is deleted after so many seconds.
_LIFETIME_SECONDS: Final = 6 * 3600
_MAY_WRITE: Final = ("/bin/sh", "-c", '[ ! -f "$1" ] || [ -w "$1" ]', "sandyard-write")
# As a shell has it.
_NO_PROGRAM: Final = 126
# Whatever a command does, none of these is its own fault.
_UNAVAILABLE: Final = (
    ExecTransportError, SandboxClosed, SandboxDeleted, SandboxEnded, SandboxExpired, SandboxNotReady, SandboxRestarted,
    Unauthorized, Unavailable,
)  # fmt: skip


class SandyardConfig(BaseModel):
    """What the sandbox of a sample is made of; `AsyncSandbox.create` says what each value means.

    Attributes
    ----------
    pool, template
        One of the two: the pool that it comes from, or an image or a whole template.
    namespace
        Default: the kubeconfig's.
    timeout
        Seconds after which it is deleted in any case: longer than the longest sample.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: str | None = None
    template: str | dict[str, Any] | None = None
    namespace: str | None = None
    timeout: int = Field(default=_LIFETIME_SECONDS, gt=0)
    env: dict[str, str] | None = None
    network: dict[str, Any] | None = None
    wait_seconds: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.pool is None) == (self.template is None):
            raise ValueError("give either a pool or a template")
        return self

    def __hash__(self) -> int:
        # inspect_ai keeps configurations in sets.
        return hash(self.model_dump_json())


@sandboxenv(name="sandyard")
class SandyardSandboxEnvironment(SandboxEnvironment):
    """The sandbox of one sample.

    Attributes
    ----------
    sandbox
        What does the work.
    """

    # One connection for all samples of a configuration.
    _clusters: ClassVar[dict[SandyardConfig, Cluster]] = {}

    def __init__(self, sandbox: AsyncSandbox) -> None:
        super().__init__()
        self.sandbox = sandbox
        self._own_names: frozenset[str] | None = None

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> SandyardConfig:
        """The configuration that a log of inspect_ai holds."""
        return SandyardConfig(**config)

    @classmethod
    async def task_init(cls, task_name: str, config: SandboxEnvironmentConfigType | None) -> None:
        """Open the connection that the samples share."""
        asked = _config(config)
        if asked not in cls._clusters:
            cls._clusters[asked] = await Cluster(namespace=asked.namespace).__aenter__()

    @classmethod
    async def task_cleanup(cls, task_name: str, config: SandboxEnvironmentConfigType | None, cleanup: bool) -> None:
        """Close it."""
        if (cluster := cls._clusters.pop(_config(config), None)) is not None:
            await cluster.__aexit__()

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """Take a sandbox for a sample."""
        asked = _config(config)
        sandbox = await AsyncSandbox.create(
            asked.pool, template=asked.template, namespace=asked.namespace, timeout=asked.timeout, env=asked.env,
            network=asked.network, wait_seconds=asked.wait_seconds, cluster=cls._clusters.get(asked),
        )  # fmt: skip
        return {"default": cls(sandbox)}

    @classmethod
    async def sample_cleanup(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:  # fmt: skip
        """Delete a sample's sandbox."""
        for environment in environments.values():
            sandbox = environment.as_type(cls).sandbox
            try:
                await sandbox.kill(wait=False)
            except SandboxError as error:
                _log.warning("Sandbox %s is left to its timeout: %s", sandbox.name, error)
                await sandbox.close()

    @classmethod
    async def cli_cleanup(cls, id: str | None) -> None:
        """Delete the sandbox of that name, for ``inspect sandbox cleanup sandyard NAME``."""
        if id is None:
            raise InvalidArgument(
                "name the sandbox: `sandyard ls` lists them; those of others are in the namespace too"
            )
        await (await AsyncSandbox.connect(id, wait=False)).kill()

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command in the folder that the sandbox's template names, or in *cwd*.

        A command is not run again when its time is over, whatever *timeout_retry* says: it may have done something.

        Raises
        ------
        SandboxUserUnsupportedError
            *user* is not the sandbox's own; the command was not run.
        SandboxUnavailableError
            The sandbox cannot be used, or was lost before the command's end.
        """
        await self._check_user(user)
        limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        try:
            with _available():
                done = await self.sandbox.commands.run(
                    cmd, stdin=_bytes(input), cwd=cwd or ".", env=env, timeout=timeout, max_output=limit,
                    output_limit=limit,
                )  # fmt: skip
        except OutputLimitExceeded as error:
            raise OutputLimitExceededError(
                SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, _beginning(error.result, limit)
            ) from error
        if _may_not_run(done):
            raise PermissionError(done.stderr_text.strip())
        code = done.exit_code if done.exit_code is not None else -1
        return ExecResult(done.ok, code, done.stdout_text, done.stderr_text)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file, all of it or nothing, and make the folders above it; one that is read-only stays as it is."""
        with _available():
            if not (await self.sandbox.commands.run([*_MAY_WRITE, file])).ok:
                raise PermissionError(f"{file}: permission denied")
            await self.sandbox.files.write(file, contents)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Read a file of no more than inspect_ai's limit (100 MiB)."""
        try:
            with _available():
                content = await self.sandbox.files.read(file, max_bytes=SandboxEnvironmentLimits.MAX_READ_FILE_SIZE)
        except InvalidArgument as error:
            if isinstance(error.__cause__, OutputLimitExceeded):
                raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None) from error
            raise
        return content.decode() if text else content

    async def connection(self, *, user: str | None = None) -> SandboxConnection:
        """How to get a terminal in the sandbox."""
        await self._check_user(user)
        if not await self.sandbox.is_running():
            raise ConnectionError(f"Sandbox {self.sandbox.name} is not running")
        command = f"sandyard shell -n {self.sandbox.namespace} {self.sandbox.name}"
        return SandboxConnection(type="sandyard", command=command, container=self.sandbox.pod_name)

    async def _check_user(self, user: str | None) -> None:
        if user is None:
            return
        if self._own_names is None:
            with _available():
                done = await self.sandbox.commands.run("id -u; id -un")
            self._own_names = frozenset(done.stdout_text.split())
        if user not in self._own_names:
            own = " or ".join(sorted(self._own_names))
            raise SandboxUserUnsupportedError(
                f"user: a sandbox runs everything as its template's user ({own}), and nothing as {user!r}; leave it out"
            )


def _config(config: SandboxEnvironmentConfigType | None) -> SandyardConfig:
    if isinstance(config, SandyardConfig):
        return config
    if not isinstance(config, str):
        raise InvalidArgument('sandbox: name a pool, ("sandyard", "POOL"), or give it a SandyardConfig')
    # inspect_ai takes it for the name of a file, and puts the folder of the task before it.
    return SandyardConfig(pool=pathlib.PurePath(config).name)


def _bytes(given: str | bytes | None) -> bytes:
    return given.encode() if isinstance(given, str) else given or b""


@contextlib.contextmanager
def _available() -> Iterator[None]:
    """Tell inspect_ai's errors for a sandbox that cannot be used from what a command does."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise SandboxUnavailableError(str(error)) from error


def _beginning(done: CommandResult, limit: int) -> str:
    return "".join(stream[:limit].decode(errors="replace") for stream in (done.stdout, done.stderr))


def _may_not_run(done: CommandResult) -> bool:
    """Whether the command did not begin because it is no program for this user."""
    return (
        done.exit_code == _NO_PROGRAM and not done.stdout and done.stderr_text.strip().endswith(": permission denied")
    )
