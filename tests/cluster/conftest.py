"""A real cluster with gVisor, the chart installed in it, and the leak gate around every test and every module.

The cluster is called ``test``, so that it stands beside a demo; SANDYARD_TEST_CLUSTER gives it
another name, for a second run at the same time. SANDYARD_KEEP_CLUSTER=1 keeps it for the next run.

A pod in gVisor takes seconds of both cores, so tests share what they only use: ``pool``, a warm pool of the
module, and ``sandbox``, a sandbox of the module that each of them finds empty. A test that ends its sandbox
takes one of its own from the pool: ``claimed``. One that looks at everything in its namespace has one to
itself: ``kube``.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from localcluster import images, lifecycle
from sandyard import AsyncSandbox
from tests.support import leaks, manifests, report
from tests.support.kube import Kube
from tests.support.operator import OperatorProcess, service_account_kubeconfig
from tests.support.release import Installed, load_images

NAME = os.environ.get("SANDYARD_TEST_CLUSTER", "test")
# What keeps a sandbox alive that has no command of its own.
KEEPER = "2147483647"


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
    with ThreadPoolExecutor(1) as beside:
        building = beside.submit(images.operator)
        cluster = lifecycle.up(NAME, lifecycle.Options())
    try:
        building.result()
        load_images(cluster)
        made = Installed(cluster, Kube(cluster.kubeconfig))
        made.install()
        made.start_operator()
        yield made
    finally:
        if not os.environ.get("SANDYARD_KEEP_CLUSTER"):
            lifecycle.down(NAME)


@pytest.fixture(scope="session")
def session_gate(installed: Installed) -> leaks.Gate:
    return leaks.Gate(installed.kube, installed.cluster)


@pytest.fixture(scope="module")
def gate(session_gate: leaks.Gate) -> Iterator[leaks.Gate]:
    """After a module, cluster and node hold what they held before it."""
    before = session_gate.held()
    yield session_gate
    session_gate.back_to(before)


@pytest.fixture(autouse=True)
def leak_gate(gate: leaks.Gate, installed: Installed) -> Iterator[None]:
    """After every test, cluster and node hold what they held before."""
    before = gate.held()
    yield
    gate.back_to(before)


@contextlib.contextmanager
def new_namespace(cluster: Kube) -> Iterator[Kube]:
    """A namespace that goes with everything in it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.make_namespace(name)
    within = cluster.within(name)
    yield within
    within.delete("sandboxes,sandboxpools", "--all", timeout=120)
    # What is left in it is nothing of ours, as the leak gate sees; its controller takes 5 s for that.
    cluster.delete("namespace", name, wait=False)


@pytest.fixture
def kube(installed: Installed, leak_gate: None) -> Iterator[Kube]:
    """A namespace of the test's own; it goes with everything in it."""
    with new_namespace(installed.kube) as within:
        yield within


@pytest.fixture(scope="module")
def python_pool(installed: Installed, gate: leaks.Gate) -> Iterator[Kube]:
    """The module's namespace with a pool called python in it."""
    with new_namespace(installed.kube) as within:
        within.apply(manifests.pool("python", 1))
        within.wait_for("sandboxpool", "python", "Full", timeout=90)
        gate.changed()
        yield within


@pytest.fixture
def pool(python_pool: Kube, leak_gate: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kube]:
    """The module's pool, warm again, in the namespace that the client works in."""
    monkeypatch.setenv("KUBECONFIG", str(python_pool.kubeconfig))
    python_pool.wait_for("sandboxpool", "python", "Full", timeout=90)
    yield python_pool
    if python_pool.list("sandboxes"):
        python_pool.delete("sandboxes", "--all", timeout=120)


@pytest.fixture(scope="module")
def standing(installed: Installed, gate: leaks.Gate) -> Iterator[Kube]:
    """A namespace with the sandbox called ``standing`` in it, which the tests of a module share."""
    with new_namespace(installed.kube) as within:
        template = manifests.template(workspace={"sizeLimit": "1Gi"}, tmp={"sizeLimit": "512Mi"})
        within.create(manifests.sandbox("standing", template=template))
        within.wait_for("sandbox", "standing", "Ready", timeout=90)
        gate.changed()
        yield within


@pytest.fixture
async def sandbox(standing: Kube, leak_gate: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncSandbox]:
    """The module's sandbox by the Python client, with no files and no processes in it but its own."""
    monkeypatch.setenv("KUBECONFIG", str(standing.kubeconfig))
    async with await AsyncSandbox.connect("standing", namespace=standing.namespace) as made:
        yield made
    async with await AsyncSandbox.connect("standing", namespace=standing.namespace) as made:
        found = [one for one in await made.commands.processes() if one.pid != 1 and KEEPER not in one.command]
        kill = f"kill -9 {' '.join(str(one.pid) for one in found)} 2>/dev/null; " if found else ""
        await made.commands.run(f"{kill}find /workspace /tmp -mindepth 1 -delete", check=True)


@pytest.fixture
async def claimed(pool: Kube) -> AsyncIterator[AsyncSandbox]:
    """A sandbox of the test's own, from the module's pool, by the Python client."""
    async with await AsyncSandbox.create("python", namespace=pool.namespace) as made:
        yield made


@pytest.fixture(scope="module")
def operator(
    installed: Installed, gate: leaks.Gate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator outside the cluster, with the same rights, in place of the deployed one."""
    installed.scale_operator(0)
    folder: pathlib.Path = tmp_path_factory.mktemp("operator")
    config = service_account_kubeconfig(installed.kube, folder / "kubeconfig")
    process = OperatorProcess(config, folder / "operator.log", KUBERNETES_SERVICE_HOST="10.96.0.1",
                              SANDYARD_PROBE_IMAGE=images.OPERATOR_IMAGE)  # fmt: skip
    process.start()
    gate.changed()
    yield process
    process.kill()
    installed.scale_operator(1)
