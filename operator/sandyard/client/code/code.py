"""Runs a program in a known language: its outcome, its value, its files and what it has used."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import mimetypes
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sandyard.api import untrusted
from sandyard.api.variables import is_settable
from sandyard.client import answers
from sandyard.client.code import languages
from sandyard.client.code.denied import denied
from sandyard.client.code.shown import CodeError, CodeOutput
from sandyard.client.errors import (
    BadAnswer,
    CommandFailed,
    CommandTimeout,
    ExecTransportError,
    InvalidArgument,
    IsADirectory,
    NoSpace,
    OutputLimitExceeded,
    PermissionDenied,
    SandboxEnded,
    SandboxError,
    SandboxFileExists,
    SandboxFileNotFound,
)
from sandyard.client.exec import runner, script
from sandyard.client.exec.command import Command, Input, Output, Sinks, check_count, encoded, hand_over
from sandyard.client.files import archive
from sandyard.client.files.tools import Tools
from sandyard.client.result import CommandResult, Said
from sandyard.client.session.cluster import POOLS
from sandyard.client.session.session import Session
from sandyard.kube import errors

__all__ = ["ARTIFACT_KINDS", "Artifact", "CodeResult", "Limit", "Outcome", "Program", "artifacts", "collect",
           "is_closed", "passing", "run_code", "sandbox_ended"]  # fmt: skip

Outcome = Literal[
    "success",
    "program_error",
    "runtime_error",
    "resource_limit_exceeded",
    "unauthorized_access",
    "program_runner_error",
]
Limit = Literal["time", "memory", "output"]
ARTIFACT_KINDS: Final = ("png", "jpg", "jpeg", "svg", "pdf", "csv", "json", "html")
_FOLDER: Final = "/tmp/.sandyard/code"
# Of any case, as a shell matches them.
_PATTERNS: Final = tuple("".join(f"[{one}{one.upper()}]" for one in kind) for kind in ARTIFACT_KINDS)
_SIGSYS: Final = 31
# The main process is the sandbox's user's as well: a program that ends all processes ends it too.
_ITS_OWN_ENDS: Final = ("Error", "Completed")
_NOT_MADE: Final = (
    CommandFailed,
    CommandTimeout,
    InvalidArgument,
    NoSpace,
    PermissionDenied,
    SandboxFileExists,
    SandboxFileNotFound,
    IsADirectory,
)
# How long a node may take to tell why a sandbox has ended.
_REASON_SECONDS: Final = 20
_FAREWELL_SECONDS: Final = 5.0
_COLLECT_SECONDS: Final = 120
# What a cell has shown, as collect.sh takes it, and a few small files.
_SHOWN_BYTES: Final = 17 * 1024 * 1024
_LONGEST_TOLD: Final = 300
_MOST_TOLD: Final = 1000


@dataclass(frozen=True)
class Artifact:
    """A file that a program has written to ``$SANDYARD_ARTIFACTS``."""

    name: str
    content: bytes

    @property
    def media_type(self) -> str:
        """Media type by the file's name, for example ``image/png``."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"


@dataclass(frozen=True)
class CodeResult(Said):
    """The outcome of a program.

    Attributes
    ----------
    outcome
        ``success``: exit code 0. ``program_error``: another exit code, also of a compiler.
        ``runtime_error``: ended by a signal. ``resource_limit_exceeded``: see *limit*.
        ``unauthorized_access``: the program failed at something that the sandbox forbids.
        ``program_runner_error``: the image cannot run this language, or its folder could not be made.
    limit
        ``time``, ``memory`` or ``output``: the limit that the program exceeded.
    value
        What ``main`` returned, or what the program wrote to ``$SANDYARD_RESULT``, as JSON has it.
    artifacts
        Files from ``$SANDYARD_ARTIFACTS``; *skipped* names those left out, each with the reason.
    cpu_seconds
        User and system time; None when the program was ended from outside.
    peak_memory_bytes
        Most resident memory at a time, beyond that before the program; measured five times a second.
    results
        Of a cell of a context: what it has shown, the value of its last expression among it.
    error
        Of a cell: the exception that it ended with.
    """

    outcome: Outcome
    limit: Limit | None
    exit_code: int | None
    stdout: bytes
    stderr: bytes
    duration: float
    value: Any = None
    artifacts: list[Artifact] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    results: list[CodeOutput] = field(default_factory=list)
    error: CodeError | None = None

    @property
    def text(self) -> str | None:
        """The value of a cell's last expression, as text."""
        return next((one.text for one in self.results if one.main), None)

    @property
    def ok(self) -> bool:
        """Whether the outcome is ``success``."""
        return self.outcome == "success"


