"""A real API server with the chart's objects in it, a simulated kubelet, and the operator.

A file of tests has one namespace and one operator, and each test leaves the namespace as it found it: empty. Every
pytest process makes all of this for itself, so that several can run side by side, each with some of the files.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import uuid
from collections.abc import Iterator

import pytest
import yaml

from localcluster import paths, tools
from sandyard.api import names
from tests.support import chart, newer
from tests.support.audit import Audit
from tests.support.control_plane import ControlPlane
from tests.support.fault_arena import Findings
from tests.support.kube import Kube, NotThere, wait_for_api
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess, service_account_kubeconfig

OPERATOR_USER = "system:serviceaccount:sandyard-system:sandyard"
CHART = paths.REPOSITORY / "charts" / "sandyard"


# Bounds of addresses and peers that are wide: what stays closed all the same is the operator's to show.
_WIDE = ("policy.cidrs={public,0.0.0.0/0,::/0}", "policy.nameservers={public,0.0.0.0/0,::/0}",
         "policy.ingressNamespaces={*}", "image.repository=sandyard/operator")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needed = tuple(name for names_ in newer.NEEDED.values() for name in names_)
    for item in items:
        if item.nodeid.removeprefix("tests/api/").startswith(needed):
            item.add_marker(pytest.mark.newest)


@functools.cache
def _rendered(kube: Kube, values: tuple[str, ...], api_versions: str) -> str:
    return kube.run(
        "helm", "template", "sandyard", str(CHART), "--namespace=sandyard-system", "--no-hooks",
        f"--api-versions={api_versions}", *(f"--set={value}" for value in (*_WIDE, *values)),
    )  # fmt: skip


def render(kube: Kube, *values: str, api_versions: str = chart.SERVED) -> list[dict[str, object]]:
    """The chart's objects, hooks left out."""
    text = _rendered(kube.within("default"), values, api_versions)
    return [item for item in yaml.load_all(text, yaml.CSafeLoader) if item]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    tools.ensure([*ControlPlane.groups, "helm"])
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


def establish(kube: Kube, *definitions: dict[str, object]) -> None:
    """Apply CustomResourceDefinitions and wait until their kinds are served."""
    kube.apply_as_is(*definitions)
    for item in definitions:
        kube.wait_for("crd", item["metadata"]["name"], "Established", 30)  # type: ignore[index]


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Kube:
    """The administrator, with everything of the chart in place but its Deployment."""
    kube = Kube(control_plane.kubeconfig)
    kube.make_namespace("sandyard-system")
    objects = [item for item in render(kube) if item["kind"] not in ("Deployment", "Service")]
    establish(kube, *[item for item in objects if item["kind"] == "CustomResourceDefinition"])
    kube.apply_as_is(*[item for item in objects if item["kind"] != "CustomResourceDefinition"])
    wait_for_api(kube)
    return kube


def _namespace(admin: Kube) -> Iterator[Kube]:
    kube = admin.within(f"test-{uuid.uuid4().hex[:8]}")
    admin.make_namespace(kube.namespace)
    yield kube
    empty(kube)
    admin.delete("namespace", kube.namespace, wait=False)


def empty(kube: Kube) -> None:
    """Delete what is in a namespace, where no operator runs to do it.

    Policies stay: an operator that runs takes its own away when the last pod is gone, and the namespace takes all.
    """
    for kind in ("sandboxes", "sandboxpools", "pods", "persistentvolumeclaims"):
        for item in kube.list(kind):
            name = item["metadata"]["name"]
            if item["metadata"].get("finalizers"):
                # Its controller may be quicker.
                with contextlib.suppress(NotThere):
                    kube.as_user(OPERATOR_USER).patch(kind, name, {"metadata": {"finalizers": None}})
            kube.delete(kind, name, wait=False, force=True)
    kube.request("DELETE", kube.path("events"))


@pytest.fixture(scope="module")
def file_namespace(admin: Kube) -> Iterator[Kube]:
    """The namespace that the tests of a file share, one after the other."""
    yield from _namespace(admin)


@pytest.fixture
def kube(file_namespace: Kube) -> Iterator[Kube]:
    """An empty namespace, which the test need not empty; the operator, where one runs, has done it before."""
    yield file_namespace
    empty(file_namespace)


@pytest.fixture
def kube_apart(admin: Kube) -> Iterator[Kube]:
    """A namespace of the test's own, for operators that the test starts itself."""
    yield from _namespace(admin)


@pytest.fixture(scope="session")
def kubelet(control_plane: ControlPlane, admin: Kube) -> Iterator[Kubelet]:
    made = Kubelet(control_plane.kubelets)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def findings() -> Findings:
    """What the files of faults have found together."""
    return Findings()


@pytest.fixture(scope="session")
def operator_config(admin: Kube, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return service_account_kubeconfig(admin, tmp_path_factory.mktemp("operator") / "kubeconfig")


@pytest.fixture(scope="module")
def file_operator(
    operator_config: pathlib.Path, kubelet: Kubelet, file_namespace: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator of a file of tests; it serves the file's namespace alone."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    process = OperatorProcess(operator_config, log, SANDYARD_WATCH_NAMESPACES=file_namespace.namespace)
    try:
        process.start()
        yield process
    finally:
        status = process.stop()
    assert status == 0, process.log[-2000:]


@pytest.fixture
def operator(file_operator: OperatorProcess, kubelet: Kubelet, kube: Kube) -> Iterator[OperatorProcess]:
    """The file's operator, running; the test may kill it, and start it again."""
    before = len(file_operator.log)
    if not file_operator.running:
        file_operator.start()
    yield file_operator
    if not file_operator.running:
        file_operator.start()
    kubelet.hold = False
    kube.delete("sandboxes,sandboxpools", "--all")
    assert kube.list("pods", names.LABEL_STATE) == [], "pods are left behind"
    log = file_operator.log[before:]
    assert "Traceback" not in log, log[-3000:]


@pytest.fixture
def audit(control_plane: ControlPlane) -> Audit:
    """The operator's calls from now on."""
    return Audit(control_plane.audit_log, OPERATOR_USER)
