"""Nothing is left behind, whatever happens. The leak gate looks after each of these."""

from __future__ import annotations

import random
import threading
import time

import pytest

from tests.cluster.conftest import Installed
from tests.support import manifests
from tests.support.kube import Kube, until
from tests.support.operator import OperatorProcess


def test_delete_returns_when_the_pod_is_gone(kube: Kube) -> None:
    kube.apply(manifests.pool("python", 1))
    kube.wait_for("sandboxpool", "python", "Ready")
    kube.create(manifests.sandbox("hello", "python"))
    pod = kube.wait_for("sandbox", "hello", "Ready")["podName"]
    kube.delete("sandbox", "hello")
    assert kube.get("pod", pod) is None


def test_a_pool_goes_and_its_claimed_sandboxes_stay(kube: Kube) -> None:
    kube.apply(manifests.pool("python", 2))
    kube.wait_for("sandboxpool", "python", "Ready")
    kube.create(manifests.sandbox("hello", "python"))
    pod = kube.wait_for("sandbox", "hello", "Ready")["podName"]
    kube.delete("sandboxpool", "python")
    assert [item["metadata"]["name"] for item in kube.list("pods")] == [pod]
    assert kube.status("sandbox", "hello")["phase"] == "Ready"
    kube.delete("sandbox", "hello")