@dataclass(frozen=True)
class Program:
    """A program, and what of it is taken back.

    Attributes
    ----------
    args
        What its ``main`` is called with; None: it is not called.
    env, stdin, timeout
        As of a command.
    output_limit
        Bytes of a stream beyond which it is ended.
    max_artifacts, max_artifact_bytes
        How many files are taken from ``$SANDYARD_ARTIFACTS``, and how big one may be.
    """

    code: str
    language: str
    args: Mapping[str, Any] | Sequence[Any] | None
    env: Mapping[str, str]
    stdin: Input
    timeout: float
    output_limit: int
    max_artifacts: int
    max_artifact_bytes: int


async def run_code(
    session: Session, program: Program, on_stdout: Output | None, on_stderr: Output | None
) -> CodeResult:  # fmt: skip
    """Run *program* in a folder of its own, which goes afterwards."""
    known = languages.of(program.language)
    if known is None:
        raise InvalidArgument(languages.unknown(program.language))
    encoded(program.code, "code")
    check_count("max_artifacts", program.max_artifacts)
    check_count("max_artifact_bytes", program.max_artifact_bytes)
    folder = f"{_FOLDER}/{script.new_id()}"
    given = next((word[1:] for word in script.variables(program.env) if word.startswith("=")), "")
    made = languages.files(known, program.code, called=program.args is not None, given=given, names=program.env)
    made["args.json"] = _arguments(program.args)
    written = archive.plain({"artifacts/": b"", **{name: encoded(content, "code") for name, content in made.items()}})
    # Not those that "given" has for the program: they would be for the shells before it.
    variables = {"SANDYARD_ARGS": f"{folder}/args.json", "SANDYARD_RESULT": f"{folder}/result.json",
                 "SANDYARD_ARTIFACTS": f"{folder}/artifacts",
                 **{name: value for name, value in program.env.items() if is_settable(name)}}  # fmt: skip
    command = Command(
        ["/bin/sh", "-c", script.text("raw", "code"), "sandyard-code", folder], "/", variables, stdin=program.stdin,
        timeout=program.timeout, output_limit=program.output_limit,
    )  # fmt: skip
    await runner.check(session, command)
    async with passing(session, folder):
        try:
            await Tools(session, "/").run(script.text("unpack"), folder, "plain", stdin=written)
        except _NOT_MADE as error:
            # Whatever ran here before may have locked or filled the place.
            return await _told("program_runner_error", None, f"{folder} cannot be made: {error}", on_stderr)
        return await _run(session, program, command, folder, on_stdout, on_stderr)


