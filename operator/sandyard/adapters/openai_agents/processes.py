"""Commands that run on between calls of a model; what they say is kept until it asks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from sandyard.adapters import needs
from sandyard.client.commands.terminal import Terminal
from sandyard.client.errors import SandboxError
from sandyard.client.sandbox import AsyncSandbox

with needs("openai-agents"):
    from agents.sandbox.session.pty_output import collect_pty_output
    from agents.sandbox.session.pty_types import (
        PTY_PROCESSES_MAX,
        PtyExecUpdate,
        allocate_pty_process_id,
        process_id_to_prune_from_meta,
    )

__all__ = ["Process", "Processes", "begin"]

Take = Callable[[bytes], None]
# More than a model reads; of what nobody asks for the oldest is dropped.
_MOST_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 64 * 1024
# All output is handed over as it comes: the result needs none.
_RESULT_BYTES: Final = 1024


class Process:
    """A command under way.

    Attributes
    ----------
    terminal
        The one that it runs on, if any.
    ended
        Whether it has ended, and nothing of its output is to come.
    exit_code
        0-255 then; None before, or when it is not known.
    error
        Why it is not.
    last_used
        By the monotonic clock, in seconds.
    """

    def __init__(self, work: Callable[[Take], Coroutine[Any, Any, int | None]], terminal: Terminal | None) -> None:
        self.terminal = terminal
        self.ended = False
        self.exit_code: int | None = None
        self.error: SandboxError | None = None
        self.last_used = time.monotonic()
        self._pieces: deque[bytes] = deque()
        self._dropped = 0
        self._lock = asyncio.Lock()
        self._news = asyncio.Event()
        self._following = asyncio.create_task(self._follow(work(self._take)))

    async def said(self, milliseconds: int, most_tokens: int | None) -> tuple[bytes, int | None, bool]:
        """Wait for its end, *milliseconds* at most; returns what it has said since the last call.

        And how many tokens that was before it was cut to *most_tokens*, and whether it was the last of it.
        """
        self.last_used = time.monotonic()
        output, tokens, last = await collect_pty_output(
            output_chunks=self._pieces, output_lock=self._lock, output_notify=self._news,
            is_done=lambda: self.ended, yield_time_ms=milliseconds, max_output_tokens=most_tokens,
        )  # fmt: skip
        if dropped := self._dropped:
            self._dropped = 0
            output = b"[%d bytes of output before this are lost]\n" % dropped + output
        return output, tokens, last

    async def end(self) -> None:
        """End it with all that it has started."""
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    def _take(self, data: bytes) -> None:
        if self._pieces and len(self._pieces[-1]) < _PIECE_BYTES:
            data = self._pieces.pop() + data
        self._pieces.append(data)
        while len(self._pieces) > 1 and sum(map(len, self._pieces)) > _MOST_BYTES:
            self._dropped += len(self._pieces.popleft())
        self._news.set()

    async def _follow(self, work: Coroutine[Any, Any, int | None]) -> None:
        try:
            self.exit_code = await work
        except SandboxError as error:
            self.error = error
        finally:
            self.ended = True
            self._news.set()


class Processes:
    """The processes of one session, by number.

    Attributes
    ----------
    running
        Those whose end nobody has been told of.
    """

    def __init__(self) -> None:
        self.running: dict[int, Process] = {}

    async def add(self, process: Process) -> int:
        """Give it a number; where there are too many, one that was long not asked for is ended."""
        if len(self.running) >= PTY_PROCESSES_MAX:
            known = [(number, one.last_used, one.ended) for number, one in self.running.items()]
            if (oldest := process_id_to_prune_from_meta(known)) is not None:
                await self.running.pop(oldest).end()
        number: int = allocate_pty_process_id(set(self.running))
        self.running[number] = process
        return number

    async def update(self, number: int, milliseconds: int, most_tokens: int | None) -> PtyExecUpdate:
        """What one has said within the time; of one that has ended that is the last.

        Raises
        ------
        SandboxError
            It was lost.
        """
        process = self.running[number]
        output, tokens, last = await process.said(milliseconds, most_tokens)
        if last:
            self.running.pop(number, None)
        if last and process.error is not None:
            raise process.error
        return PtyExecUpdate(
            process_id=None if last else number, output=output, exit_code=process.exit_code if last else None,
            original_token_count=tokens,
        )  # fmt: skip

    async def end(self) -> None:
        """End all of them."""
        processes = list(self.running.values())
        self.running.clear()
        await asyncio.gather(*(process.end() for process in processes))


async def begin(
    sandbox: AsyncSandbox, words: list[str], cwd: str, env: Mapping[str, str], *, tty: bool, timeout: float | None
) -> Process:  # fmt: skip
    """Begin a command; *timeout* is for one without a terminal."""
    if tty:
        terminal = await sandbox.pty(words, cwd=cwd, env=env)
        return Process(lambda take: _on_terminal(terminal, take), terminal)

    async def work(take: Take) -> int | None:
        done = await sandbox.commands.run(
            words, cwd=cwd, env=env, timeout=timeout, on_stdout=take, on_stderr=take, max_output=_RESULT_BYTES
        )
        return done.exit_code

    return Process(work, None)


async def _on_terminal(terminal: Terminal, take: Take) -> int | None:
    async with terminal:
        async for piece in terminal:
            take(piece)
    return terminal.exit_code
