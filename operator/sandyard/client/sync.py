"""The synchronous face of the client: the same calls, without ``await``.

One thread runs the event loop of all sandboxes of a process; a call hands its coroutine over and
waits.  Interrupting the wait (Ctrl-C) cancels what was under way and waits for that too, so that no
command runs on without anybody who knows of it.  A process that was forked has a loop of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType, TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from sandyard.client.commands.background import BackgroundCommand
from sandyard.client.commands.commands import Commands
from sandyard.client.commands.shell import Shell
from sandyard.client.commands.terminal import Terminal
from sandyard.client.files.files import Files
from sandyard.client.sandbox import AsyncSandbox
from sandyard.client.session.cluster import Cluster
from sandyard.client.session.session import Session

__all__ = ["Sandbox"]

T = TypeVar("T")
F = TypeVar("F")
P = ParamSpec("P")


# How long an interrupted call may take to end what it has begun; a second interrupt ends the wait.
_FAREWELL_SECONDS = 15.0


class _Loop:
    """The event loop of this process's synchronous calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # Loops of parents: nothing of theirs may be closed here, since they still use it.
        self._inherited: list[asyncio.AbstractEventLoop] = []

    def run(self, coroutine: Coroutine[Any, Any, T], session: Session | None = None) -> T:
        """Run *coroutine*, of what belongs to *session*, to its end.

        Whatever interrupts the wait cancels it, and is raised once it has ended what it had begun.
        """
        loop = self._started()
        ended = threading.Event()

        async def job() -> T:
            try:
                if session is not None:
                    await _adopt(session)
                return await coroutine
            finally:
                coroutine.close()
                ended.set()

        future = asyncio.run_coroutine_threadsafe(job(), loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                ended.wait(_FAREWELL_SECONDS)
            raise

    def end(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* as well as time allows."""
        ending = asyncio.run_coroutine_threadsafe(work, self._started())
        if threading.current_thread() is not self._thread:
            with contextlib.suppress(Exception):
                ending.result(1)

    def forget(self) -> None:
        """In a process that was forked: its thread is not here."""
        self._lock = threading.Lock()
        if self._loop is not None:
            self._inherited.append(self._loop)
            self._loop = None

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="sandyard", daemon=True)
                self._thread.start()
            return self._loop


_loop = _Loop()
os.register_at_fork(after_in_child=_loop.forget)


async def _adopt(session: Session) -> None:
    """Let a session of the process that this one was forked from have connections of its own."""
    if session.process != os.getpid():
        if session.cluster.process != os.getpid():
            await session.cluster.reopen()
        session.begin()


def _wait(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Any, P], T]:
    """The same call, of the object behind this one, which waits for its end."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return _loop.run(method(self._behind, *args, **kwargs), self._behind._session)

    return call


def _make(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], face: Callable[[T], F]
) -> Callable[Concatenate[Any, P], F]:
    """The same for a call that makes something, which gets a synchronous face too."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> F:
        return face(_loop.run(method(self._behind, *args, **kwargs), self._behind._session))

    return call


class _Source(classmethod, Generic[P]):  # type: ignore[type-arg]
    """The same for a class method that makes an `AsyncSandbox`: of the class that asks."""

    def __init__(self, method: Callable[P, Coroutine[Any, Any, AsyncSandbox]]) -> None:
        super().__init__(method)  # type: ignore[arg-type]
        self._method = method

    def __get__(self, _: object, owner: Callable[[AsyncSandbox], F]) -> Callable[P, F]:  # type: ignore[override]
        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> F:
            with _terminable():
                return owner(_loop.run(self._method(*args, **kwargs)))

        return call


def _plain(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The same for a call of no object."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return _loop.run(method(*args, **kwargs))

    return call


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM leave the block as an error does; whoever handles it knows better."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _forgotten(cluster: Cluster) -> None:
    """Close the connection of one that nobody has closed."""
    if cluster.process == os.getpid():
        _loop.end(cluster.__aexit__())
    else:
        cluster.client.abandon()


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


class SyncTerminal:
    """`sandyard.client.commands.terminal.Terminal`, without ``await``: iterate over it for its output."""

    def __init__(self, terminal: Terminal) -> None:
        self._behind = terminal

    @property
    def exit_code(self) -> int | None:
        """0-255 once the command has ended; None before."""
        return self._behind.exit_code

    write = _wait(Terminal.write)
    resize = _wait(Terminal.resize)
    read = _wait(Terminal.read)

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read():
            yield data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _loop.run(self._behind.__aexit__(None, None, None), self._behind._session)


class Sandbox:
    """One sandbox; see `AsyncSandbox` for what each call does. SIGTERM leaves its context as an error does.

    A process that was forked has its own connections, and leaving the context there deletes nothing.

    >>> with Sandbox.create("python") as sandbox:  # doctest: +SKIP
    ...     print(sandbox.commands.run("echo hello").stdout_text)
    hello
    """

    def __init__(self, sandbox: AsyncSandbox) -> None:
        self._behind = sandbox
        self._process = os.getpid()
        self._leaving = contextlib.ExitStack()
        self.commands = SyncCommands(sandbox.commands)
        self.files = SyncFiles(sandbox.files)
        if sandbox._own_cluster:
            # The session, since a part of the sandbox may outlive it.
            weakref.finalize(sandbox._session, _forgotten, sandbox._session.cluster)

    def __repr__(self) -> str:
        return repr(self._behind).replace("AsyncSandbox", type(self).__name__, 1)

    create = _Source(AsyncSandbox.create)
    connect = _Source(AsyncSandbox.connect)
    list = staticmethod(_plain(AsyncSandbox.list))

    @property
    def name(self) -> str:
        """Name of the Sandbox."""
        return self._behind.name

    @property
    def namespace(self) -> str:
        """Namespace of the Sandbox."""
        return self._behind.namespace

    @property
    def uid(self) -> str:
        """UID of the Sandbox."""
        return self._behind.uid

    @property
    def pod_name(self) -> str:
        """Name of its pod; empty while there is none."""
        return self._behind.pod_name

    shell = _make(AsyncSandbox.shell, SyncShell)
    pty = _make(AsyncSandbox.pty, SyncTerminal)
    run_code = _wait(AsyncSandbox.run_code)
    get_metrics = _wait(AsyncSandbox.get_metrics)
    get_environment = _wait(AsyncSandbox.get_environment)
    get_info = _wait(AsyncSandbox.get_info)
    is_running = _wait(AsyncSandbox.is_running)
    wait_until_ready = _wait(AsyncSandbox.wait_until_ready)
    set_timeout = _wait(AsyncSandbox.set_timeout)
    pause = _wait(AsyncSandbox.pause)
    suspend = _wait(AsyncSandbox.suspend)
    resume = _wait(AsyncSandbox.resume)
    restart = _wait(AsyncSandbox.restart)
    kill = _wait(AsyncSandbox.kill)
    close = _wait(AsyncSandbox.close)

    def __enter__(self) -> Self:
        # SIGTERM would end the program on the spot.
        self._leaving.enter_context(_terminable())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._leaving.pop_all():
            if os.getpid() == self._process:
                _loop.run(self._behind.__aexit__(kind, value, trace), self._behind._session)
            else:
                self.close()