@contextlib.asynccontextmanager
async def passing(session: Session, folder: str) -> AsyncIterator[None]:
    """If whoever waits within gives up, or the caller's own function for output fails, the folder goes."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(errors.ApiError, errors.TransportError):
            await asyncio.shield(session.run_own(["rm", "-rf", "--", folder], _FAREWELL_SECONDS))
        raise


async def _run(
    session: Session, program: Program, command: Command, folder: str, on_stdout: Output | None,
    on_stderr: Output | None,
) -> CodeResult:  # fmt: skip
    limit: Limit | None = None
    try:
        done = await runner.run(session, command, Sinks(on_stdout, on_stderr, program.output_limit))
    except CommandTimeout as error:
        done, limit = error.result, "time"
    except OutputLimitExceeded as error:
        done, limit = error.result, "output"
    except SandboxEnded as error:
        return await sandbox_ended(session, error, on_stderr)
    left = await collect(session, folder, program.max_artifacts, program.max_artifact_bytes)
    closed = done.exit_code not in (None, 0) and await is_closed(session)
    return _judge(done, limit, left, program, closed=closed)


def _arguments(args: Mapping[str, Any] | Sequence[Any] | None) -> str:
    try:
        return json.dumps(args if args is not None else [], allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"args: {error}; they go to the program as JSON") from None


async def sandbox_ended(session: Session, error: SandboxEnded, on_stderr: Output | None) -> CodeResult:
    """The outcome of a program with which its sandbox has ended.

    Memory is the sandbox's, so the sandbox goes with it; that it was memory is what its status says.
    """
    if not error.reason:
        await session.reaches("Failed", _REASON_SECONDS)
    reason = error.reason or session.info.reason("Ready")
    if reason in _ITS_OWN_ENDS:
        return await _told("runtime_error", None, str(error), on_stderr)
    if reason != "OOMKilled":
        raise error
    return await _told("resource_limit_exceeded", "memory", str(error), on_stderr)


async def _told(outcome: Outcome, limit: Limit | None, why: str, on_stderr: Output | None) -> CodeResult:
    """The outcome of a program that left none, with *why* in place of its standard error."""
    await hand_over(why.encode(), on_stderr)
    return CodeResult(outcome, limit, None, b"", why.encode(), 0.0)


async def collect(session: Session, folder: str, max_files: int, max_bytes: int) -> dict[str, bytes]:
    """What a program has left in its folder, by name; the folder goes."""
    words = ["/bin/sh", "-c", script.text("collect"), "sandyard-collect", folder, str(max_files), str(max_bytes),
             *_PATTERNS]  # fmt: skip
    keep = (max_files + 2) * (max_bytes + 5000) + _SHOWN_BYTES
    try:
        # Of the sandbox's own folder a program may have made anything.
        done = await runner.run(session, Command(words, "/", timeout=_COLLECT_SECONDS), Sinks(keep=keep))
        entries = archive.read_plain(io.BytesIO(done.stdout))
        return {entry.name: content.read(entry.size) for entry, content in entries if content is not None}
    except (*_NOT_MADE, BadAnswer, ExecTransportError, SandboxEnded) as error:
        return {"skipped": f"all: {error}\n".encode()}


def _judge(
    done: CommandResult, limit: Limit | None, left: dict[str, bytes], program: Program, *, closed: bool
) -> CodeResult:
    language = languages.of(program.language)
    assert language is not None
    refused = denied(languages.name_of(language), done.stderr, closed=closed, program=encoded(program.code, "code"))
    value, outcome = None, _outcome(done, limit, left, refused=refused)
    taken, skipped = artifacts(left, program.max_artifacts, program.max_artifact_bytes)
    if "result.json" in left:
        try:
            value = answers.document(left["result.json"], "result.json", most_bytes=program.max_artifact_bytes)
        except BadAnswer as error:
            skipped.append(str(error))
    peak = untrusted.whole_number(left.get("peak", b"").decode(errors="replace").strip())
    return CodeResult(
        outcome, limit, done.exit_code, done.stdout, done.stderr, done.duration, value, taken, skipped,
        cpu_seconds(left.get("usage", b"")), peak * 4096 if peak is not None else None,
    )  # fmt: skip


def artifacts(left: Mapping[str, bytes], max_files: int, max_bytes: int) -> tuple[list[Artifact], list[str]]:
    """The files that were left, and what was not taken.

    The script that collects them keeps to the rules as well; but a program that lives on can write into its stream.
    """
    told = left.get("skipped", b"").decode(errors="replace").splitlines()
    skipped = [answers.text(line, _LONGEST_TOLD) for line in told[:_MOST_TOLD]]
    taken: list[Artifact] = []
    for path, content in sorted(left.items()):
        folder, slash, name = path.partition("/")
        if folder != "artifacts" or not slash:
            continue
        if len(taken) >= max_files:
            skipped.append(f"{answers.text(name, _LONGEST_TOLD)}: one file too many")
        elif not _is_artifact(name) or len(content) > max_bytes:
            skipped.append(f"{answers.text(name, _LONGEST_TOLD)}: not an artifact's name or size")
        else:
            taken.append(Artifact(name, content))
    return taken, skipped


def _is_artifact(name: str) -> bool:
    """Whether *name* is that of a plain file, in any folder of any system, and of a usual kind."""
    plain = name.isprintable() and not set(name) & set("/\\:") and name.strip(" .") == name.strip()
    return plain and len(name.encode()) <= 255 and name.rpartition(".")[2].lower() in ARTIFACT_KINDS


def _outcome(done: CommandResult, limit: Limit | None, left: Mapping[str, bytes], *, refused: bool) -> Outcome:
    if limit is not None:
        return "resource_limit_exceeded"
    if "no-runner" in left:
        return "program_runner_error"
    if done.exit_code == 0:
        return "success"
    if done.signal == _SIGSYS:
        return "unauthorized_access"
    if done.signal is not None:
        return "runtime_error"
    return "unauthorized_access" if refused else "program_error"


async def is_closed(session: Session) -> bool:
    """Whether the sandbox reaches nothing, by its own network, its template's or its pool's; if not known, it may."""
    spec = session.info["spec"]
    shape = spec.get("template", {})
    if "network" not in spec and "poolRef" in spec:
        try:
            pool = await session.cluster.get(POOLS, session.namespace, spec["poolRef"]["name"])
        except SandboxError:
            return False
        shape = pool["spec"]["template"]
    network = spec.get("network") or shape.get("network") or {}
    return network.get("egress", "None") in ("None", "DNS")


def cpu_seconds(printed: bytes) -> float | None:
    """What ``times`` says of children: its second line, minutes and seconds of both kinds."""
    lines = printed[:_LONGEST_TOLD].decode(errors="replace").splitlines()
    found = re.findall(r"([0-9]{1,9})m([0-9]{1,9}(?:\.[0-9]{1,9})?)s", lines[1]) if len(lines) > 1 else []
    return sum(int(minutes) * 60 + float(seconds) for minutes, seconds in found) if found else None
