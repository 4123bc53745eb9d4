"""A workspace as a tar stream, from a sandbox and into one."""

from __future__ import annotations

import asyncio
import io
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterable
from pathlib import PurePath
from typing import IO, Final

from sandyard.adapters import needs
from sandyard.client.errors import CommandFailed, InvalidArgument, TransferLimitExceeded
from sandyard.client.exec.command import Input, Output
from sandyard.client.files.transfer import MAX_BYTES
from sandyard.client.result import CommandResult
from sandyard.client.sandbox import AsyncSandbox

with needs("openai-agents"):
    from agents.sandbox.util.tar_utils import UnsafeTarMemberError, validate_tarfile

__all__ = ["pack", "unpack"]

_IN_MEMORY_BYTES: Final = 16 * 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024
# No archive that is unpacked may hold hard links: where tar can, it packs the files instead.
_TAR: Final = """o=--hard-dereference
case $1$(tar --help 2>&1) in pack*"$o"*) shift; exec tar "$o" "$@" ;; *) shift; exec tar "$@" ;; esac"""
# What GNU tar says of files that change meanwhile or are none, and ends with 1: the archive is whole.
_HARMLESS: Final = ("file changed as we read it", "file removed before we read it", "socket ignored")


async def pack(sandbox: AsyncSandbox, root: PurePath, left_out: Iterable[PurePath]) -> io.IOBase:
    """The folder *root* as a tar stream, without these paths relative to it.

    Raises
    ------
    SandboxError
        It cannot be read, or is more than the client transfers.
    """
    excluded = [f"--exclude=./{path.as_posix()}" for path in left_out]
    archive = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - it is the caller's
    try:
        await _tar(sandbox, "pack", "-C", str(root), *excluded, "-cf", "-", ".", on_stdout=_Sink(archive))
    except BaseException:
        archive.close()
        raise
    archive.seek(0)
    return archive


async def unpack(sandbox: AsyncSandbox, root: PurePath, archive: io.IOBase) -> None:
    """Unpack *archive* into the folder *root*, which is made.

    Raises
    ------
    InvalidArgument
        It is no archive, or names of it lead out of *root*; nothing was unpacked.
    SandboxError
        It cannot be unpacked, or not all of it.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as copy:
        while piece := archive.read(_PIECE_BYTES):
            copy.write(piece)
        copy.seek(await asyncio.to_thread(_checked, copy))
        await sandbox.files.mkdir(str(root))
        await _tar(sandbox, "unpack", "-C", str(root), "-xof", "-", stdin=_pieces(copy))


def _checked(archive: IO[bytes]) -> int:
    """Where what is to be unpacked of it begins."""
    archive.seek(0)
    try:
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            # Links may lead anywhere in the sandbox, as those of a virtual environment do: nothing below one of them
            # is unpacked, and the sandbox holds nothing that its tenant may not reach by himself.
            validate_tarfile(tar)
            members = tar.getmembers()
    except (UnsafeTarMemberError, tarfile.TarError) as error:
        raise InvalidArgument(f"the archive is not unpacked: {error}") from error
    # The folder itself is there already, and may be another user's, whose mode tar could not set.
    return members[0].offset_data if members and members[0].name in ("", ".") else 0


async def _tar(sandbox: AsyncSandbox, *words: str, stdin: Input = b"", on_stdout: Output | None = None) -> None:
    done = await sandbox.commands.run(
        ["/bin/sh", "-c", _TAR, "sandyard-tar", *words], env={"LC_ALL": "C"}, timeout=None, stdin=stdin,
        on_stdout=on_stdout, max_output=_PIECE_BYTES,
    )  # fmt: skip
    if not done.ok and not _whole(done):
        raise CommandFailed(f"exit code {done.exit_code}: {done.stderr_text.strip()[-500:]}", done)


def _whole(done: CommandResult) -> bool:
    """Whether tar complains of nothing that matters."""
    lines = done.stderr_text.splitlines()
    return done.exit_code == 1 and bool(lines) and all(line.endswith(_HARMLESS) for line in lines)


async def _pieces(archive: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := archive.read(_PIECE_BYTES):
        yield piece


class _Sink:
    """Takes in what a sandbox sends, up to a limit."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = MAX_BYTES

    def __call__(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise TransferLimitExceeded(f"the workspace is more than {MAX_BYTES} bytes; leave out some of it")
        self._file.write(data)
