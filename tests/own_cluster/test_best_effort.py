"""A cluster in which isolation is not enforced: nothing is handed out, unless whoever runs it asks for best effort.

It has simulated nodes besides, for a pool that no node of ours holds: what kwok plays says that its network is closed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from localcluster import lifecycle
from sandyard import AsyncSandbox
from sandyard.client import errors
from tests.support import manifests, streams
from tests.support.kube import Kube, until
from tests.support.release import cluster_of_its_own, install

ON_SIMULATED = {"nodeSelector": {"type": "kwok"}, "tolerations": [{"key": "kwok.x-k8s.io/node", "value": "fake"}]}


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    """NetworkPolicies are accepted there, and do nothing. Its tests build on each other."""
    options = lifecycle.Options(network_policy=False, simulated_nodes=2)
    with cluster_of_its_own("unenforced", options) as kube:
        install(kube, "isolation.probeTimeoutSeconds=4")
        kube.apply(manifests.pool("python", 2))
        yield kube


@pytest.fixture(scope="module")
def best_effort(kube: Kube) -> Kube:
    """The same cluster, with an operator that does with what there is."""
    install(kube, "isolation.network=BestEffort", "isolation.runtime=BestEffort")
    kube.wait_for("sandboxpool", "python", "Full", timeout=90)
    return kube


def test_without_enforced_policies_nothing_is_handed_out(kube: Kube) -> None:
    message = kube.wait_reason("sandboxpool", "python", "NetworkEnforced", ["NetworkNotEnforced"], 60)
    assert "10.96.0.1:443" in message
    assert "node:10250" in message, "the kubelet of its own node"
    kube.create(manifests.sandbox("victim", "python", waitSeconds=6))
    until("it failed", lambda: kube.status("sandbox", "victim").get("phase") == "Failed", 30)
    assert kube.condition("sandbox", "victim", "Ready")["reason"] == "NetworkNotEnforced"  # type: ignore[index]
    assert kube.status("sandboxpool", "python")["replicas"] == 0
    stalled = kube.condition("sandboxpool", "python", "Stalled")
    assert stalled is not None
    assert stalled["status"] == "True"


def test_a_pool_larger_than_a_node_fills_claims_and_empties(kube: Kube) -> None:
    """The same operator with the same settings, on more pods than the 110 that a node usually takes."""
    wide = kube.within("wide")
    kube.make_namespace("wide")
    template = manifests.template(image="example.com/never/pulled:1", **ON_SIMULATED)
    wide.apply(manifests.pool("wide", 120, template, startup={"parallelism": 50}))
    until("it is full", lambda: wide.status("sandboxpool", "wide").get("replicas") == 120, 180)
    nodes = {pod["spec"]["nodeName"] for pod in wide.list("pods")}
    assert nodes <= {"unenforced-simulated-0", "unenforced-simulated-1"}
    # A simulated pod's policies would fall on the operator, if it had the operator's address.
    addresses = [pod["status"].get("podIP") for pod in wide.list("pods", everywhere=True)]
    given = [address for address in addresses if address]
    assert len(given) >= 120
    assert len(set(given)) == len(given)

    wide.create(*(manifests.sandbox(f"claim-{number}", "wide") for number in range(40)))
    wide.kubectl("wait", "--for=condition=Ready", "sandboxes", "--all", "--timeout=120s")
    statuses = [item["status"] for item in wide.list("sandboxes")]
    assert len({status["podUID"] for status in statuses}) == 40
    assert {status["start"] for status in statuses} == {"Warm"}
    wide.delete("sandboxes", "--all")
    wide.delete("sandboxpool", "wide")
    until("no pod is left", lambda: wide.list("pods") == [], 120)


def test_best_effort_hands_out_and_says_what_is_not_enforced(best_effort: Kube) -> None:
    best_effort.create(manifests.sandbox("brave", "python"))
    status = best_effort.wait_for("sandbox", "brave", "Ready")
    told = {c["type"]: c["status"] for c in status["conditions"]}
    assert told["NetworkEnforced"] == "False"
    assert told["RuntimeIsolated"] == "True"


async def test_bytes_are_exact_on_runc_too(best_effort: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(best_effort.kubeconfig))
    plain = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "plain"}, "handler": "runc"}
    best_effort.apply(plain)
    template = manifests.template(runtimeClassName="plain", workspace={"sizeLimit": "256Mi"})
    async with await AsyncSandbox.create(template=template, namespace=best_effort.namespace) as sandbox:
        assert not (await sandbox.commands.run("dmesg | grep -q gVisor")).ok
        await streams.check_bytes(sandbox)
        await streams.check_many(sandbox)
        with pytest.raises(errors.CommandTimeout):
            await sandbox.commands.run("sleep 300 & setsid sleep 300 & wait", timeout=1)
        assert not [one for one in await sandbox.commands.processes() if one.command == "sleep 300"]
        async with await sandbox.shell() as shell:
            await shell.run("cd /tmp")
            assert (await shell.run("pwd")).stdout == b"/tmp\n"


def test_uninstall_takes_everything_away_with_a_sandbox_and_a_pool_alive(best_effort: Kube) -> None:
    """``sandyard uninstall`` ends what is in the whole cluster: here it may."""
    best_effort.apply(manifests.sandbox("alive", "python"))
    best_effort.wait_for("sandbox", "alive", "Ready")
    command = [sys.executable, "-m", "sandyard.cli.main", "uninstall", "--crds"]
    environment = {**best_effort.environment, "PYTHONPATH": os.path.abspath("operator")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], env=environment, input="", text=True, capture_output=True, timeout=200, check=False
        )

    assert run().returncode == 1, "it asks first"
    assert best_effort.get("sandbox", "alive") is not None
    done = run("--yes")
    assert done.returncode == 0, done.stderr
    left = best_effort.kubectl("get", "crds,clusterroles,validatingadmissionpolicies", "-o", "name")
    assert "sandyard" not in left
    until("no pod is left", lambda: best_effort.kubectl("get", "pods", "-A", "-o", "name") == "", 60)
