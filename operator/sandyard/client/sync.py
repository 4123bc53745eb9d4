"""The synchronous face of the client: the same calls, without ``await``."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from sandyard.client.code.contexts import CodeContext, Contexts
from sandyard.client.commands.background import BackgroundCommand
from sandyard.client.commands.commands import Commands
from sandyard.client.commands.forward import Forward
from sandyard.client.commands.shell import Shell
from sandyard.client.commands.terminal import Terminal
from sandyard.client.files.files import Files
from sandyard.client.sandbox import AsyncSandbox
from sandyard.client.waiting import Source, forgotten, iterate, make, named, plain, run, terminable
from sandyard.client.waiting import wait as _wait

__all__ = ["Sandbox"]


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
    start = make(Commands.start, SyncBackgroundCommand)
    connect = make(Commands.connect, SyncBackgroundCommand)
    list = _wait(Commands.list)
    processes = _wait(Commands.processes)
    kill = _wait(Commands.kill)
    end = _wait(Commands.end)


class SyncCodeContext:
    """`sandyard.client.code.contexts.CodeContext`, without ``await``."""

    def __init__(self, context: CodeContext) -> None:
        self._behind = context

    def __repr__(self) -> str:
        return repr(self._behind)

    @property
    def id(self) -> str:
        """By which `connect` finds it from anywhere."""
        return self._behind.id

    @property
    def language(self) -> str:
        """What its cells are written in: python, javascript or bash."""
        return self._behind.language

    run = _wait(CodeContext.run)
    interrupt = _wait(CodeContext.interrupt)
    restart = _wait(CodeContext.restart)
    remove = _wait(CodeContext.remove)


class SyncContexts:
    """`sandyard.client.code.contexts.Contexts`, without ``await``."""

    def __init__(self, contexts: Contexts) -> None:
        self._behind = contexts

    create = make(Contexts.create, SyncCodeContext)
    connect = make(Contexts.connect, SyncCodeContext)
    list = _wait(Contexts.list)


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
    write_files = _wait(Files.write_files)
    append = _wait(Files.append)
    edit = _wait(Files.edit)
    list = _wait(Files.list)
    watch_dir = iterate(Files.watch_dir)
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

    def read(self, timeout: float | None = None) -> bytes:
        # Only this thread takes what has come: an interrupt before it does so loses nothing.
        while run(self._behind._await_output(timeout), self._behind._session):
            if (piece := self._behind._shown.take()) is not None:
                return piece
        return b""

    read.__doc__ = Terminal.read.__doc__

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read():
            yield data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        run(self._behind.__aexit__(None, None, None), self._behind._session)


class SyncForward:
    """`sandyard.client.commands.forward.Forward`, without ``await``."""

    def __init__(self, forward: Forward) -> None:
        self._behind = forward

    @property
    def port(self) -> int:
        """The sandbox's port."""
        return self._behind.port

    @property
    def address(self) -> str:
        """The address of this machine that leads to it."""
        return self._behind.address

    @property
    def local_port(self) -> int:
        """The port of this machine that leads to it."""
        return self._behind.local_port

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return self._behind.url

    wait = _wait(Forward.wait)
    close = _wait(Forward.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
        self.contexts = SyncContexts(sandbox.contexts)
        if sandbox._own_cluster:
            # The session, since a part of the sandbox may outlive it.
            weakref.finalize(sandbox._session, forgotten, sandbox._session.cluster)

    def __repr__(self) -> str:
        return repr(self._behind).replace("AsyncSandbox", type(self).__name__, 1)

    create = Source(AsyncSandbox.create)
    connect = Source(AsyncSandbox.connect)
    list = staticmethod(plain(AsyncSandbox.list))

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

    shell = make(AsyncSandbox.shell, SyncShell)
    pty = make(AsyncSandbox.pty, SyncTerminal)
    forward = make(AsyncSandbox.forward, SyncForward)
    run_code = _wait(AsyncSandbox.run_code)
    get_metrics = _wait(AsyncSandbox.get_metrics)
    get_environment = _wait(AsyncSandbox.get_environment)
    get_info = named(AsyncSandbox.get_info)
    is_running = _wait(AsyncSandbox.is_running)
    wait_until_ready = _wait(AsyncSandbox.wait_until_ready)
    set_timeout = named(AsyncSandbox.set_timeout)
    update_network = _wait(AsyncSandbox.update_network)
    pause = _wait(AsyncSandbox.pause)
    suspend = _wait(AsyncSandbox.suspend)
    resume = _wait(AsyncSandbox.resume)
    restart = _wait(AsyncSandbox.restart)
    kill = named(AsyncSandbox.kill)
    close = _wait(AsyncSandbox.close)

    def __enter__(self) -> Self:
        # SIGTERM would end the program on the spot.
        self._leaving.enter_context(terminable())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._leaving.pop_all():
            if os.getpid() == self._process:
                run(self._behind.__aexit__(kind, value, trace), self._behind._session)
            else:
                self.close()
