"""A real cluster with gVisor, the chart installed in it, and the leak gate around every test.

The cluster is called ``test``, so that it stands beside a demo; SANDYARD_TEST_CLUSTER gives it
another name, so that two runs stand beside each other. SANDYARD_KEEP_CLUSTER=1 keeps it for the
next run.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass

import pytest

from localcluster import images, lifecycle, paths
from sandyard import AsyncSandbox
from tests.support import leaks, manifests, report
from tests.support.audit import Audit
from tests.support.kube import Kube, wait_for_api
from tests.support.operator import OperatorProcess, service_account_kubeconfig

NAME = os.environ.get("SANDYARD_TEST_CLUSTER", "test")
OPERATOR_USER = "system:serviceaccount:sandyard-system:sandyard"


@dataclass(frozen=True)
class Installed:
    """The cluster and the release in it."""

    cluster: paths.Cluster
    kube: Kube

    def audit(self) -> Audit:
        """The operator's calls from now on."""
        return Audit(self.cluster.logs / "audit.log", OPERATOR_USER)

    def install(self, *values: str, helm: str = "helm") -> None:
        """Install or upgrade the chart with the operator's own image."""
        install(self.kube, *values, helm=helm)

    def scale_operator(self, replicas: int) -> None:
        """Run so many replicas of the operator in the cluster, and wait for it."""
        system = self.kube.within("sandyard-system")
        system.kubectl("scale", "deployment/sandyard", f"--replicas={replicas}")
        if replicas:
            system.kubectl("rollout", "status", "deployment/sandyard", "--timeout=90s")
        else:
            selector = "app.kubernetes.io/component=operator"
            system.kubectl("wait", "--for=delete", "pod", "-l", selector, "--timeout=60s")


def install(kube: Kube, *values: str, helm: str = "helm") -> None:
    repository, _, tag = images.OPERATOR_IMAGE.rpartition(":")
    settings = [f"image.repository={repository}", f"image.tag={tag}", "replicas=1", *values]
    kube.run(
        helm, "upgrade", "--install", "sandyard", str(paths.REPOSITORY / "charts" / "sandyard"),
        "--namespace=sandyard-system", "--create-namespace", "--wait", "--timeout=120s",
        *(f"--set={setting}" for setting in settings),
    )  # fmt: skip
    wait_for_api(kube)


def load_images(cluster: paths.Cluster) -> None:
    for archive in (images.python(), images.operator()):
        lifecycle.load(cluster, archive)


@contextlib.contextmanager
def cluster_of_its_own(name: str, options: lifecycle.Options) -> Iterator[Kube]:
    """Another cluster beside the other, with our images in it, and gone in the end."""
    cluster = lifecycle.up(name, options)
    kube = Kube(cluster.kubeconfig)
    try:
        load_images(cluster)
        yield kube
    except BaseException:
        print(report.state(kube))
        raise
    finally:
        lifecycle.down(name)
    assert not cluster.state.exists()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test's report tells what was in the cluster at that moment."""
    made = yield
    installed = getattr(item, "funcargs", {}).get("installed")
    if made.failed and isinstance(installed, Installed):
        made.sections.append((f"the cluster {installed.cluster.name!r}", report.state(installed.kube)))
    return made


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    cluster = lifecycle.up(NAME, lifecycle.Options())
    try:
        load_images(cluster)
        kube = Kube(cluster.kubeconfig)
        made = Installed(cluster, kube)
        made.install()
        # A cluster that was kept runs the image of the last run under the same tag.
        kube.within("sandyard-system").kubectl("rollout", "restart", "deployment/sandyard")
        made.scale_operator(1)
        yield made
    finally:
        if not os.environ.get("SANDYARD_KEEP_CLUSTER"):
            lifecycle.down(NAME)


@pytest.fixture(autouse=True)
def leak_gate(installed: Installed) -> Iterator[None]:
    """After every test, cluster and node hold what they held before."""
    before = leaks.snapshot(installed.kube, installed.cluster)
    yield
    leaks.assert_back_to(before, installed.kube, installed.cluster)


@pytest.fixture
def kube(installed: Installed, leak_gate: None) -> Iterator[Kube]:
    """A namespace of the test's own; it goes with everything in it."""
    namespace = f"test-{uuid.uuid4().hex[:8]}"
    installed.kube.kubectl("create", "namespace", namespace)
    within = installed.kube.within(namespace)
    yield within
    within.kubectl("delete", "sandboxes,sandboxpools", "--all", "--timeout=120s", "--ignore-not-found")
    # What is left in it is nothing of ours, as the leak gate sees; its controller takes 5 s for that.
    installed.kube.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


@pytest.fixture
def operator(installed: Installed, tmp_path: pathlib.Path) -> Iterator[OperatorProcess]:
    """The operator outside the cluster, with the same rights, in place of the deployed one."""
    installed.scale_operator(0)
    config = service_account_kubeconfig(installed.kube, tmp_path / "kubeconfig")
    process = OperatorProcess(config, tmp_path / "operator.log", KUBERNETES_SERVICE_HOST="10.96.0.1",
                              SANDYARD_PROBE_IMAGE=images.OPERATOR_IMAGE)  # fmt: skip
    process.start()
    yield process
    process.kill()
    installed.scale_operator(1)


@pytest.fixture
def pool(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Kube:
    """A pool called python, in the namespace that the client works in."""
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    kube.apply(manifests.pool("python", 1))
    kube.wait_for("sandboxpool", "python", "Ready", timeout=90)
    return kube


@pytest.fixture
async def sandbox(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncSandbox]:
    """A sandbox of its own template, by the Python client."""
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    template = manifests.template(workspace={"sizeLimit": "1Gi"}, tmp={"sizeLimit": "512Mi"})
    async with await AsyncSandbox.create(template=template, namespace=kube.namespace) as made:
        yield made
