"""etcd, API server and garbage collection on loopback: a real API in seconds, without a node."""

from __future__ import annotations

import json
import os
import pathlib
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from localcluster import components, host, pki, tools
from tests.support.kube import Kube, until
from tests.support.ports import free_port

__all__ = ["NEWEST", "ControlPlane", "processor_seconds"]

# `make api-oldest` asks for the oldest Kubernetes that Sandyard supports.
NEWEST: Final = os.environ.get("SANDYARD_TEST_KUBERNETES") != "oldest"
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class ControlPlane:
    """One API server of a test run's own, in a temporary folder; *audit* is a further rule of what it logs."""

    groups: ClassVar[Sequence[str]] = tools.API if NEWEST else ("etcd", tools.OLDEST)
    server_options: ClassVar[Sequence[str]] = ()

    def __init__(self, folder: pathlib.Path, audit: Mapping[str, Any] | None = None) -> None:
        self._folder = folder
        self._audit = [audit] if audit is not None else []
        self._processes: list[subprocess.Popen[bytes]] = []
        self.audit_log = folder / "audit.log"
        self.kubeconfig = folder / "kubeconfig"
        self.etcd_port = 0
        # Of whoever plays kubelets: admission knows them by their group.
        self.kubelets = folder / "kubelets"

    def start(self, *, controllers: bool = True) -> Kube:
        """Start everything and wait until the API server is ready; without *controllers* nothing is collected."""
        host.require({"openssl": "openssl"})
        etcd, peer, port = free_port(), free_port(), free_port()
        self.etcd_port = etcd
        keys = self._folder / "pki"
        pki.make(keys, ["127.0.0.1", "10.96.0.1"], "none", "127.0.0.1")
        pki.kubeconfig(keys, "admin", f"https://127.0.0.1:{port}", self.kubeconfig)
        pki.issue(keys, "kubelets", "/O=system:masters/O=system:nodes/CN=simulated-kubelets")
        pki.kubeconfig(keys, "kubelets", f"https://127.0.0.1:{port}", self.kubelets)
        policy = self._folder / "audit.json"
        rules = [*self._audit, *components.AUDIT_POLICY["rules"]]  # type: ignore[misc]
        policy.write_text(json.dumps({**components.AUDIT_POLICY, "rules": rules}))
        self._run(
            "etcd", f"--data-dir={self._folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=error",
            f"--listen-client-urls=http://127.0.0.1:{etcd}", f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        )  # fmt: skip
        self._run(
            *components.apiserver_common(keys, "10.96.0.0/16"), "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={port}", f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none",
            f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}",
            *self.server_options,
        )  # fmt: skip
        self._serving = (keys, port)
        self._wait()
        if controllers:
            self._run_controllers(keys)
        return Kube(self.kubeconfig)

    def _run_controllers(self, keys: pathlib.Path) -> None:
        self._run(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0",
            "--controllers=garbage-collector-controller,namespace-controller,resourcequota-controller,"
            "ephemeral-volume-controller,persistentvolumeclaim-protection-controller",
            "--concurrent-gc-syncs=5", "--use-service-account-credentials=true", f"--root-ca-file={keys / 'ca.crt'}",
        )  # fmt: skip

    def processes(self) -> dict[str, subprocess.Popen[bytes]]:
        """What runs, by the program's name."""
        return {pathlib.Path(str(process.args[0])).name: process for process in self._processes}  # type: ignore[index]

    def processor_seconds(self) -> dict[str, float]:
        """What each process has used so far."""
        return {name: processor_seconds(process.pid) for name, process in self.processes().items()}

    def restart(self, *programs: str) -> None:
        """Kill *programs* (etcd, kube-apiserver), start them again as they were, and wait until all is ready."""
        for number, process in enumerate(self._processes):
            if pathlib.Path(process.args[0]).name in programs:  # type: ignore[index]
                process.kill()
                process.wait(60)
                self._processes[number] = self._start(process.args)  # type: ignore[arg-type]
        self._wait()

    def stop(self) -> None:
        """End everything at once: what it holds goes with its folder, and an API server takes its time otherwise."""
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            process.wait(60)

    def _wait(self) -> None:
        until("the API server is ready", lambda: self._ready(*self._serving), 180)

    def _run(self, *command: str) -> None:
        self._processes.append(self._start(command))

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **components.APISERVER_ENVIRONMENT, "PATH": tools.search_path(self.groups)}
        with (self._folder / f"{pathlib.Path(command[0]).name}.log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def _ready(self, keys: pathlib.Path, port: int) -> bool:
        for process in self._processes:
            assert process.poll() is None, f"{process.args} ended; see {self._folder}"
        context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
        context.load_cert_chain(str(keys / "admin.crt"), str(keys / "admin.key"))
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", timeout=2, context=context) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def processor_seconds(pid: int) -> float:
    """Processor time of a process since it began, in user and kernel mode; s."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
