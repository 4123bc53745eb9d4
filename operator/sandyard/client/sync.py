"""The synchronous face of the client: the same calls, without ``await``.

One thread runs the event loop of all sandboxes of a process; a call hands its coroutine over and
waits.  Interrupting the wait (Ctrl-C) cancels what was under way, so that no command runs on
without anybody who knows of it.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from sandyard.client.commands.background import BackgroundCommand
from sandyard.client.commands.commands import Commands
from sandyard.client.commands.shell import Shell
from sandyard.client.files.files import Files
from sandyard.client.sandbox import AsyncSandbox

__all__ = ["Sandbox"]

T = TypeVar("T")
F = TypeVar("F")
P = ParamSpec("P")


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


def _wait(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Any, P], T]:
    """The same call, of the object behind this one, which waits for its end."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return _loop.run(method(self._behind, *args, **kwargs))

    return call


def _make(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], face: Callable[[T], F]
) -> Callable[Concatenate[Any, P], F]:
    """The same for a call that makes something, which gets a synchronous face too."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> F:
        return face(_loop.run(method(self._behind, *args, **kwargs)))

    return call


class _Source(Generic[P]):
    """The same for a class method that makes an `AsyncSandbox`: of the class that asks."""

    def __init__(self, method: Callable[P, Coroutine[Any, Any, AsyncSandbox]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, _: object, owner: Callable[[AsyncSandbox], F]) -> Callable[P, F]:
        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> F:
            return owner(_loop.run(self._method(*args, **kwargs)))

        return call


def _plain(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The same for a call of no object."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return _loop.run(method(*args, **kwargs))

    return call


class SyncBackgroundCommand:
    """`sandyard.client.commands.background.BackgroundCommand`, without ``await``."""

    def __init__(self, command: BackgroundCommand) -> None:
        self._behind = command

    @property
    def id(self) -> str:
        """By which `connect` finds it from anywhere."""
        return self._behind.id

    @property
    def stdout_path(self) -> str:
        """The file inside the sandbox that holds its standard output."""
        return self._behind.stdout_path

    @property
    def stderr_path(self) -> str:
        """The file inside the sandbox that holds its standard error."""
        return self._behind.stderr_path

    read = _wait(BackgroundCommand.read)
    follow = _wait(BackgroundCommand.follow)
    wait = _wait(BackgroundCommand.wait)
    kill = _wait(BackgroundCommand.kill)
    send_stdin = _wait(BackgroundCommand.send_stdin)
    close_stdin = _wait(BackgroundCommand.close_stdin)
    remove = _wait(BackgroundCommand.remove)


class SyncShell:
    """`sandyard.client.commands.shell.Shell`, without ``await``."""

    def __init__(self, shell: Shell) -> None:
        self._behind = shell

    @property
    def closed(self) -> bool:
        """Whether it has ended; `reset` gives a new one."""
        return self._behind.closed

    run = _wait(Shell.run)
    reset = _wait(Shell.reset)
    close = _wait(Shell.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SyncCommands:
    """`sandyard.client.commands.commands.Commands`, without ``await``."""

    def __init__(self, commands: Commands) -> None:
        self._behind = commands

    run = _wait(Commands.run)
    start = _make(Commands.start, SyncBackgroundCommand)
    connect = _make(Commands.connect, SyncBackgroundCommand)
    list = _wait(Commands.list)
    processes = _wait(Commands.processes)
    kill = _wait(Commands.kill)
    end = _wait(Commands.end)


class SyncFiles:
    """`sandyard.client.files.files.Files`, without ``await``."""

    def __init__(self, files: Files) -> None:
        self._behind = files

    read = _wait(Files.read)
    read_text = _wait(Files.read_text)
    read_lines = _wait(Files.read_lines)
    insert = _wait(Files.insert)
    grep = _wait(Files.grep)
    upload = _wait(Files.upload)
    download = _wait(Files.download)
    write = _wait(Files.write)
    append = _wait(Files.append)
    edit = _wait(Files.edit)
    list = _wait(Files.list)
    stat = _wait(Files.stat)
    exists = _wait(Files.exists)
    mkdir = _wait(Files.mkdir)
    remove = _wait(Files.remove)
    rename = _wait(Files.rename)
    copy = _wait(Files.copy)


class Sandbox:
    """One sandbox; see `AsyncSandbox` for what each call does. SIGTERM leaves its context as an error does.

    >>> with Sandbox.create("python") as sandbox:  # doctest: +SKIP
    ...     print(sandbox.commands.run("echo hello").stdout_text)
    hello
    """

    def __init__(self, sandbox: AsyncSandbox) -> None:
        self._behind = sandbox
        self._terminates = False
        self.commands = SyncCommands(sandbox.commands)
        self.files = SyncFiles(sandbox.files)

    create = _Source(AsyncSandbox.create)
    connect = _Source(AsyncSandbox.connect)
    list = staticmethod(_plain(AsyncSandbox.list))

    @property
    def name(self) -> str:
        """Name of the Sandbox."""
        return self._behind.name

    @property
    def pod_name(self) -> str:
        """Name of its pod."""
        return self._behind.pod_name

    shell = _make(AsyncSandbox.shell, SyncShell)
    run_code = _wait(AsyncSandbox.run_code)
    get_metrics = _wait(AsyncSandbox.get_metrics)
    get_environment = _wait(AsyncSandbox.get_environment)
    get_info = _wait(AsyncSandbox.get_info)
    is_running = _wait(AsyncSandbox.is_running)
    set_timeout = _wait(AsyncSandbox.set_timeout)
    pause = _wait(AsyncSandbox.pause)
    suspend = _wait(AsyncSandbox.suspend)
    resume = _wait(AsyncSandbox.resume)
    restart = _wait(AsyncSandbox.restart)
    kill = _wait(AsyncSandbox.kill)
    close = _wait(AsyncSandbox.close)

    def __enter__(self) -> Self:
        # SIGTERM would end the program on the spot; whoever handles it knows better.
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._terminates = True
            signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            _loop.run(self._behind.__aexit__(kind, value, trace))
        finally:
            if self._terminates:
                self._terminates = False
                signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
