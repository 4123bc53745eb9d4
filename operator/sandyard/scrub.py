"""Cleans a used sandbox from inside, and looks whether anything is left.

The operator sends this file to a Python of the sandbox's image, as the sandbox's own user: it
ends every process but the keeper, empties every place that can be written to, removes System V
IPC objects, and then *looks*. What it cannot clean or cannot see it reports, and the pod is
deleted. Standard library only, and nothing newer than Python 3.8.

What nobody can see from inside gVisor are POSIX message queues, which have no list there.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
import time

MARK = "sandyard: "
# What the kernel gives to every container; nothing of a tenant can be left there.
_KERNEL = {"cgroup", "cgroup2", "dev", "devpts", "mqueue", "proc", "sysfs"}
# Small files that the kubelet and the runtime mount.
_TERMINATION_LOG = b"/dev/termination-log"
_ROUNDS = 200


class Process:
    """A process, from ``/proc/PID/stat``."""

    def __init__(self, pid: int) -> None:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in brackets may hold anything, also brackets.
            fields = file.read().rpartition(b")")[2].split()
        self.pid = pid
        self.alive = fields[0] not in (b"Z", b"X")
        self.started = int(fields[19])


def processes() -> list[Process]:
    """Every process but the pause container's and this one."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            try:
                found.append(Process(int(name)))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return [process for process in found if process.alive]


def end_processes() -> list[str]:
    """Kill everything but the keeper, which is the oldest; says who does not go."""
    keeper = min(processes(), key=lambda process: process.started).pid
    others: list[Process] = []
    for _ in range(_ROUNDS):
        others = [process for process in processes() if process.pid != keeper]
        if not others:
            # It may have been stopped.
            os.kill(keeper, signal.SIGCONT)
            return []
        for process in others:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(0.02)
    return [f"process {process.pid}" for process in others]


def remove(path: bytes) -> None:
    """Remove *path* and everything below it, whatever its mode is."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    try:
        os.chmod(path, 0o700)
    except PermissionError:
        pass
    for name in os.listdir(path):
        remove(path + b"/" + name)
    os.rmdir(path)


def empty(place: bytes) -> list[str]:
    """Remove what is in *place*; says what is left."""
    for name in os.listdir(place):
        try:
            remove(place + b"/" + name)
        except (OSError, RecursionError):
            continue
    return [show(place + b"/" + name) for name in os.listdir(place)]


def mounts() -> list[tuple[bytes, str, bool]]:
    """(where, type of file system, writable) of every mount."""
    found = []
    with open("/proc/mounts", "rb") as file:
        for line in file:
            _, where, kind, options = line.split()[:4]
            where = where.decode("unicode_escape").encode("latin-1")
            found.append((where, kind.decode(), b"rw" in options.split(b",")))
    return found


def clean_mounts() -> list[str]:
    """Empty every volume; says what is left, and what else could be written to."""
    left = []
    for where, kind, writable in mounts():
        if where == b"/" or kind in _KERNEL or not writable or not os.access(where, os.W_OK):
            continue
        if os.path.isdir(where):
            left += empty(where)
        elif where == _TERMINATION_LOG:
            os.truncate(where, 0)
        else:
            left.append(show(where))
    return left


def clean_root(since: float) -> list[str]:
    """Remove what was made in the root file system since *since*; says what has been changed otherwise.

    Nobody but the tenant writes there once the container runs, and nobody can set a change time.
    """
    changed: list[bytes] = []
    # By the list of mounts: files of an overlay may name another device than its folders.
    elsewhere = {where for where, _, _ in mounts() if where != b"/"}
    for folder, folders, files in os.walk(b"/"):
        kept = []
        for name in folders + files:
            path = os.path.join(folder, name)
            if path in elsewhere:
                continue
            if os.lstat(path).st_ctime >= since:
                changed.append(path)
            if name in folders:
                kept.append(name)
        folders[:] = kept
    # The deepest first. What the image had in a folder that has changed stays where it is.
    mine = os.getuid()
    left = []
    for path in reversed(changed):
        known = os.lstat(path)
        is_folder = stat.S_ISDIR(known.st_mode)
        if is_folder and known.st_uid != mine:
            # The runtime changes folders that it mounts something in; a tenant only what it may write to.
            if os.access(path, os.W_OK) and os.listdir(path):
                left.append(show(path))
            continue
        try:
            (os.rmdir if is_folder else os.unlink)(path)
        except OSError:
            left.append(show(path))
    return left


# System V IPC: IPC_RMID and, of Linux' <sys/shm.h>, <sys/sem.h>, <sys/msg.h>, the calls that tell
# what there is, and where in the answer: shm_tot (pages), semusz (sets), msgpool (queues), as the
# index of an int. gVisor's used_ids of shared memory never shrinks, its list is not complete.
_IPC_RMID = 0
_SHM_INFO, _SEM_INFO, _MSG_INFO = 14, 19, 12
_PAGES, _SETS, _QUEUES = 2, 7, 0
_MOST_IDS = 1 << 16


def clean_ipc() -> list[str]:
    """Remove shared memory, semaphores and message queues; says how many are left."""
    library = ctypes.CDLL(None, use_errno=True)
    answer = (ctypes.c_int * 64)()

    def count(kind: str) -> int:
        if kind == "pages of shared memory":
            done, index = library.shmctl(0, _SHM_INFO, answer), _PAGES
        elif kind == "semaphore sets":
            done, index = library.semctl(0, 0, _SEM_INFO, answer), _SETS
        else:
            done, index = library.msgctl(0, _MSG_INFO, answer), _QUEUES
        if done < 0:
            raise OSError(ctypes.get_errno(), f"cannot count {kind}")
        return int(answer[index])

    def drop(kind: str, number: int) -> None:
        if kind == "pages of shared memory":
            library.shmctl(number, _IPC_RMID, None)
        elif kind == "semaphore sets":
            library.semctl(number, 0, _IPC_RMID, None)
        else:
            library.msgctl(number, _IPC_RMID, None)

    left = []
    for kind in ("pages of shared memory", "semaphore sets", "message queues"):
        number = 0
        while count(kind) and number < _MOST_IDS:
            drop(kind, number)
            number += 1
        if count(kind):
            left.append(f"{count(kind)} {kind}")
    return left


def show(path: bytes) -> str:
    """*path* for people and logs: a tenant may have chosen it."""
    return ascii(os.fsdecode(path))[1:-1][:200]


def scrub(since: float) -> dict[str, object]:
    """Clean, look, and report; *since* is when the container started, in seconds since the epoch."""
    started = time.monotonic()
    os.chdir("/")
    left = end_processes()
    if not left:
        left += clean_mounts() + clean_root(since) + clean_ipc()
        # Once more: nothing may have come to life meanwhile.
        left += [f"process {process.pid}" for process in processes()[1:]]
        if os.access("/dev", os.W_OK):
            left.append("/dev can be written to")
    return {"version": 1, "left": left[:20], "seconds": round(time.monotonic() - started, 3)}


def main(since: float) -> int:
    """Exit status 0 when nothing is left."""
    report = scrub(since)
    print(MARK + json.dumps(report), flush=True)
    return 3 if report["left"] else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
