"""Nothing is left behind, whatever happens. The leak gate looks after each of these."""

from __future__ import annotations

import time

import pytest

from tests.support import manifests, soak
from tests.support.kube import Kube, until
from tests.support.release import Installed


def test_delete_returns_when_the_pod_is_gone(pool: Kube) -> None:
    pool.create(manifests.sandbox("hello", "python"))
    pod = pool.wait_for("sandbox", "hello", "Ready")["podName"]
    pool.delete("sandbox", "hello")
    assert pool.get("pod", pod) is None


def test_a_pool_goes_and_its_claimed_sandboxes_stay(kube: Kube) -> None:
    kube.apply(manifests.pool("python", 2))
    kube.wait_for("sandboxpool", "python", "Full")
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


def test_a_pod_deleted_by_others_fails_its_sandbox_and_is_replaced_in_its_pool(pool: Kube) -> None:
    pool.create(manifests.sandbox("hello", "python"))
    pod = pool.wait_for("sandbox", "hello", "Ready")["podName"]
    pool.delete("pod", pod, wait=False)
    until("it says so", lambda: pool.status("sandbox", "hello").get("phase") == "Failed", 15)
    assert pool.condition("sandbox", "hello", "Ready")["reason"] == "PodLost"  # type: ignore[index]
    pool.wait_for("sandboxpool", "python", "Full")
    warm = pool.list("pods", "sandyard.dev/state=warm")[0]["metadata"]["name"]
    pool.delete("pod", warm)
    until("another one", lambda: pool.list("pods", "sandyard.dev/state=warm"), 30)
    until("it is warm", lambda: pool.status("sandboxpool", "python").get("replicas") == 1, 30)


@pytest.mark.soak
def test_a_namespace_with_live_sandboxes_goes_within_a_minute(kube: Kube) -> None:
    count = soak.rounds(short=4, long=10)
    kube.apply(manifests.pool("python", count))
    kube.wait_for("sandboxpool", "python", "Full", timeout=120)
    kube.create(*(manifests.sandbox(f"s{number}", "python") for number in range(count)))
    kube.kubectl("wait", "--for=condition=Ready", "sandboxes", "--all", "--timeout=60s")
    started = time.monotonic()
    kube.kubectl("delete", "namespace", kube.namespace, "--timeout=60s")
    assert time.monotonic() - started < 60
