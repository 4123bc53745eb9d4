"""Empties what outlives a restart of a pod's containers: ``python -m sandyard.clean``.

It is an init container of pods that are restarted for their next Sandbox (``recycle: Restart``),
in the operator's image and as the template's user: nobody else may remove what that user has
made, for no container of ours has capabilities.  No process of the tenant's is left by then; the
proof that runs before, as another user, has looked.  What cannot be removed, or cannot be seen,
ends this with an error, and the pod is deleted.  It tells besides how much memory is in use when all is
emptied: what a tenant has hidden from everybody, such as a file system in a mount namespace that
holds itself, shows there.  Standard library only.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import pathlib
import stat
import sys
from collections.abc import Callable

__all__ = ["main"]

PLACES = (b"/workspace", b"/tmp", b"/dev/shm")
_MESSAGE_FILE = pathlib.Path("/dev/termination-log")
_MEMORY_FILE = pathlib.Path("/proc/meminfo")
_MOST_SHOWN = 20
_BATCH = 4096
_FIRST = 1

# <sched.h>
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
# System V IPC: IPC_RMID and, of Linux' <sys/shm.h>, <sys/sem.h>, <sys/msg.h>, the calls that tell
# what there is, and where in the answer: shm_tot (pages), semusz (sets), msgpool (queues), as the
# index of an int. gVisor's used_ids of shared memory never shrinks, its list is not complete.
_IPC_RMID = 0
_SHM_INFO, _SEM_INFO, _MSG_INFO = 14, 19, 12
_PAGES, _SETS, _QUEUES = 2, 7, 0
_MOST_IDS = 1 << 16


def show(text: bytes) -> str:
    """What a tenant named, harmless to a terminal and not too long."""
    return os.fsdecode(text).encode("unicode_escape").decode()[:200]


def empty(place: bytes) -> list[str]:
    """Remove what is in *place*, and the attributes of *place* itself; says what is left.

    A tree may be deeper than a path may be long: what lies two levels down is moved up.
    """
    try:
        while found := _some(place):
            for name in found:
                _remove(place, place + b"/" + name)
        for attribute in os.listxattr(place):
            os.removexattr(place, attribute)
    except OSError as error:
        return [f"{show(error.filename or place)}: {error.strerror}"]
    return []


def _some(place: bytes) -> list[bytes]:
    with os.scandir(place) as entries:
        return [entry.name for entry in itertools.islice(entries, _BATCH)]


def _remove(place: bytes, path: bytes) -> None:
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    os.chmod(path, 0o700)
    numbers = itertools.count()
    while found := _some(path):
        for name in found:
            inner = path + b"/" + name
            if stat.S_ISDIR(os.lstat(inner).st_mode):
                # A folder that moves is written to itself: it gets another parent.
                os.chmod(inner, 0o700)
                os.rename(inner, _free(place, numbers))
            else:
                os.unlink(inner)
    os.rmdir(path)


def _free(place: bytes, numbers: itertools.count[int]) -> bytes:
    paths = (place + b"/.sandyard-%d" % number for number in numbers)
    return next(path for path in paths if not os.path.lexists(path))


def clean_ipc() -> list[str]:
    """Remove System V shared memory, semaphores and message queues; says how many are left."""
    library = ctypes.CDLL(None, use_errno=True)
    answer = (ctypes.c_int * 64)()

    def shared(number: int, command: int) -> int:
        return int(library.shmctl(number, command, answer))

    def semaphores(number: int, command: int) -> int:
        return int(library.semctl(number, 0, command, answer))

    def queues(number: int, command: int) -> int:
        return int(library.msgctl(number, command, answer))

    def count(control: Callable[[int, int], int], ask: int, index: int) -> int:
        if control(0, ask) < 0:
            raise OSError(ctypes.get_errno(), "cannot count System V IPC objects")
        return int(answer[index])

    left = []
    for kind, control, ask, index in (
        ("pages of shared memory", shared, _SHM_INFO, _PAGES),
        ("semaphore sets", semaphores, _SEM_INFO, _SETS),
        ("message queues", queues, _MSG_INFO, _QUEUES),
    ):
        number = 0
        while count(control, ask, index) and number < _MOST_IDS:
            control(number, _IPC_RMID)
            number += 1
        if count(control, ask, index):
            left.append(f"{count(control, ask, index)} {kind}")
    return left


def posix_queues() -> list[str]:
    """POSIX message queues that are there, as what is left: gVisor lets nobody but root remove one.

    gVisor mounts no list of them; whoever has a user namespace of their own can.
    """
    if b" mqueue " in pathlib.Path("/proc/mounts").read_bytes():
        return empty(b"/dev/mqueue")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, _list_queues())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    if answer == b"none":
        return []
    return [f"POSIX message queues: {answer.decode(errors='replace')[:200] or 'they cannot be listed'}"]


def reset_first_process() -> list[str]:
    """Give process 1, the pause container's, its priority and CPUs again; says what it has otherwise.

    It lives as long as the pod, and gVisor lets any process change both.
    """
    wanted = os.sched_getaffinity(0)
    try:
        os.setpriority(os.PRIO_PROCESS, _FIRST, 0)
        os.sched_setaffinity(_FIRST, wanted)
    except OSError:
        # Where nobody may change them, nobody has.
        pass
    left = []
    if os.getpriority(os.PRIO_PROCESS, _FIRST):
        left.append("the priority of process 1")
    if os.sched_getaffinity(_FIRST) != wanted:
        left.append("the CPUs of process 1")
    return left


def _list_queues() -> bytes:
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if library.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) or library.mount(b"none", b"/tmp", b"mqueue", 0, None):
            return f"they cannot be listed ({os.strerror(ctypes.get_errno())})".encode()
        found = os.listdir(b"/tmp")
    except OSError as error:
        return f"they cannot be listed ({error.strerror})".encode()
    return f"{len(found)} left, such as {show(found[0])}".encode() if found else b"none"


def memory_in_use() -> int:
    """Memory of the pod that is not free, in KiB, as gVisor counts it; a node's kernel counts the node's."""
    rows = dict(line.split(":", 1) for line in _MEMORY_FILE.read_text().splitlines() if ":" in line)
    return int(rows["MemTotal"].split()[0]) - int(rows["MemFree"].split()[0])


def main() -> int:
    """Exit status 0 when nothing is left."""
    left = [text for place in PLACES for text in empty(place)]
    try:
        left += clean_ipc() + posix_queues() + reset_first_process()
    except OSError as error:
        left.append(str(error))
    text = f"left behind: {'; '.join(left[:_MOST_SHOWN])}" if left else "nothing is left"
    print(text, flush=True)
    _MESSAGE_FILE.write_text(text if left else json.dumps({"memoryKiB": memory_in_use()}))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
