"""The operator as a process of the test's own, to be stopped and killed at will."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request

from localcluster import paths
from tests.support.kube import Kube, until
from tests.support.ports import free_port

__all__ = ["OperatorProcess", "service_account_kubeconfig"]


def service_account_kubeconfig(kube: Kube, target: pathlib.Path, account: str = "sandyard") -> pathlib.Path:
    """A kubeconfig with a service account's token: the rights of the chart's RBAC, and no more."""
    system = kube.within("sandyard-system")
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 6 * 3600}}
    token = system.request("POST", system.path("serviceaccount", account, "token"), asked)["status"]["token"]
    config = json.loads(kube.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    target.write_text(json.dumps(config))
    return target


class OperatorProcess:
    """``python -m sandyard.handlers`` with the rights of the chart's service account."""

    def __init__(self, kubeconfig: pathlib.Path, log: pathlib.Path, **settings: str) -> None:
        self.kubeconfig = kubeconfig
        self._log = log
        self.settings = settings
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Everything that it has logged."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it; with *wait* return when its caches are filled."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SANDYARD_")}
        environment |= {
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": str(paths.REPOSITORY / "operator"),
            "PYTHONSAFEPATH": "1",
            "SANDYARD_HTTP_PORT": str(self.port),
            "SANDYARD_LEADER_ELECTION": "false",
            # As wide as the chart's bounds in these tests.
            "SANDYARD_POLICY": '{"cidrs": ["0.0.0.0/0", "::/0"], "nameservers": ["0.0.0.0/0", "::/0"], '
            '"ingressNamespaces": ["*"]}',
            **self.settings,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sandyard.handlers"], env=environment, stdout=log, stderr=log
            )
        if wait:
            until("the operator is ready", self.ready, 240, interval=0.05)

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    def ready(self) -> bool:
        """Whether it answers that it is ready."""
        assert self._process is not None
        assert self._process.poll() is None, f"the operator ended:\n{self.log[-3000:]}"
        try:
            return self.fetch("/readyz") == "ok"
        except (urllib.error.URLError, OSError):
            return False

    def fetch(self, path: str) -> str:
        """GET from its own port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as reply:
            return str(reply.read().decode())

    def metric(self, name: str) -> float:
        """Sum of a metric's samples."""
        lines = [line for line in self.fetch("/metrics").splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def kill(self) -> None:
        """SIGKILL: no chance to finish anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        return self._end(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(60)
        self._process = None
        return status
