"""Runs a command by its script as a node would, on any shell of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sandyard.client.exec import script
from sandyard.client.exec.stream import Tail

__all__ = ["ALL", "ID", "NAMESPACE", "SHELLS", "Done", "chosen", "run", "run_with_an_open_input"]

# Each is a shell of many images. Bash 3.2 is none of them, for lack of a package: neither Debian nor a registry of ours
# has it, so nothing is known of it but that the scripts are POSIX (shellcheck).
ALL = ("dash", "bash", "busybox sh", "mksh")


def chosen(environment: Mapping[str, str]) -> list[str]:
    """The shells to run on: those that there are, or in CI all of them, so that one that is missing fails."""
    return [shell for shell in ALL if environment.get("CI") == "true" or shutil.which(shell.split()[0])]


SHELLS = chosen(os.environ)
ID = "0123456789abcdef0123456789abcdef"
# A process namespace of its own: what runs there looks at every process that there is.
NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass
class Done:
    code: int | None
    out: bytes
    err: bytes
    seconds: float


def run(
    shell: str, command: str | Sequence[str], *, env: dict[str, str] | None = None, watch: int = 0, stdin: bytes = b"",
    length: int | None = None,
) -> Done:  # fmt: skip
    request = script.run(ID, command, folder="/tmp", env=env or {}, watch_seconds=watch, stdin_bytes=length)
    started = time.monotonic()
    words = [*NAMESPACE, *shell.split(), *request.words[1:]]
    if length is None:
        done = subprocess.run(words, input=request.preface + stdin, capture_output=True, timeout=30, check=False)
    else:
        done = run_with_an_open_input(words, request.preface + stdin)
    seconds = time.monotonic() - started
    out, err = Tail(request.mark, 10**6), Tail(request.mark, 10**6)
    out.feed(done.stdout)
    err.feed(done.stderr)
    assert out.begun
    assert out.exit_code == err.exit_code == done.returncode
    return Done(out.exit_code, out.value(), err.value(), seconds)


def run_with_an_open_input(words: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run a program whose input does not end before it does."""
    read, write = os.pipe()
    with subprocess.Popen(words, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.close(read)
        feeding = threading.Thread(target=feed, args=(write, data))
        feeding.start()
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
            # Nobody reads any more.
            feeding.join(30)
            os.close(write)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def feed(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(descriptor, data) :]
