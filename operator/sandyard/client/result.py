"""What a command has done."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_KEEP", "CommandResult", "Said"]

# Bytes of each stream that are kept unless more are asked for.
DEFAULT_KEEP = 10 * 1024 * 1024


class Said:
    """The output of something, as text."""

    stdout: bytes
    stderr: bytes

    @property
    def stdout_text(self) -> str:
        """Standard output as text; what is no UTF-8 is replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def stderr_text(self) -> str:
        """Standard error as text; what is no UTF-8 is replaced."""
        return self.stderr.decode(errors="replace")


@dataclass(frozen=True)
class CommandResult(Said):
    """The outcome of one command, as `subprocess` would tell it.

    Attributes
    ----------
    exit_code
        0-255, as the shell tells it (128 + n when signal n ended it); None when it is not known.
    stdout, stderr
        Bytes as they came. Where more came than is kept, the beginning and the end, with
        ``omitted_bytes`` left out between the two.
    timed_out
        Whether it was ended because its time was over.
    duration
        Seconds from the request to the end.
    omitted_bytes
        Output that was dropped, of both streams.
    exec_id
        Names its processes inside the sandbox.
    stdout_path, stderr_path
        Files of the sandbox that hold the whole output, where ``keep_output`` asked for them.
    """

    exit_code: int | None
    stdout: bytes = b""
    stderr: bytes = b""
    timed_out: bool = False
    duration: float = 0.0
    omitted_bytes: int = 0
    exec_id: str = ""
    stdout_path: str = ""
    stderr_path: str = ""

    @property
    def ok(self) -> bool:
        """Whether it has ended with exit code 0."""
        return self.exit_code == 0

    @property
    def truncated(self) -> bool:
        """Whether output was dropped."""
        return self.omitted_bytes > 0

    @property
    def signal(self) -> int | None:
        """The signal that ended it, by the shell's convention."""
        return self.exit_code - 128 if self.exit_code is not None and 128 < self.exit_code < 160 else None