def test_a_pod_that_does_not_go_shows_and_clears(kube: Kube, installed: Installed) -> None:
    """The pod is held by a finalizer of somebody else's."""
    kube.create(manifests.sandbox("held", template=manifests.template(terminationGracePeriodSeconds=1)))
    pod = kube.wait_for("sandbox", "held", "Ready")["podName"]
    hold = '{"metadata":{"finalizers":["example.com/hold"]}}'
    # The admission policy refuses this to everybody but the operator and the control plane.
    as_control_plane = "--as=system:serviceaccount:kube-system:generic-garbage-collector"
    kube.kubectl("create", "rolebinding", "hold", "--clusterrole=admin",
                 "--serviceaccount=kube-system:generic-garbage-collector")  # fmt: skip
    kube.kubectl("patch", "pod", pod, "--type=merge", "-p", hold, as_control_plane)
    kube.delete("sandbox", "held", wait=False)
    message = kube.wait_reason("sandbox", "held", "TeardownStuck", ["PodNotTerminating"], 60)
    assert "example.com/hold" in message
    assert kube.get("sandbox", "held") is not None
    kube.kubectl("patch", "pod", pod, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', as_control_plane)
    until("it is gone", lambda: kube.get("sandbox", "held") is None, 30)


def test_a_pod_deleted_by_others_fails_its_sandbox_and_is_replaced_in_its_pool(kube: Kube) -> None:
    kube.apply(manifests.pool("python", 1))
    kube.wait_for("sandboxpool", "python", "Ready")
    kube.create(manifests.sandbox("hello", "python"))
    pod = kube.wait_for("sandbox", "hello", "Ready")["podName"]
    kube.delete("pod", pod, wait=False)
    until("it says so", lambda: kube.status("sandbox", "hello").get("phase") == "Failed", 15)
    assert kube.condition("sandbox", "hello", "Ready")["reason"] == "PodLost"  # type: ignore[index]
    kube.wait_for("sandboxpool", "python", "Ready")
    warm = kube.list("pods", "sandyard.dev/state=warm")[0]["metadata"]["name"]
    kube.delete("pod", warm)
    until("another one", lambda: kube.status("sandboxpool", "python").get("replicas") == 1, 30)


def test_a_delete_while_no_operator_runs_is_finished_by_the_next(kube: Kube, operator: OperatorProcess) -> None:
    kube.apply(manifests.pool("python", 2))
    kube.wait_for("sandboxpool", "python", "Ready")
    kube.create(manifests.sandbox("hello", "python"))
    kube.wait_for("sandbox", "hello", "Ready")
    operator.kill()
    kube.delete("sandbox", "hello", wait=False)
    assert kube.get("sandbox", "hello") is not None
    started = time.monotonic()
    operator.start()
    until("it is gone", lambda: kube.get("sandbox", "hello") is None, 30)
    assert time.monotonic() - started < 30
    # The namespace is cleared while the operator still runs.
    kube.delete("sandboxpool", "python")


def test_a_namespace_with_ten_live_sandboxes_goes_within_a_minute(kube: Kube) -> None:
    kube.apply(manifests.pool("python", 10))
    kube.wait_for("sandboxpool", "python", "Ready", timeout=120)
    kube.create(*(manifests.sandbox(f"s{number}", "python") for number in range(10)))
    kube.kubectl("wait", "--for=condition=Ready", "sandboxes", "--all", "--timeout=60s")
    started = time.monotonic()
    kube.kubectl("delete", "namespace", kube.namespace, "--timeout=60s")
    assert time.monotonic() - started < 60


def test_twenty_kills_of_the_operator_leak_and_double_nothing(
    kube: Kube, operator: OperatorProcess, request: pytest.FixtureRequest
) -> None:
    """SIGKILL at random moments while fifty sandboxes are made and deleted."""
    rng = random.Random(request.node.nodeid)
    kube.apply(manifests.pool("python", 6, maxSandboxes=24, whenEmpty={"action": "ColdStart", "waitSeconds": 600}))
    kube.wait_for("sandboxpool", "python", "Ready")
    names = [f"s{number}" for number in range(50)]
    kept = set(names[::5])
    deleted: set[str] = set()
    stop = threading.Event()
    failures: list[Exception] = []

    def use() -> None:
        """Make sandboxes in groups; delete each but every fifth once it was Ready."""
        try:
            for start in range(0, 50, 10):
                kube.create(*(manifests.sandbox(name, "python") for name in names[start : start + 10]))
                going = [name for name in names[start : start + 10] if name not in kept]
                for name in going:
                    kube.wait_for("sandbox", name, "Ready", timeout=300)
                    kube.delete("sandbox", name, wait=False)
                    deleted.add(name)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)
        finally:
            stop.set()

    user = threading.Thread(target=use)
    user.start()
    kills = 0
    while kills < 20 or not stop.is_set():
        # A random moment: that is the point, there is no condition to wait for.
        time.sleep(rng.uniform(0.05, 1.5) if kills < 20 else 0.5)
        if kills < 20:
            operator.kill()
            operator.start(wait=False)
            kills += 1
    user.join()
    assert not failures, failures

    until("only the kept ones are left", lambda: {i["metadata"]["name"] for i in kube.list("sandboxes")} == kept, 120)
    until(
        "every kept one is Ready",
        lambda: all(item["status"].get("phase") == "Ready" for item in kube.list("sandboxes")),
        120,
    )
    pods = [item["status"]["podUID"] for item in kube.list("sandboxes")]
    assert len(set(pods)) == len(kept), "a pod has two owners"
    until("the pool is whole", lambda: kube.status("sandboxpool", "python").get("replicas") == 6, 120)

    def exact() -> bool:
        alive = [pod for pod in kube.list("pods") if "deletionTimestamp" not in pod["metadata"]]
        owners = [pod["metadata"]["labels"].get("sandyard.dev/sandbox-uid") for pod in alive]
        claimed = [owner for owner in owners if owner]
        return len(claimed) == len(set(claimed)) == len(kept) and len(alive) == len(kept) + 6

    until("pods are those of the pool and of the sandboxes", exact, 60)
    kube.delete("sandboxes", "--all", timeout=120)
    kube.delete("sandboxpool", "python")


def test_uninstall_with_live_sandboxes_leaves_no_finalizer(kube: Kube, installed: Installed) -> None:
    kube.apply(manifests.pool("python", 2))
    kube.wait_for("sandboxpool", "python", "Ready")
    kube.create(manifests.sandbox("a", "python"), manifests.sandbox("b", template=manifests.template()))
    kube.kubectl("wait", "--for=condition=Ready", "sandboxes", "--all", "--timeout=60s")
    try:
        kube.run("helm3", "uninstall", "sandyard", "--namespace=sandyard-system", "--wait", "--timeout=120s")
        assert kube.list("sandboxes", everywhere=True) == []
        assert kube.list("sandboxpools", everywhere=True) == []
        assert kube.list("pods") == []
        assert kube.list("networkpolicies") == []
        kube.kubectl("delete", "crd", "sandboxes.sandyard.dev", "sandboxpools.sandyard.dev", "--timeout=30s")
    finally:
        installed.install(helm="helm3")
    kube.run("helm", "test", "sandyard", "--namespace=sandyard-system", "--timeout=60s")
