"""What every command is given: the connection, how an error ends the program, and its streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TextIO, TypeVar

import click

from sandyard.api import conditions
from sandyard.client import AsyncSandbox, Cluster, errors
from sandyard.client.session.cluster import explain
from sandyard.kube import config as kube_config
from sandyard.kube import errors as kube_errors

__all__ = ["EXIT_OURS", "EXIT_TIMEOUT", "Context", "Ended", "Program", "err", "note", "out", "read_stdin",
           "stdin_descriptor", "waiting"]  # fmt: skip

T = TypeVar("T")
# As of timeout(1) and of ssh(1): the command ran out of time; it could not be run.
EXIT_TIMEOUT, EXIT_OURS = 124, 125
_EXIT_INTERRUPTED = 128 + signal.SIGINT
# What takes longer says so.
_PATIENCE_SECONDS = 2.0


class Ended(click.ClickException):
    """Ends the program with one line on standard error."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        """Print it, if there is something to be said."""
        if self.message:
            click.echo(_line(self.message), file=file or sys.stderr)


def ended(error: OSError, failure: int = 1) -> Ended:
    """The end of the program by an error of this machine."""
    if isinstance(error, BrokenPipeError):
        # Whoever has read what it prints has had enough: it ends as if by the signal.
        return Ended("", 128 + signal.SIGPIPE)
    text = error.strerror or str(error)
    return Ended(f"{text}: {error.filename}" if error.filename else text, failure)


class Program(click.Group):
    """All commands; none of them ends with a traceback because what it prints cannot be written."""

    def make_context(self, *words: Any, **options: Any) -> click.Context:
        """Read the line; its version is printed here."""
        with _printing():
            return super().make_context(*words, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is asked for."""
        with _printing():
            return super().invoke(ctx)


@contextlib.contextmanager
def _printing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _drop(sys.stdout)
        raise ended(error) from error


class Context:
    """What every command is given."""

    def __init__(
        self, namespace: str | None, *, everywhere: bool = False, name: str | None = None, kubeconfig: str | None = None
    ) -> None:
        self.namespace = namespace
        self.everywhere = everywhere
        self.name = name
        self.kubeconfig = kubeconfig
        log = logging.getLogger("sandyard.client")
        log.setLevel(logging.INFO)
        log.handlers[:] = [_Notes()]

    def run(self, job: Coroutine[Any, Any, T], failure: int = 1) -> T:
        """Run *job*; an error of the client ends the program with one line and the exit code *failure*."""
        try:
            with _interruptible():
                return asyncio.run(_terminable(job))
        except KeyboardInterrupt:
            # What was under way has been ended by now.
            raise Ended("interrupted", _EXIT_INTERRUPTED) from None
        except errors.CommandTimeout as error:
            out(error.result.stdout)
            err(error.result.stderr)
            raise Ended(str(error), EXIT_TIMEOUT) from error
        except errors.ExecTransportError as error:
            raise Ended(str(error), EXIT_OURS) from error
        except errors.SandboxError as error:
            raise Ended(f"{error} [{error.code}]", failure) from error
        except (kube_errors.ApiError, kube_errors.TransportError) as error:
            explained = explain(error)
            raise Ended(f"{explained} [{explained.code}]", failure) from error
        except OSError as error:
            raise ended(error, failure) from error
        finally:
            # It may have been interrupted before it began.
            job.close()

    def use(self, name: str, act: Callable[[AsyncSandbox], Awaitable[T]], failure: int = 1, *, ready: bool = True) -> T:
        """Let *act* use the sandbox *name*, once it is there if it has to be *ready*."""

        async def job() -> T:
            async with self.cluster() as cluster:
                sandbox = await AsyncSandbox.connect(name, wait=ready, cluster=cluster)
                try:
                    return await act(sandbox)
                finally:
                    await sandbox.close()

        return self.run(job(), failure)

    def cluster(self, *, lists: bool = False) -> Cluster:
        """A connection to the cluster, for a command that *lists* or for one that needs a namespace."""
        if self.everywhere and not lists:
            raise click.UsageError("-A is for lists: name a namespace with -n")
        try:
            config = kube_config.load(self.kubeconfig, self.name)
        except kube_errors.ConfigError as error:
            raise errors.Unauthorized(str(error)) from error
        return Cluster(namespace=self.namespace, config=config)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be a KeyboardInterrupt, which asyncio makes the end of what it runs; before and after it ends all."""
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and callable(before)
    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


async def _terminable(job: Coroutine[Any, Any, T]) -> T:
    """Let SIGTERM, and SIGHUP of a terminal that is closed, end *job* in good order."""
    task = asyncio.current_task()
    assert task is not None
    received: list[signal.Signals] = []

    def terminate(number: signal.Signals) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        # Who started it with nohup wants it to live on.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, terminate, number)
    try:
        return await job
    except asyncio.CancelledError:
        if received:
            raise Ended("terminated", 128 + received[0]) from None
        raise


class _Notes(logging.Handler):
    """What the client logs while it waits, for the person at the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        note(record.getMessage())


def stdin_descriptor() -> int:
    """Standard input; one that is closed ends the program."""
    # Another file may have its number by now.
    if sys.stdin is None:
        raise Ended("standard input is closed; leave out -i, or redirect it from /dev/null", 2)
    return sys.stdin.fileno()


def read_stdin() -> bytes:
    """All of standard input; one that cannot be read ends the program."""
    descriptor = stdin_descriptor()
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read()
    except OSError as error:
        raise Ended(f"standard input cannot be read: {error.strerror}") from error


def out(data: bytes) -> None:
    """Write to standard output, at once."""
    if sys.stdout is None and data:
        raise Ended("standard output is closed; redirect it to /dev/null", EXIT_OURS)
    _write(sys.stdout, data)


def err(data: bytes) -> None:
    """Write to standard error, at once; to none, if it is closed."""
    if sys.stderr is not None:
        _write(sys.stderr, data)


def _write(stream: TextIO, data: bytes) -> None:
    try:
        stream.buffer.write(data)
        stream.buffer.flush()
    except OSError:
        _drop(stream)
        raise


def _drop(stream: TextIO) -> None:
    """What is still in its buffer would be tried, and fail, once more at the program's end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def note(text: str) -> None:
    """Write a line for the person at the terminal: to standard error, since it is not output."""
    click.echo(_line(text), err=True)


def _line(text: str) -> str:
    """What is said to a person: it may quote a sandbox, so nothing in it is obeyed by a terminal."""
    return f"sandyard: {conditions.printable(text.strip())}"


@contextlib.asynccontextmanager
async def waiting(text: str) -> AsyncIterator[None]:
    """Write *text* if the block takes longer than two seconds."""
    timer = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, note, text)
    try:
        yield
    finally:
        timer.cancel()
