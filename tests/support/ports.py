"""Ports of a test run's own, also where several runs ask at the same time."""

from __future__ import annotations

import fcntl
import os
import pathlib
import random
import socket
import tempfile
from typing import IO

__all__ = ["free_port"]

# Below the range from which Linux takes the ports of outgoing connections, and below NodePorts: a port that is
# free now is not taken by a passing connection before the program that is to listen there has started.
_FIRST, _LAST = 20000, 29999
_held: list[IO[bytes]] = []


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses, reserved for this process until it ends.

    Other test processes of this machine do not get it: each reserves its ports by a lock on a file, which the
    system drops however the process ends.
    """
    folder = pathlib.Path(tempfile.gettempdir()) / f"sandyard-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for port in random.sample(range(_FIRST, _LAST + 1), _LAST - _FIRST + 1):
        lock = (folder / str(port)).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                # As servers do: what a closed connection leaves behind is no user of the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        return port
    raise OSError(f"no free port from {_FIRST} to {_LAST}")
