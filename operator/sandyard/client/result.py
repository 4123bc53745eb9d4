"""The outcome of a command."""

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
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def stderr_text(self) -> str:
        """Standard error as text; bytes that are not UTF-8 are replaced."""
        return self.stderr.decode(errors="replace")


@dataclass(frozen=True)
class CommandResult(Said):
    """The outcome of one command, as `subprocess` has it.

    Attributes
    ----------
    exit_code
        0-255, as a shell has it (128 + n after signal n); None when it is not known.
    stdout, stderr
        Output, byte for byte. Where there was more than is kept, the beginning and the end, with
        ``omitted_bytes`` left out between the two.
    timed_out
        Whether the command took longer than its ``timeout`` and was ended.
    duration
        Seconds from the request to the end.
    omitted_bytes
        Bytes of output that were dropped, of both streams.
    exec_id
        Id that the command's processes carry inside the sandbox.
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
        """Whether the exit code is 0."""
        return self.exit_code == 0

    @property
    def truncated(self) -> bool:
        """Whether output was dropped."""
        return self.omitted_bytes > 0

    @property
    def signal(self) -> int | None:
        """The signal that ended the command, as exit code 128 + n says; None where none did."""
        return self.exit_code - 128 if self.exit_code is not None and 128 < self.exit_code < 160 else None
