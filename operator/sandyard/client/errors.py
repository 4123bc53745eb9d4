"""Everything that can go wrong, as one tree: each error has a code, and says whether a retry can help."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from sandyard.client.result import CommandResult

__all__ = [
    "BadAnswer",
    "CommandError",
    "CommandFailed",
    "CommandNotFound",
    "CommandTimeout",
    "ContextEnded",
    "ContextNotFound",
    "ExecTransportError",
    "InvalidArgument",
    "IsADirectory",
    "NoSpace",
    "NotFinished",
    "OperatorUnavailable",
    "OutputLimitExceeded",
    "PermissionDenied",
    "PoolExhausted",
    "SandboxClosed",
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

# How a shell begins what it says: with its name, and the line of the script.
_SCRIPTS: Final = re.compile(r"\bsandyard-[a-z]+: (line )?([0-9]+: )?")
# Characters of a message: whoever is inside can say any number of them.
_HALF: Final = 2000


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
        # It may quote what a sandbox has said, and whatever shows it may be a terminal.
        super().__init__(_harmless(message))
        self.sandbox = sandbox
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, so that it comes back from another process (a pool of workers) as what it was."""
        return _again, (type(self), self.args, vars(self))


def _again(kind: type[SandboxError], args: tuple[Any, ...], state: dict[str, Any]) -> SandboxError:
    made = kind.__new__(kind, *args)
    made.args = args
    vars(made).update(state)
    return made


def _harmless(message: str) -> str:
    """*message* without control characters but for the ends of its lines, and without the names of our scripts.

    Of one that is very long, the beginning and the end.
    """
    if len(message) > 2 * _HALF:
        message = f"{message[:_HALF]} [...] {message[-_HALF:]}"
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in _SCRIPTS.sub("", message))


class InvalidArgument(SandboxError, ValueError):
    """An argument is wrong; nothing was done."""

    code = "InvalidArgument"


class Unauthorized(SandboxError):
    """The credentials are missing, have expired, or do not allow the call."""

    code = "Unauthorized"


class Unavailable(SandboxError):
    """The API server gave no answer; whether the request took effect may not be known."""

    code = "Unavailable"
    retryable = True


class OperatorUnavailable(Unavailable):
    """No operator is reconciling a new Sandbox: check that it runs, ``kubectl -n sandyard-system get pods``."""

    code = "OperatorUnavailable"


class SandboxNotFound(SandboxError):
    """No Sandbox (or pool) has that name."""

    code = "NotFound"


class SandboxExists(SandboxError):
    """A Sandbox of that name exists already; connect to it, or choose another name."""

    code = "AlreadyExists"


class SandboxNotReady(SandboxError):
    """The Sandbox exists, but cannot be used now: see ``phase`` and ``reason``."""

    code = "NotReady"
    retryable = True

    def __init__(self, message: str, *, phase: str, sandbox: str = "", reason: str = "") -> None:
        super().__init__(message, sandbox=sandbox, reason=reason)
        self.phase = phase


class SandboxCreateError(SandboxError):
    """The Sandbox could not be started; ``reason`` says why (``ImagePullBackOff``, ``Unschedulable``, ...)."""

    code = "CreateFailed"


class PoolExhausted(SandboxCreateError):
    """The pool had no sandbox left within the time that the claim waits."""

    code = "PoolExhausted"
    retryable = True


class SandboxExpired(SandboxError):
    """The Sandbox's lifetime, deadline or idle time is over."""

    code = "Expired"


class SandboxDeleted(SandboxError):
    """The Sandbox or its pod was deleted before the call had ended."""

    code = "Deleted"


class SandboxClosed(SandboxError):
    """This handle was closed; `connect` opens another one of the same Sandbox."""

    code = "Closed"


class SandboxRestarted(SandboxError):
    """The Sandbox runs in another pod now: its processes and memory of before are gone."""

    code = "Restarted"


class SandboxEnded(SandboxError):
    """The Sandbox's main process has ended; ``reason`` says how (``OOMKilled``, ``Evicted``, ``Error``, ``Completed``).

    ``reason`` is empty where the node has not reported it within five seconds; `get_info` shows it later.
    """

    code = "Ended"


class ExecTransportError(SandboxError):
    """The stream of an exec broke off.

    Attributes
    ----------
    started
        Whether the command may have run; only when this is False, repeating the call is safe.
    result
        The output that had arrived until then.
    """

    code = "ExecTransport"

    def __init__(self, message: str, *, started: bool, sandbox: str = "", result: CommandResult | None = None) -> None:
        super().__init__(message, sandbox=sandbox)
        self.started = started
        self.retryable = not started
        self.result = result


class BadAnswer(SandboxError):
    """The sandbox has answered what none of the client's tools says: a program inside, or its image, has changed it."""

    code = "BadAnswer"


class CommandError(SandboxError):
    """A command has not ended as it should; ``result`` holds its output."""

    code = "CommandError"

    def __init__(self, message: str, result: CommandResult, *, sandbox: str = "") -> None:
        super().__init__(message, sandbox=sandbox)
        self.result = result


class CommandFailed(CommandError):
    """A command with ``check=True`` has ended with another exit code than 0."""

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
    """The sandbox has no background command (or process) of that id."""

    code = "CommandNotFound"


class ContextNotFound(SandboxError):
    """The sandbox has no context of that id: it was removed, or the sandbox has been restarted since."""

    code = "ContextNotFound"


class ContextEnded(SandboxError):
    """The interpreter of a context has ended, and its variables are gone; ``restart()`` begins anew.

    Attributes
    ----------
    exit_code
        What it ended with, as a shell has it; 137 where nobody has seen its end.
    """

    code = "ContextEnded"

    def __init__(self, message: str, *, exit_code: int, sandbox: str = "") -> None:
        super().__init__(message, sandbox=sandbox)
        self.exit_code = exit_code


class NotFinished(SandboxError, TimeoutError):
    """A background command still runs, or a terminal has shown nothing yet; wait again."""

    code = "NotFinished"
    retryable = True


class StdinClosed(SandboxError):
    """A background command takes no more input."""

    code = "StdinClosed"


class ShellClosed(SandboxError):
    """The shell has ended; ``reset()`` starts a new one."""

    code = "ShellClosed"


class OutputLimitExceeded(CommandError):
    """A command wrote more than its ``output_limit`` and was ended."""

    code = "OutputLimitExceeded"


class TransferLimitExceeded(SandboxError):
    """There is more to copy than ``max_bytes`` or ``max_files`` allow."""

    code = "TransferLimitExceeded"


class SandboxFileNotFound(SandboxError, FileNotFoundError):
    """The sandbox has no such file."""

    code = "FileNotFound"


class SandboxFileExists(SandboxError, FileExistsError):
    """The sandbox has such a file already."""

    code = "FileExists"


class PermissionDenied(SandboxError, PermissionError):
    """The sandbox's user may not do this."""

    code = "PermissionDenied"


class IsADirectory(SandboxError, IsADirectoryError):
    """The path is a folder."""

    code = "IsADirectory"


class NoSpace(SandboxError, OSError):
    """The volume or the file system of the sandbox is full."""

    code = "NoSpace"
