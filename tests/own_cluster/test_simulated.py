"""Simulated nodes: the same operator with the same settings, on more pods than one node holds."""

from __future__ import annotations

from localcluster import lifecycle
from tests.support import manifests
from tests.support.kube import until
from tests.support.release import cluster_of_its_own, install

ON_SIMULATED = {"nodeSelector": {"type": "kwok"}, "tolerations": [{"key": "kwok.x-k8s.io/node", "value": "fake"}]}


def test_a_pool_larger_than_a_node_fills_claims_and_empties() -> None:
    with cluster_of_its_own("simulated", lifecycle.Options(simulated_nodes=2)) as kube:
        install(kube)
        template = manifests.template(image="example.com/never/pulled:1", **ON_SIMULATED)
        kube.apply(manifests.pool("wide", 150, template, startup={"parallelism": 50}))
        kube.wait_for("sandboxpool", "wide", "Ready", timeout=120)
        nodes = {pod["spec"]["nodeName"] for pod in kube.list("pods")}
        assert nodes <= {"simulated-simulated-0", "simulated-simulated-1"}
        # A simulated pod's policies would fall on the operator, if it had the operator's address.
        addresses = [pod["status"]["podIP"] for pod in kube.list("pods", everywhere=True)]
        assert len(set(addresses)) == len(addresses)

        kube.create(*(manifests.sandbox(f"claim-{number}", "wide") for number in range(50)))
        kube.kubectl("wait", "--for=condition=Ready", "sandboxes", "--all", "--timeout=60s")
        statuses = [item["status"] for item in kube.list("sandboxes")]
        assert len({status["podUID"] for status in statuses}) == 50
        assert {status["start"] for status in statuses} == {"Warm"}
        kube.delete("sandboxes", "--all")
        kube.delete("sandboxpool", "wide")
        until("no pod is left", lambda: kube.list("pods") == [], 60)
