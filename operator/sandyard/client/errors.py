"""Everything that can go wrong, as one tree: each error has a code, says whether a retry can help, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from sandyard.client.result import CommandResult

__all__ = [
    "CommandError",
    "CommandFailed",
    "CommandNotFound",
    "CommandTimeout",
    "ExecTransportError",
    "InvalidArgument",
    "IsADirectory",
    "NoSpace",
    "NotFinished",
    "OperatorUnavailable",
    "OutputLimitExceeded",
    "PermissionDenied",
    "PoolExhausted",
    "SandboxCreateError",
    "SandboxDeleted",
    "SandboxEnded",
    "SandboxError",
    "SandboxExists",
    "SandboxExpired",
    "SandboxFileExists",
    "SandboxFileNotFound",
    "SandboxNotFound",
    "SandboxNotReady",
    "SandboxRestarted",
    "ShellClosed",
    "StdinClosed",
    "TransferLimitExceeded",
    "Unauthorized",
    "Unavailable",
]


class SandboxError(Exception):
    """The root of the tree.

    Attributes
    ----------
    code
        One word for programs; stable.
    retryable
        Whether the same call may succeed later, with nothing done twice.
    sandbox
        Name of the Sandbox, where there is one.
    reason
        The reason of the condition or reply that it comes from.
    """

    code: ClassVar[str] = "Error"
    retryable: bool = False

    def __init__(self, message: str, *, sandbox: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.sandbox = sandbox
        self.reason = reason


class InvalidArgument(SandboxError, ValueError):
    """What was asked for makes no sense; nothing was done."""

    code = "InvalidArgument"


class Unauthorized(SandboxError):
    """The credentials are missing, too old, or do not allow this."""

    code = "Unauthorized"


class Unavailable(SandboxError):
    """The API server gave no answer; whether the request took effect may not be known."""

    code = "Unavailable"
    retryable = True


class OperatorUnavailable(Unavailable):
    """Nobody takes notice of a new Sandbox: is the operator running? ``kubectl -n sandyard-system get pods``."""

    code = "OperatorUnavailable"


class SandboxNotFound(SandboxError):
    """There is no Sandbox (or pool) of that name."""

    code = "NotFound"


class SandboxExists(SandboxError):
    """There is a Sandbox of that name already; connect to it, or choose another name."""

    code = "AlreadyExists"


class SandboxNotReady(SandboxError):
    """It is there, but cannot be used now: see ``phase`` and ``reason``."""

    code = "NotReady"
    retryable = True

    def __init__(self, message: str, *, phase: str, sandbox: str = "", reason: str = "") -> None:
        super().__init__(message, sandbox=sandbox, reason=reason)
        self.phase = phase


class SandboxCreateError(SandboxError):
    """It could not be started; ``reason`` says why (``ImagePullBackOff``, ``Unschedulable``, ...)."""

    code = "CreateFailed"


class PoolExhausted(SandboxCreateError):
    """The pool had none left within the time that the claim waits."""

    code = "PoolExhausted"
    retryable = True


class SandboxExpired(SandboxError):
    """Its lifetime, its deadline or its idle time is over."""

    code = "Expired"


class SandboxDeleted(SandboxError):
    """It was deleted, or its pod was, before the call had ended."""

    code = "Deleted"


class SandboxRestarted(SandboxError):
    """It runs in another pod now: processes and memory of before are gone."""

    code = "Restarted"


class SandboxEnded(SandboxError):
    """Its main process has ended; ``reason`` says how (``OOMKilled``, ``Evicted``, ``Error``, ``Completed``).

    It is empty where the node has not told yet, five seconds after the end; `get_info` will show it.
    """

    code = "Ended"


class ExecTransportError(SandboxError):
    """The stream of an exec broke off.

    Attributes
    ----------
    started
        Whether the command may have run; only when it is False a repetition is safe.
    result
        What had arrived until then.
    """

    code = "ExecTransport"

    def __init__(self, message: str, *, started: bool, sandbox: str = "", result: CommandResult | None = None) -> None:
        super().__init__(message, sandbox=sandbox)
        self.started = started
        self.retryable = not started
        self.result = result


class CommandError(SandboxError):
    """A command has not ended as it should; ``result`` holds what it has said."""

    code = "CommandError"

    def __init__(self, message: str, result: CommandResult, *, sandbox: str = "") -> None:
        super().__init__(message, sandbox=sandbox)
        self.result = result


class CommandFailed(CommandError):
    """A command that was to succeed (``check=True``) has not."""

    code = "CommandFailed"


def checked(result: CommandResult, sandbox: str) -> CommandResult:
    """*result*, if its exit code is 0; else `CommandFailed`, with the end of what it said."""
    if result.exit_code == 0:
        return result
    output = result.stderr_text.strip() or result.stdout_text.strip()
    raise CommandFailed(f"exit code {result.exit_code}: {output[-500:]}", result, sandbox=sandbox)


class CommandTimeout(CommandError, TimeoutError):
    """A command took longer than its ``timeout`` and was ended."""

    code = "CommandTimeout"


class CommandNotFound(SandboxError):
    """There is no background command (or process) of that id in the sandbox."""

    code = "CommandNotFound"


class NotFinished(SandboxError, TimeoutError):
    """A background command still runs; wait again."""

    code = "NotFinished"
    retryable = True


class StdinClosed(SandboxError):
    """A background command takes no input any more."""

    code = "StdinClosed"


class ShellClosed(SandboxError):
    """The shell has ended; ``reset()`` gives a new one."""

    code = "ShellClosed"


class OutputLimitExceeded(CommandError):
    """A command said more than its ``output_limit`` and was ended."""

    code = "OutputLimitExceeded"


class TransferLimitExceeded(SandboxError):
    """There is more to copy than the caller allows (``max_bytes``, ``max_files``)."""

    code = "TransferLimitExceeded"


class SandboxFileNotFound(SandboxError, FileNotFoundError):
    """There is no such file in the sandbox."""

    code = "FileNotFound"


class SandboxFileExists(SandboxError, FileExistsError):
    """There is such a file in the sandbox already."""

    code = "FileExists"


class PermissionDenied(SandboxError, PermissionError):
    """The sandbox's user may not do this."""

    code = "PermissionDenied"


class IsADirectory(SandboxError, IsADirectoryError):
    """It is a folder."""

    code = "IsADirectory"


class NoSpace(SandboxError, OSError):
    """The volume or the file system of the sandbox is full."""

    code = "NoSpace"
