"""Copies files and trees into a sandbox and out of it, through ``tar`` or, where the image has none, a shell.

What a thread packs or unpacks and what the event loop sends or receives meet in a short queue, so
that no more than a few pieces are in memory, however big the tree.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import pathlib
import posixpath
import queue
import secrets
import stat
import sys
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, Final, cast

from sandyard.client import answers
from sandyard.client.errors import (
    BadAnswer,
    CommandFailed,
    ExecTransportError,
    InvalidArgument,
    OutputLimitExceeded,
    SandboxError,
    TransferLimitExceeded,
)
from sandyard.client.exec import script
from sandyard.client.files import archive
from sandyard.client.files.archive import Limits, Progress, Transferred
from sandyard.client.files.sources import Leave
from sandyard.client.files.standing import standing
from sandyard.client.files.tools import Tools

__all__ = ["MAX_BYTES", "MAX_FILES", "download", "upload"]

MAX_BYTES: Final = 4 * 1024**3
MAX_FILES: Final = 100_000
_PIECE: Final = 1024 * 1024
_KINDS_BYTES: Final = 100
# Room for what an archive adds to its content.
_OVERHEAD: Final = 4096
# Files of the kernel have no size, which tar believes.
_WAYS: Final = """command -v tar >/dev/null && w=tar || w=plain
[ ! -d "$1" ] || case $(cd -- "$1" && pwd -P)/ in /proc/*|/sys/*) w=plain ;; esac
[ -d "$1" ] && echo "folder $w" || echo "file $w"
"""
# What tar says at its end, of no file.
_SUMMARY: Final = ("Exiting with failure status", "error exit delayed")
_GAVE_UP: Final = "short read"
_MOST_TOLD: Final = 1000
_LONGEST_TOLD: Final = 300


async def upload(tools: Tools, local: pathlib.Path, path: str, on_progress: Progress | None) -> Transferred:
    """Copy *local* into the sandbox as *path*."""
    found = await asyncio.to_thread(local.stat)
    progress = _in_loop(on_progress)
    if not stat.S_ISDIR(found.st_mode):
        _check_plain(local, found)
        return await _upload_file(tools, local, path, on_progress)
    _, way = await _kind_and_way(tools, path)
    there = await standing(tools, path)
    locked = await asyncio.to_thread(archive.read_only, local)
    if locked:
        await tools.run(script.text("unlock"), path, stdin=b"".join(name + b"\n" for name in locked))
    pipe = _Pipe()
    work = archive.pack if way == "tar" else archive.pack_plain
    packing = asyncio.create_task(asyncio.to_thread(_closing, pipe, work, local, progress, there.leave))
    try:
        await tools.run(script.text("unpack"), path, way, stdin=pipe.pieces(), timeout=None)
        done = await packing
    except InvalidArgument:
        if packing.done() and isinstance(why := packing.exception(), OSError):
            raise InvalidArgument(f"{why.filename or local}: {why.strerror}; not all of it was copied") from why
        raise
    finally:
        pipe.abandon()
        await asyncio.gather(packing, return_exceptions=True)
    for name in there.through:
        written = await _upload_file(tools, local / name, posixpath.join(path, name), None)
        done.files, done.bytes = done.files + 1, done.bytes + written.bytes
    return done


async def _upload_file(tools: Tools, local: pathlib.Path, path: str, on_progress: Progress | None) -> Transferred:
    with await asyncio.to_thread(local.open, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        first, digest, size = await asyncio.to_thread(_measured, file)
        # What is small was read but once.
        file.seek(len(first))

        again = hashlib.sha256()

        async def pieces() -> AsyncIterator[bytes]:
            sent, piece = 0, first
            while piece:
                sent += len(piece)
                again.update(piece)
                if sent == size and again.hexdigest() != digest:
                    # It must not become a file.
                    return
                yield piece
                if on_progress is not None:
                    on_progress(sent)
                piece = await asyncio.to_thread(file.read, min(_PIECE, size - sent))

        words = [str(size), script.new_id(), digest, _symbolic(mode)]
        try:
            await tools.run(script.text("write"), path, *words, stdin=pieces(), timeout=None)
        except CommandFailed:
            if again.hexdigest() == digest:
                raise
            raise InvalidArgument(f"{local} has changed while it was read; nothing was written") from None
    return Transferred(1, size)


def _measured(file: BinaryIO) -> tuple[bytes, str, int]:
    """The file's beginning, and the digest and length of all that is in it now; what is added meanwhile is not.

    What a kernel makes as it is read has no size before.
    """
    most = os.fstat(file.fileno()).st_size or sys.maxsize
    first = file.read(min(_PIECE, most))
    digest, size = hashlib.sha256(first), len(first)
    while piece := file.read(min(_PIECE, most - size)):
        digest.update(piece)
        size += len(piece)
    return first, digest.hexdigest(), size


def _symbolic(mode: int) -> str:
    """As ``chmod`` takes it for a file that has just been made, so that the umask of the sandbox holds, as of cp(1)."""
    missing = [
        f"{who}-{''.join(letter for bit, letter in ((4, 'r'), (2, 'w'), (1, 'x')) if not mode >> place & bit)}"
        for who, place in (("u", 6), ("g", 3), ("o", 0))
    ]
    return ",".join(["+x", *missing])


def _check_plain(local: pathlib.Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InvalidArgument(f"{local} is not a plain file of this machine; read() and write() give and take bytes")


async def download(
    tools: Tools, path: str, local: pathlib.Path, limits: Limits, on_progress: Progress | None
) -> Transferred:
    """Copy *path* of the sandbox to *local*."""
    kind, way = await _kind_and_way(tools, path)
    if kind == "file":
        return await _download_file(tools, path, local, limits, on_progress)
    try:
        return await _download_tree(tools, path, way, local, limits, on_progress)
    except SandboxError as error:
        # That of busybox gives up where a file has become shorter.
        if way != "tar" or _GAVE_UP not in str(error):
            raise
    return await _download_tree(tools, path, "plain", local, limits, on_progress)


async def _download_tree(
    tools: Tools, path: str, way: str, local: pathlib.Path, limits: Limits, on_progress: Progress | None
) -> Transferred:  # fmt: skip
    pipe = _Pipe()
    entries = (archive.read_tar if way == "tar" else archive.read_plain)(cast("BinaryIO", io.BufferedReader(pipe)))
    unpacking = asyncio.create_task(
        asyncio.to_thread(archive.unpack, entries, local, limits, _in_loop(on_progress))
    )  # fmt: skip
    unpacking.add_done_callback(lambda _: pipe.abandon())
    most = limits.max_bytes + limits.max_files * _OVERHEAD
    try:
        packed = await tools.result(script.text("pack"), path, way, on_stdout=pipe.put, limit=most, timeout=None)
        if packed.exit_code != 0 and not pipe.received:
            raise tools.error(packed)
        await pipe.end()
        try:
            done = await unpacking
        except BadAnswer as error:
            raise (tools.error(packed) if packed.exit_code != 0 else error) from None
        done.skipped += _complaints(packed.stderr)
        return done
    except _AbandonedError:
        # The other side has ended first: it tells why.
        return await unpacking
    except OutputLimitExceeded as error:
        raise TransferLimitExceeded(f"{path}: more than max_bytes ({limits.max_bytes}) in it") from error
    finally:
        pipe.abandon()
        await asyncio.gather(unpacking, return_exceptions=True)


async def _kind_and_way(tools: Tools, path: str) -> tuple[str, str]:
    """Whether *path* is a file or a folder, and whether the image has tar."""
    kind, way = answers.words(await tools.run(_WAYS, path, limit=_KINDS_BYTES), 2, path)
    if kind not in (b"file", b"folder") or way not in (b"tar", b"plain"):
        raise BadAnswer(f"{path}: the sandbox has not told what it is")
    return kind.decode(), way.decode()


def _complaints(said: bytes) -> list[str]:
    """What was not read, or not as it was, by the messages of whoever has packed it."""
    lines = [answers.text(line, _LONGEST_TOLD).removeprefix("tar: ").strip() for line in said.splitlines()[:_MOST_TOLD]]
    return [line for line in lines if line and not any(text in line for text in _SUMMARY)]


async def _download_file(
    tools: Tools, path: str, local: pathlib.Path, limits: Limits, on_progress: Progress | None
) -> Transferred:
    if await asyncio.to_thread(local.is_dir):
        raise InvalidArgument(f"{local} is a folder: name the file to write")
    # As cp(1): a link stays, and a device is none of what is replaced.
    local = await asyncio.to_thread(local.resolve)
    old: int | None = None
    if await asyncio.to_thread(local.exists):
        found = await asyncio.to_thread(local.stat)
        _check_plain(local, found)
        old = stat.S_IMODE(found.st_mode)
    # Beside a name of any length.
    scratch = local.with_name(f".sandyard-{secrets.token_hex(8)}")
    local.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o777), "wb") as file:
            # What the umask allows; nobody else sees what is on its way.
            allowed = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            os.fchmod(file.fileno(), 0o600)

            def take(piece: bytes) -> None:
                nonlocal size
                size += len(piece)
                digest.update(piece)
                file.write(piece)
                if on_progress is not None:
                    on_progress(size)

            try:
                done = await tools.result(
                    script.text("fetch"), path, on_stdout=take, limit=limits.max_bytes, timeout=None
                )
            except OutputLimitExceeded as error:
                raise TransferLimitExceeded(f"{path}: more than max_bytes ({limits.max_bytes})") from error
            if done.exit_code != 0:
                raise tools.error(done)
            mode, there = answers.words(done.stderr.rpartition(b"\n")[0].rpartition(b"\n")[2], 2, path)
            if there not in (b"-", digest.hexdigest().encode()):
                raise ExecTransportError(f"{path} has changed while it was read; nothing was written", started=False)
            new = 0o666 if mode == b"-" else answers.octal(mode, path)
            os.fchmod(file.fileno(), new & allowed & 0o777 if old is None else old)
        scratch.replace(local)
    finally:
        with contextlib.suppress(FileNotFoundError):
            scratch.unlink()
    return Transferred(1, size)


def _closing(
    pipe: _Pipe, work: Callable[[pathlib.Path, BinaryIO, Progress | None, Leave], Transferred], local: pathlib.Path,
    progress: Progress | None, leave: Leave,
) -> Transferred:  # fmt: skip
    """Pack into the pipe, and end it: well, or not."""
    end: bytes | None = None
    try:
        done = work(local, cast("BinaryIO", pipe), progress, leave)
        end = b""
        return done
    finally:
        with contextlib.suppress(OSError):
            pipe._give(end)


def _in_loop(on_progress: Progress | None) -> Progress | None:
    """The caller's function, for use in another thread."""
    if on_progress is None:
        return None
    loop = asyncio.get_running_loop()
    return lambda done: cast("None", loop.call_soon_threadsafe(on_progress, done))


class _AbandonedError(Exception):
    pass


class _Pipe(io.RawIOBase):
    """Bytes from the event loop to a thread that reads, or from a thread that writes to the event loop."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(16)
        self._abandoned = False
        self._ended = False
        self.received = False
        self._rest = b""

    # The loop's side.

    async def put(self, data: bytes) -> None:
        self.received = True
        while True:
            if self._abandoned:
                raise _AbandonedError
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(data)
                return
            await asyncio.sleep(0.002)

    async def end(self) -> None:
        with contextlib.suppress(_AbandonedError):
            await self.put(b"")

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            try:
                piece = self._queue.get_nowait()
            except queue.Empty:
                await asyncio.sleep(0.002)
                continue
            if piece is None:
                raise InvalidArgument("what was to be sent could not be read")
            if not piece:
                return
            yield piece

    def abandon(self) -> None:
        self._abandoned = True

    # The thread's side.

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest and not self._ended:
            try:
                self._rest = self._queue.get(timeout=0.1) or b""
            except queue.Empty:
                if self._abandoned:
                    raise OSError("nobody sends any more") from None
                continue
            self._ended = not self._rest
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._give(bytes(data))
        return len(data)

    def _give(self, data: bytes | None) -> None:
        while not self._abandoned:
            with contextlib.suppress(queue.Full):
                self._queue.put(data, timeout=0.1)
                return
        raise OSError("nobody receives any more")
