"""What a sandbox is and what it can reach, seen from inside a real one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from localcluster import network
from tests.cluster.conftest import new_namespace
from tests.support import cgroups, leaks, manifests
from tests.support.kube import Kube, until
from tests.support.release import Installed

FORBIDDEN = ["10.96.0.1:443", "{node}:6443", "{node}:10250", "169.254.169.254:80", "168.63.129.16:80",
             "100.100.100.200:80", "10.9.9.9:80"]  # fmt: skip
INTERNET = "203.0.113.10:80"
_TRY = """
import json, socket, sys
found = {}
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        found[target] = "reached"
    except OSError as error:
        found[target] = str(error)
print(json.dumps(found))
"""


def inside(kube: Kube, pod: str, *command: str) -> str:
    return kube.kubectl("exec", pod, "-c", "sandbox", "--", *command)


def reached(kube: Kube, pod: str, *targets: str) -> set[str]:
    """Those of *targets* that the sandbox can connect to."""
    answers = json.loads(inside(kube, pod, "python3", "-c", _TRY, *targets))
    return {target for target, answer in answers.items() if answer == "reached"}


def ready(kube: Kube, name: str, **spec: Any) -> dict[str, Any]:
    kube.create(manifests.sandbox(name, **spec))
    return kube.wait_for("sandbox", name, "Ready")


@pytest.fixture(scope="module")
def server(installed: Installed, gate: leaks.Gate) -> Iterator[Kube]:
    """A namespace with a sandbox called server in it, which answers on port 8000."""
    with new_namespace(installed.kube) as within:
        ready(within, "server", template=manifests.template(command=["python3", "-m", "http.server", "8000"]))
        gate.changed()
        yield within


def test_a_sandbox_runs_in_gvisor_as_nobody_in_particular(server: Kube) -> None:
    pod = server.status("sandbox", "server")["podName"]
    assert "Starting gVisor" in inside(server, pod, "dmesg")
    facts = inside(server, pod, "sh", "-c", "id -u; id -g; pwd; echo $HOME; grep CapEff /proc/self/status").split("\n")
    assert facts[:4] == ["1000", "1000", "/workspace", "/workspace"]
    assert int(facts[4].split()[1], 16) == 0, "no capabilities"
    assert inside(server, pod, "sh", "-c", "ls /var/run/secrets 2>/dev/null | wc -l").strip() == "0"
    assert "SERVICE_HOST" not in inside(server, pod, "env").replace("KUBERNETES_SERVICE_HOST", "")
    spec = server.get("pod", pod)["spec"]  # type: ignore[index]
    assert spec["containers"][0]["resources"]["limits"]["memory"] == "128Mi"


def test_a_closed_sandbox_reaches_nothing(server: Kube, installed: Installed) -> None:
    other = server.status("sandbox", "server")
    pod = ready(server, "closed", template=manifests.template())["podName"]
    targets = [target.format(node=installed.cluster.node_address) for target in FORBIDDEN]
    targets += [INTERNET, f"{other['podIP']}:8000"]
    before = network.outside_counters(installed.cluster)
    assert reached(server, pod, *targets) == set()
    assert network.outside_counters(installed.cluster) == before, "packets left the node"
    assert reached(server, other["podName"], "127.0.0.1:8000"), "the control: the server answers"
    server.delete("sandbox", "closed")


def test_the_internet_profile_reaches_the_internet_and_nothing_else(server: Kube, installed: Installed) -> None:
    other = server.status("sandbox", "server")
    server.apply(manifests.pool("net", 1, manifests.template(network={"egress": "Internet"})))
    server.wait_for("sandboxpool", "net", "Full")
    server.create(manifests.sandbox("open", "net"))
    status = server.wait_for("sandbox", "open", "Ready")
    assert status["start"] == "Warm"
    pod = status["podName"]
    until("the internet", lambda: reached(server, pod, INTERNET), 10)
    targets = [target.format(node=installed.cluster.node_address) for target in FORBIDDEN]
    assert reached(server, pod, *targets, f"{other['podIP']}:8000") == set()
    server.delete("sandbox", "open")
    server.delete("sandboxpool", "net")


def test_ingress_is_for_those_who_are_named(kube: Kube) -> None:
    peers = [{"podSelector": {"matchLabels": {"role": "proxy"}}, "ports": [{"port": 8000}]}]
    server = manifests.template(
        command=["python3", "-m", "http.server", "8000"], network={"egress": "None", "ingressFrom": peers}
    )
    address = ready(kube, "server", template=server)["podIP"]
    limits = {"memory": "64Mi"}
    for name, labels in {"proxy": {"role": "proxy"}, "stranger": {}}.items():
        container = {"name": "c", "image": manifests.IMAGE, "command": ["sleep", "600"],
                     "resources": {"limits": limits}}  # fmt: skip
        kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
                    "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}})  # fmt: skip
        kube.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")

    def gets_through(pod: str) -> bool:
        answer = json.loads(kube.kubectl("exec", pod, "--", "python3", "-c", _TRY, f"{address}:8000"))
        return bool(answer[f"{address}:8000"] == "reached")

    until("the proxy gets through", lambda: gets_through("proxy"), 15)
    assert not gets_through("stranger")
    # Plain pods end by force alone: their main process is process 1 and ignores TERM.
    kube.delete("pods", "proxy", "stranger", force=True)


def test_limits_hold(kube: Kube) -> None:
    eat = "x = bytearray(400 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('survived')"
    kube.create(manifests.sandbox("eater", template=manifests.template(command=["python3", "-c", eat])))
    until("it ended", lambda: kube.status("sandbox", "eater").get("phase") in ("Failed", "Succeeded"), 60)
    status = kube.status("sandbox", "eater")
    assert status["phase"] == "Failed"
    assert status["lastTermination"]["reason"] == "OOMKilled", status["lastTermination"]

    small = {"medium": "Memory", "sizeLimit": "8Mi"}
    template = manifests.template(readOnlyRootFilesystem=True, workspace=small, tmp=small,
                                  user={"uid": 65534, "gid": 65534})  # fmt: skip
    pod = ready(kube, "small", template=template)["podName"]
    write = "for f in /workspace/x /tmp/x /etc/x; do head -c 9m /dev/zero >$f 2>/dev/null && echo $f; done; id -u"
    assert inside(kube, pod, "sh", "-c", write).split() == ["65534"]


def test_a_main_process_that_ends_finishes_its_sandbox(kube: Kube) -> None:
    kube.create(
        manifests.sandbox("good", template=manifests.template(command=["sh", "-c", "sleep 1"])),
        manifests.sandbox("bad", template=manifests.template(command=["sh", "-c", "sleep 1; exit 7"])),
    )
    until("both ended", lambda: all(kube.condition("sandbox", name, "Finished") for name in ("good", "bad")), 60)
    good, bad = kube.status("sandbox", "good"), kube.status("sandbox", "bad")
    assert (good["phase"], good["lastTermination"]["exitCode"]) == ("Succeeded", 0)
    assert (bad["phase"], bad["lastTermination"]["exitCode"]) == ("Failed", 7)


@pytest.mark.alone
def test_four_busy_loops_get_no_more_than_the_cpu_limit(kube: Kube) -> None:
    """Half a core for four loops, as the node's own accounting sees it."""
    loops = "for i in 1 2 3 4; do while :; do :; done & done; wait"
    template = manifests.template(command=["sh", "-c", loops], resources={"cpu": "500m", "memory": "128Mi"})
    ready(kube, "busy", template=template)
    pod = kube.list("pods")[0]["metadata"]["uid"]
    begin, used = time.monotonic(), cpu_seconds(pod)
    time.sleep(5)  # the span that is measured
    cores = (cpu_seconds(pod) - used) / (time.monotonic() - begin)
    # The pod's limit is that of its container; gVisor's own threads live within it.
    assert 0.2 < cores < 0.65, f"{cores:.2f} cores"


