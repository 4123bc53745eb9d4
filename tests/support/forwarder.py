"""Passes bytes on between a client and the API server, in a process of its own, which may be ended and started again.

Whoever connects through it has an API server that goes and comes back, while others go on with theirs.  It knows no
HTTP, so that it costs next to nothing: the server is what answers, and at its own pace.
"""

from __future__ import annotations

import json
import pathlib
import socket
import subprocess
import sys
import time
from typing import Final
from urllib.parse import urlsplit

from tests.support.ports import free_port

__all__ = ["Forwarder"]

_SCRIPT: Final = pathlib.Path(__file__).with_name("forward.py")


class Forwarder:
    """Between whoever uses `config` and the API server of *kubeconfig*, while it runs."""

    def __init__(self, kubeconfig: pathlib.Path) -> None:
        self._config = json.loads(kubeconfig.read_text())
        self._target = urlsplit(self._config["clusters"][0]["cluster"]["server"]).netloc
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def config(self, target: pathlib.Path) -> pathlib.Path:
        """Write a kubeconfig that leads here."""
        cluster = {**self._config["clusters"][0]["cluster"], "server": f"https://127.0.0.1:{self._port}"}
        target.write_text(json.dumps({**self._config, "clusters": [{"name": "sandyard", "cluster": cluster}]}))
        return target

    def start(self) -> None:
        """Return when it listens."""
        command = [sys.executable, "-I", "-S", str(_SCRIPT), str(self._port), self._target]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """End it, and with it all connections; further ones are refused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
