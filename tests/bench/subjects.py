"""What is measured: Sandyard, and the sketch of its claim path beside it, each on a control plane of its own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from localcluster import paths
from sandyard.api import names
from tests.bench.plane import Plane
from tests.support import manifests
from tests.support.chart import render
from tests.support.control_plane import processor_seconds
from tests.support.kube import Kube, until, wait_for_api
from tests.support.operator import OperatorProcess, service_account_kubeconfig

__all__ = ["NAMESPACE", "POOL", "SUBJECTS", "Running", "Sandyard", "Subject", "installed"]

NAMESPACE: Final = "bench"
POOL: Final = "python"
# How fast a pool refills is no matter of the claim path; both may start as many at once.
_PARALLELISM: Final = 10


class Subject(Protocol):
    """How one of them is set up and started.

    Attributes
    ----------
    several
        Whether it can have pools in more than one namespace.
    finalizers
        What a Sandbox has to be made with, so that it sees its end.
    """

    name: str
    several: bool
    finalizers: Sequence[str]

    def install(self, kube: Kube) -> None:
        """Put the objects in place that it needs."""

    def start(self, kube: Kube, folder: pathlib.Path, replicas: int) -> contextlib.AbstractContextManager[int]:
        """Run it with a pool of *replicas* warm pods; the context's value is its process id."""


@dataclass(frozen=True)
class Running:
    """A subject that runs, with a full pool."""

    subject: Subject
    plane: Plane
    kube: Kube
    pid: int

    def processor_seconds(self) -> dict[str, float]:
        """What everything that takes part has used so far; the load is ``load``."""
        mine = sum(os.times()[:2])
        return {**self.plane.processor_seconds(), "operator": processor_seconds(self.pid), "load": mine}


class Sandyard:
    """The operator as the chart installs it: rights, bounds and admission policies."""

    name = "Sandyard"
    several = True
    finalizers = ()

    def install(self, kube: Kube) -> None:
        kube.make_namespace("sandyard-system")
        objects = [item for item in render({}) if item["kind"] not in ("Deployment", "Service", "Job")
                   and "helm.sh/hook" not in item["metadata"].get("annotations", {})]  # fmt: skip
        _define(kube, objects)
        kube.apply_as_is(*[item for item in objects if item["kind"] != "CustomResourceDefinition"])
        wait_for_api(kube)

    @contextmanager
    def start(self, kube: Kube, folder: pathlib.Path, replicas: int) -> Iterator[int]:
        with self.running(kube, folder, replicas) as process:
            yield process.pid

    @contextmanager
    def running(self, kube: Kube, folder: pathlib.Path, replicas: int) -> Iterator[OperatorProcess]:
        """As `start`; the value is the operator, which can be asked for its metrics."""
        config = service_account_kubeconfig(kube, folder / "operator.kubeconfig")
        process = OperatorProcess(config, folder / "operator.log", SANDYARD_LEADER_ELECTION="false")
        try:
            process.start()
            spec = {"startup": {"parallelism": _PARALLELISM}}
            kube.apply(manifests.pool(POOL, replicas, **spec))
            kube.wait_for("sandboxpool", POOL, "Full", 120)
            yield process
        finally:
            process.kill()
            assert "Traceback" not in process.log, process.log[-3000:]


class Sketch:
    """The claim path alone, with nothing around it; see `tests.bench.sketch`."""

    name = "sketch"
    several = False
    finalizers = (names.FINALIZER,)

    def install(self, kube: Kube) -> None:
        objects = [item for item in render({}) if item["kind"] in ("CustomResourceDefinition", "RuntimeClass")]
        _define(kube, objects)
        kube.apply_as_is(*[item for item in objects if item["kind"] == "RuntimeClass"])

    @contextmanager
    def start(self, kube: Kube, folder: pathlib.Path, replicas: int) -> Iterator[int]:
        environment = {**os.environ, "KUBECONFIG": str(kube.kubeconfig), "PYTHONPATH": os.pathsep.join(
            str(paths.REPOSITORY / part) for part in (".", "operator", "hack"))}  # fmt: skip
        command = [sys.executable, "-m", "tests.bench.sketch", kube.namespace, str(replicas)]
        with (folder / "sketch.log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, cwd=paths.REPOSITORY, stdout=log, stderr=log)
        try:
            until("its pool is full", lambda: _warm(kube) >= replicas, 120, interval=1)
            yield process.pid
        finally:
            process.kill()
            process.wait(30)


SUBJECTS: Final[tuple[Subject, ...]] = (Sandyard(), Sketch())


@contextmanager
def installed(subject: Subject) -> Iterator[tuple[Plane, Kube, pathlib.Path]]:
    """A control plane of its own with *subject* in place and not started; the folder is for its files."""
    with tempfile.TemporaryDirectory(prefix="sandyard-bench-") as name:
        folder = pathlib.Path(name)
        plane = Plane(folder)
        try:
            kube = plane.start().within(NAMESPACE)
            kube.make_namespace(NAMESPACE)
            subject.install(kube)
            yield plane, kube, folder
        finally:
            plane.stop()


def _define(kube: Kube, objects: list[dict[str, object]]) -> None:
    definitions = [item for item in objects if item["kind"] == "CustomResourceDefinition"]
    kube.apply_as_is(*definitions)
    for item in definitions:
        kube.wait_for("crd", item["metadata"]["name"], "Established", 30)  # type: ignore[index]


def _warm(kube: Kube) -> int:
    pods = kube.list("pods", f"{names.LABEL_STATE}={names.STATE_WARM}")
    return sum(pod["status"].get("phase") == "Running" for pod in pods)
