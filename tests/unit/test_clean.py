"""What empties a pod that is restarted: volumes, shared memory, IPC objects, queues, whatever lies in them."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

from sandyard import clean

# As a tenant's: no uid of this test's user is mapped into it but its own.
_NAMESPACES = ("unshare", "--ipc", "--mount", "--fork", "--kill-child")


def within(act: str, then: str) -> str:
    """Run *act*, then parts of the cleaner, in namespaces of mounts and IPC of its own."""
    code = f"from sandyard.clean import *\nfrom sandyard import clean\n{then}"
    script = f'{act}\n{sys.executable} -c "$CODE"'
    done = subprocess.run(
        [*_NAMESPACES, "bash", "-c", script], text=True, capture_output=True, timeout=60, check=False,
        env={**os.environ, "CODE": code},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_system_v_objects_are_removed_and_counted_by_the_kernel() -> None:
    act = "for n in 1 2 3; do ipcmk -M 8192 -S 3 -Q >/dev/null; done"
    then = (
        "import subprocess; print(clean.clean_ipc(), subprocess.run(['ipcs'], capture_output=True).stdout.count(b'0x'))"
    )
    assert within(act, then) == "[] 0"


QUEUE = "import ctypes; ctypes.CDLL('librt.so.1').mq_open(b'/left', 0o102, 0o600, None)"


def test_posix_queues_that_can_be_removed_are() -> None:
    act = f'mkdir -p /dev/mqueue; mount -t mqueue none /dev/mqueue; {sys.executable} -c "{QUEUE}"'
    assert within(act, "import os; print(clean.posix_queues(), os.listdir('/dev/mqueue'))") == "[] []"


def test_queues_that_nobody_can_list_count_as_left() -> None:
    """Linux shows them to the owner of their namespace alone; gVisor to whoever has one."""
    assert "cannot be listed" in within("umount /dev/mqueue 2>/dev/null", "print(clean.posix_queues())")


def test_the_first_process_has_its_priority_and_its_cpus_again() -> None:
    act = "renice -n 7 -p $$ >/dev/null; taskset -cp 0 $$ >/dev/null"
    ask = "clean._FIRST = os.getppid(); os.setpriority(0, 0, 0); os.sched_setaffinity(0, {0, 1})"
    shown = "os.getpriority(0, clean._FIRST), len(os.sched_getaffinity(clean._FIRST))"
    assert within(act, f"import os; {ask}; print(clean.reset_first_process(), {shown})") == "[] 0 2"


def test_what_the_first_process_keeps_of_a_tenant_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr(os, "getpriority", lambda _which, who: 7 if who else 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0} if pid else {0, 1})
    assert clean.reset_first_process() == ["the priority of process 1", "the CPUs of process 1"]


def test_volumes_are_emptied_whatever_lies_in_them(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "volume"
    place.mkdir()
    (place / "kept-outside").symlink_to("/etc")
    (place / "round").symlink_to(place)
    os.mkfifo(place / "fifo")
    for name in ("a b", ".x", "..y", "-rf", "new\nline", "\udcff", ".sandyard-0"):
        (place / name).mkdir()
        (place / name / "file").touch()
        (place / name / "link").symlink_to("/etc/passwd")
    (place / "a b").chmod(0)
    assert clean.empty(str(place).encode()) == []
    assert list(place.iterdir()) == []
    assert pathlib.Path("/etc/passwd").exists()


def test_a_tree_deeper_than_a_path_may_be_long_is_removed(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "volume"
    place.mkdir()
    before = pathlib.Path.cwd()
    os.chdir(place)
    try:
        for _ in range(150):
            pathlib.Path("x" * 50).mkdir()
            pathlib.Path("x" * 50, "beside").mkdir()
            os.chdir("x" * 50)
    finally:
        os.chdir(before)
    assert clean.empty(str(place).encode()) == []
    assert list(place.iterdir()) == []


def test_a_volumes_own_attributes_carry_no_message(tmp_path: pathlib.Path) -> None:
    # On a file system without attributes there is nothing to find.
    with contextlib.suppress(OSError):
        os.setxattr(tmp_path, "user.message", b"from the one before")
    assert clean.empty(str(tmp_path).encode()) == []
    assert "user.message" not in os.listxattr(tmp_path)


def test_what_cannot_be_removed_is_told(tmp_path: pathlib.Path) -> None:
    act = f"mkdir -p {tmp_path}/v/busy; mount -t tmpfs none {tmp_path}/v/busy"
    assert "busy" in within(act, f"print(clean.empty(b'{tmp_path}/v'))")


def test_whatever_is_left_is_an_error_that_says_what(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clean, "PLACES", (b"/does/not/exist",))
    monkeypatch.setattr(clean, "_MESSAGE_FILE", tmp_path / "message")
    monkeypatch.setattr(clean, "_MEMORY_FILE", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemFree: 2 kB\n")
    for part in ("clean_ipc", "posix_queues", "reset_first_process"):
        monkeypatch.setattr(clean, part, list)
    assert clean.main() == 1
    assert "left behind: /does/not/exist" in (tmp_path / "message").read_text()
    monkeypatch.setattr(clean, "PLACES", (str(tmp_path / "empty").encode(),))
    (tmp_path / "empty").mkdir()
    assert clean.main() == 0
    assert "nothing is left" in capsys.readouterr().out
    assert json.loads((tmp_path / "message").read_text()) == {"memoryKiB": clean.memory_in_use()}


def test_memory_in_use_is_what_is_not_free(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches count: under gVisor a file system in memory is one."""
    monkeypatch.setattr(clean, "_MEMORY_FILE", tmp_path / "meminfo")
    text = "MemTotal:         557056 kB\nMemFree:          534272 kB\nMemAvailable:     534272 kB\nHugePages: 0\n\n"
    (tmp_path / "meminfo").write_text(text)
    assert clean.memory_in_use() == 22784


def test_what_it_shows_is_harmless() -> None:
    assert clean.show(b"/x\n\x1b[2J\xff") == "/x\\n\\x1b[2J\\udcff"
    assert len(clean.show(b"x" * 5000)) == 200
