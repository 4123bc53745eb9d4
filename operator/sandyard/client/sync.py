"""The synchronous face of the client: the same calls, without ``await``.

One thread runs the event loop of all sandboxes of a process; a call hands its coroutine over and
waits.  Interrupting the wait (Ctrl-C) cancels what was under way, so that no command runs on
without anybody who knows of it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from sandyard.client.commands import Output
from sandyard.client.files import FileInfo
from sandyard.client.info import SandboxInfo
from sandyard.client.result import CommandResult
from sandyard.client.sandbox import AsyncSandbox

__all__ = ["Sandbox"]

T = TypeVar("T")


class _Loop:
    """The event loop of this process's synchronous calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* to its end."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="sandyard", daemon=True).start()
            return self._loop


_loop = _Loop()


class SyncCommands:
    """`sandyard.client.commands.Commands`, without ``await``."""

    def __init__(self, sandbox: AsyncSandbox) -> None:
        self._commands = sandbox.commands

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = 60.0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        on_stdout: Output | None = None,
        on_stderr: Output | None = None,
        max_output: int = 10 * 1024 * 1024,
        check: bool = False,
    ) -> CommandResult:
        """Run *command* to its end; see `Commands.run`."""
        return _loop.run(
            self._commands.run(
                command, timeout=timeout, cwd=cwd, env=env, stdin=stdin, on_stdout=on_stdout, on_stderr=on_stderr,
                max_output=max_output, check=check,
            )
        )  # fmt: skip


class SyncFiles:
    """`sandyard.client.files.Files`, without ``await``."""

    def __init__(self, sandbox: AsyncSandbox) -> None:
        self._files = sandbox.files

    def read(self, path: str, *, max_bytes: int = 100 * 1024 * 1024) -> bytes:
        """The whole file."""
        return _loop.run(self._files.read(path, max_bytes=max_bytes))

    def read_text(self, path: str) -> str:
        """The whole file as UTF-8."""
        return _loop.run(self._files.read_text(path))

    def write(self, path: str, data: bytes | str) -> None:
        """Write the whole file in one step."""
        _loop.run(self._files.write(path, data))

    def append(self, path: str, data: bytes | str) -> None:
        """Add to the end of the file."""
        _loop.run(self._files.append(path, data))

    def edit(self, path: str, changes: list[tuple[str, str]], *, replace_all: bool = False) -> int:
        """Replace each old text by its new one, exactly; either all of them or none."""
        return _loop.run(self._files.edit(path, changes, replace_all=replace_all))

    def list(self, path: str = ".") -> list[FileInfo]:
        """What is in the folder, sorted by name."""
        return _loop.run(self._files.list(path))

    def stat(self, path: str) -> FileInfo:
        """What the file is; a link is not followed."""
        return _loop.run(self._files.stat(path))

    def exists(self, path: str) -> bool:
        """Whether there is something of that name."""
        return _loop.run(self._files.exists(path))

    def mkdir(self, path: str) -> None:
        """Make a folder and those above it."""
        _loop.run(self._files.mkdir(path))

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file, or with *recursive* a folder and all that is in it."""
        _loop.run(self._files.remove(path, recursive=recursive))

    def rename(self, old: str, new: str) -> None:
        """Give it another name."""
        _loop.run(self._files.rename(old, new))

    def copy(self, old: str, new: str) -> None:
        """Copy a file, or a folder and all that is in it."""
        _loop.run(self._files.copy(old, new))


class Sandbox:
    """One sandbox; see `AsyncSandbox` for what each call does.

    >>> with Sandbox.create("python") as sandbox:  # doctest: +SKIP
    ...     print(sandbox.commands.run("echo hello").stdout_text)
    hello
    """

    def __init__(self, sandbox: AsyncSandbox) -> None:
        self._sandbox = sandbox
        self.commands = SyncCommands(sandbox)
        self.files = SyncFiles(sandbox)

    @classmethod
    def create(cls, pool: str | None = None, **options: Any) -> Self:
        """Take a sandbox from *pool*, or start one of ``template=``."""
        return cls(_loop.run(AsyncSandbox.create(pool, **options)))

    @classmethod
    def connect(cls, name: str, *, namespace: str | None = None) -> Self:
        """Use a Sandbox that is there."""
        return cls(_loop.run(AsyncSandbox.connect(name, namespace=namespace)))

    @classmethod
    def list(cls, **options: Any) -> list[SandboxInfo]:
        """Sandboxes of a namespace, by labels and by pool."""
        return _loop.run(AsyncSandbox.list(**options))

    @property
    def name(self) -> str:
        """Name of the Sandbox."""
        return self._sandbox.name

    @property
    def pod_name(self) -> str:
        """Name of its pod."""
        return self._sandbox.pod_name

    def get_info(self) -> SandboxInfo:
        """The Sandbox as it is now."""
        return _loop.run(self._sandbox.get_info())

    def is_running(self) -> bool:
        """Whether it is Ready now."""
        return _loop.run(self._sandbox.is_running())

    def set_timeout(self, seconds: int | None) -> None:
        """Let it live for so many seconds from now; None: without end."""
        _loop.run(self._sandbox.set_timeout(seconds))

    def pause(self) -> None:
        """Stop every process; memory is kept."""
        _loop.run(self._sandbox.pause())

    def suspend(self) -> None:
        """Delete its pod and keep its persistent workspace."""
        _loop.run(self._sandbox.suspend())

    def resume(self) -> None:
        """Go on after `pause` or `suspend`."""
        _loop.run(self._sandbox.resume())

    def restart(self) -> None:
        """Go on in a new pod with the same persistent workspace."""
        _loop.run(self._sandbox.restart())

    def kill(self) -> bool:
        """Delete it and everything of it; False if it was gone already."""
        return _loop.run(self._sandbox.kill())

    def close(self) -> None:
        """End the connection; the sandbox stays."""
        _loop.run(self._sandbox.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        _loop.run(self._sandbox.__aexit__(kind, value, trace))
