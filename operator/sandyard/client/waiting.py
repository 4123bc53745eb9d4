"""Calls of the client that wait for what a coroutine does.

One thread runs the event loop of all sandboxes of a process; a call hands its coroutine over and
waits.  Interrupting the wait (Ctrl-C) cancels what was under way and waits for that too, so that no
command runs on without anybody who knows of it.  A process that was forked has a loop of its own.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from sandyard.client.errors import InvalidArgument
from sandyard.client.sandbox import AsyncSandbox
from sandyard.client.session.cluster import Cluster
from sandyard.client.session.session import Session

__all__ = ["Source", "awaited", "forgotten", "iterate", "make", "named", "plain", "run", "terminable", "wait"]

T = TypeVar("T")
F = TypeVar("F")
P = ParamSpec("P")


# How long an interrupted call may take to end what it has begun; a second interrupt ends the wait.
_FAREWELL_SECONDS = 15.0
_WITHIN = (
    "a function that the client calls (on_stdout and the like) cannot wait for the client: let another thread do it, "
    "or use AsyncSandbox and await it"
)


class _EventLoop(asyncio.SelectorEventLoop):
    """One that finds addresses while the interpreter ends, too (``atexit``), when no thread can be asked any more."""

    async def getaddrinfo(self, host: Any, port: Any, **options: int) -> Any:
        try:
            return await super().getaddrinfo(host, port, **options)
        except RuntimeError:
            return socket.getaddrinfo(host, port, **options)


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
        if self.is_here():
            coroutine.close()
            raise InvalidArgument(_WITHIN)
        future, ended = self._begun(coroutine, session)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                ended.wait(_FAREWELL_SECONDS)
            raise

    async def awaited(self, coroutine: Coroutine[Any, Any, T], session: Session) -> T:
        """The same for a caller who has an event loop of its own; cancelling it cancels *coroutine*."""
        future, _ = self._begun(coroutine, session)
        return await asyncio.wrap_future(future)

    def _begun(
        self, coroutine: Coroutine[Any, Any, T], session: Session | None
    ) -> tuple[concurrent.futures.Future[T], threading.Event]:
        """What *coroutine* will give, and what tells its end, which may come after that of who waits for it."""
        ended = threading.Event()

        async def job() -> T:
            try:
                if session is not None:
                    await _adopt(session)
                return await coroutine
            finally:
                coroutine.close()
                ended.set()

        return asyncio.run_coroutine_threadsafe(job(), self._started()), ended

    def is_here(self) -> bool:
        """Whether this is the thread of the loop: what waits for it here would wait for ever."""
        return self._loop is not None and threading.current_thread() is self._thread

    def end(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* as well as time allows."""
        ending = asyncio.run_coroutine_threadsafe(work, self._started())
        if not self.is_here():
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
                self._loop = _EventLoop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="sandyard", daemon=True)
                self._thread.start()
            return self._loop


_loop = _Loop()
os.register_at_fork(after_in_child=_loop.forget)
run = _loop.run
awaited = _loop.awaited


async def _adopt(session: Session) -> None:
    """Let a session of the process that this one was forked from have connections of its own.

    So does one that a function of ``atexit`` still uses, when the interpreter has already closed what nobody had.
    """
    if session.cluster.process != os.getpid() or session.cluster.forgotten:
        await session.cluster.reopen()
    if session.process != os.getpid():
        session.begin()


def wait(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Any, P], T]:
    """The same call, of the object behind this one, which waits for its end."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return _loop.run(method(self._behind, *args, **kwargs), self._behind._session)

    return call


class Behind(Protocol):
    """The synchronous face of a sandbox."""

    _behind: AsyncSandbox


def named(
    method: Callable[Concatenate[AsyncSandbox | str, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Behind | str, P], T]:
    """The same for a call that the class has too, for the Sandbox of a name."""

    @functools.wraps(method)
    def call(self: Behind | str, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if isinstance(self, str):
            return _loop.run(method(self, *args, **kwargs))
        return _loop.run(method(self._behind, *args, **kwargs), self._behind._session)

    return call


def make(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], face: Callable[[T], F]
) -> Callable[Concatenate[Any, P], F]:
    """The same for a call that makes something, which gets a synchronous face too."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> F:
        return face(_loop.run(method(self._behind, *args, **kwargs), self._behind._session))

    return call


class Source(classmethod, Generic[P]):  # type: ignore[type-arg]
    """The same for a class method that makes an `AsyncSandbox`: of the class that asks."""

    def __init__(self, method: Callable[P, Coroutine[Any, Any, AsyncSandbox]]) -> None:
        super().__init__(method)  # type: ignore[arg-type]
        self._method = method

    def __get__(self, _: object, owner: Callable[[AsyncSandbox], F]) -> Callable[P, F]:  # type: ignore[override]
        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> F:
            with terminable():
                return owner(_loop.run(self._method(*args, **kwargs)))

        return call


def iterate(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """The same for a call whose results come one after the other."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        results = method(self._behind, *args, **kwargs)
        try:
            while True:
                try:
                    yield _loop.run(anext(results), self._behind._session)
                except StopAsyncIteration:
                    return
        finally:
            # An iterator that nobody holds any more may be collected in any thread.
            if _loop.is_here():
                _loop.end(results.aclose())
            else:
                _loop.run(results.aclose(), self._behind._session)

    return call


def plain(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The same for a call of no object."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return _loop.run(method(*args, **kwargs))

    return call


@contextlib.contextmanager
def terminable() -> Iterator[None]:
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


def forgotten(cluster: Cluster) -> None:
    """Close the connection of one that nobody has closed."""
    if cluster.process == os.getpid():
        cluster.forgotten = True
        _loop.end(cluster.__aexit__())
    else:
        cluster.client.abandon()
