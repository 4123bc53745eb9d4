"""Start, find and stop the cluster's processes by id, never by name."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from localcluster import paths

__all__ = ["Processes", "end", "of_tools", "wait_until"]


@dataclass(frozen=True)
class Processes:
    """The background processes of one cluster, recorded in files under its state folder."""

    cluster: paths.Cluster

    def start(self, name: str, command: list[str], *, netns: str | None, environment: dict[str, str]) -> None:
        """Start *command* unless it runs already; its output goes to ``logs/NAME.log``."""
        if self.alive(name):
            return
        self.cluster.logs.mkdir(parents=True, exist_ok=True)
        full = ["nsenter", f"--net=/run/netns/{netns}", "--", *command] if netns else command
        with (self.cluster.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                full,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                cwd=self.cluster.state,
            )
        self._record(name).parent.mkdir(parents=True, exist_ok=True)
        self._record(name).write_text(json.dumps({"pid": process.pid, "started": _start_time(process.pid)}))

    def pid(self, name: str) -> int | None:
        """Process id of *name*, or None if that very process is no longer there."""
        try:
            record = json.loads(self._record(name).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return record["pid"] if _start_time(record["pid"]) == record["started"] else None

    def alive(self, name: str) -> bool:
        """Whether *name* runs."""
        return self.pid(name) is not None

    def names(self) -> list[str]:
        """Processes that were started, oldest first."""
        records = (self.cluster.state / "pids").glob("*.json")
        return [path.stem for path in sorted(records, key=lambda path: path.stat().st_mtime)]

    def stop(self, name: str, timeout_seconds: float = 30) -> None:
        """TERM, then KILL; returns when the process is gone."""
        pid = self.pid(name)
        if pid is not None:
            end(pid, timeout_seconds)
        self._record(name).unlink(missing_ok=True)

    def _record(self, name: str) -> pathlib.Path:
        return self.cluster.state / "pids" / f"{name}.json"


def end(pid: int, timeout_seconds: float = 30) -> None:
    """End one process: TERM, then KILL after *timeout_seconds*."""
    started = _start_time(pid)
    for number, patience in ((signal.SIGTERM, timeout_seconds), (signal.SIGKILL, 10.0)):
        if _start_time(pid) != started or started is None:
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            _reap(pid)
            if _start_time(pid) != started:
                return
            time.sleep(0.05)


def of_tools(folder: pathlib.Path, argument: str) -> list[int]:
    """Ids of the processes that run a program below *folder* with *argument* in their command line."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            program = os.readlink(entry / "exe")
            if program.startswith(f"{folder}/") and argument.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_until(what: str, check: Callable[[], bool], timeout_seconds: float, interval_seconds: float = 0.2) -> None:
    """Poll *check*; raise ClusterError naming *what* when time is up."""
    deadline = time.monotonic() + timeout_seconds
    while not check():
        if time.monotonic() > deadline:
            raise paths.ClusterError(f"{what}: not within {timeout_seconds:.0f} s")
        time.sleep(interval_seconds)


def _start_time(pid: int) -> int | None:
    """Clock ticks since boot at which *pid* started; None if it is gone or a zombie."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