def cpu_seconds(pod_uid: str) -> float:
    """CPU time of a pod so far, from the node's cgroups (version 1 or 2)."""
    for path in cgroups.of_pod(pod_uid, "cpuacct.usage"):
        return int(path.read_text()) / 1e9
    for path in cgroups.of_pod(pod_uid, "cpu.stat"):
        return int(dict(line.split() for line in path.read_text().splitlines())["usage_usec"]) / 1e6
    raise AssertionError(f"no cgroup of pod {pod_uid}")


@pytest.mark.parametrize("start", ["pool", "cold"])
def test_a_runtime_class_that_is_really_runc_hands_out_nothing(kube: Kube, start: str) -> None:
    name = f"pretender-{kube.namespace}"
    kube.apply({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "runc"})
    template = manifests.template(runtimeClassName=name)
    try:
        if start == "pool":
            kube.apply(manifests.pool("fake", 2, template))
            message = kube.wait_reason("sandboxpool", "fake", "RuntimeIsolated", ["RuntimeNotIsolated"], 30)
            assert "gVisor" in message
            kube.create(manifests.sandbox("victim", "fake", waitSeconds=8))
        else:
            kube.create(manifests.sandbox("victim", template=template))
        until("it failed", lambda: kube.status("sandbox", "victim").get("phase") == "Failed", 30)
        ready_condition = kube.condition("sandbox", "victim", "Ready")
        assert ready_condition is not None
        assert (ready_condition["status"], ready_condition["reason"]) == ("False", "RuntimeNotIsolated")
    finally:
        kube.delete("runtimeclass", name)
