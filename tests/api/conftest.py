"""A real API server with the chart's objects in it, a simulated kubelet, and the operator."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Iterator

import pytest
import yaml

from localcluster import paths, tools
from tests.support.audit import Audit
from tests.support.control_plane import ControlPlane
from tests.support.kube import Kube, wait_for_api
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess, service_account_kubeconfig

OPERATOR_USER = "system:serviceaccount:sandyard-system:sandyard"
CHART = paths.REPOSITORY / "charts" / "sandyard"
_MUTATING = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"


def render(kube: Kube, *values: str, api_versions: str = _MUTATING) -> list[dict[str, object]]:
    """The chart's objects, hooks left out."""
    text = kube.run(
        "helm", "template", "sandyard", str(CHART), "--namespace=sandyard-system", "--no-hooks",
        f"--api-versions={api_versions}", *(f"--set={value}" for value in values),
    )  # fmt: skip
    return [item for item in yaml.safe_load_all(text) if item]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    tools.ensure([*tools.API, "helm"])
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Kube:
    """The administrator, with everything of the chart in place but its Deployment."""
    kube = Kube(control_plane.kubeconfig)
    kube.kubectl("create", "namespace", "sandyard-system")
    objects = [item for item in render(kube) if item["kind"] not in ("Deployment", "Service")]
    kube.apply_as_is(*[item for item in objects if item["kind"] == "CustomResourceDefinition"])
    kube.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    kube.apply_as_is(*[item for item in objects if item["kind"] != "CustomResourceDefinition"])
    wait_for_api(kube)
    return kube


@pytest.fixture
def kube(admin: Kube) -> Iterator[Kube]:
    """A namespace of the test's own; the operator, where one runs, has emptied it before."""
    namespace = f"test-{uuid.uuid4().hex[:8]}"
    admin.kubectl("create", "namespace", namespace)
    yield admin.within(namespace)
    admin.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="session")
def kubelet(control_plane: ControlPlane, admin: Kube) -> Iterator[Kubelet]:
    made = Kubelet(control_plane.kubeconfig)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def operator_config(admin: Kube, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return service_account_kubeconfig(admin, tmp_path_factory.mktemp("operator") / "kubeconfig")


@pytest.fixture
def operator(
    operator_config: pathlib.Path, kubelet: Kubelet, kube: Kube, tmp_path: pathlib.Path
) -> Iterator[OperatorProcess]:
    """A fresh operator that serves the test's namespace alone."""
    process = OperatorProcess(operator_config, tmp_path / "operator.log", SANDYARD_WATCH_NAMESPACES=kube.namespace)
    process.start()
    yield process
    if process._process is None:
        process.start()
    kubelet.hold = False
    kube.delete("sandboxes,sandboxpools", "--all")
    assert kube.list("pods") == [], "pods are left behind"
    assert process.stop() == 0, process.log[-2000:]
    assert "Traceback" not in process.log, process.log[-3000:]


@pytest.fixture
def audit(control_plane: ControlPlane) -> Audit:
    """The operator's calls from now on."""
    return Audit(control_plane.audit_log, OPERATOR_USER)
