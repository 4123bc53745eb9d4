"""What a sandbox sends as an archive: taken within bounds, or an error of ours, and never a write elsewhere."""

from __future__ import annotations

import io
import pathlib
import struct
import tarfile
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandyard.client import errors
from sandyard.client.files import archive
from sandyard.client.files.archive import Limits

pytestmark = pytest.mark.timeout(60)
DIGITS = b"9" * 5000
quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tar_of(name: str, **fields: Any) -> bytes:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def header(kind: bytes, size: bytes, name: bytes = b"x") -> bytes:
    """A header with any bytes for a size, and the right sum."""
    head = bytearray(512)
    head[: len(name)] = name
    head[100:107], head[124 : 124 + len(size)], head[156:157], head[257:265] = b"0000644", size, kind, b"ustar\00000"
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    return bytes(head)


def pax(content: bytes) -> bytes:
    return header(b"x", f"{len(content):011o}".encode()) + content + bytes(-len(content) % 512)


SHORT = header(b"0", b"00000000000")
HOSTILE = [
    header(b"x", b"01435753000") + b"1",                       # 200 MiB
    header(b"L", b"01435753000") + b"1",
    header(b"g", b"77777777777"),
    header(b"0", b"\x80" + b"\xff" * 11),                      # beyond 2**60
    header(b"0", b"\xff" * 12),                                # below zero
    header(b"0", "²".encode()),
    pax(b"5 size=" + DIGITS), pax(b"0 a=b\n"), pax(b"-5 a=b\n"), pax(b"9" * 600 + b" a=b\n"), pax(b"7 path\n"),
    pax(b"12 size=-1\n\n"), pax(b"13 size=abc\n\n"), pax(b"999 path=x\n"), pax(b"\xff\xfe"),
    header(b"S", b"00000000000") + b"", pax(b"9 path=x\n") * 20,
    b"\x1f\x8b" + bytes(600), b"rubbish" * 200, SHORT, SHORT[:300], b"",
    header(b"0", b"00000000400") + b"too short",
    struct.pack(">512s", b"x"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_an_archive_that_is_none_is_an_error_of_ours_and_costs_no_memory(number: int, tmp_path: pathlib.Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(errors.SandboxError):
            archive.unpack(archive.read_tar(io.BytesIO(HOSTILE[number])), tmp_path, Limits(10**6, 100))
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_no_header_is_read_as_long_as_it_says(kind: bytes) -> None:
    class Endless(io.BytesIO):
        longest = 0

        def read(self, size: int | None = -1) -> bytes:
            self.longest = max(self.longest, size or 0)
            return super().read(size) or bytes(size or 0)

    stream = Endless(header(kind, b"00012000000"))
    with pytest.raises(errors.BadAnswer):
        next(archive.read_tar(stream))
    assert stream.longest < 300_000


END = bytes(1024)


@pytest.mark.parametrize(
    "stream",
    [
        pax(b"17 linkpath=abcd\n") + header(b"2", b"00000000000") + END,
        pax(b"11 path=ok\n\n"[:11]) + SHORT + END,
        header(b"3", b"00000001000") + SHORT + END,
        header(b"5", b"00000001000") + SHORT + END,
        header(b"0", b"00000000000", b"x" * 100) + END,
        pax(b"4010 path=" + b"y" * 3999 + b"\n") + SHORT + END,
        header(b"2", b"00000000000") + END,
        header(b"0", b"00000000000", b"\xff\xfe") + END,
        header(b"Z", b"00000001000") + bytes(512) + SHORT + END,
        header(b"S", b"00000001000") + bytes(512) + SHORT + END,
    ],
)
def test_what_is_odd_is_skipped_and_the_rest_is_taken(stream: bytes, tmp_path: pathlib.Path) -> None:
    done = archive.unpack(archive.read_tar(io.BytesIO(stream)), tmp_path, Limits(10**6, 100))
    assert all(text.isprintable() for text in done.skipped)


PARTS = [*HOSTILE, END, pax(b"9 path=x\n"), pax(b"14 linkpath=..\n"), header(b"1", b"0")]


@given(stream=st.lists(st.sampled_from(PARTS) | st.binary(max_size=30), max_size=4).map(b"".join), plain=st.booleans())
@quick
def test_any_stream_is_an_archive_or_an_error_of_ours(stream: bytes, plain: bool, tmp_path: pathlib.Path) -> None:
    read = archive.read_plain if plain else archive.read_tar
    try:
        archive.unpack(read(io.BytesIO(stream)), tmp_path / "top", Limits(10**6, 100))
    except errors.SandboxError:
        pass
    assert {path.name for path in tmp_path.iterdir()} <= {"top"}


PLAIN = [b"f ", b"l ", b"d ", b"644 ", b"99999999 ", b"8 ", b"-1 ", DIGITS, b"5\n", b"a\0", b"\0", b"../x\0", b"end\n"]


@given(stream=st.lists(st.sampled_from(PLAIN), max_size=9).map(b"".join))
@quick
def test_any_plain_stream_is_an_archive_or_an_error_of_ours(stream: bytes, tmp_path: pathlib.Path) -> None:
    try:
        archive.unpack(archive.read_plain(io.BytesIO(stream)), tmp_path / "top", Limits(10**6, 100))
    except errors.SandboxError:
        pass
