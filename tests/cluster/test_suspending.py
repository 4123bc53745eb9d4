"""Suspended on real pods and volumes: files are kept, the pod is not, and nothing is left in the end."""

from __future__ import annotations

from tests.support import manifests
from tests.support.kube import Kube, until

PERSISTENT = {"persistent": {"size": "64Mi"}}


def want(kube: Kube, name: str, state: str) -> None:
    kube.patch("sandbox", name, {"spec": {"desiredState": state}})


def run(kube: Kube, pod: str, command: str) -> str:
    return kube.kubectl("exec", pod, "-c", "sandbox", "--", "sh", "-c", command)


def test_files_outlive_the_pod_and_go_with_the_sandbox(kube: Kube) -> None:
    kube.apply(manifests.pool("lasting", 1, manifests.template(workspace=PERSISTENT)))
    kube.wait_for("sandboxpool", "lasting", "Full", timeout=90)
    kube.create(manifests.sandbox("s", "lasting"))
    before = kube.wait_for("sandbox", "s", "Ready")
    assert before["start"] == "Warm"
    run(kube, before["podName"], "echo kept > /workspace/file; echo lost > /tmp/file; chmod 600 /workspace/file")
    until("its workspace is its own", lambda: kube.status("sandbox", "s").get("workspaceClaim"))

    want(kube, "s", "Suspended")
    until("suspended", lambda: kube.status("sandbox", "s")["phase"] == "Suspended", 60)
    assert kube.get("pod", before["podName"]) is None
    want(kube, "s", "Running")
    after = kube.wait_for("sandbox", "s", "Ready", timeout=90)
    assert after["podUID"] != before["podUID"]
    assert after["restarts"] == 1
    found = run(kube, after["podName"], "cat /workspace/file; stat -c %a /workspace/file; ls /tmp")
    assert found.split() == ["kept", "600"]
    run(kube, after["podName"], "echo more >> /workspace/file")

    # From Paused as well: what stands still is deleted all the same.
    want(kube, "s", "Paused")
    until("paused", lambda: kube.status("sandbox", "s")["phase"] == "Paused", 30)
    want(kube, "s", "Suspended")
    until("suspended again", lambda: kube.status("sandbox", "s")["phase"] == "Suspended", 60)
    # And to Paused: it gets a pod, and that is stopped.
    want(kube, "s", "Paused")
    until("paused again", lambda: kube.status("sandbox", "s")["phase"] == "Paused", 90)
    assert kube.status("sandbox", "s")["restarts"] == 2
    want(kube, "s", "Running")
    pod = kube.wait_for("sandbox", "s", "Ready", timeout=30)["podName"]
    assert run(kube, pod, "cat /workspace/file").split() == ["kept", "more"]
    workspace = kube.status("sandbox", "s")["workspaceClaim"]
    kube.delete("sandbox", "s")
    assert kube.get("persistentvolumeclaim", workspace) is None
    kube.delete("sandboxpool", "lasting")
    until("no volume is left", lambda: kube.list("persistentvolumeclaims") == [], 30)


def test_two_sandboxes_never_share_a_workspace(kube: Kube) -> None:
    kube.apply(manifests.pool("lasting", 2, manifests.template(workspace=PERSISTENT)))
    kube.wait_for("sandboxpool", "lasting", "Full", timeout=90)
    for name in ("a", "b"):
        kube.create(manifests.sandbox(name, "lasting"))
        kube.wait_for("sandbox", name, "Ready")
    pods = [kube.status("sandbox", name)["podName"] for name in ("a", "b")]
    run(kube, pods[0], "echo secret > /workspace/file")
    assert run(kube, pods[1], "ls /workspace") == ""
    kube.delete("sandboxes", "--all")
