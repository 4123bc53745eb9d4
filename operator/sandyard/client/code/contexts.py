"""Contexts: interpreters that stay in a sandbox and keep what their cells set, for any client that knows the id.

An interpreter is a process of the sandbox that takes cells by a FIFO, one after the other.  A cell is a command
of its own: its streams are the command's, and what ends the command (its time, its client's end, a limit of
output) interrupts the cell, and kills the interpreter only if that is not enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sandyard.client import answers
from sandyard.client.code import languages
from sandyard.client.code.code import (
    CodeResult,
    Limit,
    Outcome,
    Program,
    artifacts,
    collect,
    is_closed,
    passing,
    sandbox_ended,
)
from sandyard.client.code.denied import denied
from sandyard.client.code.shown import CodeError, Shown, shown
from sandyard.client.errors import (
    BadAnswer,
    CommandTimeout,
    ContextEnded,
    ContextNotFound,
    InvalidArgument,
    OutputLimitExceeded,
    PermissionDenied,
    SandboxEnded,
    SandboxError,
    SandboxFileNotFound,
)
from sandyard.client.exec import runner, script
from sandyard.client.exec.command import Command, Output, Sinks, check_count, encoded
from sandyard.client.files import archive
from sandyard.client.files.tools import Tools
from sandyard.client.result import DEFAULT_KEEP, CommandResult
from sandyard.client.session.session import Session

__all__ = ["CodeContext", "ContextInfo", "Contexts", "HasId", "as_cell"]

_FOLDER: Final = "/tmp/.sandyard/contexts"
_CELLS: Final = "/tmp/.sandyard/code"
_SECONDS: Final = 30.0
_FAREWELL_SECONDS: Final = 5.0
# As of the shell scripts: there is no such context; its interpreter has ended.
_NONE: Final = 44
_ENDED: Final = 45
_NO_FOLDER: Final = 125
_NO_PROGRAM: Final = 127
_KILLED: Final = 137
_KERNELS: Final = {"python": "kernel.py", "javascript": "kernel.js"}
_PROGRAMS: Final = {"python": "python3, python", "javascript": "node", "bash": "bash, sh"}
_CELL: Final = (
    f'cd "$1" 2>/dev/null && [ -f cell.sh ] && [ -p control ] && exec /bin/sh cell.sh "$2" "${{1##*/}}"; exit {_NONE}'
)


class HasId(Protocol):
    """A context, of either face of the client."""

    @property
    def id(self) -> str:
        """Its id."""


@dataclass(frozen=True)
class ContextInfo:
    """One line of the list of contexts.

    Attributes
    ----------
    cwd
        The folder that it began in.
    started_at
        Seconds since the epoch, by the sandbox's clock.
    exit_code
        What its interpreter has ended with; None while it is there.
    """

    id: str
    language: str
    cwd: str
    started_at: int
    exit_code: int | None

    @property
    def running(self) -> bool:
        """Whether its interpreter is there."""
        return self.exit_code is None


class CodeContext:
    """An interpreter in the sandbox, which keeps variables, functions and imports from one cell to the next.

    Cells run one after the other, also those of several clients; contexts share nothing but the sandbox.

    Attributes
    ----------
    id
        The id by which `Contexts.connect` finds it from any program.
    language
        python, javascript or bash.
    """

    def __init__(self, session: Session, id: str, language: str) -> None:  # noqa: A002
        self._session = session
        self.id = id
        self.language = language

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}: {self.language}>"

    async def run(
        self,
        code: str,
        *,
        timeout: float = 60.0,
        on_stdout: Output | None = None,
        on_stderr: Output | None = None,
        output_limit: int = DEFAULT_KEEP,
        max_artifacts: int = 10,
        max_artifact_bytes: int = DEFAULT_KEEP,
    ) -> CodeResult:
        """Run a cell and return its outcome; what the cell itself does raises nothing.

        ``result.results`` has the value of the last expression and what was given to ``display``, ``result.error``
        the exception; figures of matplotlib that are open are results too. ``await`` works at the top.

        Parameters
        ----------
        timeout
            Seconds, its turn included, until the cell is interrupted (``KeyboardInterrupt``); what it has set
            stays. One that does not end within three more takes its interpreter with it.
        on_stdout, on_stderr
            Called with output as it comes.
        output_limit, max_artifacts, max_artifact_bytes
            As of `AsyncSandbox.run_code`.

        Raises
        ------
        ContextEnded
            The interpreter had ended before, and the variables are gone; `restart` begins anew.
        ContextNotFound
            The sandbox has no such context any more.
        """
        place = f"{_CELLS}/{script.new_id()}"
        words = ["/bin/sh", "-c", _CELL, "sandyard-cell", f"{_FOLDER}/{self.id}", place]
        asked = Command(words, "/", stdin=encoded(code, "code"), timeout=timeout, output_limit=output_limit)
        await runner.check(self._session, asked)
        check_count("max_artifacts", max_artifacts)
        check_count("max_artifact_bytes", max_artifact_bytes)
        limit: Limit | None = None
        async with passing(self._session, place):
            try:
                done = await runner.run(self._session, asked, Sinks(on_stdout, on_stderr, output_limit))
            except CommandTimeout as error:
                done, limit = error.result, "time"
            except OutputLimitExceeded as error:
                done, limit = error.result, "output"
            except SandboxEnded as error:
                return await sandbox_ended(self._session, error, on_stderr)
            left = await collect(self._session, place, max_artifacts, max_artifact_bytes)
        if "lost" in left:
            raise self._ended(_exit_code(left["lost"]))
        if done.exit_code == _NONE and "skipped" in left and left["skipped"].startswith(b"all:"):
            raise ContextNotFound(f"no context {self.id!r}", sandbox=self._session.name)
        closed = done.exit_code not in (None, 0) and await is_closed(self._session)
        made = _result(self.language, done, limit, left, closed=closed, program=encoded(code, "code"))
        taken, skipped = artifacts(left, max_artifacts, max_artifact_bytes)
        return dataclasses.replace(made, artifacts=taken, skipped=[*skipped, *made.skipped])

    async def interrupt(self) -> None:
        """Interrupt the cell that runs now, if one does, as Ctrl-C would."""
        await self._control("functions", "interrupt", "interrupt_context")

    async def restart(self) -> None:
        """End the interpreter and what it has started, and begin with a new one, in the same folder and environment."""
        await self._control("functions", "context_control", word="restart")

    async def remove(self) -> None:
        """End the interpreter and what it has started, and forget the context."""
        with contextlib.suppress(ContextEnded, ContextNotFound):
            await self._control("functions", "context_control", word="remove")

    async def _control(self, *parts: str, word: str = "") -> None:
        words = ["/bin/sh", "-c", script.text(*parts), "sandyard-context", self.id, word]
        done = await runner.run(self._session, Command(words, timeout=_SECONDS))
        if done.exit_code == _NONE:
            raise ContextNotFound(f"no context {self.id!r}", sandbox=self._session.name)
        if done.exit_code == _ENDED:
            raise self._ended(_KILLED)

    def _ended(self, code: int) -> ContextEnded:
        return ContextEnded(f"context {self.id!r}: {_how(code)}; restart() begins anew", exit_code=code,
                            sandbox=self._session.name)  # fmt: skip


class Contexts:
    """The contexts of one sandbox: each is an interpreter that stays."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create(
        self, language: str = "python", *, cwd: str = ".", env: Mapping[str, str] | None = None
    ) -> CodeContext:
        """Start an interpreter that keeps what its cells set.

        Parameters
        ----------
        language
            python (nothing but its standard library is needed), javascript (by node) or bash.
        cwd
            Folder to begin in, relative to the template's ``workingDir``.

        Raises
        ------
        InvalidArgument
            No context can be of that language, or the image has no interpreter for it.
        SandboxFileNotFound
            There is no folder *cwd*.
        """
        known = languages.of(language)
        name = languages.name_of(known) if known is not None else ""
        if name not in _PROGRAMS:
            raise InvalidArgument(f"language: no context is of {language!r}; use one of {', '.join(_PROGRAMS)}")
        made = CodeContext(self._session, script.new_id(), name)
        code = script.text("raw", "give", "context")
        words = script.by_bash(code, "sandyard-context", made.id, name, script.place(cwd), *script.variables(env or {}))
        try:
            await Tools(self._session).run(script.text("unpack"), f"{_FOLDER}/{made.id}", "plain",
                                           stdin=archive.plain(_files(name)))  # fmt: skip
            done = await runner.run(self._session, Command(words, timeout=_SECONDS))
        except BaseException:
            # Whoever asked has given up, or its answer was lost: the interpreter may have begun, and nobody knows it.
            with contextlib.suppress(SandboxError, TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await made.remove()
            raise
        if done.exit_code != 0:
            await made.remove()
            raise self._not_made(name, cwd, done)
        return made

    async def connect(self, id: str) -> CodeContext:  # noqa: A002
        """Find the context of this id, whichever program has made it.

        Raises
        ------
        ContextNotFound
            The sandbox has no context of that id.
        """
        for one in await self.list():
            if one.id == id:
                return CodeContext(self._session, one.id, one.language)
        raise ContextNotFound(f"no context {id!r}", sandbox=self._session.name)

    async def list(self) -> list[ContextInfo]:
        """List the contexts of the sandbox, oldest first; also those whose interpreter has ended."""
        words = ["/bin/sh", "-c", script.text("contexts"), "sandyard-contexts"]
        return parse_contexts((await runner.run(self._session, Command(words))).stdout)

    def _not_made(self, language: str, cwd: str, done: CommandResult) -> SandboxError:
        name = self._session.name
        if done.exit_code == _NO_PROGRAM:
            text = f"language: this image has none of: {_PROGRAMS[language]}"
            return InvalidArgument(text, sandbox=name)
        if done.exit_code == _NO_FOLDER:
            text = f"cwd: the sandbox has no folder {cwd!r}, or its user may not enter it"
            return SandboxFileNotFound(text, sandbox=name)
        return PermissionDenied(f"the context cannot be made: {done.stderr_text.strip()[-300:]}", sandbox=name)


def as_cell(session: Session, context: str | HasId, program: Program, language: str | None) -> CodeContext:
    """The context that is to run *program*.

    Raises
    ------
    InvalidArgument
        It has what no cell can have, or is in another language than the context's.
    """
    for name, value in (("args", program.args), ("env", program.env or None), ("stdin", program.stdin or None)):
        if value is not None:
            raise InvalidArgument(f"{name}: not for a cell of a context; set it in the cell, or leave out context=")
    asked = languages.of(language) if language is not None else None
    if language is not None and asked is None:
        raise InvalidArgument(languages.unknown(language))
    if isinstance(context, str):
        return CodeContext(session, context, languages.name_of(asked) if asked is not None else "python")
    known = str(getattr(context, "language", ""))
    if asked is not None and languages.name_of(asked) != known:
        raise InvalidArgument(f"language: the context is of {known}, not of {languages.name_of(asked)}")
    return CodeContext(session, context.id, known or "python")


def parse_contexts(printed: bytes) -> list[ContextInfo]:
    """What ``contexts.sh`` prints, oldest first; what a program inside has spoiled is left out."""
    fields = printed.split(b"\0")
    found = []
    for at in range(0, len(fields) - 4, 5):
        with contextlib.suppress(BadAnswer):
            found.append(_info(*fields[at : at + 5]))
    return sorted(found, key=lambda info: info.started_at)


def _info(id_: bytes, language: bytes, started: bytes, code: bytes, cwd: bytes) -> ContextInfo:
    name, kind = id_.decode(errors="replace"), language.decode(errors="replace").strip()
    if not script.is_id(name) or kind not in _PROGRAMS:
        raise BadAnswer("a folder of another kind")
    return ContextInfo(
        name, kind, answers.text(cwd.rstrip(b"\n")), answers.number(started.strip() or b"0", "start", most=2**40),
        None if code == b"-" else _exit_code(code),
    )  # fmt: skip


def _files(language: str) -> dict[str, bytes]:
    """What an interpreter needs in the folder of its context."""
    scripts = {"cell.sh": ("functions", "interrupt", "cell"), "kernel.sh": ("quiet", "kernel"), "line.sh": ("line",)}
    made = {name: script.text(*parts).encode() + b"\n" for name, parts in scripts.items()}
    if language in _KERNELS:
        kernel = _KERNELS[language]
        made[kernel] = (importlib.resources.files("sandyard.client.code") / kernel).read_bytes()
    return made


def _result(
    language: str, done: CommandResult, limit: Limit | None, left: Mapping[str, bytes], *, closed: bool, program: bytes
) -> CodeResult:  # fmt: skip
    """The outcome of a cell that has run."""
    told = Shown()
    if "results.json" in left:
        try:
            told = shown(left["results.json"])
        except BadAnswer as error:
            told = Shown(skipped=[str(error)])
    code, failure, outcome = done.exit_code, told.error, _outcome(language, done, limit, told, closed, program)
    if "ended" in left:
        code = _exit_code(left["ended"])
        outcome = outcome if limit is not None else "runtime_error"
        failure = CodeError("ContextEnded", _how(code))
    return CodeResult(
        outcome, limit, code, done.stdout, done.stderr, done.duration, skipped=told.skipped,
        cpu_seconds=told.cpu_seconds, results=told.results, error=failure,
    )  # fmt: skip


def _outcome(
    language: str, done: CommandResult, limit: Limit | None, told: Shown, closed: bool, program: bytes
) -> Outcome:  # fmt: skip
    if limit is not None:
        return "resource_limit_exceeded"
    if done.exit_code == 0 and told.error is None:
        return "success"
    said = told.error.traceback.encode() if told.error is not None else done.stderr
    return "unauthorized_access" if denied(language, said, closed=closed, program=program) else "program_error"


def _exit_code(told: bytes) -> int:
    """What an interpreter ended with; a program inside may have written anything there."""
    try:
        return answers.number(told.strip(), "exit code", most=255)
    except BadAnswer:
        return _KILLED


def _how(code: int) -> str:
    how = f"by signal {code - 128}" if code > 128 else f"with exit code {code}"
    return f"its interpreter has ended {how}, and its variables are gone"
