"""Every parser of what a sandbox says: each takes any bytes, and gives a value or an error of ours and nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import random
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sandyard.api import names, untrusted
from sandyard.api.objects import Pod
from sandyard.client import answers, errors, metrics
from sandyard.client.code import code, contexts, denied, shown
from sandyard.client.commands import background, processes
from sandyard.client.exec.stream import Tail
from sandyard.client.files import archive, files, listing
from sandyard.client.result import CommandResult
from sandyard.kube import remotecommand
from sandyard.pod import proof, restart
from sandyard.sandbox import expiry, freeze

__all__ = ["PARSERS", "Parser", "mutated"]

_MARK: Final = "m" * 32
_ID: Final = b"0123456789abcdef" * 2
_METADATA: Final = {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1",
                    "creationTimestamp": "2030-01-01T00:00:00Z"}  # fmt: skip
# Nested deeper than Python reads, numbers longer than it converts, digits that are none, halves of characters.
_ODD: Final = (
    b"[" * 60_000,
    b"9" * 5000,
    b"\xc2\xb2",
    b"1e999",
    b"NaN",
    b'"\\ud800"',
    b"\x00",
    b"-",
    b"\xff",
    b"\n",
    b"null",
)


@dataclass(frozen=True)
class Parser:
    """A parser, and what it is meant to read."""

    parse: Callable[[bytes], object]
    seeds: Sequence[bytes]

    def take(self, data: bytes) -> None:
        """Parse *data*; an error that is none of ours is raised."""
        with contextlib.suppress(errors.SandboxError):
            self.parse(data)


def _stream(data: bytes) -> None:
    tail = Tail(_MARK, 100)
    for at in range(0, len(data), 7):
        tail.feed(data[at : at + 7])
    tail.rest()
    tail.close()
    assert tail.exit_code is None or 0 <= tail.exit_code <= 255
    assert len(tail.value()) <= 100


def _unpacked(read: Callable[[io.BytesIO], Any]) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder, "top")
            try:
                archive.unpack(read(io.BytesIO(data)), top, archive.Limits(10_000, 50))
            finally:
                assert {path.name for path in pathlib.Path(folder).iterdir()} <= {"top"}

    return parse


def _chunk(data: bytes) -> None:
    done = CommandResult(0, data, data[:20], False, 0.0, 0, "")
    background._chunk("x", done, 3, 4, 100)


def _artifacts(data: bytes) -> None:
    left = {entry.name: content.read(entry.size) for entry, content in archive.read_plain(io.BytesIO(data)) if content}
    taken, _ = code.artifacts(left, 3, 1000)
    assert all("/" not in one.name and len(one.content) <= 1000 for one in taken)


def _restart(data: bytes) -> None:
    text = data.decode(errors="replace")
    restart.asked(msgspec.convert({"metadata": {**_METADATA, "annotations": {names.ANNOTATION_RESTART: text}}}, Pod))


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode(errors="replace"))


def _tar() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, kind in (("./d", tarfile.DIRTYPE), ("./d/" + "é" * 90, tarfile.REGTYPE), ("./l", tarfile.SYMTYPE),
                           ("./h", tarfile.LNKTYPE)):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "./d/x", 2 if kind == tarfile.REGTYPE else 0
            made.addfile(member, io.BytesIO(b"hi"))
    return held.getvalue()


_PLAIN: Final = b"d 755 0\nartifacts\0\0f 644 4\nartifacts/a.csv\0\x001,2\nf 644 2\nskipped\0\0x\nend\n"
_SHOWN: Final = json.dumps({"results": [{"data": {"text/plain": "1", "image/png": "aGk="}, "main": True}], "cpu": 0.5,
                            "error": {"name": "E", "value": "", "traceback": ""}, "skipped": []}).encode()  # fmt: skip
_PROOF: Final = json.dumps({"version": 1, "runtime": "gvisor", "isolated": True, "network": "Enforced", "reached": [],
                            "openSeconds": 0.1}).encode()  # fmt: skip

PARSERS: Final[dict[str, Parser]] = {
    "streams": Parser(_stream, [f"\0{_MARK}:+\0out\0{_MARK}:7\0".encode(), f"\0{_MARK}:n\0".encode()]),
    "background": Parser(background.parse_list, [b"\0".join([_ID, b"7", b"1700000000", b"-", b"sleep 9", b""])]),
    "chunks": Parser(_chunk, [b"10 4 - 0 0\noutput", b"5 4 137 1 1\nab"]),
    "contexts": Parser(contexts.parse_contexts, [b"\0".join([_ID, b"python\n", b"1700000000", b"137", b"/w\n", b""])]),
    "processes": Parser(processes.parse_processes, [b"7 (a b) S 1 7 7 0 -1 4194560 1\0sleep 9 \0" * 2]),
    "listing": Parser(listing.parse, [b"./a\0./d\0\0" + b"81a4 5 1700000000 0 0 ./a\n41ed 4096 1700000000 0 0 ./d\n"]),
    "stat": Parser(lambda data: listing.info("x", data), [b"81a4 5 1700000000 0 0"]),
    "grep": Parser(lambda data: list(files._matches(data)), [b"./f\x003:a line\n./g\x0012:b\n", b"./f:3:a line\n"]),
    "tar": Parser(_unpacked(archive.read_tar), [_tar()]),
    "plain": Parser(_unpacked(archive.read_plain), [_PLAIN, b"l 777 0\nl\0../../x\0end\n"]),
    "artifacts": Parser(_artifacts, [_PLAIN]),
    "results": Parser(shown.shown, [_SHOWN]),
    "document": Parser(lambda data: answers.document(data, "x", most_bytes=10**6), [_SHOWN, b"[1, 2.5, null, true]"]),
    "cpu": Parser(code.cpu_seconds, [b"0m0.01s 0m0.02s\n1m2.5s 0m0.1s\n"]),
    "denied": Parser(lambda data: denied.denied("python", data, closed=True, program=data[:9]),
                     [b"Traceback (most recent call last):\nPermissionError: [Errno 1] Operation not permitted\n",
                      b"socket.gaierror: [Errno -2] Name or service not known", b"ConnectionRefusedError: 10.0.0.1"]),
    "usage": Parser(_text(metrics.parse_usage), [b"cgroup 1.5 200 4096\ncgroup 2.5 400 4096\ndisk 100 50 50\n",
                                                 b"proc 1.5 20 4\nproc 2.5 40 4\n"]),
    "environment": Parser(_text(metrics.parse_environment), [
        b"os=Debian\nuser=7\nmemory=100\ndisk./tmp=1 2 3\ntool.go=x\n"]),
    "status": Parser(remotecommand.parse_status, [
        b'{"status":"Failure","message":"m","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}']),
    "proof": Parser(_text(proof.parse), [_PROOF]),
    "terms": Parser(_text(lambda said: expiry.terms_of(None, said)), [
        b'{"lifetime": {"seconds": 5}, "maxLifetimeSeconds": 7}']),
    "pause": Parser(_text(lambda said: freeze.read(0, said.encode(), said, stopped=True)), [b"sandyard: stopped 3\n"]),
    "restart": Parser(_restart, [b'{"at": 1.5, "before": {"sandbox": ["a", 0, 1.5]}}']),
    "fields": Parser(untrusted.fields, [b'{"a": [1, {"b": null}]}']),
}  # fmt: skip


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """*seed* with a few changes, as a program might make them."""
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        till = min(len(data), at + chance.choice([0, 0, 1, 4, 40]))
        part = chance.choice(
            [b"", chance.randbytes(chance.randrange(4)), chance.choice(_ODD), bytes(data[till:]), seed]
        )
        data[at:till] = part
    return bytes(data)
